"""The quality of pseudo-labels, on images whose masks are known.

A method that teaches pseudo-labels takes predictions on unlabelled images for the truth. Whether
they are cannot be seen there. So it is asked for the labels of images that have a mask and are not
trained on: the held-out ones where the recipe keeps some, else those that are reported. Nothing
that is computed here comes back into the training, and no checkpoint is chosen by it.
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
from semisup.metrics.calibration import BINS, calibration_counts, calibration_error
from semisup.metrics.confusion import label_map
from semisup.monitoring.snapshots import spread, undisturbed
from semisup.ops.pixels import RGB_FORMAT, ImageFormat
from semisup.system.device import Precision, autocast
from semisup.system.distributed import from_first
from semisup.types import IGNORE, Labelled

IMAGES = 64
"""Measured on, at most."""

BATCH = 4
"""Crops that go through the networks together; small beside a batch of training."""


def teaches_pseudo_labels(method: Method) -> bool:
    """Whether the method has pseudo-labels (overrides `Method.pseudo_labels`)."""
    return type(method).pseudo_labels is not Method.pseudo_labels


class PseudoLabelQuality:
    """Measures how many of a method's pseudo-labels are right.

    The images are always the same: spread evenly over `ids`, the centre of each, padded where it is
    smaller. They are decoded the first time and kept as bytes.

    Args:
        data: the set that `ids` are in.
        ids: images with masks that are not trained on.
        crop: height and width of what the networks see, in pixels; None for whole images, which go
            through one by one.
        device: where to compute.
        precision: of the forward passes, as in training.
        channels_last: whether the images lie in memory as NHWC, as in training.
        images: what their values are, and how they are normalised.

    Attributes:
        silent: whether the method had no pseudo-labels the last time.
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
        images: ImageFormat = RGB_FORMAT,
    ) -> None:
        self._data = data
        self._ids = [ids[place] for place in spread(len(ids), IMAGES)]
        self._crop, self._size = crop, BATCH if crop else 1
        self._device, self._precision, self._images = device, precision, images
        self._memory = torch.channels_last if channels_last else torch.contiguous_format
        self._kept: list[RawBatch] = []
        self._last: list[dict[str, float]] = []
        self.silent = False

    def __call__(self, method: Method) -> dict[str, float]:
        """Measure once.

        Of several processes all measure the same, since a method may need numbers of the others;
        the counts of the first hold.

        Returns:
            `self_taught_accuracy`, share of the taught pixels whose pseudo-label is the truth (left
            out where none is taught); `labelled_accuracy`, the segmenter's accuracy on all pixels;
            `trusted_share`, share of the pixels that are taught; `self_taught_confidence` and
            `self_taught_ece`, mean probability that the labeller gives to the taught classes, and
            their expected calibration error (left out as the first). Void counts nowhere. Empty
            where the method says that it teaches none.

        Raises:
            DataError: an image or its mask cannot be used.
        """
        found = self._measure(method)
        return from_first(lambda: found)

    def remember(self, measured: Mapping[str, float]) -> None:
        """Keep a measurement for `lasting`, once it is recorded."""
        if measured:
            self._last = [*self._last, dict(measured)][-2:]

    def lasting(self) -> dict[str, float]:
        """The better of the last two measurements, for the health checks.

        One may be bad by chance, or while the game turns; what is bad here was bad twice.

        Returns:
            As of a measurement; empty before there were two, and where one of them had no label.
        """
        if len(self._last) < 2 or any("self_taught_accuracy" not in one for one in self._last):
            return {}
        return max(self._last, key=lambda x: x["self_taught_accuracy"] - x["labelled_accuracy"])

    def state_dict(self) -> dict[str, Any]:
        """The last two measurements, as plain numbers."""
        return {"last": [dict(one) for one in self._last]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._last = [dict(one) for one in state["last"]]

    def _measure(self, method: Method) -> dict[str, float]:
        counts = torch.zeros(4, dtype=torch.int64, device=self._device)
        calibration = torch.zeros(3, BINS, dtype=torch.float64)
        classes = self._data.num_classes
        with undisturbed(method, self._device):
            for raw in self._batches():
                batch = to_device(
                    raw, self._device, images=self._images, memory_format=self._memory
                )
                assert isinstance(batch, Labelled)
                logits, taught, sure = self._asked(method, batch)
                self.silent = taught is None
                if taught is None:
                    return {}
                predicted = label_map(logits[:, :classes].float())
                counts += _count(predicted, taught, batch.mask)
                calibration += _calibration(sure[:, :classes].float(), taught, batch.mask)
        return _shares(counts, calibration)

    def _asked(self, method: Method, batch: Labelled) -> tuple[Tensor, Tensor | None, Tensor]:
        """The segmenter's logits, the pseudo-labels, and the logits of what gives them."""
        labeller = method.labeller()
        with autocast(self._precision, self._device):
            logits = method.segmenter(batch.image)
            taught = method.pseudo_labels(batch.image, batch.valid)
            own = taught is None or labeller is method.segmenter
            return logits, taught, logits if own else labeller(batch.image)

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
            "labelled",
            images=torch.stack([view.image for view in views]),
            valid=torch.stack([view.valid for view in views]),
            ids=tuple(ids),
            labels={"mask": torch.stack(masks)},
        )

    def _centre(self, index: int) -> View:
        image, mask = self._data.pair(index)
        size = image.shape[-2:]
        rows, columns = (_middle(*pair) for pair in zip(size, self._crop or size, strict=True))
        return cut_out(image, mask, rows, columns, crop=self._crop, flip=False)


def _shares(counts: Tensor, calibration: Tensor) -> dict[str, float]:
    """What a measurement gives, from its counts; empty where no pixel is known."""
    known, right, chosen, true = counts.tolist()
    if not known:
        return {}
    shares = {"labelled_accuracy": right / known, "trusted_share": chosen / known}
    if not chosen:
        return shares
    confidence = float(calibration[2].sum()) / chosen
    calibrated = {
        "self_taught_confidence": confidence,
        "self_taught_ece": calibration_error(calibration),
    }
    return {"self_taught_accuracy": true / chosen, **shares, **calibrated}


def _middle(size: int, crop: int) -> Axis:
    """The middle of an axis, at its own scale."""
    length = min(size, crop)
    return Axis((size - length) // 2, length, length)


def _count(predicted: Tensor, taught: Tensor, mask: Tensor) -> Tensor:
    """Pixels that are known; of them predicted rightly, taught, and taught rightly.

    Args:
        predicted: BHW, the segmenter's classes.
        taught: BHW int64, pseudo-labels and `IGNORE`.
        mask: BHW int64, 0..K-1 and `IGNORE`.

    Returns:
        4 int64; nothing waits for the device.
    """
    known = mask != IGNORE
    chosen = (taught != IGNORE) & known
    parts = (known, (predicted == mask) & known, chosen, (taught == mask) & chosen)
    return torch.stack([part.sum() for part in parts])


def _calibration(logits: Tensor, taught: Tensor, mask: Tensor) -> Tensor:
    """The taught pixels that are known, by the probability of the taught class.

    Args:
        logits: BKHW, of the labeller.
        taught: BHW int64, pseudo-labels and `IGNORE`.
        mask: BHW int64, 0..K-1 and `IGNORE`.

    Returns:
        As of `calibration_counts`.
    """
    chosen = (taught != IGNORE) & (mask != IGNORE)
    classes = taught.masked_fill(~chosen, 0).unsqueeze(1)
    confidence = logits.softmax(dim=1).gather(1, classes).squeeze(1)
    return calibration_counts(confidence[chosen], (taught == mask)[chosen])
