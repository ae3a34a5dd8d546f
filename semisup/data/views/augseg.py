"""AugSeg's strong view: one to three colour operations, drawn from a list.

Zhao et al., "Augmentation Matters", CVPR 2023, https://arxiv.org/abs/2212.04976 (ZhenZHAO/AugSeg,
augseg/dataset/augs_TIBA.py). The operations are torchvision's. Random numbers are drawn on the
worker, colours are changed on the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as operations

MOST = 3
"""Operations of an image, at most."""

NONE = -1.0
"""In place of an operation."""

NAMES = (
    *("identity", "autocontrast", "equalize", "blur", "contrast", "brightness"),
    *("saturation", "sharpness", "posterize", "solarize", "hue"),
)

RANGES = {
    "blur": (0.1, 2.0),
    "contrast": (0.05, 0.95),
    "brightness": (0.05, 0.95),
    "saturation": (0.05, 0.95),
    "sharpness": (0.05, 0.95),
    "posterize": (4.0, 8.0),
    "solarize": (1.0, 256.0),
    "hue": (-0.5, 0.5),
}
"""Operation -> range of its amount: deviation in pixels, factors (which only reduce), bits and
levels of 8-bit values (whole numbers, the upper end left out), and shares of a turn.
"""


def draw_augseg(generator: torch.Generator) -> Tensor:
    """Draws one to three operations, with replacement.

    Returns:
        Float tensor of `MOST` pairs: place in `NAMES`, or `NONE`, and amount in its range.
    """
    count, *numbers = torch.rand(1 + 2 * MOST, generator=generator).tolist()
    pairs: list[float] = []
    for slot in range(MOST):
        if slot > int(count * MOST):
            pairs += [NONE, 0.0]
            continue
        which, amount = numbers[2 * slot : 2 * slot + 2]
        place = int(which * len(NAMES))
        low, high = RANGES.get(NAMES[place], (0.0, 0.0))
        pairs += [float(place), low + (high - low) * amount]
    return torch.tensor(pairs)


def apply_augseg(images: Tensor, parameters: Tensor, valid: Tensor | None = None) -> Tensor:
    """Changes the colours of each image by its own operations, in their order.

    An image has its own operations, so they go one by one; nothing waits for the device, for the
    parameters are on the host.

    Args:
        images: B3HW float in [0, 1].
        parameters: B x 2 `MOST` as `draw_augseg` gives them, on the CPU.
        valid: BHW bool; not used: padding holds the mean colour, and counts in the range of an
            image's values as in the authors' code.

    Returns:
        B3HW float in [0, 1].
    """
    pairs = zip(torch.split(images, 1), parameters.tolist(), strict=True)
    return torch.cat([_in_turn(image, row) for image, row in pairs])


def _in_turn(image: Tensor, row: list[float]) -> Tensor:
    for place, amount in zip(row[::2], row[1::2], strict=True):
        if place != NONE:
            image = _changed(image, NAMES[int(place)], amount)
    return image


def _changed(image: Tensor, name: str, amount: float) -> Tensor:
    changed = image
    if name == "blur":
        radius = max(1, min(int(3 * amount + 0.5), min(image.shape[-2:]) - 1))
        changed = operations.gaussian_blur(image, [2 * radius + 1] * 2, [amount] * 2)
    elif name == "posterize":
        changed = operations.posterize(image, int(amount))
    elif name == "solarize":
        changed = operations.solarize(image, int(amount) / 255)
    elif name in ("autocontrast", "equalize"):
        changed = getattr(operations, name)(image)
    elif name != "identity":
        changed = getattr(operations, f"adjust_{name}")(image, amount)
    return changed
