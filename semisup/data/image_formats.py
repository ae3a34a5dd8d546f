"""What the values of a data set's images are: measured, and fitted to what a network was given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semisup.data.base import SegmentationData, WrappedData
from semisup.errors import DataError
from semisup.ops.pixels import GREY, RGB, RGB_FORMAT, ImageFormat, ImageKind
from semisup.system.progress import track

MOST_IMAGES = 1000
"""That are measured, spread evenly over the set."""


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """What the images of a set hold, channel by channel.

    Attributes:
        kind: channels and bits.
        images: number of images that were measured.
        mean: over all their pixels, in shares of the largest value.
        std: deviation over all their pixels, likewise.
        lowest: value, as stored.
        highest: value, as stored.
    """

    kind: ImageKind
    images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    lowest: tuple[int, ...]
    highest: tuple[int, ...]

    @property
    def constant(self) -> list[int]:
        """Channels, from 1, that have one value everywhere."""
        pairs = zip(self.lowest, self.highest, strict=True)
        return [number for number, (low, high) in enumerate(pairs, start=1) if low == high]

    def format(self) -> ImageFormat:
        """How a run normalises such images; a constant channel becomes 0 everywhere."""
        std = tuple(1.0 if one == 0 else one for one in self.std)
        return ImageFormat(self.mean, std, self.kind.bits)


def measure_images(data: SegmentationData) -> ImageStatistics:
    """Mean, deviation and range of each channel; opens at most `MOST_IMAGES` images and no mask.

    Raises:
        DataError: there is no image, or one cannot be read.
    """
    chosen = range(0, len(data), -(-len(data) // MOST_IMAGES) or 1)
    if not chosen:
        raise DataError(f"{data.name} {data.subset}: there is no image to measure")
    kind = data.image_kind
    count = 0
    totals = np.zeros((2, kind.channels))
    lowest = np.full(kind.channels, 2**kind.bits)
    highest = np.full(kind.channels, -1)
    for index in track(chosen, "measuring images"):
        values = data.image(index).flatten(1).numpy().astype(np.float64)
        count += values.shape[1]
        # Sums of whole numbers are exact in float64: the order of the pixels does not matter.
        totals += values.sum(axis=1), np.square(values).sum(axis=1)
        lowest = np.minimum(lowest, values.min(axis=1).astype(int))
        highest = np.maximum(highest, values.max(axis=1).astype(int))
    mean, squares = totals / count
    largest = 2**kind.bits - 1
    deviation = np.sqrt(np.maximum(0, squares - mean**2))
    deviation[lowest == highest] = 0
    return ImageStatistics(
        kind,
        len(chosen),
        tuple((mean / largest).tolist()),
        tuple((deviation / largest).tolist()),
        tuple(lowest.tolist()),
        tuple(highest.tolist()),
    )


def format_of(data: SegmentationData) -> ImageFormat:
    """How a run on `data` normalises: 8-bit RGB as ImageNet's images, all else as it is measured.

    Raises:
        DataError: an image that is measured cannot be read.
    """
    return RGB_FORMAT if data.image_kind == RGB else measure_images(data).format()


def constant_channels(images: ImageFormat) -> list[int]:
    """Channels, from 1, that had one value in all images that were measured."""
    pairs = zip(images.mean, images.std, strict=True)
    return [number for number, (_, std) in enumerate(pairs, start=1) if std == 1.0]


class GreyAsRGB(WrappedData):
    """A data set of 8-bit grey images, as RGB of three equal channels.

    Args:
        data: the data set in it.
    """

    @property
    def image_kind(self) -> ImageKind:
        """8-bit RGB."""
        return RGB

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW; errors as in the data set."""
        return torch.cat([self._data.image(index)] * 3)

    def context(self, first: int, last: int) -> Tensor:
        """Slices of a volume: uint8 3DHW; errors as in the data set."""
        return torch.cat([self._data.context(first, last)] * 3)


def fitted(data: SegmentationData, kind: ImageKind) -> SegmentationData:
    """`data` with images of `kind`: itself, or grey ones as RGB.

    Raises:
        DataError: its images are of another kind.
    """
    if data.image_kind == kind:
        return data
    if (data.image_kind, kind) == (GREY, RGB):
        return GreyAsRGB(data)
    raise DataError(
        f"{data.name} {data.subset} in {data.root} has images of another kind: {data.image_kind} "
        f"(expected: {kind})"
    )
