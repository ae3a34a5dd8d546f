"""Networks that tell ground truth from predictions."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from semisup.errors import RecipeError
from semisup.models.layers import resize


class FullyConvolutionalDiscriminator(nn.Module):
    """A discriminator of every pixel of a class map (Hung et al., BMVC 2018, https://arxiv.org/abs/1802.07934).

    Five 4 x 4 convolutions of stride 2, leaky ReLU of slope 0.2 between, no normalisation;
    2,783,169 parameters at 21 classes. The logits, 1/32 of the input's size, are resized to it
    bilinearly.

    Args:
        num_classes: K, the channels of a class map.
        width: channels after the first convolution; they double at each of the next three.
        spectral_norm: see `bound_slopes`.
        align_corners: whether the corners of the logits lie in those of the class map, as in the
            authors' code; else not, as everywhere in this library.
    """

    smallest: ClassVar[int] = 32
    """Smallest side of a class map, in pixels: five halvings leave one logit."""

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 64,
        spectral_norm: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        channels = [num_classes, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        layers.append(nn.Conv2d(channels[-1], 1, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)
        if spectral_norm:
            bound_slopes(self)

    def forward(self, maps: Tensor) -> Tensor:
        """Logits B1HW (high: looks like ground truth) of class maps BKHW.

        Args:
            maps: BKHW float, class probabilities or one-hot masks.

        Raises:
            RecipeError: H or W is under 32.
        """
        check_size(maps, self.smallest)
        return resize(self.layers(maps), maps.shape[-2:], align_corners=self.align_corners)


class ImageDiscriminator(nn.Module):
    """A discriminator of a class map with its image: one score (Mittal et al., TPAMI 2019).

    Four 4 x 4 convolutions of stride 2, leaky ReLU of slope 0.2, whole channels dropped out with
    probability 0.5 after the first three, the mean over places, one linear unit: 2,778,561
    parameters at 21 classes (https://arxiv.org/abs/1908.05724). The authors pool 20 x 20 places,
    all that a crop of 321 leaves; here it is all that any crop leaves.

    Args:
        num_classes: K, the channels of a class map.
        width: channels after the first convolution; they double at each of the next three.
        spectral_norm: see `bound_slopes`.
    """

    smallest: ClassVar[int] = 16
    """Smallest side of a class map, in pixels: four halvings leave one place."""

    def __init__(self, num_classes: int, *, width: int = 64, spectral_norm: bool = False) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        channels = [num_classes + 3, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            layers.append(nn.Dropout2d(0.5))
        self.layers = nn.Sequential(*layers[:-1])
        self.score = nn.Linear(channels[-1], 1)
        if spectral_norm:
            bound_slopes(self)

    def forward(self, maps: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """A logit for each pair (high: a true map of this image), and what it was read from.

        Args:
            maps: BKHW float, class probabilities or one-hot masks.
            image: B3HW in [0, 1].

        Returns:
            Logits B and the features BC, averaged over places, with C = 8 `width`.

        Raises:
            RecipeError: H or W is under 16.
        """
        features = self._features(maps, image)
        # Pairs differ little in their means: those of half precision would hide it.
        pooled = features.mean((2, 3), dtype=torch.promote_types(features.dtype, torch.float32))
        return self.score(pooled).squeeze(1), pooled

    def places(self, maps: Tensor, image: Tensor) -> Tensor:
        """Logits B1hw of the single places; their mean is the logit of the pair."""
        weight = self.score.weight[:, :, None, None]
        return F.conv2d(self._features(maps, image), weight, self.score.bias)

    def _features(self, maps: Tensor, image: Tensor) -> Tensor:
        check_size(maps, self.smallest)
        features: Tensor = self.layers(torch.cat([maps, image], dim=1))
        return features


def bound_slopes(network: nn.Module) -> None:
    """Divide each weight by its largest singular value (Miyato et al. 2018).

    https://arxiv.org/abs/1802.05957. The number of parameters stays. The estimate of that value
    moves at each forward pass in train mode, but gradients of a pass are those of its own estimate,
    whatever passes follow.
    """
    for layer in list(network.modules()):
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            parametrizations.spectral_norm(layer)


def check_size(maps: Tensor, smallest: int) -> None:
    """Refuse class maps that are too small for one output.

    Raises:
        RecipeError: H or W of `maps` (BKHW) is under `smallest`.
    """
    height, width = maps.shape[-2:]
    if min(height, width) < smallest:
        raise RecipeError(
            f"the discriminator needs class maps of at least {smallest} x {smallest}"
            f" pixels, not {height} x {width}: train on larger crops"
        )
