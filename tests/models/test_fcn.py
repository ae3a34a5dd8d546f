from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import alexnet, mobilenet_v2

from semisup.errors import CheckpointError, RecipeError
from semisup.models.fcn import (
    FCN,
    BilinearUpsampling,
    FCN8s,
    FCN8sAtOnce,
    FCN8sMobileNetV2,
    FCN16s,
    FCN32s,
)
from semisup.models.weights import load_weights

ALL = [FCN32s, FCN16s, FCN8s, FCN8sAtOnce]


def halved(size: int, times: int) -> int:
    for _ in range(times):
        size = -(-size // 2)
    return size


def map_sizes(model: FCN, side: int) -> list[tuple[int, int]]:
    """(channels, side) of what `encode` gives for an image of `side` pixels."""
    skips = [(s.channels, halved(side + 198, s.pool)) for s in reversed(model.skips)]
    return [*skips, (model.fc7.out_channels, halved(side + 198, 5) - 6)]


def zero_maps(model: FCN, side: int) -> list[Tensor]:
    return [torch.zeros(1, c, n, n) for c, n in map_sizes(model, side)]


def random_maps(model: FCN, side: int) -> list[Tensor]:
    return [torch.randn(1, c, n, n) for c, n in map_sizes(model, side)]


@pytest.mark.parametrize(
    ("network", "learnable"),
    [
        (FCN32s, 134_346_581),
        (FCN16s, 134_357_354),
        (FCN8s, 134_362_751),
        (FCN8sAtOnce, 134_362_751),
    ],
)
def test_parameter_count(network: type[FCN], learnable: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in network(21).parameters()) == learnable


@pytest.mark.parametrize(
    ("side", "first", "pools", "scores"),
    [
        (224, 422, [211, 106, 53, 27, 14], 8),
        (375, 573, [287, 144, 72, 36, 18], 12),
        (500, 698, [349, 175, 88, 44, 22], 16),
    ],
)
def test_sizes_of_maps(side: int, first: int, pools: list[int], scores: int) -> None:
    with torch.device("meta"):
        model = FCN8s(21)
        image = torch.empty(1, 3, side, side)
        stages = model.backbone.stages(image)
        features = model.encode(image)
    assert stages[0].size == (first, first)
    assert [stage.pooled.shape[-1] for stage in stages] == pools
    assert [tuple(m.shape[1:3]) for m in features] == [
        (256, pools[2]),
        (512, pools[3]),
        (4096, scores),
    ]
    assert map_sizes(model, side) == [(m.shape[1], m.shape[2]) for m in features]


@pytest.mark.parametrize(("network", "side"), [(FCN32s, 544), (FCN16s, 560), (FCN8s, 568)])
def test_sizes_of_upsampled_scores(network: type[FCN], side: int) -> None:
    with torch.device("meta"):
        model = network(21)
        assert model.decode(model.encode(torch.empty(1, 3, 500, 500))).shape[-2:] == (side, side)


@pytest.mark.parametrize("network", ALL)
def test_every_size_from_one_pixel_on(network: type[FCN]) -> None:
    with torch.device("meta"):
        model = network(2, width=4)
        for side in [*range(1, 70), 223, 224, 225, 499, 500, 1024, 1199]:
            assert model(torch.empty(1, 3, side, 1)).shape[-2:] == (side, 1)


def reference_kernel(size: int) -> Tensor:
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    taps = [1 - abs(i - centre) / factor for i in range(size)]
    return torch.tensor([[a * b for b in taps] for a in taps])


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_upsampling_is_the_diagonal_transposed_convolution(factor: int) -> None:
    torch.manual_seed(0)
    upsampling = BilinearUpsampling(factor)
    full = torch.zeros(3, 3, 2 * factor, 2 * factor)
    full[range(3), range(3)] = reference_kernel(2 * factor)
    scores = torch.randn(2, 3, 4, 5)
    expected = F.conv_transpose2d(scores, full, stride=factor)
    torch.testing.assert_close(upsampling(scores), expected)


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_upsampling_keeps_a_constant_and_channels_apart(factor: int) -> None:
    scores = torch.zeros(1, 2, 5, 5)
    scores[:, 0] = 3.0
    upsampled = BilinearUpsampling(factor)(scores)
    inside = upsampled[:, 0, factor:-factor, factor:-factor]
    torch.testing.assert_close(inside, torch.full_like(inside, 3.0))
    assert not upsampled[:, 1].any()


def test_upsampling_is_neither_trained_nor_stored() -> None:
    upsampling = BilinearUpsampling(8)
    assert not list(upsampling.parameters())
    assert not upsampling.state_dict()
    assert not upsampling.kernel.requires_grad


@pytest.mark.parametrize("network", [FCN32s, FCN16s, FCN8s])
def test_a_score_lands_on_the_centre_of_the_pixels_it_was_computed_from(
    network: type[FCN],
) -> None:
    model = network(1, width=1).eval()
    for layer in model.score.values():
        nn.init.ones_(layer.weight)
    # (pixels between neighbours, centre of the first one's receptive field): pool p spans 2^p
    # positions of the first map, whose pixel 0 looks at pixel -99; fc6 adds three pools of 32.
    fields = {"pool3": (8, 3.5 - 99), "pool4": (16, 7.5 - 99), "fc7": (32, 15.5 - 99 + 3 * 32)}
    names = [*(skip.name for skip in reversed(model.skips)), "fc7"]
    side = 500
    for level, name in enumerate(names):
        step, first = fields[name]
        row = round((200 - first) / step)
        column = round((300 - first) / step)
        maps = zero_maps(model, side)
        maps[level][0, 0, row, column] = 1.0
        with torch.no_grad():
            scores = model.decode(maps)[0, 0, model.last_crop :, model.last_crop :][:side, :side]
        pixels = torch.arange(float(side))
        mass = scores.sum()
        assert float((scores.sum(1) * pixels).sum() / mass) == pytest.approx(first + step * row)
        assert float((scores.sum(0) * pixels).sum() / mass) == pytest.approx(first + step * column)


def ramps(model: FCN, side: int) -> list[Tensor]:
    """Maps that rise evenly along both axes, each channel at its own rate."""
    maps = []
    for channels, n in map_sizes(model, side):
        rates = torch.randn(2, channels, 1, 1)
        rows, columns = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
        maps.append((rates[0] * rows + rates[1] * columns)[None])
    return maps


def image_scores(model: FCN, maps: list[Tensor], side: int) -> Tensor:
    """Scores on the image's own pixels, but for the 40 at its borders."""
    with torch.no_grad():
        scores = model.decode(maps)
    inside = slice(model.last_crop + 40, model.last_crop + side - 40)
    return scores[..., inside, inside]


def fill_scores(model: FCN) -> None:
    for layer in model.score.values():
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)


def started_from(child: FCN, parent: FCN, folder: Path) -> tuple[str, ...]:
    """Load `parent`'s weights into `child`; returns what the file did not have."""
    torch.save(parent.state_dict(), folder / "parent.pth")
    report = load_weights(child, folder / "parent.pth")
    assert not report.unused
    assert not report.misfits
    return report.missing


def test_16s_starts_as_the_32s_it_is_loaded_from(tmp_path: Path) -> None:
    torch.manual_seed(0)
    parent, child = FCN32s(3, width=4), FCN16s(3, width=4)
    fill_scores(parent)
    assert started_from(child, parent, tmp_path) == ("score.pool4.weight", "score.pool4.bias")
    noise = random_maps(child, 200)
    with torch.no_grad():
        scores = parent.score["fc7"](noise[-1])
        two_steps = BilinearUpsampling(16)(BilinearUpsampling(2)(scores))
        torch.testing.assert_close(child.decode(noise), two_steps)
    even = ramps(child, 200)  # which two small steps and one large one interpolate alike
    ours, theirs = image_scores(child, even, 200), image_scores(parent, even[1:], 200)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_8s_starts_as_the_16s_it_is_loaded_from(tmp_path: Path) -> None:
    torch.manual_seed(0)
    parent, child = FCN16s(3, width=4), FCN8s(3, width=4)
    fill_scores(parent)
    assert started_from(child, parent, tmp_path) == ("score.pool3.weight", "score.pool3.bias")
    even = ramps(child, 200)
    ours, theirs = image_scores(child, even, 200), image_scores(parent, even[1:], 200)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_at_once_scales_its_skips_before_it_scores_them() -> None:
    torch.manual_seed(0)
    staged, at_once = FCN8s(3, width=4), FCN8sAtOnce(3, width=4)
    fill_scores(staged)
    at_once.load_state_dict(staged.state_dict())
    pool3, pool4, fc7 = random_maps(staged, 100)
    with torch.no_grad():
        scaled = at_once.decode([pool3, pool4, fc7])
        torch.testing.assert_close(scaled, staged.decode([pool3 * 0.0001, pool4 * 0.01, fc7]))


def test_a_fresh_network_gives_zero_and_only_its_score_layers_learn() -> None:
    model = FCN8s(2, width=4)
    maps = [m.requires_grad_() for m in random_maps(model, 50)]
    logits = model.decode(maps)
    assert not logits.any()
    (logits * torch.randn_like(logits)).sum().backward()
    assert not any(m.grad is not None and m.grad.any() for m in maps)
    for layer in model.score.values():
        assert layer.weight.grad.any()
        assert layer.bias.grad.any()


def test_biases_learn_twice_as_fast_without_decay() -> None:
    with torch.device("meta"):
        model = FCN16s(2, width=4)
    weights, biases = model.parameter_groups()
    assert (weights.lr_scale, weights.decay_scale) == (1.0, 1.0)
    assert (biases.lr_scale, biases.decay_scale) == (2.0, 0.0)
    assert all(p.ndim == 4 for p in weights.params)
    assert all(p.ndim == 1 for p in biases.params)


def test_half_of_fc6_and_of_fc7_is_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    model = FCN32s(2, width=64)
    kept: list[float] = []

    def share_kept(_: nn.Module, call: tuple[Tensor], out: Tensor) -> None:
        kept.append(float((out[call[0] > 0] > 0).float().mean()))

    model.dropout.register_forward_hook(share_kept)
    image = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        model.train().encode(image)
        assert kept == pytest.approx([0.5, 0.5], abs=0.15)
        kept.clear()
        model.eval().encode(image)
        assert kept == [1.0, 1.0]


def test_the_classifier_of_torchvision_becomes_fc6_and_fc7() -> None:
    torch.manual_seed(0)
    model = FCN32s(2, width=16)
    fc6, fc7 = nn.Linear(512 * 7 * 7, 16), nn.Linear(16, 16)
    foreign = {
        "features.0.weight": torch.zeros(64, 3, 3, 3),
        "classifier.0.weight": fc6.weight.detach(),
        "classifier.0.bias": fc6.bias.detach(),
        "classifier.3.weight": fc7.weight.detach(),
        "classifier.3.bias": fc7.bias.detach(),
        "classifier.6.bias": torch.zeros(1000),
    }
    adapted = model.adapt_weights(foreign)
    assert set(adapted) == {
        "backbone.features.0.weight",
        "fc6.weight",
        "fc6.bias",
        "fc7.weight",
        "fc7.bias",
        "classifier.6.bias",
    }
    assert "classifier.0.weight" in foreign
    model.load_state_dict(adapted, strict=False)
    pooled = torch.randn(1, 512, 7, 7)
    with torch.no_grad():
        as_convolutions = model.fc7(model.fc6(pooled).relu())
        torch.testing.assert_close(
            as_convolutions.flatten(), fc7(fc6(pooled.flatten()).relu()), rtol=1e-4, atol=1e-5
        )


def test_the_classifier_of_another_network_is_left_alone() -> None:
    with torch.device("meta"):
        model = FCN32s(2, width=16)
    foreign = {"classifier.0.weight": torch.zeros(1024, 576)}
    assert list(model.adapt_weights(foreign)) == ["classifier.0.weight"]


ALEXNETS = ["alexnet", "bvlc_alexnet"]


@pytest.mark.parametrize(
    ("backbone", "learnable"), [("alexnet", 57_089_877), ("bvlc_alexnet", 56_954_261)]
)
def test_parameter_count_on_alexnet(backbone: str, learnable: int) -> None:
    with torch.device("meta"):
        model, other = FCN32s(21, backbone=backbone), FCN32s(11, backbone=backbone)
    assert sum(p.numel() for p in model.parameters()) == learnable
    assert sum(p.numel() for p in other.parameters()) == learnable - 10 * 4097


@pytest.mark.parametrize("backbone", ALEXNETS)
def test_every_size_from_one_pixel_on_alexnet(backbone: str) -> None:
    with torch.device("meta"):
        model = FCN32s(2, width=4, backbone=backbone)
        for side in [*range(1, 70), 223, 224, 225, 499, 500, 1024, 1199]:
            assert model(torch.empty(1, 3, side, 1)).shape[-2:] == (side, 1)
        features = model.encode(torch.empty(1, 3, 500, 500))
        assert features[0].shape == (1, 4, 16, 16)
        assert model.decode(features).shape[-2:] == (543, 543)


def test_upsampling_with_an_odd_kernel_is_the_release_of_alexnets() -> None:
    torch.manual_seed(0)
    full = torch.zeros(3, 3, 63, 63)
    full[range(3), range(3)] = reference_kernel(63)
    scores = torch.randn(2, 3, 4, 5)
    expected = F.conv_transpose2d(scores, full, stride=32)
    torch.testing.assert_close(BilinearUpsampling(32, odd=True)(scores), expected)


@pytest.mark.parametrize("backbone", ALEXNETS)
def test_a_score_of_alexnet_lands_on_the_centre_of_its_pixels(backbone: str) -> None:
    model = FCN32s(1, width=1, backbone=backbone)
    nn.init.ones_(model.score["fc7"].weight)
    # From the middle of 11 pixels, the first of which lies 100 outside: one step of a pooling of
    # three in strides of 4, 8 and 16, and 2.5 steps of fc6 in a stride of 32.
    first = 5 - 100 + 4 + 8 + 16 + 2.5 * 32
    maps = torch.zeros(1, 1, 16, 16)
    maps[0, 0, 6, 9] = 1.0
    with torch.no_grad():
        scores = model.to_image_size(model.decode([maps]), torch.Size((500, 500)))[0, 0]
    pixels, mass = torch.arange(500.0), scores.sum()
    assert float((scores.sum(1) * pixels).sum() / mass) == pytest.approx(first + 32 * 6)
    assert float((scores.sum(0) * pixels).sum() / mass) == pytest.approx(first + 32 * 9)


@pytest.mark.parametrize("backbone", ALEXNETS)
def test_pixels_that_a_score_of_alexnet_depends_on_lie_around_it(backbone: str) -> None:
    torch.manual_seed(0)
    model = FCN32s(1, width=32, backbone=backbone).eval()
    nn.init.normal_(model.score["fc7"].weight)
    image = torch.randn(1, 3, 500, 500, requires_grad=True)
    scores = model.score["fc7"](model.encode(image)[0])
    scores[0, 0, 7, 8].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1))
    rows, columns = seen.sum(1).nonzero().flatten(), seen.sum(0).nonzero().flatten()
    for found, centre in ((rows, 13 + 32 * 7), (columns, 13 + 32 * 8)):
        middle = (int(found[0]) + int(found[-1])) / 2
        assert middle == pytest.approx(centre, abs=16)
        assert 250 < int(found[-1] - found[0]) + 1 <= 355


def test_only_the_scores_bias_of_alexnet_is_apart() -> None:
    with torch.device("meta"):
        model = FCN32s(2, width=4, backbone="alexnet")
    weights, biases = model.parameter_groups()
    assert (weights.lr_scale, weights.decay_scale) == (1.0, 1.0)
    assert (biases.lr_scale, biases.decay_scale) == (2.0, 0.0)
    assert [id(p) for p in biases.params] == [id(model.score["fc7"].bias)]
    assert len(weights.params) == 15


def test_torchvisions_alexnet_fills_all_but_the_scores(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = alexnet().eval()
    torch.save(theirs.state_dict(), tmp_path / "alexnet.pth")
    model = FCN32s(2, backbone="alexnet").eval()
    report = load_weights(model, tmp_path / "alexnet.pth")
    assert report.missing == ("score.fc7.weight", "score.fc7.bias")
    assert report.unused == ("classifier.6.weight", "classifier.6.bias")
    assert not report.misfits
    pooled = torch.randn(1, 256, 6, 6)
    with torch.no_grad():
        convolved = model.fc7(model.fc6(pooled).relu()).relu().flatten()
        torch.testing.assert_close(
            convolved, theirs.classifier[:6](pooled.flatten(1))[0], rtol=1e-4, atol=1e-5
        )


def test_torchvisions_alexnet_is_refused_by_the_one_of_caffe(tmp_path: Path) -> None:
    torch.save(alexnet().features.state_dict(prefix="features."), tmp_path / "alexnet.pth")
    with pytest.raises(CheckpointError, match="give weights of the same architecture"):
        load_weights(FCN32s(2, width=8, backbone="bvlc_alexnet"), tmp_path / "alexnet.pth")


def test_weights_of_vgg16_are_refused_on_alexnet(tmp_path: Path) -> None:
    parent = FCN32s(2, width=8)
    torch.save(parent.state_dict(), tmp_path / "fcn32s.pth")
    with pytest.raises(CheckpointError, match="give weights of the same architecture"):
        load_weights(FCN32s(2, width=8, backbone="alexnet"), tmp_path / "fcn32s.pth")


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"FCN-32s has no backbone 'alexnt'.*'alexnet'"):
        FCN32s(2, backbone="alexnt")


def test_the_small_one_has_the_backbone_and_three_scores() -> None:
    with torch.device("meta"):
        model = FCN8sMobileNetV2(21)
        whole = sum(p.numel() for p in mobilenet_v2().features.parameters())
    backbone, scores = (sum(p.numel() for p in g.params) for g in model.parameter_groups())
    assert backbone == whole - (320 * 1280 + 2 * 1280)
    assert scores == 21 * (320 + 96 + 32 + 3)
    assert backbone + scores == 1_821_183


def test_the_small_one_adds_scores_from_coarse_to_fine() -> None:
    model = FCN8sMobileNetV2(1)
    for layer, weight in zip(model.score, (1.0, 10.0, 100.0), strict=True):
        nn.init.constant_(layer.weight, weight)
    sides, maps = ((32, 8), (96, 4), (320, 2)), []
    for channels, side in sides:
        features = torch.zeros(1, channels, side, side)
        features[:, 0] = 1.0
        maps.append(features)
    maps[2][:, 0, 0, 0] = 2.0
    with torch.no_grad():
        scores = model.decode(maps)[0, 0]
    assert scores.shape == (8, 8)
    assert scores[-1, -1] == 111.0, "one of each stride"
    assert scores[0, 0] == 211.0, "the corner of the coarsest map counts twice"
    assert torch.equal(scores, scores.t())


def test_the_small_one_starts_from_zero_scores() -> None:
    with torch.no_grad():
        assert not FCN8sMobileNetV2(3).eval()(torch.randn(1, 3, 40, 33)).any()
