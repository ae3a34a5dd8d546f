"""How the classes of a mask meet: side by side, or over the labels between theirs.

A mask that was resized as photographs are (bilinear, bicubic), or saved as JPEG, has a thin seam
between the classes 0 and 15 where the labels pass through 1 to 14. Thin objects make such a seam
by chance, at few of the borders: at no more than 11 % in any mask of VOC, CamVid, NYUDv2,
Cityscapes and ADE20K, against 45 % and more after smooth resizing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from semisup.types import IGNORE

_ROWS = 64
"""About as many rows of a mask are read."""
_THIN = 3
"""Pixels of a row up to which what is between two classes is a seam."""
_ENOUGH = 10
"""Borders from which on their kinds tell something."""
_ROW_END = -1


class Seams(NamedTuple):
    """Borders along rows of a mask, between classes whose labels are 2 or more apart.

    Attributes:
        smooth: number of those that pass through labels between the two, within 3 pixels.
        sharp: number of those where the two are neighbours.
        between: the labels passed through.
    """

    smooth: int = 0
    sharp: int = 0
    between: frozenset[int] = frozenset()

    @property
    def prevail(self) -> bool:
        """Whether most borders are smooth, of enough to tell."""
        borders = self.smooth + self.sharp
        return borders >= _ENOUGH and 2 * self.smooth > borders


def seams_of(mask: Tensor) -> Seams:
    """How the classes of a mask (uint8 HW) meet, in some of its rows; void is no class."""
    labels, starts = _runs(mask[:: max(1, mask.shape[0] // _ROWS)].numpy())
    ends = np.append(starts[1:], starts[-1] + 1)
    is_region = (ends - starts >= _THIN) & (labels != IGNORE) & (labels != _ROW_END)
    sharp, smooth, between = 0, 0, frozenset[int]()
    for apart in range(1, min(_THIN + 2, len(labels))):
        found = is_region[:-apart] & is_region[apart:]
        found &= abs(labels[apart:] - labels[:-apart]) >= 2
        found &= starts[apart:] - ends[:-apart] <= _THIN
        if apart == 1:
            sharp = int(found.sum())
        elif found.any():
            passed = _passed_through(labels, np.flatnonzero(found), apart)
            smooth += len(passed)
            between |= frozenset(passed.ravel().tolist())
    return Seams(smooth, sharp, between)


def _passed_through(
    labels: npt.NDArray[np.int16], places: npt.NDArray[np.intp], apart: int
) -> npt.NDArray[np.int16]:
    """What is between the runs at `places` and those `apart`, where labels only rise or fall."""
    ways = labels[places[:, None] + np.arange(apart + 1)]
    steps = np.diff(ways, axis=1)
    is_monotone = (steps > 0).all(1) | (steps < 0).all(1)
    passed: npt.NDArray[np.int16] = ways[is_monotone, 1:-1]
    return passed


def _runs(rows: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.intp]]:
    """The label and the first pixel of each run of equal pixels, row after row."""
    pixels = np.full((rows.shape[0], rows.shape[1] + 1), _ROW_END, np.int16)
    pixels[:, :-1] = rows
    pixels = pixels.ravel()
    starts = np.concatenate(([0], np.flatnonzero(pixels[1:] != pixels[:-1]) + 1))
    return pixels[starts], starts
