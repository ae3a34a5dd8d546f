"""DeepLab v2: atrous convolution and a pyramid of atrous classifiers on ResNet-101.

Chen, Papandreou, Kokkinos, Murphy and Yuille, TPAMI 2018, https://arxiv.org/abs/1606.00915, in the
form of AdvSemiSeg (hfslyc/AdvSemiSeg: model/deeplab.py), which s4GAN and the tables after it share:
a ResNet of output stride 8 as Caffe's (stride at the first 1 x 1 convolution of a stage, pooling
that rounds up, dilation 2 and 4 in all blocks of the last two stages), scales and shifts of batch
norms that are never trained, classifiers 3 x 3 of dilation 6, 12, 18 and 24 that are summed.

In that code a `return` sits inside the loop over the classifiers, so that two of the four act:
`branches = 2`. The fully connected CRF is part of the evaluation, not of the network, and three
scales at once are not here. Differs from the code: classifiers' biases start at zero, as in the
Caffe release, and the backbone from torchvision's initial weights where no file of weights is given
(N(0, 0.01) there).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.backbones.resnet import adapt_resnet, named_resnet
from semisup.models.base import ParameterGroup, Segmenter
from semisup.models.layers import resize
from semisup.models.weights import rename_prefix

RATES = (6, 12, 18, 24)
"""Dilations of the classifiers."""


class DeepLabV2(Segmenter):
    """DeepLab v2 (Chen et al. 2018) on a ResNet, output stride 8.

    Running statistics of its batch norms follow the batches; their scales and shifts stay.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        backbone: "resnet50", "resnet101" or "resnet152".
        branches: how many of the classifiers of dilation 6, 12, 18 and 24 there are: 4, or 2, as
            AdvSemiSeg's code computes.

    Raises:
        RecipeError: there is no such backbone, or `branches` is neither 2 nor 4.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1606.00915"
    year: ClassVar[int | None] = 2018

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        backbone: str = "resnet101",
        branches: Literal[2, 4] = 4,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if branches not in (2, 4):
            raise RecipeError(f"DeepLab v2 has branches 2 or 4, not {branches}.")
        self.backbone = named_resnet(
            backbone,
            "DeepLab v2",
            in_channels=in_channels,
            output_stride=8,
            dilate_first=True,
            caffe=True,
        )
        for layer in self.backbone.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.requires_grad_(False)
        channels = self.backbone.channels[-1]
        self.classifiers = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=rate, dilation=rate)
            for rate in RATES[:branches]
        )
        for name, parameter in self.classifiers.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.01)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The last map of the backbone (BChw, stride 8) of `image` (BCHW)."""
        return [self.backbone.stages(image)[-1].pooled]

    @property
    def embedding_channels(self) -> int:
        """2,048."""
        return self.backbone.channels[-1]

    def embed(self, features: list[Tensor]) -> Tensor:
        """The map of `encode`."""
        (deepest,) = features
        return deepest

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw: the sum over the classifiers, each with a view of its own."""
        first, *others = self.classifiers
        logits: Tensor = first(embedding)
        for classifier in others:
            logits = logits + classifier(embedding)
        return logits

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """Logits BKHW, resized from those of `decode`, corners on corners as Caffe's are."""
        return resize(logits, size, align_corners=True)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The backbone without its batch norms, and classifiers at ten times its learning rate."""
        trained = [p for p in self.backbone.parameters() if p.requires_grad]
        return [
            ParameterGroup(trained, name="backbone"),
            ParameterGroup(list(self.classifiers.parameters()), lr_scale=10.0, name="classifiers"),
        ]

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's ResNets have no prefix; AdvSemiSeg's classifiers have another name."""
        state = rename_prefix(state, "layer5.conv2d_list.", "classifiers.")
        return adapt_resnet(state, backbone="backbone.")
