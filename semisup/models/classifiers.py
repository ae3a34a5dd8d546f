"""Classification networks with a spatial last map, and where in it a class is found.

The class-specific saliency is that of DecoupledNet (Hong, Noh and Han, NIPS 2015,
https://arxiv.org/abs/1506.04924), after Simonyan et al. 2014 (https://arxiv.org/abs/1312.6034): a
value put on the map of one class is carried back by the transpose of the head, past each ReLU where
it was open on the way forward, without biases. It is the gradient of that score times the value.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError, suggest
from semisup.models.backbones.base import Backbone, PooledStage
from semisup.models.backbones.mobilenet import MobileNetV2Features
from semisup.models.backbones.resnet import ResNet50Features
from semisup.models.backbones.vgg import VGG16Features, adapt_vgg16
from semisup.models.layers import initialise, of_rows, transposed_convolution
from semisup.models.weights import rename_prefix


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a classification network makes of images.

    Attributes:
        stages: of the backbone, finest first; the last is the input of the head.
        scores: BLhw, a logit for each label and place.
        open_units: for each ReLU of the head, BChw bool: where it let its input through.
    """

    stages: list[PooledStage]
    scores: Tensor
    open_units: list[Tensor]

    @property
    def deepest(self) -> Tensor:
        """BChw, the input of the head ("pool5" of VGG16)."""
        return self.stages[-1].pooled

    def presence(self) -> Tensor:
        """BL logits: does the image hold the label? The mean over all places."""
        return self.scores.mean(dim=(2, 3))

    def at_best_place(self, values: Tensor) -> Tensor:
        """BLhw: `values` (BL) at the place of each label's highest score, 0 elsewhere."""
        place = self.scores.flatten(2).argmax(dim=2, keepdim=True)
        spread = torch.zeros_like(self.scores).flatten(2)
        return spread.scatter(2, place, values[..., None].to(spread)).view_as(self.scores)

    def best(self) -> Tensor:
        """BL logits: the highest score of each label over all places."""
        return self.scores.amax(dim=(2, 3))


class ClassificationNetwork(nn.Module):
    """A backbone, and a head of convolutions that scores each label at each place.

    The head is VGG16's classifier as convolutions: fc6 of `kernel` x `kernel` without padding, fc7
    and the scores of 1 x 1. With `width` 0 it is the 1 x 1 scores alone, on the deepest map.

    Args:
        num_labels: L, the number of labels; background is none of them.
        backbone: a name in `BACKBONES`.
        in_channels: C of the input image.
        width: channels of fc6 and fc7.
        kernel: side of fc6; the image must be `kernel` * 32 pixels at least.

    Raises:
        RecipeError: no backbone has that name.
    """

    def __init__(
        self,
        num_labels: int,
        backbone: str = "vgg16",
        *,
        in_channels: int = 3,
        width: int = 4096,
        kernel: int = 7,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            hint = suggest(backbone, BACKBONES)
            raise RecipeError(f"no classification network is called '{backbone}'.{hint}")
        self.backbone = BACKBONES[backbone](in_channels=in_channels)
        self.channels = self.backbone.channels
        layers: list[tuple[str, nn.Module]] = []
        channels = self.channels[-1]
        for name, side in (("fc6", kernel), ("fc7", 1)) if width else ():
            layers += [(name, nn.Conv2d(channels, width, side))]
            layers += [(f"relu_{name}", nn.ReLU()), (f"dropout_{name}", nn.Dropout(0.5))]
            channels = width
        score = nn.Conv2d(channels, num_labels, 1)
        self.head = nn.Sequential(OrderedDict([*layers, ("score", score)]))
        initialise(self.head)
        nn.init.normal_(score.weight, std=0.01)
        self.smallest = self.backbone.deepest_stride * (kernel if width else 1)

    def forward(self, image: Tensor) -> Tensor:
        """BL logits of `image` (BCHW): does it hold the label?"""
        return self.encode(image).presence()

    def encode(self, image: Tensor) -> Encoded:
        """Stages, scores and open units of `image` (BCHW).

        Raises:
            RecipeError: the image is too small for the head.
        """
        height, width = image.shape[-2:]
        if min(height, width) < self.smallest:
            raise RecipeError(
                f"an image of {height}x{width} is too small for this classification network, which "
                f"needs {self.smallest} pixels a side: take larger crops, or a smaller model.kernel"
            )
        stages = self.backbone.stages(image)
        features, open_units = stages[-1].pooled, []
        for layer in self.head:
            features = layer(features)
            if isinstance(layer, nn.ReLU):
                open_units.append(features > 0)
        return Encoded(stages, features, open_units)

    def saliency(self, encoded: Encoded, injected: Tensor, rows: Tensor | None = None) -> Tensor:
        """What the injected values come from: their transpose through the head.

        Args:
            encoded: of B images.
            injected: NLhw, values on the score maps, such as `Encoded.at_best_place` gives.
            rows: N, which of the B images each belongs to; None for all B in order.

        Returns:
            NChw, of the shape of the deepest map.
        """
        signal, waiting = injected, list(encoded.open_units)
        for layer in reversed(self.head):
            if isinstance(layer, nn.ReLU):
                units = waiting.pop()
                signal = signal * of_rows(units, rows)
            elif isinstance(layer, nn.Conv2d):
                signal = transposed_convolution(signal, layer.weight)
        return signal

    def adapt_weights(self, state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
        """torchvision's state dict of the backbone under the keys of this network.

        Args:
            state: key -> tensor; keys that are not torchvision's pass unchanged.
            prefix: of this network in the one that loads the state, such as "classifier.".
        """
        backbone = f"{prefix}backbone."
        if isinstance(self.backbone, VGG16Features):
            fc6, fc7 = f"{prefix}head.fc6.", f"{prefix}head.fc7."
            return adapt_vgg16(state, backbone=backbone, fc6=fc6, fc7=fc7)
        for part in self.backbone.torchvision_parts:
            state = rename_prefix(state, part, backbone + part)
        return state


def _vgg16_bn(*, in_channels: int) -> VGG16Features:
    return VGG16Features(in_channels=in_channels, batch_norm=True)


def _mobilenet_v2(*, in_channels: int) -> MobileNetV2Features:
    return MobileNetV2Features(in_channels=in_channels, output_stride=32)


BACKBONES: Mapping[str, Callable[..., Backbone]] = MappingProxyType(
    {
        "mobilenet_v2": _mobilenet_v2,
        "resnet50": ResNet50Features,
        "vgg16": VGG16Features,
        "vgg16_bn": _vgg16_bn,
    }
)
"""Name -> what builds a backbone from `in_channels`: a module with `channels` and `stages`."""
