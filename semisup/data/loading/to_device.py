"""Batches on their way to the device: normalisation and strong views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from semisup.data.loading.samples import Label, RawBatch, moved
from semisup.data.views.colours import COLOUR_SETS
from semisup.ops.pixels import RGB_FORMAT, ImageFormat, per_channel, standardise_
from semisup.types import Labelled, StreamName, Unlabelled, Weak

STREAMS: dict[StreamName, Callable[..., Labelled | Unlabelled | Weak]] = {
    "labelled": Labelled,
    "unlabelled": Unlabelled,
    "weak": Weak,
}
"""Stream -> what a batch of it is; its labels become the fields of their names."""


def to_device(
    raw: RawBatch,
    device: torch.device,
    *,
    images: ImageFormat = RGB_FORMAT,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Labelled | Unlabelled | Weak:
    """Moves a batch to `device`, normalises it and makes its strong views there.

    Nothing waits for the device. Padding is exactly 0, the mean, in all views.

    Args:
        raw: what a stream gave.
        device: where to.
        images: what their values are, and how they are normalised.
        memory_format: of the images; `torch.channels_last` is faster on recent GPUs.

    Returns:
        The batch of the stream's kind: `Labelled`, `Unlabelled` or `Weak`.
    """
    partner = None
    if raw.partner is not None:
        partner = to_device(raw.partner, device, images=images, memory_format=memory_format)
    unit = images.shares(raw.images.to(device, non_blocking=True))
    valid = raw.valid.to(device, non_blocking=True)
    padding = ~valid[:, None]
    layout = memory_format
    if memory_format == torch.channels_last and unit.ndim == 5:
        layout = torch.channels_last_3d

    def finish(picture: Tensor) -> Tensor:  # overwrites it
        padded = standardise_(picture, images).masked_fill_(padding, 0.0)
        return padded.contiguous(memory_format=layout)

    views = []
    if raw.strong:
        # Blur mixes what lies beyond the border into the picture: the mean, not black.
        filled = torch.where(padding, per_channel(images.mean, unit), unit)
        change = COLOUR_SETS[raw.colours].apply
        views += [finish(change(filled, parameters, valid)) for parameters in raw.strong]
    image = views.pop(0) if raw.strong_image else finish(unit)
    known: dict[str, Any] = {name: _moved(label, device) for name, label in raw.labels.items()}
    if partner is not None:
        known["partner"] = partner
    return STREAMS[raw.name](image=image, valid=valid, ids=raw.ids, views=tuple(views), **known)


def _moved(label: Label, device: torch.device) -> Label:
    """On the device; maps of label ids as int64, which losses take."""
    there = moved(label, lambda part: part.to(device, non_blocking=True))
    if isinstance(there, Tensor) and there.dtype == torch.uint8:
        return there.long()
    return there
