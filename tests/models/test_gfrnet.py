"""What is special to G-FRNet: its counts, the released network's layers, and six predictions."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.gfrnet import GateUnit, GFRNet
from semisup.models.weights import load_weights


@pytest.mark.parametrize(("classes", "count"), [(11, 29_194_090), (21, 29_493_930)])
def test_parameters(classes: int, count: int) -> None:
    with torch.device("meta"):
        model, rectified = GFRNet(classes), GFRNet(classes, gate="rectified")
    assert sum(p.numel() for p in model.parameters()) == count
    # the paper's form normalises the deepest feature too
    assert sum(p.numel() for p in rectified.parameters()) == count + 2 * classes


def test_sizes_of_the_predictions() -> None:
    with torch.device("meta"):
        model = GFRNet(11)
        features = model.encode(torch.empty(2, 3, 360, 480))
        joined, predictions = model._refine(features)
    assert [tuple(p.shape) for p in predictions] == [
        (2, 11, *size) for size in ((12, 15), (23, 30), (45, 60), (90, 120), (180, 240))
    ]
    assert joined.shape == (2, 22, 360, 480)


def interp(maps: Tensor, size: torch.Size) -> Tensor:
    """Caffe's Interp layer, pixel by pixel: the corners of both maps meet."""
    for axis, side in zip((2, 3), size, strict=True):
        old = maps.shape[axis]
        place = torch.arange(side, dtype=maps.dtype) * ((old - 1) / (side - 1) if side > 1 else 0.0)
        low = place.floor().long().clamp(max=old - 1)
        high = (low + 1).clamp(max=old - 1)
        shape = [-1 if number == axis else 1 for number in range(4)]
        weight = (place - low).reshape(shape)
        lower, upper = maps.index_select(axis, low), maps.index_select(axis, high)
        maps = lower * (1 - weight) + upper * weight
    return maps


def prototxt(model: GFRNet, image: Tensor, *, rectified: bool) -> list[Tensor]:
    """The released network in eval mode, from its layers: pred_1 to pred_5 and prediction."""

    def feature(layers: nn.Sequential, maps: Tensor) -> Tensor:
        normalised: Tensor = layers[1](layers[0](maps))
        return normalised.relu() if rectified else normalised

    skips, maps = [], image
    for layer in model.backbone.features:
        if isinstance(layer, nn.MaxPool2d):
            skips.append(maps)
            maps = F.max_pool2d(maps, 2, 2, ceil_mode=True)
        else:
            maps = layer(maps)
    deeper = feature(model.deepest_feature, maps) if rectified else model.deepest_feature(maps)
    current = model.conv7(model.conv6(maps))
    predictions = [model.scores[0](current)]
    for stage, skip in enumerate(reversed(skips)):
        unit, size = model.gates[stage], skip.shape[2:]
        own = feature(unit.feature, skip)
        gate = unit.norm(own * interp(deeper, size))
        fusion = torch.cat([gate, interp(predictions[-1], size)], 1)
        predictions.append(model.scores[stage + 1](fusion))
        deeper = own
    return predictions


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("size", [(35, 45), (1, 33), (64, 32)])
def test_it_is_the_released_network(size: tuple[int, int], rectified: bool) -> None:
    torch.manual_seed(0)
    model = GFRNet(3, width=4, gate="rectified" if rectified else "product").eval()
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.bias)
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        *earlier, last = prototxt(model, image, rectified=rectified)
        expected = [last, *(interp(p, image.shape[2:]) for p in earlier)]
        found = model.training_logits(image)
    assert len(found) == 6 == 1 + len(model.auxiliary_weights)
    assert set(model.auxiliary_weights) == {1.0}
    for ours, theirs in zip(found, expected, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours / scale, theirs / scale, rtol=1e-4, atol=1e-5)


def test_a_gate_is_shut_where_the_deeper_feature_is_zero() -> None:
    torch.manual_seed(0)
    gate = GateUnit(6, 2, rectified=False).eval()
    deeper = torch.zeros(1, 2, 3, 3)
    deeper[:, :, 2, 2] = 1.0
    with torch.no_grad():
        gated, feature = gate(torch.randn(1, 6, 5, 5), deeper)
    assert gated[:, :, 3:, 3:].all()
    assert not gated[:, :, :3].any()
    assert feature.all()


def test_a_product_may_be_negative_and_a_rectified_one_not() -> None:
    torch.manual_seed(0)
    maps, deeper = torch.randn(1, 6, 5, 5), torch.rand(1, 2, 5, 5)
    with torch.no_grad():
        plain, rectified = (
            GateUnit(6, 2, rectified=on).eval()(maps, deeper)[0] for on in (False, True)
        )
    assert float(plain.min()) < 0 <= float(rectified.min())


def test_each_prediction_alone_trains_what_is_deeper_than_itself() -> None:
    with torch.device("meta"):
        model = GFRNet(3, width=4)
        maps = model.training_logits(torch.empty(2, 3, 64, 64))
    named = dict(model.named_parameters())
    untouched: list[set[str]] = []
    for number in (1, 2, 3, 4, 5, 0):
        found = torch.autograd.grad(
            maps[number].sum(), list(named.values()), allow_unused=True, retain_graph=True
        )
        untouched.append({key for key, g in zip(named, found, strict=True) if g is None})
    assert all(more > fewer for more, fewer in itertools.pairwise(untouched))
    assert untouched[-1] == set()
    assert not any(key.startswith(("backbone", "conv", "scores.0")) for key in untouched[0])


def test_dropout_follows_pool3_to_pool5_and_both_wide_convolutions() -> None:
    torch.manual_seed(0)
    model = GFRNet(2, width=16)
    assert model.dropout.p == 0.5
    shapes: list[tuple[int, ...]] = []
    model.dropout.register_forward_hook(lambda module, args, out: shapes.append(out.shape[1:]))
    with torch.no_grad():
        model.train().encode(torch.randn(2, 3, 64, 64))
    assert shapes == [(256, 8, 8), (512, 4, 4), (512, 2, 2), (16, 2, 2), (16, 2, 2)]


def test_weights_start_from_he_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    model = GFRNet(11, width=64)
    for layer in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        assert layer.bias is not None
        assert not layer.bias.any()
        expected = (2 / (9 * layer.in_channels)) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.06)


def test_biases_of_convolutions_learn_twice_as_fast_without_decay() -> None:
    with torch.device("meta"):
        model = GFRNet(2, width=4)
    weights, biases = model.parameter_groups()
    assert (weights.lr_scale, weights.decay_scale) == (1.0, 1.0)
    assert (biases.lr_scale, biases.decay_scale) == (2.0, 0.0)
    assert len(biases.params) == sum(isinstance(m, nn.Conv2d) for m in model.modules())


def test_vgg16_fills_the_convolutions(shared_weights: Path) -> None:
    """The authors start from VGG16 without batch normalisation."""
    model = GFRNet(21, width=8)
    report = load_weights(model, shared_weights / "vgg16_features.safetensors")
    assert len(report.loaded) == 26
    assert not report.misfits
    assert not report.unused
    kinds = {key.split(".")[0] for key in report.missing}
    assert kinds == {"backbone", "conv6", "conv7", "deepest_feature", "gates", "scores"}


def test_vgg16_bn_fits_as_it_is() -> None:
    with torch.device("meta"):
        model = GFRNet(2, width=8)
    state = {key.removeprefix("backbone."): v for key, v in model.backbone.state_dict().items()}
    adapted = model.adapt_weights(state)
    assert list(adapted) == [f"backbone.{key}" for key in state]


def test_unknown_gates_and_no_width_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"no gate 'products'\. Did you mean 'product'"):
        GFRNet(2, gate="products")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="width must be at least 1, not 0"):
        GFRNet(2, width=0)
