"""AlexNet's five convolutions, in two forms.

Krizhevsky 2014, https://arxiv.org/abs/1404.5997, as in torchvision, so that its `alexnet` state
dict loads by key (`features.0.weight` ...); and Krizhevsky, Sutskever and Hinton, NIPS 2012, as in
Caffe's BVLC AlexNet: wider, three of its convolutions in two groups, two of its maps normalised
across channels. The classifier is not here: each segmentation network makes of it what its paper
does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn

from semisup.models.backbones.base import Backbone, PooledStage
from semisup.models.layers import initialise
from semisup.models.weights import rename_prefix

FC6_SHAPE = (256, 6, 6)
"""What one unit of AlexNet's first fully connected layer sees."""

KERNELS = (11, 5, 3, 3, 3)
"""Side of the kernel of each convolution; the first has a stride of 4."""

POOLED = (0, 1, 4)
"""The convolutions, from 0, that a 3 x 3 maximum pooling of stride 2 follows."""


@dataclass(frozen=True, slots=True)
class AlexNetForm:
    """What differs between the two.

    Attributes:
        widths: channels of the convolutions.
        groups: of each convolution.
        normalised: whether a local response normalisation follows the first two poolings.
    """

    widths: tuple[int, ...]
    groups: tuple[int, ...]
    normalised: bool


FORMS: Mapping[str, AlexNetForm] = MappingProxyType(
    {
        "alexnet": AlexNetForm((64, 192, 384, 256, 256), (1, 1, 1, 1, 1), normalised=False),
        "bvlc_alexnet": AlexNetForm((96, 256, 384, 384, 256), (1, 2, 1, 2, 2), normalised=True),
    }
)
"""Name -> form."""


class AlexNetFeatures(Backbone):
    """The convolutional part of AlexNet: 2,469,696 parameters at three channels, or 2,334,080.

    Weights start from He et al. 2015 (fan-in), biases at zero.

    Args:
        form: of the two.
        in_channels: C of the input image.
        ceil_mode: round pooled sizes up, as Caffe does, and not down.
        first_padding: zero padding of the very first convolution, in pixels (100 in FCN).
    """

    def __init__(
        self,
        form: AlexNetForm = FORMS["alexnet"],
        *,
        in_channels: int = 3,
        ceil_mode: bool = False,
        first_padding: int = 2,
    ) -> None:
        super().__init__()
        self.torchvision_name = "alexnet" if form == FORMS["alexnet"] else ""
        self.channels = tuple(form.widths[number] for number in POOLED)
        layers: list[nn.Module] = []
        channels = in_channels
        for number, (width, groups) in enumerate(zip(form.widths, form.groups, strict=True)):
            kernel = KERNELS[number]
            stride, padding = (1, kernel // 2) if number else (4, first_padding)
            layers.append(
                nn.Conv2d(channels, width, kernel, stride=stride, padding=padding, groups=groups)
            )
            layers.append(nn.ReLU(inplace=True))
            if number in POOLED:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=ceil_mode))
                if form.normalised and number != POOLED[-1]:
                    layers.append(nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75))
            channels = width
        self.features = nn.Sequential(*layers)
        initialise(self.features)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The three pooled maps BChw of `image` (BCHW), finest first."""
        return [stage.pooled for stage in self.stages(image)]

    def stages(self, image: Tensor) -> list[PooledStage]:
        """The three pooled maps of `image` (BCHW), finest first, before any normalisation.

        The windows of a pooling overlap, so that no indices undo it.
        """
        stages: list[PooledStage] = []
        features = image
        for layer in self.features:
            size = features.shape[-2:]
            features = layer(features)
            if isinstance(layer, nn.MaxPool2d):
                stages.append(PooledStage(features, None, size))
        return stages


def adapt_alexnet(
    state: dict[str, Tensor], *, backbone: str, fc6: str, fc7: str
) -> dict[str, Tensor]:
    """torchvision's `alexnet` state dict with the keys of a network built on it.

    Keys that are not torchvision's pass unchanged, and so does a classifier of another shape.

    Args:
        state: key -> tensor; its first two fully connected layers become convolutions.
        backbone: prefix of an `AlexNetFeatures`, such as "backbone.".
        fc6: prefix of the convolution that takes the first of them.
        fc7: likewise of the second.
    """
    state = rename_prefix(state, "features.", f"{backbone}features.")
    first = state.get("classifier.1.weight")
    if first is None or first.shape[1:] != (math.prod(FC6_SHAPE),):
        return state  # no classifier, or that of another network
    state["classifier.1.weight"] = first.reshape(-1, *FC6_SHAPE)
    if "classifier.4.weight" in state:
        state["classifier.4.weight"] = state["classifier.4.weight"][..., None, None]
    state = rename_prefix(state, "classifier.1.", fc6)
    return rename_prefix(state, "classifier.4.", fc7)
