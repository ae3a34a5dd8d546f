"""Mask R-CNN: boxes of objects, and a mask in each.

He et al., ICCV 2017, https://arxiv.org/abs/1703.06870, on a feature pyramid (Lin et al., CVPR 2017,
https://arxiv.org/abs/1612.03144). The parts are torchvision's own, and so are the keys: a state
dict of `maskrcnn_resnet50_fpn` loads as it is.

What a semantic score needs is a map of classes, for which the authors give no rule. Here a pixel is
of the class whose objects cover it best: the largest product of an object's score and of its mask's
probability there, over the objects above `score_threshold`, where that probability is above 0.5. A
pixel that no such object covers is background.

Differs from the paper, as torchvision does:
1. RoIAlign reads its boxes half a pixel further right and down (`aligned=False`).
2. Images are RGB, normalised by the mean and deviation of ImageNet, not BGR less a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet50
from torchvision.models.detection import MaskRCNN as Detector
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import (
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    TwoMLPHead,
)
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FrozenBatchNorm2d

from semisup.errors import RecipeError, suggest
from semisup.models.backbones.mobilenet import STAGE_BLOCKS, MobileNetV2Features
from semisup.models.backbones.resnet import ResNetFeatures
from semisup.models.base import Found, Segmenter
from semisup.models.layers import laid_out_as
from semisup.models.weights import rename_prefix

ANCHOR_SIZES = (32, 64, 128, 256, 512)
"""Side of the anchors of each level of the pyramid, in pixels."""

ASPECT_RATIOS = (0.5, 1.0, 2.0)

POOLED = 7
"""Side of what the box head reads of a box."""

MASK_THRESHOLD = 0.5
"""Probability above which a pixel of a box is of the object."""

LEAST = 1e-6
"""In place of a probability of 0, whose logarithm is no logit."""

BACKBONES = ("mobilenet_v2", "resnet50")

Targets = Sequence[dict[str, Tensor]]
"""Of each image "boxes" N4, "labels" N int64 and "masks" NHW uint8, as torchvision has them."""


class MaskRCNN(Segmenter):
    """Mask R-CNN on a feature pyramid, by torchvision; finds objects, and merges them into a map.

    Args:
        num_classes: K, the background included.
        in_channels: C of the input image.
        backbone: "resnet50", or "mobilenet_v2" for a CPU.
        version: 1 is the paper's; 2 has batch norms in pyramid and heads, a deeper region head and
            four convolutions in the box head (Li et al. 2021), torchvision's v2.
        frozen_norms: keep scales, shifts and statistics of the backbone's norms as they were
            loaded. For weights of ImageNet, as the authors do; without weights it is no norm.
        trainable_stages: of the backbone's five, counted from its end; the others keep their
            weights.
        min_size: pixels that the shorter side of an image is brought to.
        max_size: most pixels of the longer side.
        width: channels of the pyramid, the region head and the mask head.
        box_width: channels of the box head.
        sampled_boxes: boxes of an image that the heads are trained on, a quarter of them at most
            on objects.
        score_threshold: score up to which an object is left out of the semantic map; it counts in
            the average precision all the same.

    Raises:
        RecipeError: `backbone` is none of the table, or there is no version 2 of it.
        ValueError: an option is out of its range.
    """

    trained_by: ClassVar[tuple[str, ...]] = ("mask_rcnn",)
    paper: ClassVar[str] = "https://arxiv.org/abs/1703.06870"
    year: ClassVar[int | None] = 2017
    exceptions: ClassVar[Mapping[str, str]] = {
        "compile": "how many boxes are found decides what follows; `static_part` is one graph",
        "channels_last": "what RoIAlign reads of a box has its channels first",
    }

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        backbone: str = "resnet50",
        version: Literal[1, 2] = 1,
        frozen_norms: bool = False,
        trainable_stages: int = 5,
        min_size: int = 800,
        max_size: int = 1333,
        width: int = 256,
        box_width: int = 1024,
        sampled_boxes: int = 512,
        score_threshold: float = 0.5,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        _check_options(backbone, version, trainable_stages, min_size, max_size, score_threshold)
        self.score_threshold = score_threshold
        norm = nn.BatchNorm2d if version == 2 else None
        detector = Detector(
            _pyramid(backbone, in_channels, frozen_norms, trainable_stages, width, norm),
            min_size=min_size,
            max_size=max_size,
            image_mean=[0.0] * in_channels,  # the images of a batch are normalised
            image_std=[1.0] * in_channels,
            rpn_anchor_generator=AnchorGenerator(
                tuple((size,) for size in ANCHOR_SIZES), (ASPECT_RATIOS,) * len(ANCHOR_SIZES)
            ),
            rpn_head=RPNHead(width, len(ASPECT_RATIOS), conv_depth=version),
            box_head=_box_head(width, box_width, norm),
            box_predictor=FastRCNNPredictor(box_width, num_classes),
            box_batch_size_per_image=sampled_boxes,
            mask_head=MaskRCNNHeads(width, [width] * 4, 1, norm_layer=norm),
            mask_predictor=MaskRCNNPredictor(width, width, num_classes),
        )
        self.transform, self.backbone = detector.transform, detector.backbone
        self.rpn, self.roi_heads = detector.rpn, detector.roi_heads

    @property
    def static_part(self) -> nn.Module:
        """Backbone and pyramid: behind them as many boxes are read as are found."""
        part: nn.Module = self.backbone
        return part

    def encode(self, image: Tensor) -> list[Tensor]:
        """The pyramid of `image` (BCHW) at its own size: maps of strides 4, 8, 16, 32 and 64."""
        return list(self.backbone(image).values())

    def decode(self, features: list[Tensor]) -> Tensor:
        """Refused: boxes are found in whole images."""
        raise NotImplementedError("boxes are found in whole images, so there is no `decode`")

    def forward(self, image: Tensor) -> Tensor:
        """Logits BKHW of `image` (BCHW), merged from the objects that are found in it."""
        size = image.shape[-2:]
        return torch.stack([self.merge(found, size) for found in self.detect(image)])

    def detect(self, image: Tensor) -> list[Found]:
        """The objects of each image of `image` (BCHW), the surest first; in eval mode alone."""
        assert not self.training, "objects are found in eval mode"
        images, _ = self._sized(image)
        features = self.backbone(images.tensors)
        proposals, _ = self.rpn(images, features)
        found, _ = self.roi_heads(features, proposals, images.image_sizes)
        sizes = [(image.shape[-2], image.shape[-1])] * len(image)
        found = self.transform.postprocess(found, images.image_sizes, sizes)
        return [
            Found(one["boxes"], one["labels"], one["scores"], one["masks"][:, 0]) for one in found
        ]

    def merge(self, found: Found, size: torch.Size) -> Tensor:
        """The semantic map of some objects, KHW: logarithms of scores that are compared.

        That of the background is the least that an object can have where it covers a pixel.

        Args:
            found: the objects of an image.
            size: H and W of the image.
        """
        best = found.masks.new_full((self.num_classes, *size), LEAST)
        best[0] = max(LEAST, self.score_threshold * MASK_THRESHOLD)
        for number in (found.scores > self.score_threshold).nonzero()[:, 0].tolist():
            mask, label = found.masks[number], int(found.labels[number])
            covers = mask * found.scores[number] * (mask > MASK_THRESHOLD)
            best[label] = torch.maximum(best[label], covers)
        return best.log()

    def losses(self, image: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The five losses of `image` (BCHW) by their names in torchvision, 0-d each."""
        images, sized = self._sized(image, targets)
        features = self.backbone(images.tensors)
        proposals, of_regions = self.rpn(images, features, sized)
        _, of_boxes = self.roi_heads(features, proposals, images.image_sizes, sized)
        return {**of_regions, **of_boxes}

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's classification networks have no prefix; its detectors fit as they are."""
        for part in (*ResNetFeatures.torchvision_parts, "features."):
            inner = "" if part == "features." else part
            state = rename_prefix(state, part, f"backbone.body.{inner}")
        return state

    def _sized(
        self, image: Tensor, targets: Targets | None = None
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        """Images and targets at the size at which objects are found.

        Raises:
            RecipeError: the images are so long and narrow that nothing would be left of them.
        """
        short, long = sorted(image.shape[-2:])
        largest = self.transform.max_size
        if short * largest < long:
            raise RecipeError(
                f"an image of {image.shape[-2]}x{image.shape[-1]} (height x width) has no pixel "
                f"left across when its longer side is brought to max_size = {largest}; cut it into "
                "pieces that are less narrow"
            )
        given = None if targets is None else list(targets)
        images, sized = self.transform(list(image), given)
        tensors = laid_out_as(images.tensors, image)
        return ImageList(tensors, images.image_sizes), sized


def _check_options(
    backbone: str,
    version: int,
    trainable_stages: int,
    min_size: int,
    max_size: int,
    score_threshold: float,
) -> None:
    """Refuse what no network can be built of."""
    if backbone not in BACKBONES:
        raise RecipeError(f"Mask R-CNN has no backbone '{backbone}'.{suggest(backbone, BACKBONES)}")
    if version == 2 and backbone != "resnet50":
        raise RecipeError(
            f"Mask R-CNN has a version 2 on ResNet-50 alone, not on '{backbone}'. Leave version "
            'out, or take backbone = "resnet50".'
        )
    if not 0 <= trainable_stages <= 5:
        raise ValueError(f"trainable_stages must be in 0..5, but is {trainable_stages}")
    if not 1 <= min_size <= max_size:
        raise ValueError(
            f"min_size must be at least 1 and at most max_size, but they are {min_size} and "
            f"{max_size}"
        )
    if not 0 <= score_threshold < 1:
        raise ValueError(f"score_threshold must be in [0, 1), but is {score_threshold}")


def _pyramid(
    backbone: str,
    in_channels: int,
    frozen_norms: bool,
    trainable_stages: int,
    width: int,
    norm: Callable[..., nn.Module] | None,
) -> BackboneWithFPN:
    """A backbone with its maps of strides 4 to 32 brought to `width` channels, and one of 64."""
    norms: Callable[..., nn.Module] = FrozenBatchNorm2d if frozen_norms else nn.BatchNorm2d
    if backbone == "resnet50":
        body, stages, channels = _resnet(in_channels, norms)
    else:
        body, stages, channels = _mobilenet(in_channels, norms)
    for stage in stages[: len(stages) - trainable_stages]:
        for part in stage:
            body.get_submodule(part).requires_grad_(False)
    last = [stage[-1] for stage in stages[1:]]
    return BackboneWithFPN(
        body,
        return_layers={part: str(number) for number, part in enumerate(last)},
        in_channels_list=channels,
        out_channels=width,
        norm_layer=norm,
    )


Body = tuple[nn.Module, list[list[str]], list[int]]
"""A network, the names of its parts by stage, and the channels of the last four stages."""


def _resnet(in_channels: int, norms: Callable[..., nn.Module]) -> Body:
    body = resnet50(norm_layer=norms)
    if in_channels != 3:
        body.conv1 = _first_convolution(in_channels, 64, 7)
    stages = [["conv1", "bn1"], *([f"layer{number}"] for number in range(1, 5))]
    return body, stages, list(ResNetFeatures.channels)


def _mobilenet(in_channels: int, norms: Callable[..., nn.Module]) -> Body:
    body = mobilenet_v2(norm_layer=norms).features[: STAGE_BLOCKS[-1] + 1]
    if in_channels != 3:
        body[0][0] = _first_convolution(in_channels, 32, 3)
    ends = (1, *STAGE_BLOCKS)
    starts = (0, *(end + 1 for end in ends[:-1]))
    stages = [
        [str(block) for block in range(start, end + 1)]
        for start, end in zip(starts, ends, strict=True)
    ]
    return body, stages, list(MobileNetV2Features.channels)


def _first_convolution(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride=2, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def _box_head(width: int, box_width: int, norm: Callable[..., nn.Module] | None) -> nn.Module:
    """Two linear layers or, with norms, four convolutions and one."""
    head: nn.Module
    if norm is None:
        head = TwoMLPHead(width * POOLED**2, box_width)
    else:
        head = FastRCNNConvFCHead(
            (width, POOLED, POOLED), [width] * 4, [box_width], norm_layer=norm
        )
    return head
