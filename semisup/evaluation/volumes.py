"""Slices of a volume, labelled by a network for volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.channels import read_image
from semisup.data.volumes import as_volume, by_numbers, mirrored
from semisup.errors import DataError
from semisup.evaluation.inference import Inference
from semisup.ops.pixels import ImageKind


class Volume(Protocol):
    """What has slices: a data set of a stack, or files."""

    def context(self, first: int, last: int) -> Tensor:
        """Slices `first` to before `last`, mirrored beyond the ends: CDHW."""


class SliceFiles:
    """The pictures of one folder as the slices of a volume, by the numbers in their names.

    Args:
        paths: of the pictures.
        kind: channels and bits that they must have.
    """

    def __init__(self, paths: Sequence[Path], kind: ImageKind) -> None:
        self.paths = sorted(paths, key=lambda path: by_numbers(path.name))
        self._kind = kind

    def context(self, first: int, last: int) -> Tensor:
        """Slices `first` to before `last`, mirrored beyond the ends: CDHW.

        Raises:
            DataError: one cannot be read, or is of another size.
        """
        paths = self.paths_of(range(first, last))
        slices = {path: read_image(path, self._kind) for path in dict.fromkeys(paths)}
        return as_volume([slices[path] for path in paths], paths)

    def paths_of(self, places: range) -> list[Path]:
        """Where the slices at `places` lie, mirrored beyond the ends."""
        return [self.paths[mirrored(place, len(self.paths))] for place in places]


class _Labelled(NamedTuple):
    """The logits KDHW of slices of a volume that follow one another, from `first` on."""

    volume: Volume
    first: int
    logits: Tensor


class VolumeInference(Inference):
    """Applies a network for volumes to the slices of a stack: see `Inference`.

    The network is shown blocks of slices, and of each the half in the middle is kept: what lies at
    the border of a block is labelled in the next one. Each block is seen whole in its plane, or in
    sliding windows.

    Args:
        settings: those of `Inference`.
        depth: slices of a block.
        options: those of `Inference`.
    """

    def __init__(self, *settings: Any, depth: int = 16, **options: Any) -> None:
        super().__init__(*settings, **options)
        self._depth = depth
        self._last: _Labelled | None = None

    def logits_of(self, data: SegmentationData, index: int, image: Tensor) -> Tensor:
        """Logits KHW of slice `index`, from a block in whose middle it lies.

        Raises:
            DataError: the images are no slices of a volume.
        """
        return self.slice_logits(data, index)

    def slice_logits(self, volume: Volume, index: int) -> Tensor:
        """Logits KHW of slice `index`; errors as in `context`."""
        first = index // self._kept * self._kept
        if self._last is None or self._last.volume is not volume or self._last.first != first:
            places = self.places_around(index)
            block = volume.context(places.start, places.stop)
            middle = slice(first - places.start, first - places.start + self._kept)
            self._last = _Labelled(volume, first, self.logits(block[None])[0, :, middle])
        return self._last.logits[:, index - first]

    def places_around(self, index: int) -> range:
        """Of the slices that slice `index` is labelled from; some may be beyond the volume."""
        start = index // self._kept * self._kept - (self._depth - self._kept) // 2
        return range(start, start + self._depth)

    @property
    def _kept(self) -> int:
        """Slices of a block that are labelled."""
        return max(1, self._depth // 2)

    def _check(self, images: Tensor) -> None:
        kind = self.images.kind
        if images.ndim == 5 and images.shape[1] == kind.channels and images.dtype == kind.dtype:
            return
        raise DataError(
            f"images: cannot predict {images.dtype} of shape {tuple(images.shape)}. The network "
            f"reads volumes: label a folder of slices by predict_files, or give {kind} as a tensor "
            f"B{kind.channels}DHW of {kind.dtype}."
        )
