"""COCO-Stuff's maps: where they lie, what their labels are, and what is refused."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.coco import HEIGHT, STUFF_LABELS, WIDTH, make_coco, make_stuff

from semisup.catalog import create_dataset
from semisup.data.base import SegmentationData
from semisup.data.sets.coco_stuff_classes import CLASSES, IDS, STUFF, THINGS, UNUSED
from semisup.data.verify import verify
from semisup.errors import DataError, RecipeError
from semisup.recipe.load import build_recipe
from semisup.runs.assemble import check_objects

FIRST = "000000000107"


def opened(root: Path, subset: str = "train") -> SegmentationData:
    return create_dataset("coco", root, subset, classes="stuff")


def write(path: Path, labels: np.ndarray) -> Path:
    Image.fromarray(labels.astype(np.uint8)).save(path)
    return path


def test_ids_are_those_of_the_images_and_classes_close_the_gaps(stuff_root: Path) -> None:
    data = opened(stuff_root)
    assert data.ids == (FIRST, "000000000114", "000000000121", "000000000128")
    assert opened(stuff_root, "val").ids == ("000000000135", "000000000142")
    assert data.num_classes == len(data.palette) == 171
    assert (data.classes[0], data.classes[79]) == ("person", "toothbrush")
    assert (data.classes[80], data.classes[170]) == ("banner", "wood")
    assert data.image_path(0) == stuff_root / f"train2017/{FIRST}.jpg"
    assert data.mask_path(0) == stuff_root / f"stuffthingmaps/train2017/{FIRST}.png"
    assert data.image_number(0) == 107
    assert data.facts() == {"year": 2017, "masks": "maps of COCO-Stuff"}


def test_a_mask_has_the_classes_of_its_labels(stuff_root: Path) -> None:
    data = opened(stuff_root)
    mask = data.mask(0)
    named = {123: "grass", 156: "sky-other", 2: "car", 16: "cat"}
    for label, name in named.items():
        assert np.array_equal(mask.numpy() == data.classes.index(name), label == STUFF_LABELS)
    assert np.array_equal(mask.numpy() == 255, STUFF_LABELS == 255)


def test_the_classes_have_the_train_ids_of_mmsegmentation(stuff_root: Path) -> None:
    """Of `coco_stuff164k.py`: label 12 -> 11, 24 -> 23, 26 -> 24 and so on to 181 -> 170."""
    assert len(THINGS) == 80
    assert len(STUFF) == 91
    assert len(set(CLASSES)) == len(CLASSES) == len(IDS)
    data = opened(stuff_root)
    labels = np.full((HEIGHT, WIDTH), 255)
    labels.ravel()[: len(IDS)] = np.array(IDS) - 1
    write(data.mask_path(0), labels)
    found = data.mask(0).flatten()[: len(IDS)].tolist()
    assert found == list(range(171))
    class_of = dict(zip((np.array(IDS) - 1).tolist(), found, strict=True))
    theirs = {0: 0, 10: 10, 12: 11, 24: 23, 26: 24, 27: 25, 30: 26, 43: 39, 45: 40, 64: 59, 66: 60}
    theirs |= {69: 61, 71: 62, 81: 72, 83: 73, 89: 79, 91: 80, 92: 81, 123: 112, 156: 145, 181: 170}
    assert {label: class_of[label] for label in theirs} == theirs


def test_things_are_those_of_real_annotations(shared_data: Path) -> None:
    categories = create_dataset("coco", shared_data, "val")
    assert categories.classes[1:] == THINGS
    assert categories.category_ids[1:] == IDS[:80]


@pytest.mark.parametrize(
    ("images", "maps"),
    [
        (".", "stuffthingmaps"),
        (".", "stuffthingmaps_trainval2017"),
        (".", "annotations"),
        (".", "."),
        ("images", "annotations"),
        ("images", "."),
        ("coco", "coco/stuffthingmaps"),
        ("COCO/images", "COCO/annotations"),
    ],
)
def test_images_and_maps_are_found_as_people_unpack_them(
    tmp_path: Path, images: str, maps: str
) -> None:
    data = opened(make_stuff(tmp_path, images, maps))
    assert len(data) == 4
    assert data.image_path(0) == tmp_path / images / f"train2017/{FIRST}.jpg"
    assert data.mask_path(0) == tmp_path / maps / f"train2017/{FIRST}.png"
    data.pair(0)
    assert verify([data, opened(tmp_path, "val")]).ok


def test_neither_annotations_nor_pycocotools_are_needed(
    stuff_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (stuff_root / "annotations").mkdir()
    (stuff_root / "annotations" / "instances_train2017.json").write_bytes(b"damaged")
    opened(stuff_root).pair(0)


def test_maps_tell_no_objects_apart(stuff_root: Path) -> None:
    data = opened(stuff_root)
    assert not data.has_objects
    assert data.object_numbers(0) is None
    with pytest.raises(RecipeError, match="coco with classes = 'stuff' has maps of classes"):
        data.objects(0)
    with pytest.raises(RecipeError, match="has no boxes of objects beside its masks"):
        data.object_boxes(0)
    with pytest.raises(RecipeError, match="no annotation of objects to take tags from"):
        data.object_names(0)
    recipe = build_recipe(
        "objects",
        {
            "data": {"name": "coco", "classes": "stuff", "crop": [48, 48], "labelled_batch": 2},
            "model": {"name": "mask_rcnn", "backbone": "mobilenet_v2"},
            "method": {"name": "mask_rcnn"},
            "optim": {"segmenter": {"lr": 1e-3}},
            "train": {"steps": 1},
        },
    )
    with pytest.raises(RecipeError, match="'coco', with classes = 'stuff', does not tell any"):
        check_objects(recipe, data)


def test_ignored_classes_are_void(stuff_root: Path) -> None:
    data = create_dataset("coco", stuff_root, classes="stuff", ignore_classes=["grass"])
    assert data.num_classes == 170
    expected = np.isin(STUFF_LABELS, [123, 255])
    assert np.array_equal(data.mask(0).numpy() == 255, expected)


@pytest.mark.parametrize("label", [*(number - 1 for number in UNUSED), 182, 200, 254])
def test_a_label_of_no_class_is_refused(stuff_root: Path, label: int) -> None:
    """Train ids that somebody has written over the maps have the first of these."""
    data = opened(stuff_root)
    labels = STUFF_LABELS.copy()
    labels[40, 3] = label
    path = write(data.mask_path(0), labels)
    (problem,) = verify([data]).problems
    assert problem == (
        path,
        f"{path} holds label {label}, which is of no class of COCO-Stuff: take the files of "
        "stuffthingmaps_trainval2017.zip, whose labels are not numbered anew",
    )
    data.pair(1)


def cut(path: Path) -> object:
    return path.write_bytes(path.read_bytes()[:-40])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "is missing; put it there"),
    "cut": (cut, "cannot be decoded"),
    "a photograph": (
        lambda path: Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3)).save(path),
        "is a colour picture (RGB), not a label map",
    ),
    "of another size": (
        lambda path: write(path, STUFF_LABELS[:, 2:]),
        f"the mask is {HEIGHT}x{WIDTH - 2} but image '{FIRST}' is {HEIGHT}x{WIDTH}",
    ),
    "that lies on its side": (
        lambda path: write(path, STUFF_LABELS.T),
        f"the mask is {WIDTH}x{HEIGHT} but image '{FIRST}' is {HEIGHT}x{WIDTH}",
    ),
}


@pytest.mark.parametrize(("spoil", "says"), DAMAGES.values(), ids=DAMAGES)
def test_a_map_that_cannot_be_used_is_told_in_one_line(
    stuff_root: Path, spoil: Callable[[Path], object], says: str
) -> None:
    data = opened(stuff_root)
    path = data.mask_path(0)
    spoil(path)
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        data.pair(0)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert [problem.file for problem in verify([data]).problems] == [path]


def test_maps_without_an_image_are_named(stuff_root: Path) -> None:
    data = opened(stuff_root)
    data.image_path(1).unlink()
    # What a tool has made beside the maps is not theirs.
    write(data.mask_path(0).with_name(f"{FIRST}_labelTrainIds.png"), STUFF_LABELS)
    found = verify([opened(stuff_root)])
    assert found.ok
    assert found.notes == ("1 mask has no image: 000000000114.png",)


def test_maps_that_are_not_there_are_sought_in_all_places(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    with pytest.raises(DataError) as caught:
        opened(root)
    line = str(caught.value)
    assert line.startswith(f"{root} has no maps of COCO-Stuff: no *.png in any of ")
    for place in ("stuffthingmaps/", "annotations/", ""):
        assert f"{root}/{place}train2017" in line
    assert f"unpack stuffthingmaps_trainval2017.zip in {root}/stuffthingmaps" in line
    assert "\n" not in line


def test_images_that_are_not_there_are_told(tmp_path: Path) -> None:
    make_stuff(tmp_path)
    for path in (tmp_path / "train2017").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"no train2017 or images/train2017 with \*.jpg in any of"):
        opened(tmp_path)
    with pytest.raises(DataError, match=r"no subset 'test' in .*Known: train, val"):
        opened(tmp_path, "test")


def test_the_maps_are_of_2017(stuff_root: Path) -> None:
    with pytest.raises(RecipeError, match="'stuff' reads the maps of COCO-Stuff, which are of"):
        create_dataset("coco", stuff_root, classes="stuff", year=2014)
