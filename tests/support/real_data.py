"""A few real images of each set, and what shrinks a recipe to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from semisup.recipe.load import load_recipe
from semisup.runs.assemble import open_data
from semisup.runs.paths import Paths

TINY = [
    "data.unlabelled_batch=2",
    "data.workers=0",
    "model.weights=",
    "train.steps=2",
    "train.accumulate=1",
    "eval.pictures=1",
    "eval.boundary=false",
    "eval.scales=[0.25]",
]
"""Changes that make any of them a matter of seconds."""

SMALLER = {
    "deconvnet": ["model.width=16"],
    "dpt": ["model.backbone=dinov2_small"],
    "fcn16s": ["model.width=16"],
    "fcn32s": ["model.width=16"],
    "fcn8s": ["model.width=16"],
    "fcn8s_at_once": ["model.width=16"],
    "gfrnet": ["model.width=16"],
    "refinenet": ["model.width=16"],
}
"""Further changes, for networks that are large at any size of the image."""


def shrunk(name: str, more: Sequence[str] = ()) -> list[str]:
    """Changes that shrink a recipe, in each of its stages.

    Args:
        name: of the recipe.
        more: changes that the recipe of a later stage makes.
    """
    stated = load_recipe(name, more)
    changes = [*more, *TINY, *SMALLER.get(stated.model.name, [])]
    if stated.data.crop == "whole":
        changes.append("data.scale=[0.25, 0.25]")
    else:
        changes += ["data.crop=[64, 64]", "data.labelled_batch=2"]
    if stated.first is not None:
        first = shrunk(stated.init.recipe, stated.init.changes)
        changes.append(f"init.set={json.dumps(first)}")
    return changes


def shorten(source: Path, target: Path, lines: int) -> None:
    """The first lines of a list."""
    target.parent.mkdir(parents=True, exist_ok=True)
    first = source.read_text(encoding="utf-8").splitlines()[:lines]
    target.write_text("".join(f"{line}\n" for line in first), encoding="utf-8")


def fill(root: Path, shared: Path) -> None:
    """A few training images of each set, and two others but for COCO's 45, by links, if missing."""
    if list(root.iterdir()):
        return
    camvid = shared / "camvid_jpg"
    for subset, lines in {"train": 16, "val": 2, "test": 2}.items():
        shorten(camvid / f"{subset}.txt", root / "CamVid" / f"{subset}.txt", lines)
        for folder in (subset, f"{subset}annot"):
            (root / "CamVid" / folder).symlink_to(camvid / folder)
    voc, lists = shared / "voc2012_small" / "VOCdevkit" / "VOC2012", Path("ImageSets/Segmentation")
    for subset, lines in {"train": 16, "train_aug": 16, "val": 2}.items():
        name = lists / f"{subset}.txt"
        shorten(voc / name, root / "VOC2012" / name, lines)
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug"):
        (root / "VOC2012" / folder).symlink_to(voc / folder)
    for part in ("leftImg8bit", "gtFine"):
        for subset, city in {"train": "aachen", "val": "bochum"}.items():
            (root / "cityscapes" / part / subset).mkdir(parents=True)
            place = shared / "cityscapes" / part / "train" / city
            (root / "cityscapes" / part / subset / city).symlink_to(place)
    for part, ending in {"images": "jpg", "annotations": "png"}.items():
        for subset, count in {"training": 6, "validation": 2}.items():
            (root / "ade20k" / part / subset).mkdir(parents=True)
            for path in sorted((shared / "ade20k" / part / subset).glob(f"*.{ending}"))[:count]:
                (root / "ade20k" / part / subset / path.name).symlink_to(path)
    for subset, lines in {"train": 16, "test": 2}.items():
        name = f"{subset}.txt"
        shorten(shared / "nyudv2_small" / name, root / "nyudv2" / name, lines)
    for part in ("image", "label40"):
        (root / "nyudv2" / part).symlink_to(shared / "nyudv2_small" / part)
    (root / "coco").symlink_to(shared / "coco")


def on_few(name: str, changes: Sequence[str], paths: Paths, list_: Path) -> list[str]:
    """The changes, with half of the few images in place of a published list.

    Args:
        name: of the recipe.
        changes: of its keys.
        paths: where the few images are.
        list_: file to write.
    """
    if not load_recipe(name).data.split.startswith("file:"):
        return [*changes]
    ids = open_data(load_recipe(name, changes), paths).ids
    list_.write_text("".join(f"{one}\n" for one in ids[: len(ids) // 2]), encoding="utf-8")
    return [*changes, f"data.split=file:{list_}"]
