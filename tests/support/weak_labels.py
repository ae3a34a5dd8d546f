"""Kinds of weak label to try, and masks of irregular regions to try them on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from semisup.data.weak_labels.base import ImageRandom, Truth, WeakKind, weaken
from semisup.data.weak_labels.blocks import Blocks
from semisup.data.weak_labels.boxes import Boxes, RefinedBoxes
from semisup.data.weak_labels.clicks import Click
from semisup.data.weak_labels.coarse import Coarse
from semisup.data.weak_labels.points import Points
from semisup.data.weak_labels.scribbles import Scribbles

VOID = 255


def blobs(seed: int, height: int = 40, width: int = 56, classes: int = 4) -> npt.NDArray[np.uint8]:
    """A mask of irregular regions of every size, with void between some."""
    noise = np.random.default_rng(seed).standard_normal((classes, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 4, 4))
    mask = smooth.argmax(0).astype(np.uint8)
    if classes > 1:
        best = np.sort(smooth, axis=0)
        mask[best[-1] - best[-2] < 0.01] = VOID
    return mask


EXACT: dict[str, WeakKind] = {
    "points": Points(),
    "points of classes": Points(per="class", clicks=3, radius=0),
    "scribbles": Scribbles(),
    "thin scribbles": Scribbles(width=1, length=0.2),
    "blocks": Blocks(share=0.3),
}
"""Kinds that never say anything wrong."""

ALL = {
    **EXACT,
    "clicks beside": Points(miss_rate=0.5),
    "boxes": Boxes(),
    "boxes off": Boxes(jitter=3.0),
    "refined boxes": RefinedBoxes(),
    "coarse": Coarse(),
    "grown": Coarse(dilate=2, margin=2),
    "shrunk": Coarse(dilate=-2, corners=4),
}


def coloured(mask: npt.NDArray[np.uint8]) -> Tensor:
    """A picture of a mask: a colour for each class, and a few levels of noise."""
    colours = np.random.default_rng(0).integers(20, 236, (256, 3))
    noise = np.random.default_rng(1).integers(-9, 10, (*mask.shape, 3))
    return torch.from_numpy((colours[mask] + noise).astype(np.uint8)).permute(2, 0, 1)


def made(kind: WeakKind, mask: npt.NDArray[np.uint8], seed: int = 0) -> npt.NDArray[np.uint8]:
    truth = Truth(mask, picture=lambda: coloured(mask))
    return weaken(kind, truth, "one", seed)


def clicks(kind: Points, mask: npt.NDArray[np.uint8], seed: int = 0) -> list[Click]:
    return [click for _, click in kind.place(Truth(mask), ImageRandom(seed, "points", "one"))]
