"""Objects in a crop: which of them are left, and their boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from semisup.types import Instances


def instances_in(masks: Tensor, labels: Tensor) -> Instances:
    """The objects that a crop holds, each with the box around what is left of it.

    Args:
        masks: uint8 NHW, 1 where a pixel of the crop is of the object, another value elsewhere.
        labels: N int64.
    """
    covers = masks == 1
    kept = covers.flatten(1).any(1)
    covers = covers[kept]
    return Instances(boxes_around(covers), labels[kept], covers.to(torch.uint8))


def boxes_around(covers: Tensor) -> Tensor:
    """N4 float32, x0, y0, x1, y1, around each of NHW bool, none of which is empty.

    The right and lower sides are behind the last pixel, so that one pixel is a box of side 1.
    """
    (x0, x1), (y0, y1) = _ends(covers.any(1)), _ends(covers.any(2))
    return torch.stack([x0, y0, x1, y1], dim=1).float()


def _ends(along: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the one behind the last True of each row of a NL bool."""
    values = along.to(torch.uint8)
    if not len(along):
        return values.new_zeros(0), values.new_zeros(0)
    return values.argmax(1), along.shape[1] - values.flip(1).argmax(1)
