"""What is special to DecoupledNet: its size, its saliency, and how its maps become a prediction."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.base import SegmentsByClass
from semisup.models.classifiers import BACKBONES, ClassificationNetwork
from semisup.models.decouplednet import (
    FAINT,
    DecoupledNet,
    Identified,
    ScoreMaps,
    SegmentationNetwork,
    merge_maps,
    to_square,
)

SMALL: dict[str, Any] = {
    "classifier": "mobilenet_v2",
    "kernel": 2,
    "width": 16,
    "decoder_width": 16,
    "size": 96,
}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def network() -> DecoupledNet:
    """A small one, in eval mode, with statistics as if it had been trained."""
    torch.manual_seed(0)
    model = DecoupledNet(5, **SMALL)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None:
            nn.init.uniform_(layer.bias, -0.1, 0.1)
    nn.init.normal_(model.segmentation.score.weight)
    nn.init.normal_(model.classifier.head.score.weight)
    model.eval()
    # Statistics of what really comes: at others, the maps would hardly see the saliency.
    encoded = model.classifier.encode(image(4, 96, 96))
    saliency = model.saliency_of(encoded, torch.eye(5, dtype=torch.bool)[1:])
    norm = model.segmentation.norm_saliency
    norm.running_mean.copy_(saliency.mean((0, 2, 3)).detach())
    norm.running_var.copy_(saliency.var((0, 2, 3)).detach())
    return model


def image(count: int = 2, height: int = 80, width: int = 64) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(3))


# ---- Parameter counts: the authors' definitions ----


def test_parameters_of_the_authors_networks() -> None:
    with torch.device("meta"):
        model = DecoupledNet(21)
    assert parameters(model.classifier) == 134_342_484
    assert parameters(model.segmentation) == 173_107_906


@pytest.mark.parametrize(
    ("backbone", "count"),
    [("vgg16", 14_714_688), ("vgg16_bn", 14_723_136), ("resnet50", 23_508_032)],
)
def test_parameters_of_the_backbones(backbone: str, count: int) -> None:
    with torch.device("meta"):
        assert parameters(ClassificationNetwork(3, backbone, width=0).backbone) == count


def test_the_segmentation_network_starts_as_the_authors() -> None:
    """A Gaussian of 0.01 in every layer, bridge and decoder alike, and biases of 0."""
    torch.manual_seed(0)
    network = SegmentationNetwork((64, 128, 256, 512, 512), width=64, kernel=3)
    convolutions = nn.Conv2d | nn.ConvTranspose2d
    layers = [layer for layer in network.modules() if isinstance(layer, convolutions)]
    assert len(layers) == 2 + 1 + 13 + 1
    for layer in layers:
        few = layer.weight.numel() < 10_000
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.2 if few else 0.02)
        assert not layer.bias.any()


def test_biases_of_the_segmentation_network_learn_twice_as_fast_without_decay(
    network: DecoupledNet,
) -> None:
    weights, biases = network.segmentation_groups()
    assert (weights.lr_scale, weights.decay_scale) == (1.0, 1.0)
    assert (biases.lr_scale, biases.decay_scale) == (2.0, 0.0)
    convolutions = nn.Conv2d | nn.ConvTranspose2d
    layers = [m for m in network.segmentation.modules() if isinstance(m, convolutions)]
    assert {id(p) for p in biases.params} == {id(layer.bias) for layer in layers}
    together = {id(p) for group in (weights, biases) for p in group.params}
    assert together == {id(p) for p in network.segmentation.parameters()}


def test_sizes_inside_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        model = DecoupledNet(21)
        encoded = model.classifier.encode(torch.empty(1, 3, 320, 320))
        assert encoded.deepest.shape == (1, 512, 10, 10)
        assert encoded.scores.shape == (1, 20, 4, 4)
        saliency = torch.empty(1, 512, 10, 10)
        assert model.segmentation(encoded.stages, saliency).shape == (1, 2, 320, 320)


# ---- Saliency ----


@pytest.mark.parametrize(
    ("backbone", "width"),
    [(name, 8 * (number % 2)) for number, name in enumerate(BACKBONES)] + [("vgg16", 8)],
)
def test_saliency_is_the_gradient_of_the_selected_scores_times_their_values(
    backbone: str, width: int
) -> None:
    torch.manual_seed(0)
    classifier = ClassificationNetwork(4, backbone, width=width, kernel=2).eval().double()
    encoded = classifier.encode(torch.randn(2, 3, 64, 96, dtype=torch.float64))
    values = torch.tensor([[0.3, 0.0, 0.9, 0.0], [0.0, 0.5, 0.0, 0.0]], dtype=torch.float64)
    saliency = classifier.saliency(encoded, encoded.at_best_place(values))
    (gradient,) = torch.autograd.grad((encoded.best() * values).sum(), encoded.deepest)
    assert gradient.abs().max() > 0
    torch.testing.assert_close(saliency, gradient, rtol=1e-5, atol=1e-12)


def test_saliency_in_single_precision(network: DecoupledNet) -> None:
    encoded = network.classifier.encode(image(2, 96, 128))
    selection = torch.tensor(
        [[False, True, True, False, False], [False, False, False, False, True]]
    )
    values = (encoded.best().sigmoid() * selection[:, 1:]).detach()
    (gradient,) = torch.autograd.grad((encoded.best() * values).sum(), encoded.deepest)
    saliency = network.saliency_of(encoded, selection)
    assert (saliency - gradient).abs().max() < 1e-5 * gradient.abs().max()


@torch.no_grad()
def test_no_class_selected_gives_a_zero_saliency(network: DecoupledNet) -> None:
    encoded = network.classifier.encode(image(2, 96, 96))
    selection = torch.zeros(2, 5, dtype=torch.bool)
    selection[:, 0] = True  # background is no label
    assert not network.saliency_of(encoded, selection).any()


@torch.no_grad()
def test_rows_are_carried_back_through_their_own_image(network: DecoupledNet) -> None:
    classifier = network.classifier
    encoded = classifier.encode(image(3, 96, 96))
    injected = encoded.at_best_place(torch.ones(3, 4))
    rows = torch.tensor([2, 0])
    together = classifier.saliency(encoded, injected[rows], rows)
    expected = classifier.saliency(encoded, injected)[rows]
    torch.testing.assert_close(together, expected)


def test_a_value_lands_on_the_best_place_of_its_label(network: DecoupledNet) -> None:
    encoded = network.classifier.encode(image(2, 96, 128))
    spread = encoded.at_best_place(torch.full((2, 4), 7.0))
    assert torch.equal(spread.flatten(2).sum(2), torch.full((2, 4), 7.0))
    assert torch.equal(encoded.scores[spread == 7.0].view(2, 4), encoded.best())


# ---- Merging ----


def identified(rows: list[int], maps: Tensor, shown: list[int], background: Tensor) -> Identified:
    nothing = torch.empty(0)
    labels = torch.arange(len(rows))
    return Identified(
        torch.tensor(rows), labels, nothing, maps[:, None], torch.tensor(shown), background[:, None]
    )


def test_two_classes_by_hand() -> None:
    """One row of four pixels: background, class 1, class 2, and one that all three want."""
    background = torch.tensor([[[0.8, 0.1, 0.1, 0.4]]])
    maps = torch.tensor([[[0.1, 0.9, 0.3, 0.6]], [[0.1, 0.1, 0.6, 0.2]]])
    ground, classes = merge_maps(identified([0, 0], maps, [0], background), batch=1)
    expected = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.3, 0.6], [0.4, 0.6, 0.2]])
    expected = expected / expected.sum(1, keepdim=True)
    merged = torch.cat([ground, classes])[:, 0, 0].T
    torch.testing.assert_close(merged, expected)
    assert merged.argmax(1).tolist() == [0, 1, 2, 1]


def test_where_nothing_is_claimed_all_maps_share() -> None:
    maps = torch.tensor([[[0.0, 0.5]], [[0.0, 0.25]], [[0.0, 1.0]]])
    background = torch.tensor([[[0.0, 0.25]], [[1.0, 1.0]]])
    ground, classes = merge_maps(identified([0, 0, 2], maps, [0, 2], background), batch=3)
    torch.testing.assert_close(ground[:, 0, 0], torch.tensor([[1 / 3, 0.25], [1.0, 0.5]]))
    torch.testing.assert_close(
        classes[:, 0, 0], torch.tensor([[1 / 3, 0.5], [1 / 3, 0.25], [0.0, 0.5]])
    )


def by_the_book(model: DecoupledNet, picture: Tensor) -> Tensor:
    """One image, one whole pass of the network for each class, merged as the release does."""
    height, width = picture.shape[-2:]
    square = to_square(picture, model.size)

    def share(selection: Tensor, values: Tensor) -> Tensor:
        encoded = model.classifier.encode(square)
        injected = encoded.at_best_place(values * selection)
        saliency = model.classifier.saliency(encoded, injected)
        return model.segmentation(encoded.stages, saliency).softmax(1)

    presence = model.classifier(square).sigmoid()
    labels = [i for i in range(model.num_classes - 1) if presence[0, i] > model.threshold]
    total = torch.zeros(1, model.num_classes, *share(torch.zeros(1), presence).shape[-2:])
    if not labels:
        total[:, 0] = 1
    else:
        every = torch.zeros_like(presence)
        every[:, labels] = 1
        total[:, 0] = share(every, presence)[:, 0]
        for label in labels:
            total[:, label + 1] = share(F.one_hot(torch.tensor([label]), 4).float(), presence)[:, 1]
    total = total / total.sum(1, keepdim=True)
    long = max(height, width)
    large = F.interpolate(total, size=(long, long), mode="bicubic", align_corners=False)
    return large[..., :height, :width]


def identify_half(model: DecoupledNet, pictures: Tensor) -> None:
    """Put the threshold into the middle of the presences, clear of each of them."""
    presence = model.classifier(to_square(pictures, model.size)).sigmoid().flatten().sort().values
    middle = len(presence) // 2
    model.threshold = float(presence[middle - 1 : middle + 1].mean())


@torch.no_grad()
def test_a_batch_at_once_is_one_pass_for_each_class(network: DecoupledNet) -> None:
    pictures = image(4)
    identify_half(network, pictures)
    found = network.identify(pictures)
    assert 0 < len(found.rows) < 16
    probability = network(pictures).exp()
    for i in range(4):
        expected = by_the_book(network, pictures[i : i + 1]).clamp(min=FAINT)
        torch.testing.assert_close(probability[i : i + 1], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_saturated_maps_keep_their_digits(network: DecoupledNet) -> None:
    """A share near 0 is not what 1 - (a share near 1) has left of it."""
    nn.init.normal_(network.segmentation.score.weight, std=200.0)
    network.force_classes([1, 2])
    found = network.identify(image(1))
    sure = found.background[found.background < 1e-9]
    assert len(sure) > 0
    assert (sure > 0).any()  # 1 - 0.99999994 is 6e-8, and nothing is between that and 0


@torch.no_grad()
def test_the_background_is_that_of_all_identified_classes_together(network: DecoupledNet) -> None:
    seen: list[Tensor] = []
    network.segmentation.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    network.force_classes([1, 2, 4])
    network(image(1))
    together, *alone = seen[0]
    assert len(alone) == 3
    torch.testing.assert_close(together, torch.stack(alone).sum(0))


@torch.no_grad()
def test_two_passes_and_one_for_each_identified_class(network: DecoupledNet) -> None:
    """One of the encoder; one of the decoder for all classes together, and one for each."""
    encoded: list[int] = []
    decoded: list[int] = []
    first = network.classifier.backbone.features[0]
    first.register_forward_hook(lambda _, __, output: encoded.append(len(output)))
    network.segmentation.register_forward_hook(lambda _, __, output: decoded.append(len(output)))
    for classes in ([1], [1, 3], [1, 2, 3, 4]):
        encoded.clear()
        decoded.clear()
        network.force_classes(classes)
        network(image(1))
        assert encoded == [1]
        assert sum(encoded) + sum(decoded) == 2 + len(classes)


@torch.no_grad()
def test_nothing_identified_is_all_background(network: DecoupledNet) -> None:
    nn.init.constant_(network.classifier.head.score.bias, -1e4)
    logits = network(image(2))
    assert (logits.argmax(1) == 0).all()
    assert torch.equal(logits[:, 0], torch.zeros_like(logits[:, 0]))
    assert network.explain(image(1)) == {}


@torch.no_grad()
def test_an_image_does_not_depend_on_its_neighbours(network: DecoupledNet) -> None:
    pictures = image(3)
    identify_half(network, pictures)
    alone = torch.cat([network(pictures[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(pictures).exp(), alone.exp(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_small_budget_of_memory_gives_the_same(network: DecoupledNet) -> None:
    network.force_classes([1, 2, 3, 4])
    rows: list[int] = []
    network.segmentation.register_forward_hook(lambda _, __, output: rows.append(len(output)))
    at_once = network(image(2))
    assert rows == [10]
    need = network.segmentation.decoder.bytes_of_a_row(
        network.classifier.encode(image(1, 96, 96)).stages
    )
    assert need < 2**20
    network.memory = 1  # MiB
    rows.clear()
    in_parts = network(image(2))
    assert max(rows) == 2**20 // need
    assert sum(rows) == 10
    torch.testing.assert_close(in_parts.exp(), at_once.exp(), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_forced_classes_and_no_others(network: DecoupledNet) -> None:
    assert isinstance(network, SegmentsByClass)
    network.force_classes([4, 2])
    present = network(image(2)).amax(dim=(2, 3)) > math.log(2 * FAINT)
    assert present.tolist() == [[True, False, True, False, True]] * 2
    explained = network.explain(image(1))
    assert list(explained) == [0, 2, 4]
    for maps in explained.values():
        assert set(maps) == {"saliency", "map"}
        for values in maps.values():
            assert values.shape == (80, 64)
            assert 0 <= float(values.min()) <= float(values.max()) <= 1
    network.force_classes(None)
    nn.init.constant_(network.classifier.head.score.bias, -1e4)
    assert (network(image(1)).argmax(1) == 0).all()
    with pytest.raises(ValueError, match=r"class 0 is not in 1\.\.4"):
        network.force_classes([0])


def test_square_of_the_long_side() -> None:
    picture = torch.ones(1, 3, 20, 40)
    square = to_square(picture, 40)
    assert torch.equal(square[..., :20, :], picture)
    assert not square[..., 20:, :].any()
    assert to_square(picture, 10).shape == (1, 3, 10, 10)


# ---- The classification network alone ----


@torch.no_grad()
def test_score_maps_know_background_by_the_threshold(network: DecoupledNet) -> None:
    alone = ScoreMaps(network).eval()
    logits = alone(image(2))
    assert logits.shape == (2, 5, 80, 64)
    assert not logits[:, 0].any()
    scores = network.classifier.encode(to_square(image(2), 96)).scores
    large = F.interpolate(scores, size=(80, 80), mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits[:, 1:], large[..., :64])
    keys = {key for key in network.state_dict() if key.startswith("classifier.")}
    assert set(alone.state_dict()) == keys, "a second stage loads them by key"


# ---- Weights and errors ----


@pytest.mark.parametrize(
    ("classifier", "theirs", "ours"),
    [
        ("vgg16", "features.0.weight", "classifier.backbone.features.0.weight"),
        ("mobilenet_v2", "features.0.0.weight", "classifier.backbone.features.0.0.weight"),
        ("resnet50", "layer1.0.conv1.weight", "classifier.backbone.layer1.0.conv1.weight"),
    ],
)
def test_torchvisions_keys(classifier: str, theirs: str, ours: str) -> None:
    with torch.device("meta"):
        model = DecoupledNet(3, classifier=classifier, width=8)
        assert list(model.adapt_weights({theirs: torch.empty(1)})) == [ours]
    assert ours in model.state_dict()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"classifier": "vgg61"}, r"no classification network is called 'vgg61'\. Did you mean"),
        ({"classifier": "resnet50", "upsampling": "switches"}, "'resnet50' has no poolings"),
        ({"decoder_width": 64}, "decoder_width = 64: the switches of VGG16 go with 512"),
    ],
)
def test_impossible_options(options: dict[str, Any], line: str) -> None:
    with pytest.raises(RecipeError, match=line), torch.device("meta"):
        DecoupledNet(3, **options)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2"),
        ({"kernel": 0}, "kernel must be at least 1"),
        ({"threshold": 1.0}, "threshold must be between 0 and 1"),
        ({"size": 223}, "size must be at least 224 with kernel 7"),
        ({"memory": 0}, "memory must be at least 1"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line), torch.device("meta"):
        DecoupledNet(**({"num_classes": 3} | options))


def test_a_crop_that_fc6_does_not_fit_into(network: DecoupledNet) -> None:
    with pytest.raises(RecipeError, match=r"an image of 40x96 is too small .* needs 64 pixels"):
        network.classifier.encode(image(1, 40, 96))
