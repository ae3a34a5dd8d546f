"""The quality of pseudo-labels on images whose masks are known: which images, pixels and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from semisup.catalog import METHODS, MODELS
from semisup.errors import DataError
from semisup.methods.base import Method, Task
from semisup.methods.supervised import Supervised
from semisup.models.base import Segmenter
from semisup.monitoring.pseudo_labels import (
    BATCH,
    IMAGES,
    PseudoLabelQuality,
    teaches_pseudo_labels,
)
from semisup.monitoring.snapshots import spread
from semisup.types import IGNORE

CPU = torch.device("cpu")
Make = Callable[..., Any]


class Always(Segmenter):
    """Calls every pixel class 1; with `extra` logits, the last of them is higher still."""

    stride = 1

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__(num_classes)
        self.logits = torch.tensor([0.0, 2.0, 1.0, 9.0])[:num_classes]
        self.norm = torch.nn.BatchNorm2d(3)

    def encode(self, image: Tensor) -> list[Tensor]:
        return [self.norm(image)]

    def decode(self, features: list[Tensor]) -> Tensor:
        batch, _, height, width = features[0].shape
        return self.logits.view(1, -1, 1, 1).expand(batch, -1, height, width)


class Left(Supervised):
    """Teaches one class on the left half of what it sees, and keeps what it saw."""

    answers = True
    taught = 1
    share = 0.5

    def __init__(self, extra: int = 0) -> None:
        super().__init__(Task(lambda: Always(3 + extra), 3))
        self.seen: list[Tensor] = []

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        assert not self.training
        assert not self.segmenter.norm.training
        assert not torch.is_grad_enabled()
        assert valid is not None
        assert valid.shape == (len(image), *image.shape[-2:])
        torch.rand(1)  # against its contract
        self.seen.append(image)
        if not self.answers:
            return None
        height, width = image.shape[-2:]
        left = torch.arange(width) < self.share * width
        labels = torch.full((len(image), height, width), self.taught)
        return labels.masked_fill(~left, IGNORE)


def asked(data: Any, crop: tuple[int, int] | None = (4, 4), **options: Any) -> PseudoLabelQuality:
    return PseudoLabelQuality(data, data.ids, crop, CPU, "float32", **options)


def without_calibration(measured: dict[str, float]) -> dict[str, float]:
    names = {"self_taught_confidence", "self_taught_ece"}
    assert names <= measured.keys()
    return {name: value for name, value in measured.items() if name not in names}


CENTRE = torch.tensor([[1, 1, 0, 0], [1, IGNORE, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]])


@pytest.fixture
def two(patches: Make) -> Any:
    """An image of 8 x 8 around `CENTRE`, and one of 2 x 4 that is all of class 1."""
    large = torch.ones(8, 8, dtype=torch.uint8)
    large[2:6, 2:6] = CENTRE.to(torch.uint8)
    small = torch.ones(2, 4, dtype=torch.uint8)
    return patches([(8, 8), (2, 4)], masks={0: large, 1: small})


@pytest.mark.parametrize("extra", [0, 1])  # a logit for "made" is no class
def test_pixels_of_the_centre_that_are_right_and_trusted(extra: int, two: Any) -> None:
    found = asked(two)(Left(extra))
    # Known: 15 of the large image and 8 of the small one; at the left 7 and 4.
    assert without_calibration(found) == {
        "self_taught_accuracy": (5 + 4) / (7 + 4),
        "labelled_accuracy": (9 + 8) / (15 + 8),
        "trusted_share": (7 + 4) / (15 + 8),
    }


def test_labels_that_are_not_the_segmenters_own_are_measured_as_they_are(two: Any) -> None:
    """A teacher calls the left half class 0, where the segmenter says 1 and the truth is mixed."""
    method = Left()
    method.taught = 0
    assert without_calibration(asked(two)(method)) == {
        "self_taught_accuracy": (7 - 5) / (7 + 4),
        "labelled_accuracy": (9 + 8) / (15 + 8),
        "trusted_share": (7 + 4) / (15 + 8),
    }


def test_whole_images_go_one_by_one(two: Any) -> None:
    method = Left()
    found = asked(two, None)(method)
    assert [tuple(image.shape) for image in method.seen] == [(1, 3, 8, 8), (1, 3, 2, 4)]
    assert found["labelled_accuracy"] == (9 + 48 + 8) / (15 + 48 + 8)


def test_what_the_networks_see_is_normalised_and_padded_with_the_mean(two: Any) -> None:
    method = Left()
    asked(two)(method)
    [image] = method.seen
    assert image.shape == (2, 3, 4, 4)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    torch.testing.assert_close(image[0], (two.image(0)[:, 2:6, 2:6] / 255 - mean) / deviation)
    torch.testing.assert_close(image[1, :, :2], (two.image(1) / 255 - mean) / deviation)
    assert (image[1, :, 2:] == 0).all()
    asked(two, channels_last=True)(method)
    assert method.seen[-1].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(method.seen[-1], image)


def test_where_nothing_is_trusted_there_is_no_accuracy_of_it(two: Any) -> None:
    method = Left()
    method.share = 0.0
    trust = asked(two)
    assert trust(method) == {"labelled_accuracy": 17 / 23, "trusted_share": 0.0}
    assert not trust.silent


def test_masks_that_are_all_void_give_nothing(patches: Make) -> None:
    void = torch.full((4, 4), IGNORE, dtype=torch.uint8)
    assert asked(patches([(4, 4)], masks={0: void}))(Left()) == {}


def test_the_same_few_images_are_decoded_once(patches: Make) -> None:
    data = patches([(4, 5)] * 150)
    ids = data.ids[10:]
    trust = PseudoLabelQuality(data, ids, (4, 4), CPU, "float32")
    method = Left()
    assert data.opened == []
    first = trust(method)
    assert data.opened == [ids[place] for place in spread(140, IMAGES)]
    assert len(set(data.opened)) == 64
    gaps = {int(b[-2:]) - int(a[-2:]) for a, b in zip(data.opened, data.opened[1:], strict=False)}
    assert gaps <= {2, 3, 2 - 100, 3 - 100}
    assert trust(method) == first
    assert len(data.opened) == 64
    assert [len(image) for image in method.seen] == [BATCH] * (2 * 64 // BATCH)


def test_a_method_that_teaches_itself_nothing_is_left_alone(patches: Make) -> None:
    data = patches([(4, 4)] * 20)
    trust, method = asked(data), Left()
    method.answers = False
    assert trust(method) == {}
    assert trust.silent
    assert len(data.opened) == BATCH
    assert not teaches_pseudo_labels(Supervised(Task(Always, 3)))
    assert teaches_pseudo_labels(method)


def test_a_look_changes_nothing(two: Any) -> None:
    method = Left().train()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    random = torch.get_rng_state()
    asked(two)(method)
    assert torch.equal(torch.get_rng_state(), random)
    assert method.segmenter.norm.training
    after = method.state_dict()
    assert any("running_mean" in key for key in before)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_half_precision_is_that_of_training(two: Any) -> None:
    class Half(Left):
        def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
            assert torch.is_autocast_enabled("cpu")
            return super().pseudo_labels(image, valid)

    found = PseudoLabelQuality(two, two.ids, (4, 4), CPU, "bf16")(Half())
    assert found == asked(two)(Left())


def test_a_mask_of_another_size_is_named(patches: Make) -> None:
    data = patches([(8, 8)], masks={0: torch.zeros(8, 7, dtype=torch.uint8)})
    with pytest.raises(DataError, match=r"train00\.png.*8x7.*8x8.*the same size"):
        asked(data)(Left())


def look(taught: float, rest: float) -> dict[str, float]:
    return {"self_taught_accuracy": taught, "labelled_accuracy": rest, "trusted_share": 0.5}


def test_what_stands_is_the_better_of_the_last_two(two: Any) -> None:
    trust = asked(two)
    assert trust.lasting() == {}
    trust.remember(look(0.2, 0.9))
    assert trust.lasting() == {}  # once is no proof
    trust.remember(look(0.5, 0.6))
    assert trust.lasting() == look(0.5, 0.6)
    trust.remember({})  # it was not looked
    trust.remember(look(0.1, 0.9))
    assert trust.lasting() == look(0.5, 0.6)
    again = asked(two)
    again.load_state_dict(trust.state_dict())
    for known in (trust, again):
        known.remember(look(0.3, 0.9))
        assert known.lasting() == look(0.3, 0.9)
        known.remember({"labelled_accuracy": 0.9, "trusted_share": 0.0})
        assert known.lasting() == {}


def test_only_methods_with_an_answer_of_their_own_are_asked() -> None:
    assert Method.pseudo_labels(Left(), torch.zeros(1)) is None


class Noise(Segmenter):
    """Gives fixed logits of every pixel of 4 x 4, of this many classes and `extra` more."""

    stride = 1

    def __init__(self, seed: int, extra: int = 0) -> None:
        super().__init__(3)
        self.calls = 0
        generator = torch.Generator().manual_seed(seed)
        self.logits = 2 * torch.randn(1, 3 + extra, 4, 4, generator=generator)

    def encode(self, image: Tensor) -> list[Tensor]:
        self.calls += 1
        return [image]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.logits.expand(len(features[0]), -1, -1, -1)


class Taught(Supervised):
    """Teaches the classes of another network where they are probable enough."""

    def __init__(self, threshold: float, extra: int = 0, own: bool = False) -> None:
        super().__init__(Task(lambda: Noise(0), 3))
        self.threshold, self.teacher = threshold, Noise(1, extra)
        self.own = own

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        probability, classes = self.labeller()(image)[:, :3].softmax(dim=1).max(dim=1)
        return classes.masked_fill(probability < self.threshold, IGNORE)

    def labeller(self) -> torch.nn.Module:
        return self.segmenter if self.own else self.teacher


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.8])
@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("own", [False, True])
def test_calibration_equals_a_loop_over_the_pixels(
    threshold: float, extra: int, own: bool, two: Any
) -> None:
    method = Taught(threshold, extra, own)
    logits = method.labeller().logits[0, :3].softmax(dim=0)
    masks = [CENTRE, torch.full((4, 4), IGNORE).index_fill(0, torch.tensor([0, 1]), 1)]
    bins: dict[int, list[tuple[float, bool]]] = {}
    for mask in masks:
        for row in range(4):
            for column in range(4):
                probability, label = logits[:, row, column].max(dim=0)
                truth = int(mask[row, column])
                if truth != IGNORE and float(probability) >= threshold:
                    part = bins.setdefault(min(int(float(probability) * 15), 14), [])
                    part.append((float(probability), int(label) == truth))
    pixels = [pixel for part in bins.values() for pixel in part]
    gaps = [abs(sum(p for p, _ in part) - sum(r for _, r in part)) for part in bins.values()]
    found = asked(two)(method)
    assert found["self_taught_accuracy"] == pytest.approx(sum(r for _, r in pixels) / len(pixels))
    assert found["self_taught_confidence"] == pytest.approx(
        sum(p for p, _ in pixels) / len(pixels), abs=1e-6
    )
    assert found["self_taught_ece"] == pytest.approx(sum(gaps) / len(pixels), abs=1e-6)
    # Its own labels need no pass beside the one for them and the one for its accuracy.
    assert (method.segmenter.calls, method.teacher.calls) == ((2, 0) if own else (1, 2))


@pytest.mark.parametrize("name", ["mean_teacher", "cutmix_seg", "fixmatch", "unimatch", "cps"])
def test_who_gives_the_labels_of_a_method(name: str, two: Any) -> None:
    torch.manual_seed(0)
    method = METHODS[name](Task(lambda: MODELS["enet"](3), 3, (32, 32)))
    player = method.second_segmenter if name == "cps" else method.teacher
    assert method.labeller() is player
    method.eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        sure, classes = player(image).softmax(dim=1).max(dim=1)
        labels = method.pseudo_labels(image)
    least = 0.95 if name in ("fixmatch", "unimatch") else 0.0
    assert torch.equal(labels, classes.masked_fill(sure < least, IGNORE))
