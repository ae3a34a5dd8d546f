"""Samples of a network with dropout, against closed forms and against themselves."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from semisup.catalog import MODELS, create_model
from semisup.errors import DataError, RecipeError
from semisup.evaluation import tiles
from semisup.evaluation.evaluate import evaluate
from semisup.evaluation.folders.prediction_folder import UNCERTAINTY_NAMES, PredictionFolder
from semisup.evaluation.folders.sources import find_images
from semisup.evaluation.inference import Inference
from semisup.evaluation.predict import Labelled, Predictor, predict_files
from semisup.evaluation.protocol import protocol, protocol_line
from semisup.evaluation.tiles import label_images
from semisup.evaluation.uncertainty import mean_and_uncertainty, seed_of
from semisup.models.layers import dropout_layers
from semisup.ops.pixels import normalise
from semisup.pictures.drawing import heat
from semisup.pictures.uncertainty import LARGEST, LEVELS, draw_uncertainty
from semisup.settings import EvalSettings

CPU = torch.device("cpu")
CLASSES = ("road", "sky", "tree")
PALETTE = ((128, 64, 128), (70, 130, 180), (107, 142, 35))


class Dropping(nn.Sequential):
    """Logits that are linear in the pixels, of which each value is dropped with probability `p`."""

    def __init__(self, classes: int = 3, p: float = 0.5) -> None:
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(classes)
        norm.running_mean = torch.full((classes,), 0.1)
        super().__init__(nn.Dropout(p), nn.Conv2d(3, classes, 1), norm)


def infer(network: nn.Module | None = None, **settings: Any) -> Inference:
    chosen = EvalSettings(**{"samples": 4, **settings})
    return Inference(network or Dropping(), chosen, CPU)


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_mean_and_variance_are_those_of_the_samples(count: int) -> None:
    torch.manual_seed(0)
    samples = torch.randn(count, 2, 5, 4, 3, dtype=torch.float64).softmax(dim=2)
    drawn = iter(samples)
    mean, uncertainty = mean_and_uncertainty(lambda: next(drawn), count)
    torch.testing.assert_close(mean, samples.mean(0))
    torch.testing.assert_close(uncertainty, samples.var(0, correction=0).mean(1))
    assert next(drawn, None) is None


def test_a_small_variance_beside_a_large_mean_is_exact() -> None:
    """In float32 the difference of two sums of squares would be noise."""
    values = iter([0.9, 0.9 + 3e-5] * 2)
    _, found = mean_and_uncertainty(lambda: torch.full((1, 1, 1, 1), next(values)), 4)
    assert float(found) == pytest.approx((1.5e-5) ** 2, rel=0.01)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_the_mean_and_the_variance_are_those_of_all_that_dropout_can_do(p: float) -> None:
    """Three values of a pixel are dropped or kept: eight cases with known probabilities."""
    network, count = Dropping(p=p), 50
    image = torch.tensor([30, 200, 120], dtype=torch.uint8)[:, None, None].expand(3, 60, 70)
    pixel = normalise(image[None].contiguous())[..., :1, :1]
    network.eval()
    shares, probabilities = [], []
    for kept in itertools.product((0.0, 1.0), repeat=3):
        scaled = pixel * torch.tensor(kept)[:, None, None] / (1 - p)
        with torch.no_grad():
            probabilities.append(network[2](network[1](scaled)).softmax(1).flatten().double())
        shares.append((1 - p) ** sum(kept) * p ** (3 - sum(kept)))
    weights, cases = torch.tensor(shares, dtype=torch.float64)[:, None], torch.stack(probabilities)
    mean = (weights * cases).sum(0)
    variance = (weights * (cases - mean) ** 2).sum(0)
    made = label_images(infer(network, samples=count), image[None], torch.float32)
    assert made.probabilities is not None
    assert made.uncertainty is not None
    pixels = made.probabilities.flatten(2).double()
    errors = (variance / count / pixels.shape[-1]).sqrt()
    assert ((pixels.mean((0, 2)) - mean).abs() < 4 * errors).all()
    expected = float(variance.mean()) * (count - 1) / count  # divided by the number of samples
    assert float(made.uncertainty.mean()) == pytest.approx(expected, rel=0.01)


def test_the_network_and_the_random_numbers_of_the_process_stay_as_they_are() -> None:
    network = Dropping()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    inference = infer(network)
    state = torch.random.get_rng_state()
    inference(noise(8, 9))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(layer.training for layer in network.modules())


@pytest.mark.parametrize(
    "settings",
    [{}, {"flip": True}, {"scales": [0.5, 1.0]}, {"mode": "slide", "window": [8, 8]}],
    ids=str,
)
def test_what_is_drawn_depends_on_the_image_and_the_seed_alone(settings: dict[str, Any]) -> None:
    images = torch.stack([noise(16, 12, seed) for seed in range(3)])
    inference = infer(**settings)
    together = inference.logits_and_uncertainty(images)
    torch.rand(5)  # whatever was drawn before
    for place in (2, 0, 1):
        alone = inference.logits_and_uncertainty(images[place : place + 1])
        for joint, own in zip(together, alone, strict=True):
            assert joint is not None
            assert own is not None
            assert torch.equal(joint[place], own[0])
    assert torch.equal(inference(images), inference(images))
    assert not torch.equal(inference(images), infer(**settings, samples_seed=1)(images))
    sums = inference(images).sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_the_first_samples_are_the_same_however_many_follow() -> None:
    draws: list[Tensor] = []
    network = Dropping()
    network.register_forward_hook(lambda module, arguments, out: draws.append(out))
    infer(network, samples=2)(noise(5, 5))
    infer(network, samples=3)(noise(5, 5))
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[1], draws[3])
    assert not torch.equal(draws[0], draws[1])


def test_other_images_have_other_values_dropped() -> None:
    kept: list[Tensor] = []
    network = Dropping()
    network[0].register_forward_hook(lambda module, arguments, out: kept.append(out[0] != 0))
    first, second = noise(16, 12), noise(16, 12)
    second[0, 0, 0] += 1
    infer(network, samples=2)(torch.stack([first, second, first]))
    assert torch.equal(kept[0], kept[4])
    assert 0.3 < float((kept[0] != kept[2]).float().mean()) < 0.7
    assert 0.3 < float((kept[0] != kept[1]).float().mean()) < 0.7


@pytest.mark.parametrize(
    "other",
    [noise(4, 6, seed=1), noise(6, 4), noise(4, 6).to(torch.uint16)],
    ids=["pixels", "shape", "type"],
)
def test_another_image_has_another_seed(other: Tensor) -> None:
    image = noise(4, 6)
    assert seed_of(image, 0) == seed_of(image.clone(memory_format=torch.contiguous_format), 0)
    assert seed_of(image.permute(1, 2, 0).contiguous().permute(2, 0, 1), 0) == seed_of(image, 0)
    assert seed_of(other, 0) != seed_of(image, 0) != seed_of(image, 1)
    assert 0 <= seed_of(other, 0) < 2**63


def test_tiles_leave_no_pixel_without_uncertainty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SIDE", 128)
    inference, image = infer(), noise(100, 210)[None]
    assert tiles.is_tiled(inference, image)
    made = label_images(inference, image, torch.float32)
    assert made.probabilities is not None
    assert made.uncertainty is not None
    assert torch.equal(made.labels, made.probabilities.argmax(1).byte())
    assert float((made.uncertainty == 0).float().mean()) < 0.01  # four times the same are dropped
    assert float(made.uncertainty.max()) <= 2 / 9 + 1e-6
    again = label_images(inference, image).uncertainty
    assert again is not None
    assert torch.equal(again, made.uncertainty)


def test_a_crf_refines_the_mean_and_leaves_the_uncertainty() -> None:
    image = noise(12, 14)[None]
    plain = infer(samples=3).logits_and_uncertainty(image)
    refined = infer(samples=3, crf=True).logits_and_uncertainty(image)
    assert not torch.allclose(plain[0].softmax(1), refined[0].softmax(1), atol=1e-3)
    assert plain[1] is not None
    assert refined[1] is not None
    assert torch.equal(plain[1], refined[1])


def test_without_samples_dropout_is_off_and_nothing_is_uncertain() -> None:
    image = noise(6, 7)[None]
    made = label_images(infer(samples=0), image, torch.float32)
    assert made.uncertainty is None
    network = Dropping().eval()
    with torch.no_grad():
        expected = network(normalise(image)).softmax(1)
    assert made.probabilities is not None
    torch.testing.assert_close(made.probabilities, expected)


@pytest.mark.parametrize("network", [nn.Conv2d(3, 2, 1), Dropping(p=0.0), nn.BatchNorm2d(3)])
def test_a_network_without_dropout_is_refused_in_one_line(network: nn.Module) -> None:
    with pytest.raises(RecipeError, match=r"^eval\.samples: \w+ has no dropout.*'bayes") as caught:
        infer(network)
    assert "\n" not in str(caught.value)
    infer(network, samples=0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"samples": 1}, "one sample has no variance: take 2 or more, or 0 for none"),
        ({"samples": -1}, "greater than or equal to 0"),
        ({"samples": 2.5}, "valid integer"),
        ({"samples": True}, "valid integer"),
        ({"samples_seed": -1}, "greater than or equal to 0"),
        ({"samples_seed": 2**63}, "less than"),
    ],
)
def test_numbers_that_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        EvalSettings(**settings)


STATED = {"pretraining": "none", "selection": "last", "precision": "float32"}


def test_the_protocol_states_the_samples(patches: Callable[..., Any]) -> None:
    data = patches([(4, 4)])
    block = protocol(EvalSettings(samples=20, samples_seed=3), data, data.ids, **STATED)
    assert (block["samples"], block["samples_seed"]) == (20, 3)
    line = "no flip, mean of 20 samples with dropout (seed 3), no CRF"
    assert line in protocol_line(block)
    plain = protocol(EvalSettings(samples_seed=3), data, data.ids, **STATED)
    assert not {"samples", "samples_seed"} & plain.keys()
    assert "samples" not in protocol_line(plain)


def test_scores_are_of_the_mean_and_the_same_in_another_order(patches: Callable[..., Any]) -> None:
    data = patches([(6, 5), (4, 7), (6, 5)])
    inference = infer(Dropping(p=0.5), samples=3)
    found = evaluate(inference, data, boundary=False)
    turned = evaluate(inference, data, data.ids[::-1], boundary=False)
    assert torch.equal(found.confusion, turned.confusion)
    expected = torch.zeros(3, 3, dtype=torch.int64)
    for index in range(3):
        labels = label_images(inference, data.image(index)[None]).labels[0].long()
        mask = data.mask(index).long()
        valid = mask < 3
        cells = mask[valid] * 3 + labels[valid]
        expected += torch.bincount(cells, minlength=9).view(3, 3)
    assert torch.equal(found.confusion, expected)


# Files


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(9, 12, seed).movedim(0, -1).numpy()).save(path)
    return path


def write(inference: Inference, paths: list[Path], out: Path, **options: Any) -> Labelled:
    found = find_images(paths)
    return predict_files(
        inference, found.images, PredictionFolder(out, {}, found.names), CLASSES, PALETTE, **options
    )


def test_the_map_is_a_png_of_16_bits_with_one_scale_for_all(tmp_path: Path) -> None:
    path, inference = save(tmp_path / "in" / "a.png"), infer()
    assert write(inference, [path], tmp_path / "out").written == 1
    made = Predictor(inference, CLASSES, PALETTE).sampled(noise(9, 12))
    with Image.open(tmp_path / "out" / "a_uncertainty.png") as written:
        assert (written.mode, written.size) == ("I;16", (12, 9))
        assert "over 4 samples: value / 65535 * 0.25" in written.info["Description"]
        stored = torch.from_numpy(np.asarray(written).astype(np.float64))
    assert float(made.uncertainty.max()) > 1e-3
    torch.testing.assert_close(
        stored / LEVELS * LARGEST, made.uncertainty.double(), atol=LARGEST / LEVELS, rtol=0
    )
    with Image.open(tmp_path / "out" / "a.png") as labels:
        assert np.array_equal(np.asarray(labels), made.labels.numpy())
    names = {file.name for file in (tmp_path / "out").glob("*.png")}
    assert names == {"a.png", "a_uncertainty.png", "a_uncertainty_colours.png"}


def test_an_interrupted_call_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    paths = [save(tmp_path / "in" / f"{name}.png", seed) for seed, name in enumerate("abc")]
    inference = infer()
    assert write(inference, paths, tmp_path / "once").written == 3
    assert write(inference, paths[2:], tmp_path / "twice").written == 1
    (tmp_path / "twice" / "c_uncertainty.png").unlink()  # as if it had been stopped before
    done = write(inference, paths[::-1], tmp_path / "twice")
    assert (done.written, done.kept) == (3, 0)
    assert write(inference, paths, tmp_path / "twice").kept == 3
    names = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert len(names) == 10
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def test_in_memory_all_three_are_of_the_kind_of_the_image() -> None:
    predictor = Predictor(infer(), CLASSES, PALETTE)
    image = noise(5, 6)
    single = predictor.sampled(image)
    assert [tuple(part.shape) for part in single] == [(5, 6), (3, 5, 6), (5, 6)]
    assert torch.equal(single.labels, predictor(image))
    assert torch.equal(single.probabilities, predictor.probabilities(image))
    array = predictor.sampled(image.movedim(0, -1).numpy())
    assert all(isinstance(part, np.ndarray) for part in array)
    assert np.array_equal(array.uncertainty, single.uncertainty.numpy())
    batch = predictor.sampled(torch.stack([noise(5, 6, seed=3), image]))
    assert torch.equal(batch.uncertainty[1], single.uncertainty)


def test_samples_of_a_protocol_without_any_are_refused() -> None:
    predictor = Predictor(infer(samples=0), CLASSES, PALETTE)
    with pytest.raises(RecipeError, match="the protocol of this run has none") as one:
        predictor.sampled(noise(4, 4))
    assert "\n" not in str(one.value)


@pytest.mark.parametrize("ending", UNCERTAINTY_NAMES)
def test_an_image_named_like_a_map_of_another_is_refused(tmp_path: Path, ending: str) -> None:
    for name in ("a", f"a{ending}"):
        save(tmp_path / f"{name}.png")
    assert len(find_images([tmp_path]).images) == 2
    with pytest.raises(DataError, match=f"a{ending}.png: would be written over the prediction of"):
        find_images([tmp_path], endings=UNCERTAINTY_NAMES)


def test_the_picture_has_the_map_and_a_bar_beside_it() -> None:
    uncertainty = torch.zeros(400, 50)
    uncertainty[100:200] = 0.02
    picture = draw_uncertainty(uncertainty)
    assert picture.dtype == torch.uint8
    assert picture.shape[0] == 400
    assert picture.shape[1] > 100
    assert torch.equal(picture[:, :50], heat((uncertainty > 0).float()))
    bar = picture[:, 50:].reshape(-1, 3).int()
    for share in (0.0, 0.3, 1.0):
        nearest = (bar - heat(torch.tensor([[share]]))[0]).abs().amax(1).min()
        assert int(nearest) < 8, "the bar has the colours of the map, but for their edges"
    small = draw_uncertainty(uncertainty[:9, :12])  # nowhere uncertain
    assert torch.equal(small[:9, :12], heat(torch.zeros(9, 12)))
    assert len(small) > 200
    assert bool((small[9:, :12] == 255).all())


@pytest.mark.slow
def test_the_docs_name_every_network_that_has_dropout() -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^Networks that have dropout by default: (.*?)\.$", text, re.M | re.S)
    found = set()
    for name in MODELS:
        with torch.device("meta"), contextlib.suppress(RecipeError):
            dropout_layers(create_model(name, 3))
            found.add(name)
    assert set(re.findall(r"`(\w+)`", line)) == found
