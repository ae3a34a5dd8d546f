"""Tiny trees in the official layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.io import savemat
from support.cityscapes import keep_polygons, make_cityscapes
from support.coco import make_coco, make_stuff
from support.indoor import (
    make_nyu_archive,
    make_nyu_folders,
    make_sun_exported,
    make_sun_toolbox,
)
from support.isbi import make_isbi

from semisup.data.formats.pictures import full_palette, voc_palette
from semisup.data.sets.camvid_classes import COLOURS, frames

SIZE = (6, 8)  # height, width

SaveMask = Callable[[Path, object], Path]


def picture(path: Path, size: tuple[int, int] = SIZE) -> Path:
    """The same pixels for all of a size; the name is in the file, so that no two are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.linspace(0, 255, size[0] * size[1] * 3).reshape(*size, 3).astype(np.uint8)
    note = PngInfo()
    note.add_text("name", path.name)
    options: dict[str, Any] = (
        {"pnginfo": note} if path.suffix == ".png" else {"comment": path.name.encode()}
    )
    if path.suffix == ".jpg":
        options["quality"] = 95
    Image.fromarray(rows).save(path, **options)
    return path


def save_mask(path: Path, labels: object) -> Path:
    """A palette PNG; a number fills it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full(SIZE, labels) if isinstance(labels, int) else np.asarray(labels)
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette(full_palette(voc_palette()))
    image.save(path)
    return path


def save_list(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def save_sbd(path: Path, labels: np.ndarray) -> Path:
    """As in SBD: GTcls is a 1x1 struct of Boundaries, Segmentation and CategoriesPresent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((20, 1), dtype=object)
    boundaries[:, 0] = [np.zeros(labels.shape, np.uint8)] * 20
    present = np.setdiff1d(np.unique(labels), [0]).reshape(-1, 1)
    fields = {
        "Boundaries": boundaries,
        "Segmentation": labels.astype(np.uint8),
        "CategoriesPresent": present,
    }
    savemat(path, {"GTcls": fields}, do_compression=True)
    return path


@pytest.fixture(name="picture")
def _picture() -> Callable[..., Path]:
    return picture


@pytest.fixture(name="save_mask")
def _save_mask() -> SaveMask:
    return save_mask


@pytest.fixture(name="save_list")
def _save_list() -> Callable[[Path, list[str]], Path]:
    return save_list


@pytest.fixture(name="save_sbd")
def _save_sbd() -> Callable[[Path, np.ndarray], Path]:
    return save_sbd


BOXES = """<annotation>
  <filename>2007_000001.jpg</filename>
  <object>
    <name>dog</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
    <bndbox><xmax>8</xmax><xmin>1</xmin><ymax>4.6000</ymax><ymin>2</ymin></bndbox>
    <part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax>
    </bndbox></part>
  </object>
  <object>
    <name>person</name><difficult>1</difficult>
    <bndbox><xmin>3</xmin><ymin>1</ymin><xmax>5</xmax><ymax>6</ymax></bndbox>
  </object>
</annotation>
"""


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """VOCdevkit/VOC2012: two train images (dog 12 and person 15, void), one val, one unlisted."""
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    for number in range(1, 5):
        picture(voc / "JPEGImages" / f"2007_00000{number}.jpg")
    labels = np.zeros(SIZE, np.uint8)
    labels[1:4, :4], labels[1:4, 4], labels[1:4, 5:] = 12, 255, 15
    save_mask(voc / "SegmentationClass" / "2007_000001.png", labels)
    save_mask(voc / "SegmentationClass" / "2007_000002.png", 15)
    save_mask(voc / "SegmentationClass" / "2007_000003.png", 3)
    instances = np.where(labels == 12, 1, np.where(labels == 15, 2, labels))
    save_mask(voc / "SegmentationObject" / "2007_000001.png", instances)
    (voc / "Annotations").mkdir()
    (voc / "Annotations" / "2007_000001.xml").write_text(BOXES)
    lists = voc / "ImageSets" / "Segmentation"
    save_list(lists / "train.txt", ["2007_000001", "2007_000002"])
    save_list(lists / "val.txt", ["2007_000003"])
    return tmp_path


@pytest.fixture
def cityscapes_root(tmp_path: Path) -> Path:
    """Cityscapes: two train images of two cities, one val image."""
    folder = tmp_path / "cityscapes"
    images = {"train": ("bochum", "aachen"), "val": ("lindau",)}
    for part, cities in images.items():
        for number, city in enumerate(cities):
            name = f"{city}_000000_00001{number}"
            picture(folder / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png")
            values = np.full(SIZE, 7 + number, np.uint8)  # road, sidewalk
            values[0], values[1] = 3, 33  # out of roi, bicycle
            path = folder / "gtFine" / part / city / f"{name}_gtFine_labelIds.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(values).save(path)
    return tmp_path


@pytest.fixture
def streets_root(tmp_path: Path) -> Path:
    """Cityscapes with label ids, instance ids and polygons: three train images, one of val."""
    return make_cityscapes(tmp_path)


@pytest.fixture
def instances_root(streets_root: Path) -> Path:
    """Cityscapes with label ids and instance ids alone."""
    for path in streets_root.rglob("*_polygons.json"):
        path.unlink()
    return streets_root


@pytest.fixture
def polygons_root(streets_root: Path) -> Path:
    """Cityscapes with polygons alone."""
    return keep_polygons(streets_root)


@pytest.fixture
def ade20k_root(tmp_path: Path) -> Path:
    """ADE20K's challenge: two train images, one val image."""
    folder = tmp_path / "ADEChallengeData2016"
    for part, names in {"training": ("train_2", "train_1"), "validation": ("val_1",)}.items():
        for number, name in enumerate(names):
            picture(folder / "images" / part / f"ADE_{name}.jpg")
            values = np.full(SIZE, 1 + number, np.uint8)  # wall, building
            values[0], values[1] = 0, 150  # other, flag
            path = folder / "annotations" / part / f"ADE_{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    return tmp_path


@pytest.fixture
def segnet_root(tmp_path: Path) -> Path:
    """CamVid in SegNet's layout: two train, one val and one test image."""
    folder = tmp_path / "CamVid"
    for part, names in {"train": ["a1", "a2"], "val": ["b1"], "test": ["c1"]}.items():
        lines = []
        for label, name in enumerate(names):
            picture(folder / part / f"{name}.png")
            values = np.full(SIZE, label, np.uint8)
            values[0] = 11
            (folder / f"{part}annot").mkdir(exist_ok=True)
            Image.fromarray(values).save(folder / f"{part}annot" / f"{name}.png")
            prefix = "/SegNet/CamVid/"
            lines.append(f"{prefix}{part}/{name}.png {prefix}{part}annot/{name}.png")
        save_list(folder / f"{part}.txt", lines)
    return tmp_path


@pytest.fixture
def original_root(tmp_path: Path) -> Path:
    """The original CamVid with the first val frame only; its mask has all 32 colours."""
    name = frames("val")[0]
    picture(tmp_path / "701_StillsRaw_full" / f"{name}.png", (4, 8))
    colours = np.array(list(COLOURS.values()), np.uint8).reshape(4, 8, 3)
    (tmp_path / "LabeledApproved_full").mkdir()
    Image.fromarray(colours).save(tmp_path / "LabeledApproved_full" / f"{name}_L.png")
    return tmp_path


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    """MS COCO in its layout: four train and two val images of three categories."""
    return make_coco(tmp_path)


@pytest.fixture
def stuff_root(tmp_path: Path) -> Path:
    """COCO-Stuff's maps: four train and two val images, and no annotations."""
    return make_stuff(tmp_path)


@pytest.fixture
def nyu_archive_root(tmp_path: Path) -> Path:
    """NYU Depth v2 as published: two train frames and two of test in one archive."""
    make_nyu_archive(tmp_path)
    return tmp_path


@pytest.fixture
def nyu_folders_root(tmp_path: Path) -> Path:
    """NYU Depth v2 in folders: two train images, one of test."""
    make_nyu_folders(tmp_path)
    return tmp_path


@pytest.fixture
def sun_toolbox_root(tmp_path: Path) -> Path:
    """SUN RGB-D as published: two train images and two of test."""
    make_sun_toolbox(tmp_path)
    return tmp_path


@pytest.fixture
def sun_exported_root(tmp_path: Path) -> Path:
    """SUN RGB-D's exported labels: three train images, two of test."""
    make_sun_exported(tmp_path)
    return tmp_path


@pytest.fixture
def folder_root(tmp_path: Path) -> Path:
    """A user's folder with three images of different suffixes and two classes."""
    for name in ("one.jpg", "two.jpeg", "three.png"):
        picture(tmp_path / "images" / name)
        save_mask(tmp_path / "masks" / f"{Path(name).stem}.png", 1)
    save_list(tmp_path / "classes.txt", ["background", "tall building 128 0 0"])
    save_list(tmp_path / "train.txt", ["two", "one"])
    save_list(tmp_path / "val.txt", ["three"])
    return tmp_path


@pytest.fixture
def stack_root(tmp_path: Path) -> Path:
    """A user's stack of twelve slices."""
    for number in range(12):
        picture(tmp_path / "images" / f"slice{number}.png")
        save_mask(tmp_path / "masks" / f"slice{number}.png", number % 2)
    save_list(tmp_path / "classes.txt", ["membrane", "cell"])
    return tmp_path


@pytest.fixture
def isbi_root(tmp_path: Path) -> Path:
    """The challenge's two files, of ten pages."""
    return make_isbi(tmp_path)
