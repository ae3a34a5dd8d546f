"""Networks that tell ground truth from predictions and see the image as well.

Luc, Couprie, Chintala and Verbeek: "Semantic Segmentation using Adversarial Networks", NIPS
Workshop on Adversarial Training 2016, https://arxiv.org/abs/1611.08408

From the paper: a large view of 34 x 34 places of the class maps and a small one of 18 x 18, each in
a light version with fewer channels, and what is shown beside or in the class maps (`inputs`). Its
tables of layers could not be checked.

Layers and channels are those of a public re-implementation that has all four, and they give just
these views (https://github.com/oyam/Semantic-Segmentation-using-Adversarial-Networks):

    large         3x3 96, 3x3 128, 3x3 128, pool, 3x3 256, 3x3 256, pool, 3x3 512, 3x3
    large, light  3x3 96, 3x3 128, 3x3 128, pool, 3x3 128, 3x3 128, pool, 3x3 256, 3x3
    small         3x3 96, 1x1 128,          pool, 3x3 256, 1x1 256, pool, 3x3 512, 1x1
    small, light  3x3 96, 1x1 128,          pool, 3x3 128, 1x1 128, pool, 3x3 256, 1x1

ReLU between, 2 x 2 max pooling, zero padding that keeps the size, no normalisation. Ours: one logit
where it has two; a judgement per place, where it averages them over the map; the image branch,
which takes half of the first layer's channels; initial weights that keep the variance (He et al.
2015); 1 x 1 convolutions without padding, where it pads them by 1; the image as RGB in [0, 1],
where it shows BGR less a mean.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.adversarial.discriminators import bound_slopes
from semisup.models.layers import initialise

View = Literal["large", "small"]
Inputs = Literal["basic", "product", "scaling"]

_SIDES = {"large": 34, "small": 18}
"""Of what one judgement sees, in pixels of the class maps."""

_BETWEEN = {
    "large": (((4, 3), (4, 3)), ((8, 3), (8, 3)), ((16, 3),)),
    "small": (((4, 1),), ((8, 3), (8, 1)), ((16, 3),)),
}
"""Channels, in units of `width`, and kernels of the convolutions between the first and the last,
grouped by the poolings between.
"""

_LAST = {"large": 3, "small": 1}
"""Kernel of the convolution that gives the logit."""


class Adversary(nn.Module):
    """A discriminator of class maps and their image, place by place (Luc et al. 2016).

    Parameters at 21 classes:

                        basic, scaling    product
        large                2,338,785  2,382,849
        large, light           861,409    905,473
        small                1,564,513  1,608,577
        small, light           482,401    526,465

    Args:
        num_classes: K, the channels of a class map.
        view: how much a judgement sees: 34 x 34 pixels of the class maps ("large"), or 18 x 18.
        light: half as many channels behind the first pooling.
        inputs: "basic" and "scaling" take class maps and image through a first convolution each,
            "product" the product of each class's map with each colour (3K channels). "scaling"
            is the network of "basic": what differs is the ground truth that it is shown.
        width: the unit of channels: 32 are the paper's, 96 to 512.
        spectral_norm: divide each weight by its largest singular value (Miyato et al. 2018,
            https://arxiv.org/abs/1802.05957). The estimate of that value moves at each forward pass
            in train mode.

    Attributes:
        view: its side in pixels, the smallest side of the class maps.
    """

    stride: ClassVar[int] = 4
    """Pixels of the class maps between neighbouring judgements: two poolings."""

    def __init__(
        self,
        num_classes: int,
        *,
        view: View = "large",
        light: bool = False,
        inputs: Inputs = "basic",
        width: int = 32,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self.view = _SIDES[view]
        before = 3 * width
        if inputs == "product":
            self.maps = _convolution(3 * num_classes, before, 3)
            self.image = None
        else:
            self.maps = _convolution(num_classes, before - before // 2, 3)
            self.image = _convolution(3, before // 2, 3)
        layers: list[nn.Module] = [nn.ReLU(inplace=True)]
        for stage, convolutions in enumerate(_BETWEEN[view]):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for units, kernel in convolutions:
                after = width * (units // 2 if light and stage else units)
                layers += [_convolution(before, after, kernel), nn.ReLU(inplace=True)]
                before = after
        self.layers = nn.Sequential(*layers, _convolution(before, 1, _LAST[view]))
        initialise(self)
        if spectral_norm:
            bound_slopes(self)

    def forward(self, maps: Tensor, image: Tensor) -> Tensor:
        """Logits Bh'w' (high: looks like ground truth), h' and w' a quarter of h and w.

        Args:
            maps: BKhw, class probabilities or ground truth.
            image: B3hw in [0, 1].

        Raises:
            RecipeError: h or w is under the view.
        """
        self._check_size(maps)
        if self.image is None:
            seen = self.maps((maps[:, :, None] * image[:, None]).flatten(1, 2))
        else:
            seen = torch.cat([self.maps(maps), self.image(image)], dim=1)
        logits: Tensor = self.layers(seen)
        return logits.squeeze(1)

    def shares(self, valid: Tensor) -> Tensor:
        """How much of what each output sees is valid; what lies outside of the map is not.

        Args:
            valid: Bhw float, 0..1.

        Returns:
            Bh'w' in [0, 1], a share of the view for each logit of `forward`.

        Raises:
            RecipeError: h or w is under the view.
        """
        self._check_size(valid)
        around = (self.view - self.stride) // 2
        return F.avg_pool2d(valid[:, None], self.view, self.stride, around).squeeze(1)

    def _check_size(self, maps: Tensor) -> None:
        height, width = maps.shape[-2:]
        if min(height, width) < self.view:
            raise RecipeError(
                f"the adversary needs class maps of at least {self.view} x {self.view} pixels, not "
                f"{height} x {width}: train on larger crops, lower method.downsampling or set "
                'method.view to "small"'
            )


def _convolution(before: int, after: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2)
