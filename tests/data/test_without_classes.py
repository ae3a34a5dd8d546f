"""A data set some of whose classes are ignored, and what cannot be ignored."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import semisup
from semisup.contracts import datasets as contract
from semisup.contracts.base import Check
from semisup.data.base import SegmentationData
from semisup.data.labels.class_weights import class_weights
from semisup.data.labels.splits import make_split
from semisup.data.loading.cache import CachedData
from semisup.data.palettes import PlacedMask, contradictions, palettes_of
from semisup.data.verify import verify
from semisup.data.views.class_crops import CombinationView
from semisup.data.without_classes import WithoutClasses
from semisup.errors import RecipeError

LABELS = np.array([[0, 1, 2, 3], [0, 1, 2, 255]], np.uint8)
NAMES = ("background", "cat", "dog", "cow")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of four classes, of which each mask holds all, and void."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for key in "abc":
        Image.fromarray(np.zeros((2, 4, 3), np.uint8)).save(tmp_path / f"images/{key}.png")
        Image.fromarray(LABELS).save(tmp_path / f"masks/{key}.png")
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("c\n")
    return tmp_path


Open = Callable[..., SegmentationData]


@pytest.fixture
def without(root: Path) -> Open:
    return lambda *names: semisup.create_dataset("folder", root, ignore_classes=names)


@pytest.mark.parametrize(
    ("names", "left", "mask"),
    [
        (("background",), ("cat", "dog", "cow"), [[255, 0, 1, 2], [255, 0, 1, 255]]),
        (("dog",), ("background", "cat", "cow"), [[0, 1, 255, 2], [0, 1, 255, 255]]),
        (("cow",), ("background", "cat", "dog"), [[0, 1, 2, 255], [0, 1, 2, 255]]),
        (("cow", "background"), ("cat", "dog"), [[255, 0, 1, 255], [255, 0, 1, 255]]),
    ],
)
def test_the_classes_that_are_left_are_numbered_anew(
    without: Open, names: tuple[str, ...], left: tuple[str, ...], mask: list[list[int]]
) -> None:
    data, stored = without(*names), without()
    assert data.classes == left
    assert data.palette == tuple(stored.palette[NAMES.index(name)] for name in left)
    assert (data.num_classes, data.stored_classes) == (len(left), NAMES)
    assert data.mask(0).tolist() == mask
    assert data.mask(0).dtype == torch.uint8
    assert torch.equal(data.image(0), stored.image(0))
    assert data.facts() == {"classes_made_void": [name for name in NAMES if name in names]}
    assert data.as_stored.classes == NAMES
    assert (data.name, data.train_subset, data.default_split) == ("folder", "train", "masked")


def test_nothing_to_ignore_changes_nothing(without: Open) -> None:
    assert type(without()).__name__ == "Folder"
    assert without().as_stored.classes == NAMES


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.title)
def test_it_keeps_the_contract(check: Check[contract.DatasetSubject], root: Path) -> None:
    def opened(subset: str) -> SegmentationData:
        return semisup.create_dataset("folder", root, subset, ignore_classes=["cat"])

    check.run(contract.DatasetSubject("folder", opened, "train", "val"))


def test_copies_and_caches_know_it_too(without: Open) -> None:
    data = without("cat")
    for copy in (pickle.loads(pickle.dumps(data)), CachedData(data, 1)):
        assert torch.equal(copy.mask(1), data.mask(1))
        assert (copy.classes, copy.stored_classes) == (data.classes, NAMES)
        assert copy.facts() == data.facts()


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["bakground"], "'bakground' in ignore_classes is no class here. Did you mean 'backgr"),
        (["Dog"], "'Dog' in ignore_classes is no class here. Did you mean 'dog'?"),
        (["x"], "'x' in ignore_classes is no class here. Known: background, cat, cow, dog."),
        (["cat", "cat"], "'cat' stands twice in ignore_classes; name each class once"),
        (NAMES, "ignore_classes leaves no class: folder has background, cat, dog, cow; ignore"),
        (
            NAMES[:3],
            "ignore_classes leaves 'cow' alone, and every pixel would be of it: folder has",
        ),
        ("cat", "ignore_classes = 'cat' is no list of names of classes; write a list, such as"),
        ([0], "ignore_classes = [0] is no list of names of classes; write a list, such as"),
        ([None], "ignore_classes = [None] is no list of names"),
    ],
)
def test_what_cannot_be_ignored_is_one_line(root: Path, names: Any, line: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(line)) as caught:
        semisup.create_dataset("folder", root, ignore_classes=names)
    assert "\n" not in str(caught.value)


def test_with_the_classes_that_voc_keeps(voc_root: Path) -> None:
    keep = ["background", "dog", "person"]
    data = semisup.create_dataset("voc", voc_root, classes=keep, ignore_classes=["background"])
    assert data.classes == ("dog", "person")
    assert data.mask(0)[2].tolist() == [0, 0, 0, 0, 255, 1, 1, 1]
    kept = semisup.create_dataset("voc", voc_root, classes=["person", "dog"])
    assert torch.equal(kept.mask(0), data.mask(0))
    assert kept.facts() == data.facts()
    assert len(data.facts()["classes_made_void"]) == 19  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="'cat' in ignore_classes is left out already; name it"):
        semisup.create_dataset("voc", voc_root, classes=keep, ignore_classes=["cat"])


def test_splits_and_weights_count_what_is_left(without: Open) -> None:
    data = without("background", "cow")
    split = make_split(data, "1/class", 0)
    assert split.class_counts == {"cat": 1, "dog": 1}
    weights = class_weights("median_frequency", data, data.ids)
    assert weights is not None
    assert weights.tolist() == [1.0, 1.0]
    with pytest.raises(RecipeError, match="has 4 numbers, and folder has 2 classes: cat, dog"):
        class_weights([1.0] * 4, data, data.ids)


def test_crops_are_cut_for_no_class_that_is_left_out(without: Open) -> None:
    data, view = without("dog"), CombinationView(crop=(4, 4))
    generator = torch.Generator().manual_seed(0)
    turns = [view(*data.pair(0), generator, turn).selection for turn in range(3)]
    assert {int(label) for chosen in turns if chosen is not None for label in chosen} <= {1, 2}


def test_verify_counts_what_is_left(root: Path) -> None:
    def report(*ignored: str) -> tuple[Any, Any]:
        data = semisup.create_dataset("folder", root, ignore_classes=ignored)
        found = verify([data])
        return found, found.subsets[0]

    found, subset = report("background")
    assert found.ok
    assert found.warnings == ()
    assert found.notes[0] == "pixels of 'background' count as void"
    assert (subset.classes, subset.pixels, subset.void) == (("cat", "dog", "cow"), (4, 4, 2), 6)


def test_colours_of_the_list_are_compared_by_the_numbers_of_the_files(root: Path) -> None:
    colours = [(0, 0, 0), (200, 0, 0), (0, 200, 0), (0, 0, 200)]
    lines = [f"{n} {' '.join(map(str, c))}" for n, c in zip(NAMES, colours, strict=True)]
    (root / "classes.txt").write_text("\n".join(lines))
    for key in "abc":
        mask = Image.fromarray(LABELS)
        mask.putpalette([channel for colour in colours for channel in colour])
        mask.save(root / f"masks/{key}.png")
    for ignored in ([], ["background"], ["cat"], ["background", "dog"]):
        data = semisup.create_dataset("folder", root, ignore_classes=ignored)
        assert contradictions(palettes_of([PlacedMask(data, 0), PlacedMask(data, 1)])) == []
        assert verify([data]).ok
    assert isinstance(data, WithoutClasses)


def test_contradictions_name_the_numbers_of_the_files(root: Path) -> None:
    for key, colour in (("a", 200), ("b", 100), ("c", 200)):
        mask = Image.fromarray(LABELS)
        mask.putpalette([0, 0, 0, colour, 0, 0, 0, 0, 200, 0, 200, 0])
        mask.save(root / f"masks/{key}.png")
    for ignored in ([], ["background"], ["dog"]):
        data = semisup.create_dataset("folder", root, ignore_classes=ignored)
        (conflict,) = contradictions(palettes_of([PlacedMask(data, 0), PlacedMask(data, 1)]))
        assert "give label 1 two colours, 200 0 0 (masks: 1) and 100 0 0" in conflict.reason
