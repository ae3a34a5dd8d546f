"""Weak labels of a whole data set, as a folder of masks that a recipe reads with data.masks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.pictures import write_palette_png
from semisup.data.weak_labels.base import (
    Drawn,
    Labels,
    Truth,
    WeakKind,
    background_of,
    weaken,
)
from semisup.data.weak_labels.blocks import Blocks
from semisup.data.weak_labels.boxes import Boxes, RefinedBoxes
from semisup.data.weak_labels.coarse import Coarse
from semisup.data.weak_labels.costs import Content, Costs
from semisup.data.weak_labels.manifest import claimed, manifest
from semisup.data.weak_labels.points import Points
from semisup.data.weak_labels.scribbles import Scribbles
from semisup.errors import DataError
from semisup.system.progress import track
from semisup.system.threads import in_threads
from semisup.types import IGNORE

KINDS: dict[str, type[WeakKind]] = {
    kind.name: kind for kind in (Blocks, Boxes, Coarse, Points, RefinedBoxes, Scribbles)
}


@dataclass(frozen=True, slots=True)
class Weakened:
    """What was written.

    Attributes:
        images: files.
        without: images of the subset that have no label.
        share: of the pixels of the files that have a label, in [0, 1].
        seconds: what the labels cost by the costs given; None where they were not made of masks.
    """

    images: int
    without: int
    share: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class _One:
    labelled: int
    pixels: int
    content: Content | None


def write_weak_labels(
    out: Path,
    data: SegmentationData,
    kind: WeakKind,
    *,
    seed: int,
    costs: Costs,
    sources: Sequence[Path] | None = None,
) -> Weakened:
    """Write the weak label of each image as OUT/<id>.png, and beside them what they are.

    The same call again writes the same files: one that was interrupted is simply repeated.

    Args:
        out: folder, made where it is missing.
        data: images and masks.
        kind: of label.
        seed: of what is drawn.
        costs: of a person's time.
        sources: of labels that people have made, see `WeakKind.annotated`; None: of the masks.

    Raises:
        DataError: the folder holds masks of something else, or a file cannot be used.
        RecipeError: as `WeakKind.annotated`.
        RunError: a file cannot be written.
    """
    drawn = None if sources is None else kind.annotated(data, sources)
    with claimed(out, manifest(data, kind.name, vars(kind), seed, sources)):
        return _write(out, data, kind, seed, costs, drawn)


def _write(
    out: Path,
    data: SegmentationData,
    kind: WeakKind,
    seed: int,
    costs: Costs,
    drawn: Drawn | None,
) -> Weakened:
    background = background_of(data)

    def one(index: int) -> _One | None:
        content = None
        if drawn is not None:
            labels = drawn(index)
        else:
            mask = data.mask(index)
            picture = functools.partial(data.image, index)
            truth = Truth(mask.numpy(), numbers_of(data, index, mask), background, picture)
            labels = weaken(kind, truth, data.ids[index], seed)
            content = _content(truth, data)
        if labels is None:
            return None
        path = out / f"{data.ids[index]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_palette_png(path, torch.from_numpy(labels), data.palette)
        return _One(int(np.count_nonzero(labels != IGNORE)), labels.size, content)

    indices = [index for index in range(len(data)) if drawn is not None or data.has_mask(index)]
    written, labelled, pixels, seconds = 0, 0, 0, 0.0
    for found in track(in_threads(one, indices), f"drawing {kind.name}", len(indices)):
        if found is None:
            continue
        written += 1
        labelled += found.labelled
        pixels += found.pixels
        if found.content is not None:
            seconds += kind.seconds(costs, found.content)
    if not written:
        raise DataError(
            f"no image of {data.name} {data.subset} has {kind.name}: nothing is written"
        )
    share = labelled / max(1, pixels)
    return Weakened(written, len(data) - written, share, seconds if drawn is None else None)


def numbers_of(data: SegmentationData, index: int, mask: Tensor) -> Labels | None:
    """The numbers of the objects of an image, HW as its mask; None where none are told apart.

    Raises:
        DataError: their map is of another size.
    """
    numbers = data.object_numbers(index)
    if numbers is None:
        return None
    if numbers.shape != mask.shape:
        raise DataError(
            f"{data.mask_path(index)} is {mask.shape[0]}x{mask.shape[1]}, but the map of the "
            f"image's objects is {numbers.shape[0]}x{numbers.shape[1]} (height x width): mend or "
            "remove that map"
        )
    return np.asarray(numbers.numpy())


def _content(truth: Truth, data: SegmentationData) -> Content:
    """What there is to label in an image, background apart."""
    objects = [region.label for region in truth.regions if region.label != truth.background]
    return Content(
        asked=data.num_classes - (truth.background == 0),
        classes=len(set(objects)),
        objects=len(objects),
        grounds=len(truth.regions) - len(objects),
    )
