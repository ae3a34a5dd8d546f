"""Mask R-CNN: sizes of its parts, torchvision's outputs, and the map that objects merge into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.roi_heads import maskrcnn_loss

from semisup.errors import RecipeError
from semisup.models.base import FindsObjects, Found
from semisup.models.mask_rcnn import LEAST, MaskRCNN
from semisup.models.weights import load_weights
from semisup.ops.pixels import RGB_FORMAT, standardise_

SMALL: dict[str, Any] = {
    "backbone": "mobilenet_v2",
    "min_size": 64,
    "max_size": 96,
    "width": 8,
    "box_width": 16,
}


def on_meta(num_classes: int, **options: Any) -> MaskRCNN:
    with torch.device("meta"):
        return MaskRCNN(num_classes, **options)


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


COUNTS = {
    21: (44_077_773, 44_024_653, 45_982_669),
    81: (44_400_693, 44_347_573, 46_305_589),
    91: (44_454_513, 44_401_393, 46_359_409),
}


@pytest.mark.parametrize("num_classes", COUNTS)
def test_parameters(num_classes: int) -> None:
    models = [
        on_meta(num_classes),
        on_meta(num_classes, frozen_norms=True),
        on_meta(num_classes, version=2),
    ]
    assert tuple(map(size, models)) == COUNTS[num_classes]


def test_parameters_of_the_parts() -> None:
    for version, counts in {
        1: (23_508_032, 3_344_384, 593_935, 13_895_680, 466_375, 2_360_320, 285_787),
        2: (23_508_032, 3_346_432, 1_184_015, 15_207_424, 466_375, 2_361_344, 285_787),
    }.items():
        model = on_meta(91, version=version)
        heads = model.roi_heads
        parts = [model.backbone.body, model.backbone.fpn, model.rpn, heads.box_head]
        parts += [heads.box_predictor, heads.mask_head, heads.mask_predictor]
        assert tuple(map(size, parts)) == counts


@pytest.mark.parametrize(
    ("theirs", "options"), [(maskrcnn_resnet50_fpn, {}), (maskrcnn_resnet50_fpn_v2, {"version": 2})]
)
def test_keys_and_shapes_are_those_of_torchvision(
    theirs: Callable[..., nn.Module], options: dict[str, Any]
) -> None:
    with torch.device("meta"):
        expected = theirs(weights=None, weights_backbone=None, num_classes=91).state_dict()
    found = on_meta(91, **options).state_dict()
    assert [(k, v.shape) for k, v in found.items()] == [(k, v.shape) for k, v in expected.items()]


def test_multiply_adds_and_levels_of_the_pyramid() -> None:
    model = on_meta(91, frozen_norms=True)
    with FlopCounterMode(display=False) as counter:
        levels = list(model.backbone(torch.empty(1, 3, 256, 256, device="meta")).values())
    assert round(counter.get_total_flops() / 2 / 1e9, 3) == 9.050
    assert [level.shape[1:] for level in levels] == [(256, s, s) for s in (64, 32, 16, 8, 4)]


@pytest.mark.slow  # it is 44 million weights, twice
def test_outputs_and_losses_are_those_of_torchvision() -> None:
    torch.manual_seed(0)
    sizes = {"min_size": 96, "max_size": 160}
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4, **sizes)
    for name, value in theirs.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    with torch.device("meta"):
        ours = MaskRCNN(4, **sizes)
    ours.load_state_dict(theirs.state_dict(), assign=True)
    unit = torch.rand(2, 3, 75, 110)
    image = standardise_(unit.clone(), RGB_FORMAT)  # theirs do so themselves
    with torch.no_grad():
        expected = theirs.eval()(list(unit))
        found = ours.eval().detect(image)
    assert sum(len(one.scores) for one in found) > 20
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one["labels"], other.labels)
        torch.testing.assert_close(other.boxes, one["boxes"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(other.scores, one["scores"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(other.masks, one["masks"][:, 0], rtol=1e-4, atol=1e-4)
    targets = [target(75, 110), target(75, 110, 1)]
    values = []
    for losses in (theirs.train(), ours.train().losses):
        torch.manual_seed(1)
        values.append(losses(list(unit) if losses is theirs else image, targets))
    assert values[0].keys() == values[1].keys()
    for name, value in values[0].items():
        torch.testing.assert_close(values[1][name], value, rtol=1e-4, atol=1e-4)


def target(height: int, width: int, label: int = 2) -> dict[str, Tensor]:
    """Two objects."""
    masks = torch.zeros(2, height, width, dtype=torch.uint8)
    masks[0, 5:40, 10:30] = masks[1, 20:, 40:90] = 1
    boxes = torch.tensor([[10.0, 5, 30, 40], [40, 20, min(90, width), height]])
    return {"boxes": boxes, "labels": torch.tensor([label, 3]), "masks": masks}


# ---- The map of classes ----


def found(*objects: tuple[int, float, Tensor]) -> Found:
    labels, scores, masks = zip(*objects, strict=True)
    return Found(
        torch.zeros(len(objects), 4),
        torch.tensor(labels),
        torch.tensor(scores),
        torch.stack(masks),
    )


def row(*values: float) -> Tensor:
    return torch.tensor([values])


@pytest.fixture(scope="module")
def merging() -> MaskRCNN:
    return on_meta(4, score_threshold=0.5, **SMALL)


def test_a_pixel_is_of_the_class_that_covers_it_best(merging: MaskRCNN) -> None:
    objects = found((1, 0.9, row(0.9, 0.6, 0.5, 0.0)), (2, 0.8, row(0.9, 0.95, 0.0, 0.0)))
    logits = merging.merge(objects, torch.Size([1, 4]))
    assert logits.argmax(0).tolist() == [[1, 2, 0, 0]]  # 0.5 is not above 0.5
    expected = torch.tensor([[0.25] * 4, [0.81, 0.54, LEAST, LEAST], [0.72, 0.76, LEAST, LEAST]])
    torch.testing.assert_close(logits[:3, 0].exp(), expected)
    torch.testing.assert_close(logits[3].exp(), torch.full((1, 4), LEAST))


def test_the_order_of_the_objects_changes_nothing(merging: MaskRCNN) -> None:
    objects = [(1 + n % 3, 0.5 + 0.1 * n, torch.rand(5, 6)) for n in range(5)]
    one, other = (
        merging.merge(found(*some), torch.Size([5, 6])) for some in (objects, objects[::-1])
    )
    assert torch.equal(one, other)


def test_objects_up_to_the_threshold_are_left_out(merging: MaskRCNN) -> None:
    objects = found((1, 0.5, row(1.0, 1.0)), (2, 0.51, row(0.0, 0.51)))
    assert merging.merge(objects, torch.Size([1, 2])).argmax(0).tolist() == [[0, 2]]
    everything = on_meta(4, **SMALL, score_threshold=0.0)
    assert everything.merge(objects, torch.Size([1, 2])).argmax(0).tolist() == [[1, 1]]


def test_without_objects_all_is_background(merging: MaskRCNN) -> None:
    nothing = Found(*(torch.zeros(0, *more) for more in ((4,), (), (), (3, 3))))
    logits = merging.merge(nothing, torch.Size([3, 3]))
    assert logits.shape == (4, 3, 3)
    assert not logits.argmax(0).any()


def test_forward_merges_what_is_detected() -> None:
    torch.manual_seed(0)
    model = MaskRCNN(3, **SMALL, score_threshold=0.0).eval()
    assert isinstance(model, FindsObjects)
    image = torch.randn(2, 3, 40, 56)
    with torch.no_grad():
        objects = model.detect(image)
        logits = model(image)
    assert logits.shape == (2, 3, 40, 56)
    assert sum(len(one.scores) for one in objects) > 5
    for one, merged in zip(objects, logits, strict=True):
        assert torch.equal(model.merge(one, torch.Size([40, 56])), merged)
        assert one.masks.shape == (len(one.scores), 40, 56)
        assert bool(((one.masks >= 0) & (one.masks <= 1)).all())
        assert set(one.labels.tolist()) <= {1, 2}
        inside = (
            one.boxes.min() >= 0 and one.boxes[:, 2].max() <= 56 and one.boxes[:, 3].max() <= 40
        )
        assert inside
    model.train()
    with pytest.raises(AssertionError, match="eval mode"):
        model.detect(image)


# ---- Training ----


@pytest.mark.parametrize(("side", "level"), [(224, 2), (112, 1), (448, 3), (32, 0), (2000, 3)])
def test_a_box_is_read_from_the_level_of_its_size(side: int, level: int) -> None:
    model = MaskRCNN(3, **SMALL).eval()
    with torch.no_grad():
        model.detect(torch.randn(1, 3, 64, 64))
    levels = model.roi_heads.box_roi_pool.map_levels
    assert levels([torch.tensor([[0.0, 0, side, side]])]).tolist() == [level]


def test_masks_of_other_classes_do_not_count() -> None:
    logits = torch.randn(2, 4, 28, 28)
    boxes = [torch.tensor([[0.0, 0, 20, 20], [5, 5, 30, 25]])]
    masks, labels = [(torch.rand(2, 32, 32) > 0.5).float()], [torch.tensor([1, 3])]
    matched = [torch.tensor([0, 1])]
    loss = maskrcnn_loss(logits, boxes, masks, labels, matched)
    changed = logits.clone()
    changed[0, [0, 2, 3]] += 9
    changed[1, :3] -= 9
    assert torch.equal(loss, maskrcnn_loss(changed, boxes, masks, labels, matched))
    changed[1, 3] -= 9
    assert not torch.equal(loss, maskrcnn_loss(changed, boxes, masks, labels, matched))


def test_losses_of_images_without_objects_are_finite() -> None:
    torch.manual_seed(0)
    model = MaskRCNN(3, **SMALL).train()
    nothing = {name: value[:0] for name, value in target(48, 64).items()}
    losses = model.losses(torch.randn(2, 3, 48, 64), [nothing, nothing])
    assert sorted(losses) == sorted(
        ["loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"]
    )
    assert all(torch.isfinite(value) and value.shape == () for value in losses.values())
    assert losses["loss_mask"] == losses["loss_box_reg"] == losses["loss_rpn_box_reg"] == 0


def test_stages_that_are_not_trained_stand_still_and_are_of_no_group() -> None:
    model = on_meta(3, trainable_stages=3)
    still = {name.split(".")[2] for name, p in model.named_parameters() if not p.requires_grad}
    assert still == {"conv1", "bn1", "layer1"}
    grouped = sum(len(group.params) for group in model.parameter_groups())
    assert grouped == sum(p.requires_grad for p in model.parameters())
    small = on_meta(3, **SMALL, trainable_stages=4)
    still = {name.split(".")[2] for name, p in small.named_parameters() if not p.requires_grad}
    assert still == {"0", "1"}
    assert all(p.requires_grad for p in on_meta(3).parameters())


def test_frozen_norms_are_no_parameters_and_do_not_move() -> None:
    model = MaskRCNN(4, **SMALL, frozen_norms=True).train()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    assert before
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    model.losses(torch.randn(1, 3, 48, 64), [target(48, 64)])
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())


# ---- Weights and options ----


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_classification_weights_of_torchvision_fit_the_backbone(name: str) -> None:
    with torch.device("meta"):
        state = getattr(torchvision.models, name)().state_dict()
        model = MaskRCNN(3, backbone=name, width=8, box_width=16)
    adapted = model.adapt_weights(state)
    wanted = {k: v.shape for k, v in model.state_dict().items() if k.startswith("backbone.body.")}
    assert wanted
    assert {k: adapted[k].shape for k in wanted} == wanted


def test_real_imagenet_weights_load(shared_weights: Path) -> None:
    model = MaskRCNN(3, **SMALL, frozen_norms=True)
    report = load_weights(model, shared_weights / "mobilenet_v2_features.safetensors")
    body = [key for key in model.state_dict() if key.startswith("backbone.body.")]
    assert set(report.loaded) == set(body)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"backbone": "resnet51"}, RecipeError, "no backbone 'resnet51'. Did you mean 'resnet50'"),
        ({"backbone": "mobilenet_v2", "version": 2}, RecipeError, "version 2 on ResNet-50 alone"),
        ({"trainable_stages": 6}, ValueError, "trainable_stages must be in 0..5, but is 6"),
        ({"min_size": 0}, ValueError, "min_size must be at least 1"),
        ({"min_size": 800, "max_size": 400}, ValueError, "800 and 400"),
        ({"score_threshold": 1.0}, ValueError, "score_threshold must be in"),
    ],
)
def test_options_out_of_their_range(
    options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says.replace(".", r"\.").replace("(", r"\(")):
        on_meta(3, **options)


# ---- Compiled ----


@pytest.mark.slow
def test_backbone_and_pyramid_are_one_graph_and_the_rest_is_none() -> None:
    torch._dynamo.reset()
    model = MaskRCNN(3, **SMALL).eval()
    compiled = torch.compile(model.static_part, fullgraph=True, backend="eager")
    with torch.no_grad():
        for side in (64, 96):
            image = torch.randn(1, 3, 64, side)
            for one, other in zip(
                compiled(image).values(), model.static_part(image).values(), strict=True
            ):
                torch.testing.assert_close(one, other)
        whole = torch.compile(model.detect, fullgraph=True, backend="eager")
        with pytest.raises(torch._dynamo.exc.TorchDynamoException, match="data-dependent"):
            whole(torch.randn(1, 3, 64, 64))
    torch._dynamo.reset()


@pytest.mark.parametrize("shape", [(3000, 1), (1, 97)])
def test_an_image_of_which_nothing_would_be_left_is_refused(shape: tuple[int, int]) -> None:
    model = MaskRCNN(3, **SMALL).eval()
    with pytest.raises(RecipeError, match=f"{shape[0]}x{shape[1]}.* max_size = 96; cut it"):
        model(torch.zeros(1, 3, *shape))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 1, 96)).shape == (1, 3, 1, 96)
