"""The strong view: drawn on the worker, applied to the colours on the device.

A worker delivers uint8: a float image would be four times the traffic between the processes. The
random numbers of a sample are drawn on the worker too, colours included, so that a view depends
on the generator that the worker was given and on nothing else.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.ops.pixels import per_channel

STRONG_PARAMETERS = ("brightness", "contrast", "saturation", "hue", "grey", "sigma")
"""Columns of the parameters of a strong view."""

JITTER = (0.5, 0.5, 0.5, 0.25)
"""Largest change of brightness, contrast, saturation (factor 1 +- x) and hue (turns, +- x)."""

JITTER_CHANCE, GREY_CHANCE, BLUR_CHANCE = 0.8, 0.2, 0.5

BLUR_SIGMA = (0.1, 2.0)
"""Range of the blur's standard deviation, in pixels."""

_BLUR_RADIUS = math.ceil(3 * BLUR_SIGMA[1])
_LUMA = (0.2989, 0.587, 0.114)


def draw_strong(generator: torch.Generator) -> Tensor:
    """Draws the photometric change of one strong view.

    Colour jitter of 0.5, 0.5, 0.5, 0.25 with a chance of 0.8, grey with 0.2, Gaussian blur of
    sigma 0.1 to 2.0 pixels with 0.5: the strengths of ST++ (Yang et al. 2022), UniMatch (Yang et
    al. 2023) and most since.

    Returns:
        Float tensor of the `STRONG_PARAMETERS`; (1, 1, 1, 0, 0, 0) changes nothing.
    """
    jitter, grey, blur, *amounts, sigma = torch.rand(8, generator=generator).tolist()
    colours = [1.0, 1.0, 1.0, 0.0]
    if jitter < JITTER_CHANCE:
        changes = zip(colours, JITTER, amounts, strict=True)
        colours = [start + reach * (2 * amount - 1) for start, reach, amount in changes]
    low, high = BLUR_SIGMA
    spread = low + sigma * (high - low) if blur < BLUR_CHANCE else 0.0
    return torch.tensor([*colours, float(grey < GREY_CHANCE), spread])


def apply_strong(images: Tensor, parameters: Tensor, valid: Tensor | None = None) -> Tensor:
    """Changes the colours of each image by its own parameters, on the device of `images`.

    Brightness, contrast, saturation, hue, grey and blur, in this order (torchvision's ColorJitter
    shuffles the first four). Each does what torchvision's function of that name does, but for
    the hue: it is turned about the grey axis of RGB instead of in HSV, which is one small matrix.
    Both agree to a few degrees, and exactly for thirds of a turn. Images of other than three
    channels have no saturation, hue or grey: they change in brightness, contrast and blur alone,
    and their brightness is the mean of the channels.

    Args:
        images: BCHW float in [0, 1].
        parameters: B x 6 as `draw_strong` gives them, one row an image.
        valid: BHW bool; False where there is no picture, so that it does not count for the mean
            brightness that contrast is measured against.

    Returns:
        BCHW float in [0, 1].
    """
    columns = parameters.to(images).unbind(1)
    brightness, contrast, saturation, hue, grey, sigma = (c.view(-1, 1, 1, 1) for c in columns)
    images = (images * brightness).clamp_(0, 1)
    images = _blend(images, _mean_luma(images, valid), contrast)
    if images.shape[1] == 3:
        images = _blend(images, _luma(images), saturation)
        images = _turn_hue(images, hue)
        images = torch.lerp(images, _luma(images), grey)
    return _blur(images, sigma)


def _blend(image: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (share * image).add_((1 - share) * other).clamp_(0, 1)


def _luma(image: Tensor) -> Tensor:
    """B1HW brightness: of B3HW with the weights that torchvision uses (ITU-R 601)."""
    if image.shape[1] != 3:
        return image.mean(1, keepdim=True)
    return (image * per_channel(_LUMA, image)).sum(1, keepdim=True)


def _mean_luma(image: Tensor, valid: Tensor | None) -> Tensor:
    """B111 mean brightness of the picture."""
    luma = _luma(image)
    if valid is None:
        return luma.mean((2, 3), keepdim=True)
    weight = valid[:, None].to(luma)
    return (luma * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)


def _turn_hue(image: Tensor, turns: Tensor) -> Tensor:
    """Rotates B3HW about the line of greys by B111 `turns` (1 is a full circle)."""
    channel = torch.arange(3, device=image.device, dtype=image.dtype)
    apart = (channel[:, None] - channel[None, :]) / 3
    matrix = (1 + 2 * torch.cos(2 * math.pi * (turns.view(-1, 1, 1) - apart))) / 3
    return torch.einsum("bij,bjhw->bihw", matrix, image).clamp_(0, 1)


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each image by its own B111 `sigma` in pixels; 0 leaves it as it is."""
    batch, channels, height, width = image.shape
    folded = image.reshape(1, batch * channels, height, width)
    spread = sigma.view(-1, 1).repeat_interleave(channels, 0)
    down, across = min(_BLUR_RADIUS, height - 1), min(_BLUR_RADIUS, width - 1)
    folded = F.pad(folded, (across, across, down, down), mode="reflect")
    rows, columns = _gaussian(spread, down), _gaussian(spread, across)
    folded = F.conv2d(folded, rows[:, None, :, None], groups=batch * channels)
    folded = F.conv2d(folded, columns[:, None, None, :], groups=batch * channels)
    return folded.reshape(image.shape)


def _gaussian(sigma: Tensor, radius: int) -> Tensor:
    """N x (2 radius + 1) weights that sum to 1, from N x 1 `sigma`."""
    offset = torch.arange(-radius, radius + 1, device=sigma.device, dtype=sigma.dtype)
    # At 0.01 the neighbours' weight underflows to exactly 0: no blur without a branch.
    return torch.softmax(-((offset / sigma.clamp(min=0.01)) ** 2) / 2, dim=1)
