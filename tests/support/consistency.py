"""Parts of textbook steps of consistency methods, written out image by image.

Boxes (tests/ops/test_cutmix.py has them pixel by pixel) are pasted by boolean masks, targets formed
for one image after another, averages moved parameter by parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.ops.cutmix import BoxRule
from semisup.types import IGNORE, Progress, Unlabelled
from support.textbook import SIDE


def raw(network: Any, image: Tensor) -> Tensor:
    """Logits as the network's decoder gives them: of some toys coarser than the image."""
    logits: Tensor = network.decode(network.encode(image))
    return logits


def coarse(masks: Tensor, like: Tensor) -> Tensor:
    """Masks (BHW) at the middle of each cell of the grid of `like`, cell by cell."""
    rows, columns = like.shape[-2:]
    if masks.shape[1:] == (rows, columns):
        return masks
    found = torch.zeros(len(masks), rows, columns, dtype=torch.bool)
    for row in range(rows):
        for column in range(columns):
            down = int((row + 0.5) * masks.shape[1] / rows)
            across = int((column + 0.5) * masks.shape[2] / columns)
            found[:, row, column] = masks[:, down, across]
    return found


def supervised(logits: Tensor, mask: Tensor) -> Tensor:
    if logits.shape[-2:] != mask.shape[-2:]:
        logits = F.interpolate(logits, mask.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, mask, ignore_index=IGNORE)


def pasted(free: Unlabelled, boxes: Tensor, of: Callable[[Unlabelled], Tensor]) -> Tensor:
    """Maps of two images, each with those of the other, or of its second crop, in its box."""
    mixed, inside = of(free).clone(), of(free).flip(0)
    if free.partner is not None:
        inside = of(free.partner)
    boxes = coarse(boxes, mixed)
    for number in range(2):
        mixed[number][..., boxes[number]] = inside[number][..., boxes[number]]
    return mixed


def validity(crop: Unlabelled) -> Tensor:
    return crop.valid


def weak(crop: Unlabelled) -> Tensor:
    return crop.image


def strong(number: int) -> Callable[[Unlabelled], Tensor]:
    return lambda crop: crop.views[number]


def answers(network: nn.Module) -> Callable[[Unlabelled], Tensor]:
    return lambda crop: answer(network, crop.image)


def boxes_of(rule: BoxRule, numbers: Tensor) -> Tensor:
    return torch.stack([rule.draw(row[None], (SIDE, SIDE))[0] for row in numbers])


def teach(logits: Tensor, probability: Tensor, valid: Tensor, chosen: dict[str, Any]) -> Tensor:
    """Cross entropy at confident pixels, image by image, over the pixels of the divisor."""
    total, count = torch.zeros((), dtype=logits.dtype), 0
    valid = coarse(valid, logits)
    for own, target, known in zip(logits, probability, valid, strict=True):
        value, label = target.max(0)
        taught = known & (value >= chosen["confidence_threshold"])
        total = total - own.log_softmax(0).gather(0, label[None])[0][taught].sum()
        counted = {"valid": known, "taught": taught, "all": torch.ones_like(known)}
        count += int(counted[chosen.get("divisor", "valid")].sum())
    return total / count


def follow(teacher: Any, student: nn.Module, progress: Progress, decay: float) -> None:
    decay = min(1 - 1 / (progress.step + 1), decay)
    copied = dict(teacher.network.named_buffers())
    for name, value in student.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            copied[name].copy_(decay * copied[name] + (1 - decay) * value)
        else:
            copied[name].copy_(value)
    for mean, now in zip(teacher.network.parameters(), student.parameters(), strict=True):
        mean.data.copy_(decay * mean.data + (1 - decay) * now.detach())


def answer(network: nn.Module, image: Tensor) -> Tensor:
    """Probabilities in eval mode."""
    training = network.training
    with torch.no_grad():
        said = raw(network.eval(), image).softmax(1)
    network.train(training)
    return said
