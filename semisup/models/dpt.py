"""DPT on a vision transformer with the shapes of DINOv2: the network of UniMatch V2.

Ranftl, Bochkovskiy and Koltun, ICCV 2021, https://arxiv.org/abs/2103.13413, in the form of UniMatch
V2 (Yang, Zhao and Zhao, TPAMI 2025, https://arxiv.org/abs/2410.10777, LiheYoung/UniMatch-V2:
model/semseg/dpt.py, model/util/blocks.py, supervised.py). As that code, and unlike DPT's paper: the
class token is dropped and nothing is read from it, every level passes the encoder's last norm, the
head has no batch normalisation, and the size of the head goes with that of the encoder.

Differs from the code: images of any size from 14 pixels on, where it asserts multiples of 14. They
are resized to the nearest multiples, and the logits back, as its evaluation does. The encoder's
`mask_token` and the residual unit of the deepest fusion that never has an input are frozen; they
are here so that its files load in full.

A vision transformer of timm has the head that UniMatch V2 has for one of its width or the next
wider one; its levels, too, pass the last norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.models.backbones.timm import TimmViT, adapt_timm, is_timm, unknown_backbone
from semisup.models.backbones.vit import PATCH, SHAPES, ViT, adapt_dinov2
from semisup.models.base import ParameterGroup, Segmenter
from semisup.models.layers import at_least_one, resize
from semisup.models.weights import rename_prefix

HEAD_RATE = 40.0
"""Learning rate of the head, as a multiple of the encoder's."""


@dataclass(frozen=True, slots=True)
class HeadShape:
    """Size of a head.

    Attributes:
        channels: C of the four levels after their projection.
        width: C of the fusions.
    """

    channels: tuple[int, int, int, int]
    width: int


HEADS: Mapping[str, HeadShape] = MappingProxyType(
    {
        "dinov2_small": HeadShape((48, 96, 192, 384), 64),
        "dinov2_base": HeadShape((96, 192, 384, 768), 128),
        "dinov2_large": HeadShape((256, 512, 1024, 1024), 256),
    }
)
"""Backbone -> the head that UniMatch V2 puts on it."""

FUSION_KEYS = (("out_conv", "out"), ("resConfUnit1", "skip"), ("resConfUnit2", "fused"))
"""Parts of a fusion in files of UniMatch V2, and here."""

UNIMATCH_KEYS = (
    ("module.", ""),
    ("head.projects.", "projects."),
    ("head.resize_layers.", "resizes."),
    *((f"head.scratch.layer{number + 1}_rn.", f"adapts.{number}.") for number in range(4)),
    *(
        (f"head.scratch.refinenet{number + 1}.{theirs}.", f"fusions.{number}.{ours}.")
        for number in range(4)
        for theirs, ours in FUSION_KEYS
    ),
    ("head.scratch.output_conv.0.", "last."),
    ("head.scratch.output_conv.2.", "classifier."),
)
"""Heads of the keys in files of UniMatch V2, and here."""


class DPT(Segmenter):
    """DPT (Ranftl et al. 2021) on DINOv2's transformers, as in UniMatch V2: logits at stride 1.75.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        backbone: "dinov2_small", "dinov2_base" or "dinov2_large"; or "timm:" and the name of a
            vision transformer of timm.
        frozen_backbone: train the head alone.
        layer_decay: factor on the learning rate from each block of the backbone to the one before
            it; 1, as in UniMatch V2, gives all of them the same.

    Raises:
        RecipeError: there is no such backbone.
        ValueError: `layer_decay` is not in (0, 1].
    """

    paper = "https://arxiv.org/abs/2103.13413"
    year = 2021
    stride = PATCH

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        backbone: str = "dinov2_small",
        frozen_backbone: bool = False,
        layer_decay: float = 1.0,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if backbone not in HEADS and not is_timm(backbone):
            raise unknown_backbone("DPT", backbone, HEADS)
        if not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0 and at most 1, not {layer_decay}")
        self.layer_decay = layer_decay
        self.backbone: ViT | TimmViT = (
            TimmViT(backbone, "DPT", in_channels=in_channels)
            if is_timm(backbone)
            else ViT(SHAPES[backbone], in_channels=in_channels)
        )
        if frozen_backbone:
            self.backbone.requires_grad_(False)
        head = _head_for(self.backbone.width)
        self.projects = nn.ModuleList(nn.Conv2d(self.backbone.width, c, 1) for c in head.channels)
        self.resizes = _resizes(head.channels)
        self.adapts = nn.ModuleList(
            nn.Conv2d(c, head.width, 3, padding=1, bias=False) for c in head.channels
        )
        self.fusions = nn.ModuleList(Fusion(head.width) for _ in head.channels)
        self.fusions[-1].skip.requires_grad_(False)
        self.last = nn.Conv2d(head.width, head.width, 3, padding=1)
        self.classifier = nn.Conv2d(head.width, num_classes, 1)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The four levels BChw of one stride, 14, of `image` (BCHW), shallowest first."""
        size = whole_patches(image.shape[-2:], self.backbone.patch)
        levels: list[Tensor] = self.backbone(resize_aligned(image, size))
        return levels

    @property
    def embedding_channels(self) -> int:
        """64, 128 or 256, by the size of the backbone."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The map BChw at eight times the size of the levels."""
        parts = zip(self.projects, self.resizes, self.adapts, features, strict=True)
        maps = [adapt(change(project(level))) for project, change, adapt, level in parts]
        current: Tensor | None = None
        for number in reversed(range(len(maps))):
            height, width = maps[number].shape[-2:]
            size = maps[number - 1].shape[-2:] if number else torch.Size((2 * height, 2 * width))
            current = self.fusions[number](maps[number], current, size)
        return F.relu(self.last(current))

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each place by itself."""
        logits: Tensor = self.classifier(embedding)
        return logits

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """Logits BKHW of those of `decode`, through the nearest multiples of 14."""
        return resize_aligned(
            resize_aligned(logits, whole_patches(size, self.backbone.patch)), size
        )

    def parameter_groups(self) -> list[ParameterGroup]:
        """The backbone, by layers where `layer_decay` is below 1, and the head, 40 times as fast.

        The player's rate is that of the backbone. A frozen backbone has no group.
        """
        head = [
            parameter
            for key, parameter in self.named_parameters()
            if parameter.requires_grad and not key.startswith("backbone.")
        ]
        return [*self._backbone_groups(), ParameterGroup(head, lr_scale=HEAD_RATE, name="head")]

    def _backbone_groups(self) -> list[ParameterGroup]:
        depth = self.backbone.depth
        layers: dict[int, list[nn.Parameter]] = {}
        for key, parameter in self.backbone.named_parameters():
            if parameter.requires_grad:
                layer = _layer(key, depth) if self.layer_decay < 1 else depth + 1
                layers.setdefault(layer, []).append(parameter)
        names = {depth + 1: "backbone"}
        return [
            ParameterGroup(
                layers[layer],
                lr_scale=self.layer_decay ** (depth + 1 - layer),
                name=names.get(layer, f"backbone layer {layer}"),
            )
            for layer in sorted(layers)
        ]

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Files of DINOv2, of its ports in timm and transformers, and of UniMatch V2.

        On a transformer of timm, files of timm.
        """
        if isinstance(self.backbone, TimmViT):
            return adapt_timm(state, self.backbone)
        for theirs, ours in UNIMATCH_KEYS:
            state = rename_prefix(state, theirs, ours)
        return adapt_dinov2(state, backbone="backbone.")


class Fusion(nn.Module):
    """A level joined with the coarser one below it, refined and resized.

    Args:
        width: C of input and result.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Conv2d(width, width, 1)
        self.skip = ResidualUnit(width)
        self.fused = ResidualUnit(width)

    def forward(self, level: Tensor, below: Tensor | None, size: torch.Size) -> Tensor:
        """BCHW at `size` (H, W) of `level` (BChw) and of `below` (BChw); the deepest has none."""
        joined = level if below is None else below + self.skip(level)
        fused: Tensor = self.out(resize_aligned(self.fused(joined), size))
        return fused


class ResidualUnit(nn.Module):
    """Two convolutions, each behind a ReLU, and the input added.

    Args:
        width: C of input and result.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """BChw of BChw, which is added as it is: the ReLU is not in place."""
        residual: Tensor = self.conv2(F.relu(self.conv1(F.relu(maps))))
        return maps + residual


def whole_patches(size: torch.Size, patch: int = PATCH) -> torch.Size:
    """H and W as the nearest multiples of the side of a patch, halves up, and one at least."""
    return torch.Size(at_least_one((side + patch // 2) // patch) * patch for side in size)


def resize_aligned(maps: Tensor, size: torch.Size) -> Tensor:
    """`maps` (BCHW) at `size`, bilinear with the corners in place."""
    return resize(maps, size, align_corners=True)


def _resizes(channels: tuple[int, int, int, int]) -> nn.ModuleList:
    """From stride 14: four times and twice as fine, as it is, and half as fine, rounded up."""
    first, second, _, last = channels
    return nn.ModuleList(
        [
            nn.ConvTranspose2d(first, first, 4, stride=4),
            nn.ConvTranspose2d(second, second, 2, stride=2),
            nn.Identity(),
            nn.Conv2d(last, last, 3, stride=2, padding=1),
        ]
    )


def _head_for(width: int) -> HeadShape:
    """The head for a transformer of that width, or of the next wider one that has one."""
    fitting = (head for name, head in HEADS.items() if SHAPES[name].width >= width)
    return next(fitting, HEADS["dinov2_large"])


def _layer(key: str, depth: int) -> int:
    """0 of the embeddings, 1 to `depth` of the blocks, behind them of the last norm."""
    part, _, rest = key.removeprefix("model.").partition(".")
    if part == "blocks":
        return 1 + int(rest.partition(".")[0])
    return depth + 1 if part == "norm" else 0
