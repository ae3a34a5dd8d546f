"""CutMix: boxes of one image pasted into another one.

Yun et al., "CutMix", ICCV 2019, https://arxiv.org/abs/1905.04899; for segmentation French et al.,
"Semi-supervised semantic segmentation needs strong, varied perturbations", BMVC 2020,
https://arxiv.org/abs/1906.01916.

Boxes are made on the device, from numbers that came with the images: nothing waits for the host,
and a box depends on its image's place in the stream alone, however many processes share a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class BoxRule:
    """How the boxes of an image are drawn.

    Attributes:
        area: smallest and largest share of the image that its boxes cover, if they do not overlap.
        ratio: smallest and largest height over width, as shares of the sides, drawn uniformly from
            what fits into the image. None: height share area^u and width share area^(1 - u), u
            uniform in [0, 1): every box that fits, narrow ones as often as wide ones.
        chance: of an image to have boxes at all.
        boxes: of each image; where two of them overlap, the overlap is outside again.
    """

    area: tuple[float, float]
    ratio: tuple[float, float] | None = None
    chance: float = 1.0
    boxes: int = 1

    @property
    def numbers(self) -> int:
        """How many numbers an image's boxes are drawn from: R of `draw`."""
        return 1 + 4 * self.boxes

    def draw(self, numbers: Tensor, size: tuple[int, ...]) -> Tensor:
        """The boxes of each image.

        Args:
            numbers: BR, uniform in [0, 1); those after the first `self.numbers` are not used.
            size: H and W.

        Returns:
            BHW bool, True inside.
        """
        assert numbers.shape[1] >= self.numbers, (numbers.shape, self.numbers)
        numbers = numbers[:, : self.numbers]
        chosen = numbers[:, 0] < self.chance
        extent, shape, top, left = numbers[:, 1:].reshape(len(numbers), self.boxes, 4).unbind(2)
        height, width = self._sides(extent, shape)
        rows, columns = _between(top, height, size[0]), _between(left, width, size[1])
        boxes = rows[:, :, :, None] & columns[:, :, None, :]
        inside = boxes[:, 0] if self.boxes == 1 else boxes.sum(1) % 2 == 1
        return inside & chosen[:, None, None]

    def _sides(self, extent: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Height and width of each box as shares of the image's, from two numbers each."""
        area = self.area[0] + (self.area[1] - self.area[0]) * extent
        if self.ratio is None:
            height = area**shape
            width = area / height
        else:
            low, high = area.clamp(min=self.ratio[0]), (1 / area).clamp(max=self.ratio[1])
            ratio = low + (high - low) * shape
            height, width = (area * ratio).sqrt(), (area / ratio).sqrt()
        shrink = self.boxes**-0.5
        return height * shrink, width * shrink


FRENCH = BoxRule(area=(0.5, 0.5))
"""One box over half of the image (cutmix-semisup-seg, mask_gen.py)."""

CPS = BoxRule(area=(0.25, 0.5), boxes=3)
"""Three boxes (TorchSemiSeg, config.py of exp.voc/*cutmix*)."""

UNIMATCH = BoxRule(area=(0.02, 0.4), ratio=(0.3, 1 / 0.3), chance=0.5)
"""One box in half of the images (UniMatch, dataset/transform.py).

The authors draw ratio and corner until the box fits, which favours boxes nearer to the sides' own
ratio: their log ratio deviates by 0.56, here by 0.60.
"""


def _between(number: Tensor, share: Tensor, length: int) -> Tensor:
    """Which of `length` rows or columns lie in each box: BNL bool, from BN numbers and shares."""
    extent = (share * length).round()
    start = (number * (length - extent + 1)).floor()
    places = torch.arange(length, device=number.device)
    return (places >= start[..., None]) & (places < (start + extent)[..., None])


def partners(images: Tensor) -> Tensor:
    """Another image of the batch for each: of every two the other one, of an odd batch that before.

    Args:
        images: B first; a batch of one is its own partner.

    Returns:
        The same shape and memory format.
    """
    if len(images) % 2:
        swapped = images.roll(1, 0)
    else:
        swapped = torch.stack([images[1::2], images[::2]], dim=1).flatten(0, 1)
    if images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last):
        return swapped.contiguous(memory_format=torch.channels_last)
    return swapped


def sampled(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Masks at the pixel nearest to the middle of each cell of a coarser grid.

    Args:
        masks: BHW bool: boxes, or what is valid.
        size: h and w; H and W leave them as they are.

    Returns:
        Bhw bool.
    """
    if masks.shape[-2:] == torch.Size(size):
        return masks
    coarse = F.interpolate(masks[:, None].float(), tuple(size), mode="nearest-exact")
    return coarse[:, 0] > 0


def paste(inside: Tensor, outside: Tensor, boxes: Tensor) -> Tensor:
    """`inside` within the boxes and `outside` elsewhere.

    Args:
        inside: BHW or BCHW.
        outside: of the same shape.
        boxes: BHW bool.
    """
    return torch.where(boxes if inside.ndim == 3 else boxes[:, None], inside, outside)


def cut_and_mixed(boxes: Tensor, maps: Tensor, inside: Tensor | None = None) -> Tensor:
    """Each map of a batch with other values in its boxes.

    Args:
        boxes: BHW bool.
        maps: BHW or BCHW: images, labels or what is valid.
        inside: of the same shape, what the boxes show; None: the maps of their partners.
    """
    return paste(partners(maps) if inside is None else inside, maps, boxes)
