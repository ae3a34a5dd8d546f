"""Batches on their way to the device: normalisation and strong views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semisup.data.loading.samples import RawBatch
from semisup.data.views.strong import apply_strong
from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD, per_channel, standardise_
from semisup.types import Labelled, Unlabelled, Weak


def to_device(
    raw: RawBatch,
    device: torch.device,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Labelled | Unlabelled | Weak:
    """Moves a batch to `device`, normalises it and makes the strong view there.

    Nothing waits for the device. Padding is exactly 0, the mean, in both views.

    Args:
        raw: what a stream gave.
        device: where to.
        mean: one number a channel, for images in [0, 1].
        std: one number a channel.
        memory_format: of the images; `torch.channels_last` is faster on recent GPUs.

    Returns:
        `Labelled` if the batch has masks, `Weak` if it has tags, else `Unlabelled`.
    """
    unit = raw.images.to(device, non_blocking=True).float().div_(255)
    valid = raw.valid.to(device, non_blocking=True)
    padding = ~valid[:, None]

    def finish(picture: Tensor) -> Tensor:  # overwrites it
        padded = standardise_(picture, mean, std).masked_fill_(padding, 0.0)
        return padded.contiguous(memory_format=memory_format)

    if raw.masks is not None:
        mask = raw.masks.to(device, non_blocking=True).long()
        selection = _moved(raw.selection, device)
        return Labelled(image=finish(unit), mask=mask, ids=raw.ids, selection=selection)
    tags = _moved(raw.tags, device)
    if tags is not None:
        return Weak(image=finish(unit), valid=valid, tags=tags, ids=raw.ids)
    if raw.strong is None:
        return Unlabelled(image=finish(unit), valid=valid, ids=raw.ids)
    # Blur mixes what lies beyond the border into the picture: the mean, not black.
    filled = torch.where(padding, per_channel(mean, unit), unit)
    changed = apply_strong(filled, raw.strong.to(device, non_blocking=True), valid)
    return Unlabelled(image=finish(unit), valid=valid, ids=raw.ids, strong=finish(changed))


def _moved(part: Tensor | None, device: torch.device) -> Tensor | None:
    return None if part is None else part.to(device, non_blocking=True)
