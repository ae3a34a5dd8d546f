"""Networks that make images from noise."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn


class ImageGenerator(nn.Module):
    """Noise, and the tags of a picture if it is conditional, to an image (DCGAN).

    Radford, Metz and Chintala, ICLR 2016, https://arxiv.org/abs/1511.06434: a transposed
    convolution lays the noise out on a small grid, each of the following doubles the grid, batch
    normalisation and ReLU between, tanh at the end. At 64 x 64 with `width` 64 it is the network of
    PyTorch's DCGAN example, 3,576,704 parameters. Other sizes start from a grid of 4 to 8 places on
    the shorter side and are cut at the end.

    Args:
        size: height and width of the images in pixels, each at least 8.
        noise: numbers of noise per image.
        tags: numbers beside the noise that say what is to be in the picture; 0 for none.
        width: channels at half the final resolution, doubled at each coarser one up to 8 times.
        upsampling: "transposed" convolutions of 4 x 4, or "resize": nearest-neighbour doubling and
            a 3 x 3 convolution, which leaves no chequerboard
            (Odena et al. 2016, https://distill.pub/2016/deconv-checkerboard).
    """

    smallest: ClassVar[int] = 8

    def __init__(
        self,
        size: tuple[int, int],
        *,
        noise: int = 100,
        tags: int = 0,
        width: int = 64,
        upsampling: Literal["transposed", "resize"] = "transposed",
    ) -> None:
        super().__init__()
        if min(size) < self.smallest:
            raise ValueError(
                f"the generator makes images of at least {self.smallest} x {self.smallest} pixels, "
                f"not {size[0]} x {size[1]}: train on larger crops"
            )
        if noise < 1 or width < 1:
            raise ValueError(f"noise and width must be at least 1, not {noise} and {width}")
        self.size, self.noise, self.tags = size, noise, tags
        doublings = int(math.log2(min(size) / 4))
        grid = tuple(-(-side // 2**doublings) for side in size)
        channels = [width * min(8, 2**n) for n in reversed(range(doublings))]
        layers: list[nn.Module] = [nn.ConvTranspose2d(noise + tags, channels[0], grid, bias=False)]
        for before, after in pairwise([*channels, 3]):
            layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += doubling(before, after, upsampling)
        self.layers = nn.Sequential(*layers)
        for layer in self.layers:
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(layer.weight, std=0.02)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, mean=1.0, std=0.02)

    def draw(self, count: int, like: Tensor, source: torch.Generator | None = None) -> Tensor:
        """Uniform noise in [-1, 1), `count` x `noise`, of the type and on the device of `like`.

        Args:
            count: of images.
            like: any tensor.
            source: of the random numbers, on the same device; None: torch's own.
        """
        uniform = torch.rand(
            count, self.noise, dtype=like.dtype, device=like.device, generator=source
        )
        return uniform.mul_(2).sub_(1)

    def forward(self, noise: Tensor, tags: Tensor | None = None) -> Tensor:
        """Images B3HW in [0, 1].

        Args:
            noise: B x `noise`.
            tags: B x `tags`, 0 or 1; None where the network knows none.
        """
        inputs = noise if tags is None else torch.cat([noise, tags.to(noise)], dim=1)
        images = self.layers(inputs[:, :, None, None])
        top, left = (
            (made - side) // 2 for made, side in zip(images.shape[-2:], self.size, strict=True)
        )
        images = images[..., top : top + self.size[0], left : left + self.size[1]]
        return (torch.tanh(images) + 1) / 2


def doubling(before: int, after: int, upsampling: str) -> list[nn.Module]:
    """Layers from a map of `before` channels to one of `after` at twice the resolution."""
    if upsampling == "transposed":
        return [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1, bias=False)]
