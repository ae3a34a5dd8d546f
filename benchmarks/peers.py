"""Networks as `models.py` wants them, and the versions that other libraries have of them.

Those of `SAME` are the same network with the same weights: `models.py` moves the weights
over and compares the maps. Those of `NEAREST` are the nearest that torchvision and
segmentation-models-pytorch have. They are other networks, whatever their names; "nearest" is by
encoder and output stride. docs/models.md has what differs.

segmentation-models-pytorch and timm are imported where they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torchvision
from torch import Tensor, nn
from torchvision.models import segmentation
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation import lraspp

from semisup.catalog import create_model
from semisup.models.backbones.mobilenet import STAGE_BLOCKS, MobileNetV2Features
from semisup.models.backbones.resnet import ResNetFeatures
from semisup.models.backbones.vgg import VGG16Features
from semisup.models.backbones.vit import SHAPES, ViT

CLASSES = 21
VIT = "dinov2_small"


class Ours(nn.Module):
    """A network of the catalogue: all maps that are trained, in eval mode the main one."""

    def __init__(self, name: str, **options: object) -> None:
        super().__init__()
        self.network = create_model(name, CLASSES, **options)
        self.weights = (1.0, *self.network.auxiliary_weights)

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.network.training_logits(image) if self.training else [self.network(image)]


class Stages(nn.Module):
    """The maps of a backbone of ours."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.network = backbone

    def forward(self, image: Tensor) -> list[Tensor]:
        return [stage.pooled for stage in self.network.stages(image)]


class Peer(nn.Module):
    """A network of another library, and how its maps are taken out of what it returns."""

    def __init__(self, network: nn.Module, take: Callable[..., list[Tensor]]) -> None:
        super().__init__()
        self.network, self._take = network, take

    def forward(self, image: Tensor) -> list[Tensor]:
        return self._take(self.network(image))


class Levels(nn.Module):
    """timm's transformer, and the tokens of four blocks as maps."""

    def __init__(self) -> None:
        super().__init__()
        import timm

        self.network = timm.create_model(
            "vit_small_patch14_dinov2", pretrained=False, dynamic_img_size=True
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.network.forward_intermediates(
            image, indices=list(SHAPES[VIT].taps), norm=True, intermediates_only=True
        )
        return maps


@dataclass(frozen=True)
class Pair:
    """A network of ours and its peer.

    Attributes:
        name: of ours.
        peer: which library's, and its name there.
        ours: builds ours.
        theirs: builds the peer.
        multiple: sides of images that the peer takes are multiples of it.
    """

    name: str
    peer: str
    ours: Callable[[], nn.Module]
    theirs: Callable[[], nn.Module]
    multiple: int = 32


def as_it_is(output: Tensor) -> list[Tensor]:
    return [output]


def torchvision_main(output: dict[str, Tensor]) -> list[Tensor]:
    return [output["out"]]


def all_maps(output: dict[str, Tensor]) -> list[Tensor]:
    return list(output.values())


def without_image(output: list[Tensor]) -> list[Tensor]:
    """smp's encoders give the image and the stem's map first."""
    return output[2:]


def dilated_mobilenet() -> nn.Module:
    """torchvision's MobileNetV2 at output stride 16, without what classification alone needs."""
    features = torchvision.models.mobilenet_v2().features[: STAGE_BLOCKS[-1] + 1]
    for number, block in enumerate(features):
        for layer in block.modules():
            if number >= 14 and isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.stride, side = (1, 1), 1 if number == 14 else 2
                layer.dilation = layer.padding = (side, side)
    return features


def torchvision_lraspp() -> nn.Module:
    backbone = IntermediateLayerGetter(dilated_mobilenet(), {"6": "low", "17": "high"})
    return Peer(lraspp.LRASPP(backbone, 32, 320, CLASSES), torchvision_main)


def torchvision_mobilenet() -> nn.Module:
    features = torchvision.models.mobilenet_v2().features[: STAGE_BLOCKS[-1] + 1]
    names = {str(number): str(number) for number in STAGE_BLOCKS}
    return Peer(IntermediateLayerGetter(features, names), all_maps)


def torchvision_vgg() -> nn.Module:
    features = torchvision.models.vgg16_bn().features
    pools = [n for n, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    return Peer(IntermediateLayerGetter(features, {str(n): str(n) for n in pools}), all_maps)


def torchvision_resnet() -> nn.Module:
    fcn = torchvision_network("fcn_resnet50").network
    names = {f"layer{number}": f"layer{number}" for number in range(1, 5)}
    return Peer(IntermediateLayerGetter(fcn.backbone, names), all_maps)


def torchvision_network(name: str) -> Peer:
    options = {} if name.startswith("lraspp") else {"aux_loss": False}
    build = getattr(segmentation, name)
    network = build(weights=None, weights_backbone=None, num_classes=CLASSES, **options)
    return Peer(network, torchvision_main)


def smp_encoder(name: str) -> nn.Module:
    import segmentation_models_pytorch as smp

    return Peer(smp.encoders.get_encoder(name, weights=None), without_image)


def smp_network(name: str, encoder: str, **options: object) -> nn.Module:
    import segmentation_models_pytorch as smp

    build = getattr(smp, name)
    return Peer(build(encoder, encoder_weights=None, classes=CLASSES, **options), as_it_is)


SAME = (
    Pair(
        "lraspp", "torchvision LRASPP, mobilenet_v2", lambda: Ours("lraspp"), torchvision_lraspp, 1
    ),
    Pair(
        "ResNet-50, stride 8",
        "torchvision fcn_resnet50.backbone",
        lambda: Stages(ResNetFeatures(50, output_stride=8)),
        torchvision_resnet,
        1,
    ),
    Pair(
        "ResNet-50",
        "smp encoder",
        lambda: Stages(ResNetFeatures(50)),
        lambda: smp_encoder("resnet50"),
    ),
    Pair(
        "ResNet-18",
        "smp encoder",
        lambda: Stages(ResNetFeatures(18)),
        lambda: smp_encoder("resnet18"),
    ),
    Pair(
        "MobileNetV2",
        "torchvision features",
        lambda: Stages(MobileNetV2Features(output_stride=32)),
        torchvision_mobilenet,
        1,
    ),
    Pair(
        "VGG16 with norms",
        "torchvision features",
        lambda: Stages(VGG16Features(batch_norm=True)),
        torchvision_vgg,
        1,
    ),
    Pair("ViT-S/14", "timm dinov2", lambda: Peer(ViT(SHAPES[VIT]), list), Levels, 14),
)

NEAREST = (
    Pair(
        "deeplab_v3plus",
        "torchvision deeplabv3_mobilenet_v3_large",
        lambda: Ours("deeplab_v3plus"),
        lambda: torchvision_network("deeplabv3_mobilenet_v3_large"),
    ),
    Pair(
        "lraspp",
        "torchvision lraspp_mobilenet_v3_large",
        lambda: Ours("lraspp"),
        lambda: torchvision_network("lraspp_mobilenet_v3_large"),
    ),
    Pair(
        "deeplab_v3plus, ResNet-50, stride 8",
        "torchvision deeplabv3_resnet50",
        lambda: Ours("deeplab_v3plus", backbone="resnet50", output_stride=8),
        lambda: torchvision_network("deeplabv3_resnet50"),
    ),
    Pair(
        "pspnet",
        "torchvision fcn_resnet50",
        lambda: Ours("pspnet", auxiliary_weight=0.0),
        lambda: torchvision_network("fcn_resnet50"),
    ),
    Pair(
        "unet", "smp Unet, resnet18", lambda: Ours("unet"), lambda: smp_network("Unet", "resnet18")
    ),
    Pair(
        "linknet",
        "smp Linknet, resnet18",
        lambda: Ours("linknet"),
        lambda: smp_network("Linknet", "resnet18"),
    ),
    Pair(
        "pspnet",
        "smp PSPNet, resnet50",
        lambda: Ours("pspnet", auxiliary_weight=0.0),
        lambda: smp_network("PSPNet", "resnet50"),
    ),
    Pair(
        "deeplab_v3plus",
        "smp DeepLabV3Plus, mobilenet_v2",
        lambda: Ours("deeplab_v3plus"),
        lambda: smp_network("DeepLabV3Plus", "mobilenet_v2"),
    ),
    Pair(
        "deeplab_v3plus, ResNet-50",
        "smp DeepLabV3Plus, resnet50",
        lambda: Ours("deeplab_v3plus", backbone="resnet50"),
        lambda: smp_network("DeepLabV3Plus", "resnet50"),
    ),
    Pair(
        "dpt",
        "smp DPT, vit_small_patch16_224",
        lambda: Ours("dpt"),
        lambda: smp_network("DPT", "tu-vit_small_patch16_224", dynamic_img_size=True),
    ),
)
