"""Samples of a network with dropout: their mean is the prediction, their spread its uncertainty.

Kendall, Badrinarayanan and Cipolla, Bayesian SegNet, BMVC 2017, https://arxiv.org/abs/1511.02680,
after the authors' test script: dropout as in training and all else as in testing, the mean of the
probabilities, and the mean over the classes of their variance over the samples (divided by their
number).

What is dropped depends on the pixels of an image and the seed alone, whatever is predicted before
it and beside it: so an interrupted prediction goes on to the same bits, and a score is the same by
any number of processes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from semisup.models.layers import dropout_active


class Sampled(NamedTuple):
    """What is known of images from several samples of a network.

    Attributes:
        labels: BHW uint8, the most probable class by the mean; HW of a single image.
        probabilities: BKHW float32, the mean over the samples; KHW.
        uncertainty: BHW float32, the mean over the classes of the variance over the samples, from
            0 to (K - 1) / K^2; HW.
    """

    labels: Any
    probabilities: Any
    uncertainty: Any


def mean_and_uncertainty(draw: Callable[[], Tensor], count: int) -> tuple[Tensor, Tensor]:
    """Mean of samples (BKHW) and the mean over K of their variance (BHW).

    Args:
        draw: gives another sample of the probabilities (BKHW) at each call.
        count: number of samples.
    """
    mean = draw()
    squares = torch.zeros_like(mean[:, 0])
    for number in range(2, count + 1):
        sample = draw()
        change = sample - mean
        mean = mean + change / number
        squares += (change * (sample - mean)).mean(dim=1)  # Welford: no two large sums are compared
    return mean, squares / count


@contextlib.contextmanager
def sampling(network: nn.Module, image: Tensor, seed: int, device: torch.device) -> Iterator[None]:
    """In the `with` block forward passes of `network` are samples, seeded by `image` and `seed`.

    Random numbers of the process are afterwards as before.

    Args:
        network: in eval mode.
        image: CHW, whole numbers.
        seed: of the protocol.
        device: where the network is.

    Raises:
        RecipeError: the network has no dropout.
    """
    cuda = [device] if device.type == "cuda" else []
    with dropout_active(network), torch.random.fork_rng(cuda):
        torch.manual_seed(seed_of(image, seed))
        yield


def seed_of(image: Tensor, seed: int) -> int:
    """A seed below 2^63 that is another for other pixels, shapes and seeds.

    Args:
        image: CHW, whole numbers.
        seed: of the protocol.
    """
    pixels = image.detach().cpu().contiguous().numpy()
    digest = hashlib.sha256(f"{seed} {pixels.dtype} {pixels.shape}\n".encode())
    digest.update(pixels.data)
    return int.from_bytes(digest.digest()[:8], "big") >> 1
