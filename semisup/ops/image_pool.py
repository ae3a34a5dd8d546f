"""A memory of made images, so that a discriminator does not forget what it has seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Made images of earlier steps, to be shown in place of fresh ones.

    Shrivastava et al. 2017, https://arxiv.org/abs/1612.07828: a discriminator that sees fresh
    images alone forgets the older ones, and the generator may go back to them. Half of what it is
    shown comes from the pool, where fresh images take the place of those that are shown. (There
    exactly half of a batch is, here each image with probability 1/2.)

    Nothing waits for the device. Where several processes share a run, all have the first one's
    pool, as they have its running statistics.

    Args:
        capacity: images that it holds. Images of a batch beyond this number are never exchanged.
        size: height and width of the images, in pixels.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, capacity: int, size: tuple[int, int]) -> None:
        super().__init__()
        if capacity < 1:
            raise ValueError(f"a pool holds at least 1 image, not {capacity}")
        self.register_buffer("images", torch.zeros(capacity, 3, *size))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, fresh: Tensor) -> Tensor:
        """What is to be shown in place of `fresh`.

        As long as the pool has room the images are kept and shown. From then on each is, with
        probability 1/2, shown and not kept, or else kept in place of an earlier one that is shown.

        Args:
            fresh: B3HW.

        Returns:
            B3HW, without gradient; a tensor of its own.
        """
        capacity, count = len(self.images), min(len(fresh), len(self.images))
        fresh = fresh.detach()
        number = torch.arange(capacity, device=fresh.device)
        # Free places come first and in their order, then all others in a random one: no place is
        # taken twice by one batch, and what is found there is of earlier batches.
        order = torch.where(
            number < self.filled, torch.rand(capacity, device=fresh.device), number - capacity
        )
        places = order.argsort()[:count]
        free = (places >= self.filled)[:, None, None, None]
        swapped = ~free & (torch.rand(count, 1, 1, 1, device=fresh.device) < 0.5)
        earlier, given = self.images[places], fresh[:count]
        self.images[places] = torch.where(free | swapped, given.to(earlier), earlier)
        self.filled.add_(count).clamp_(max=capacity)
        return torch.cat([torch.where(swapped, earlier.to(given), given), fresh[count:]])
