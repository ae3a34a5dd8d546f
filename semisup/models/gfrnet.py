"""G-FRNet: gated feedback refinement, from a coarse prediction to the image's size in five stages.

Islam, Rochan, Bruce and Wang, CVPR 2017, and its longer form, https://arxiv.org/abs/1806.11266,
after the authors' network for CamVid (`train_camvid_gate.prototxt`): VGG16 with batch
normalisation, two wide convolutions and a score; then, for each of VGG's five stages from the
deepest one on,

    feature    = norm(conv(the stage's last map before its pooling))          K channels
    gate       = norm(feature * the feature one stage deeper, enlarged)
    prediction = conv([gate, the prediction one stage deeper, enlarged])

where the deepest feature is conv(pool5), and whatever is enlarged is so with aligned corners. All
six predictions are trained at the image's size, with the same weight.

The release and the paper differ: the paper has a ReLU behind both features of a gate (`gate =
"rectified"`), and trains each prediction on labels of its own size.

Differs from the release: stage 5 joins its two maps in the order of the others, so that the same
network has its input channels in another order; shifts of batch normalisation start at 0, not at
0.001; conv6 and conv7, for which no filler is given, start from He et al. 2015 as the others do.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import RecipeError, suggest
from semisup.models.backbones.vgg import VGG16Features, adapt_vgg16, numbered_with_norms
from semisup.models.base import ParameterGroup, Segmenter, biases_apart
from semisup.models.layers import conv_norm_relu, initialise, resize

Gate = Literal["product", "rectified"]
GATES: tuple[Gate, ...] = ("product", "rectified")

FIRST_DROPOUT = 2
"""The first pooling that dropout follows: pool3, counted from 0."""


class GFRNet(Segmenter):
    """G-FRNet (Islam et al. 2017) on VGG16: 29,194,090 parameters at 11 classes.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        width: channels of conv6 and conv7; less makes it fit for tests and small machines.
        gate: "product" multiplies the two features as they are, as in the authors' code;
            "rectified" after a ReLU each, and normalises the deepest one too, as in the paper.

    Raises:
        RecipeError: `gate` is neither of them.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1806.11266"
    year: ClassVar[int | None] = 2017
    stride: ClassVar[int] = 1

    auxiliary_weights = (1.0, 1.0, 1.0, 1.0, 1.0)

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        width: int = 1024,
        gate: Gate = "product",
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        if gate not in GATES:
            raise RecipeError(f"G-FRNet has no gate '{gate}'.{suggest(gate, GATES)}")
        rectified = gate == "rectified"
        self.backbone = VGG16Features(in_channels=in_channels, batch_norm=True, ceil_mode=True)
        *_, deepest = channels = self.backbone.channels
        self.dropout = nn.Dropout(0.5)
        self.conv6 = conv_norm_relu(deepest, width, 3, bias=True)
        self.conv7 = conv_norm_relu(width, width, 3, bias=True)
        self.deepest_feature = (
            _feature(deepest, num_classes, rectified=True)
            if rectified
            else nn.Conv2d(deepest, num_classes, 3, padding=1)
        )
        self.gates = nn.ModuleList(
            GateUnit(side, num_classes, rectified=rectified) for side in reversed(channels)
        )
        read = (width, *[2 * num_classes] * len(channels))
        self.scores = nn.ModuleList(nn.Conv2d(side, num_classes, 3, padding=1) for side in read)
        for part in (self.conv6, self.conv7, self.deepest_feature, self.gates, self.scores):
            initialise(part)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Maps BChw: the five before VGG's poolings, finest first; pool5; and conv7's."""
        features: list[Tensor] = []
        current = image
        for layer in self.backbone.features:
            if isinstance(layer, nn.MaxPool2d):
                features.append(current)
                current = F.max_pool2d(current, 2, ceil_mode=True)
                if len(features) > FIRST_DROPOUT:
                    current = self.dropout(current)
            else:
                current = layer(current)
        deepest = self.dropout(self.conv7(self.dropout(self.conv6(current))))
        return [*features, current, deepest]

    @property
    def embedding_channels(self) -> int:
        """2 K: the last gate's, and the prediction before it."""
        return 2 * self.num_classes

    def embed(self, features: list[Tensor]) -> Tensor:
        """The last gate and the enlarged fifth prediction, B(2K)HW."""
        return self._refine(features)[0]

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of a map of `embed`, each from 3 x 3 places."""
        logits: Tensor = self.scores[-1](embedding)
        return logits

    def training_logits(self, image: Tensor) -> list[Tensor]:
        """The last prediction, then the five before it, coarsest first; all BKHW."""
        last, earlier = self._refine(self.encode(image))
        size = image.shape[-2:]
        return [
            self.to_image_size(self.classify(last), size),
            *(resize(prediction, size, align_corners=True) for prediction in earlier),
        ]

    def _refine(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What the classifier reads, and the five predictions before its own, coarsest first."""
        *sides, pooled, current = features
        feature = self.deepest_feature(pooled)
        predictions: list[Tensor] = []
        for score, gate, side in zip(self.scores[:-1], self.gates, reversed(sides), strict=True):
            predictions.append(score(current))
            gated, feature = gate(side, feature)
            enlarged = resize(predictions[-1], side.shape[-2:], align_corners=True)
            current = torch.cat([gated, enlarged], dim=1)
        return current, predictions

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weights, and biases at twice the learning rate without weight decay."""
        return biases_apart(self)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's `vgg16_bn`, or its `vgg16`, the authors' start: the convolutions."""
        return adapt_vgg16(numbered_with_norms(state), backbone="backbone.")


class GateUnit(nn.Module):
    """A shallow map under the control of a deeper one.

    Args:
        channels: C of the shallow map.
        num_classes: K, the channels of the deeper feature and of both results.
        rectified: whether a ReLU follows the shallow map's feature.
    """

    def __init__(self, channels: int, num_classes: int, *, rectified: bool) -> None:
        super().__init__()
        self.feature = _feature(channels, num_classes, rectified=rectified)
        self.norm = nn.BatchNorm2d(num_classes)

    def forward(self, shallow: Tensor, deeper: Tensor) -> tuple[Tensor, Tensor]:
        """The gated feature and the feature itself, BKhw each, of `shallow` BChw and a `deeper`
        feature of any size.
        """
        feature = self.feature(shallow)
        enlarged = resize(deeper, feature.shape[-2:], align_corners=True)
        return self.norm(feature * enlarged), feature


def _feature(channels: int, num_classes: int, *, rectified: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, num_classes, 3, padding=1)]
    layers.append(nn.BatchNorm2d(num_classes))
    if rectified:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
