"""How far self-teaching can be trusted: its choice of pixels on images whose masks are known.

A method that teaches itself chooses pixels of unlabelled images and takes its own answer there for
the truth. Whether it is the truth cannot be seen there. So the same choice is made on images that
have a mask and are not trained on: the held-out ones where the recipe keeps some, else those that
are reported. They are only watched: nothing that is computed here comes back into the training, and
no checkpoint is chosen by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.loading.samples import RawBatch
from semisup.data.loading.to_device import to_device
from semisup.data.views.cropping import Axis, View, cut_out
from semisup.methods.base import Method
from semisup.metrics.confusion import label_map
from semisup.monitoring.snapshots import looking, spread
from semisup.system.device import Precision, autocast
from semisup.system.distributed import from_first
from semisup.types import IGNORE, Labelled

IMAGES = 64
"""Looked at, at most."""

BATCH = 4
"""Crops that go through the networks together; small beside a batch of training."""


def may_trust(method: Method) -> bool:
    """Whether the method uses pseudo-labels (overrides `trusted`)."""
    return type(method).trusted is not Method.trusted


class Trust:
    """Asks a method which pixels it would teach itself, and counts how many are right.

    The images are the same at every look: spread evenly over `ids`, the centre of each, padded
    where it is smaller. They are decoded at the first look and kept as bytes.

    Args:
        data: the set that `ids` are in.
        ids: images with masks that are not trained on.
        crop: height and width of what the networks see, in pixels; None for whole images, which go
            through one by one.
        device: where to compute.
        precision: of the forward passes, as in training.
        channels_last: whether the images lie in memory as NHWC, as in training.

    Attributes:
        silent: whether the method said, at the last look, that nothing is self-taught.
    """

    def __init__(
        self,
        data: SegmentationData,
        ids: Sequence[str],
        crop: tuple[int, int] | None,
        device: torch.device,
        precision: Precision,
        *,
        channels_last: bool = False,
    ) -> None:
        self._data = data
        self._ids = [ids[place] for place in spread(len(ids), IMAGES)]
        self._crop, self._size = crop, BATCH if crop else 1
        self._device, self._precision = device, precision
        self._memory = torch.channels_last if channels_last else torch.contiguous_format
        self._kept: list[RawBatch] = []
        self._last: list[dict[str, float]] = []
        self.silent = False

    def __call__(self, method: Method) -> dict[str, float]:
        """Look once.

        Of several processes all look at the same, since a method may ask the others for numbers of
        theirs; what the first has counted holds.

        Returns:
            `self_taught_accuracy`, share of the trusted pixels whose prediction is the truth (left
            out where no pixel is trusted); `labelled_accuracy`, that of all pixels;
            `trusted_share`, share of the pixels that are trusted. Void counts nowhere. Empty where
            the method says that nothing is self-taught.

        Raises:
            DataError: an image or its mask cannot be used.
        """
        found = self._look(method)
        return from_first(lambda: found)

    def remember(self, look: Mapping[str, float]) -> None:
        """Count a look among those that `standing` tells of, once it is recorded."""
        if look:
            self._last = [*self._last, dict(look)][-2:]

    def standing(self) -> dict[str, float]:
        """What the health of the run is told: the better of the last two looks.

        One look may be bad by chance, or while the game turns; what is bad here was bad twice.

        Returns:
            As a look; empty before there were two, and where one of them had nothing to trust.
        """
        if len(self._last) < 2 or any("self_taught_accuracy" not in look for look in self._last):
            return {}
        return max(self._last, key=lambda x: x["self_taught_accuracy"] - x["labelled_accuracy"])

    def state_dict(self) -> dict[str, Any]:
        """The last two looks, as plain numbers."""
        return {"last": [dict(look) for look in self._last]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._last = [dict(look) for look in state["last"]]

    def _look(self, method: Method) -> dict[str, float]:
        counts = torch.zeros(4, dtype=torch.int64, device=self._device)
        with looking(method, self._device):
            for raw in self._batches():
                shown = to_device(raw, self._device, memory_format=self._memory)
                assert isinstance(shown, Labelled)
                with autocast(self._precision, self._device):
                    logits = method.segmenter(shown.image)
                    trusted = method.trusted(shown.image, logits)
                self.silent = trusted is None
                if trusted is None:
                    return {}
                counts += _count(logits[:, : self._data.num_classes], trusted, shown.mask)
        known, right, chosen, taught = counts.tolist()
        if not known:
            return {}
        accuracy = {"self_taught_accuracy": taught / chosen} if chosen else {}
        return accuracy | {"labelled_accuracy": right / known, "trusted_share": chosen / known}

    def _batches(self) -> Iterator[RawBatch]:
        """All of the crops; decoded where they are asked for the first time."""
        for at, first in enumerate(range(0, len(self._ids), self._size)):
            if at == len(self._kept):
                self._kept.append(self._load(self._ids[first : first + self._size]))
            yield self._kept[at]

    def _load(self, ids: Sequence[str]) -> RawBatch:
        views = [self._centre(self._data.index(name)) for name in ids]
        masks = [view.mask for view in views if view.mask is not None]
        return RawBatch(
            images=torch.stack([view.image for view in views]),
            masks=torch.stack(masks),
            valid=torch.stack([view.valid for view in views]),
            strong=None,
            ids=tuple(ids),
        )

    def _centre(self, index: int) -> View:
        image, mask = self._data.pair(index)
        size = image.shape[-2:]
        rows, columns = (_middle(*pair) for pair in zip(size, self._crop or size, strict=True))
        return cut_out(image, mask, rows, columns, crop=self._crop, flip=False)


def _middle(size: int, crop: int) -> Axis:
    """The middle of an axis, at its own scale."""
    length = min(size, crop)
    return Axis((size - length) // 2, length, length)


def _count(logits: Tensor, trusted: Tensor, mask: Tensor) -> Tensor:
    """Pixels that are known; of them right, trusted, and both. Nothing waits for the device.

    Args:
        logits: BKHW.
        trusted: BHW bool.
        mask: BHW int64, 0..K-1 and `IGNORE`.

    Returns:
        4 int64.
    """
    known = mask != IGNORE
    right = (label_map(logits.float()) == mask) & known
    chosen = trusted & known
    return torch.stack([part.sum() for part in (known, right, chosen, right & chosen)])
