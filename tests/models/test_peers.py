"""What is the same in torchvision, segmentation-models-pytorch and timm, and what is not.

Weights are moved over and outputs compared to 1e-4. Of networks that only share a name, the table
in docs/models.md says what differs, and the counts in it are those of the networks themselves.
`test_lraspp.py` has the whole of LR-ASPP against torchvision's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import alexnet, mobilenet_v2, resnet18, resnet50, vgg16, vgg16_bn
from torchvision.models import segmentation as peers
from torchvision.models.segmentation.deeplabv3 import ASPP

from semisup.models.backbones.alexnet import AlexNetFeatures
from semisup.models.backbones.base import Backbone
from semisup.models.backbones.mobilenet import MobileNetV2Features
from semisup.models.backbones.resnet import ResNet18Features, ResNetFeatures
from semisup.models.backbones.vgg import VGG16Features
from semisup.models.backbones.vit import ViT, ViTShape
from semisup.models.deeplab_v3plus import AtrousPyramid, DeepLabV3Plus
from semisup.models.dpt import DPT
from semisup.models.fcn import FCN8s, FCN32s
from semisup.models.linknet import LinkNet
from semisup.models.lraspp import LRASPP
from semisup.models.pspnet import PoolingPyramid, PSPNet
from semisup.models.unet import UNet
from tests.support.networks import shuffled

timm = pytest.importorskip("timm")
smp = pytest.importorskip("segmentation_models_pytorch")

SmpPyramid = smp.decoders.deeplabv3.decoder.ASPP

TABLE = Path(__file__).parents[2] / "docs" / "models.md"
SIZE = (64, 96)

equal = partial(torch.testing.assert_close, rtol=0, atol=1e-4)


def image(*, batch: int = 1, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def moved(state: Mapping[str, Tensor], *names: tuple[str, str]) -> dict[str, Tensor]:
    """`state` with other heads of keys: the first pattern that fits is replaced."""
    result = {}
    for key, tensor in state.items():
        for pattern, replacement in names:
            new, found = re.subn(pattern, replacement, key)
            if found:
                key = new
                break
        result[key] = tensor
    return result


def fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """All of `network` out of `state`, which may hold more."""
    own = network.state_dict().keys()
    network.load_state_dict({key: state[key] for key in own})


def same_in_both_modes(ours: nn.Module, theirs: nn.Module, *inputs: Tensor) -> None:
    for training in (False, True):
        with torch.no_grad():
            equal(ours.train(training)(*inputs), theirs.train(training)(*inputs))


# Encoders

STAGES = ["layer1", "layer2", "layer3", "layer4"]

PLAIN: dict[str, tuple[Callable[[], Backbone], Callable[[], nn.Module], str, list[str]]] = {
    "resnet18": (ResNet18Features, resnet18, "", STAGES),
    "mobilenet_v2": (
        partial(MobileNetV2Features, output_stride=32),
        mobilenet_v2,
        "features",
        ["3", "6", "13", "17"],
    ),
    "alexnet": (AlexNetFeatures, alexnet, "features", ["2", "5", "12"]),
    "vgg16": (VGG16Features, vgg16, "features", ["4", "9", "16", "23", "30"]),
    "vgg16_bn": (
        partial(VGG16Features, batch_norm=True),
        vgg16_bn,
        "features",
        ["6", "13", "23", "33", "43"],
    ),
}
"""Name -> ours, torchvision's, the part of it that is compared, and where its maps come out."""

QUICK = ("resnet18", "mobilenet_v2")


def tapped(network: nn.Module, places: list[str], picture: Tensor) -> list[Tensor]:
    """What comes out at the places, of one pass."""
    found: list[Tensor] = []
    layers = dict(network.named_modules())
    hooks = [
        layers[place].register_forward_hook(lambda _, __, out: found.append(out.clone()))
        for place in places
    ]
    with torch.no_grad():
        network(picture)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PLAIN],
)
def test_encoders_are_torchvisions(name: str, training: bool) -> None:
    make, peer, part, places = PLAIN[name]
    torch.manual_seed(0)
    ours, theirs = make(), shuffled(peer())
    fill(ours, theirs.state_dict())
    expected = tapped(theirs.get_submodule(part).train(training), places, image(batch=2))
    with torch.no_grad():
        stages = ours.train(training).stages(image(batch=2))
    for stage, other in zip(stages, expected, strict=True):
        equal(stage.pooled, other)


@pytest.mark.parametrize(
    ("name", "make", "first"),
    [
        ("resnet18", ResNet18Features, 2),
        ("mobilenet_v2", partial(MobileNetV2Features, output_stride=32), 2),
        pytest.param("resnet50", partial(ResNetFeatures, 50), 2, marks=pytest.mark.slow),
    ],
)
def test_encoders_are_those_of_smp(name: str, make: Callable[[], Backbone], first: int) -> None:
    """But for the last map of MobileNetV2, behind a convolution of 1,280 channels that we leave."""
    torch.manual_seed(0)
    ours, theirs = make().eval(), shuffled(smp.encoders.get_encoder(name, weights=None))
    fill(ours, theirs.state_dict())
    last = -1 if name == "mobilenet_v2" else None
    with torch.no_grad():
        stages, expected = ours.stages(image()), theirs(image())
    for stage, other in zip(stages[:last], expected[first:last], strict=True):
        equal(stage.pooled, other)


@pytest.mark.slow
@pytest.mark.parametrize(("output_stride", "replaced"), [(16, [0, 0, 1]), (8, [0, 1, 1])])
@pytest.mark.parametrize("training", [False, True])
def test_dilated_resnets_are_torchvisions(
    output_stride: Any, replaced: list[int], training: bool
) -> None:
    """Of DeepLab v3+, FCN-ResNet and DeepLab v3: the first block keeps the dilation before it."""
    torch.manual_seed(0)
    theirs = shuffled(resnet50(replace_stride_with_dilation=[bool(n) for n in replaced])).double()
    ours = ResNetFeatures(50, output_stride=output_stride).double()
    fill(ours, theirs.state_dict())
    ours.train(training)
    with torch.no_grad():
        stages = ours.stages(image(batch=2).double())
    expected = tapped(theirs.train(training), STAGES, image(batch=2).double())
    for stage, other in zip(stages, expected, strict=True):
        equal(stage.pooled, other)


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilated_resnets_of_smp_are_those_of_pspnet(output_stride: Any) -> None:
    """SMP dilates the first block of a stage too, as PSPNet's authors and not as torchvision."""
    torch.manual_seed(0)
    theirs = shuffled(
        smp.encoders.get_encoder("resnet50", weights=None, output_stride=output_stride)
    ).double()
    same, other = (
        ResNetFeatures(50, output_stride=output_stride, dilate_first=first).double().eval()
        for first in (True, False)
    )
    picture = image().double()
    with torch.no_grad():
        expected = theirs(picture)[-1]
        for ours in (same, other):
            fill(ours, theirs.state_dict())
        equal(same.stages(picture)[-1].pooled, expected)
        assert not torch.allclose(other.stages(picture)[-1].pooled, expected, atol=1e-2)


def test_transformers_of_dinov2_are_timms_where_positions_are_not_resized() -> None:
    """At 518 x 518; elsewhere timm resizes the table of positions in another way."""
    torch.manual_seed(0)
    shape = ViTShape(width=16, depth=4, heads=2, taps=(0, 1, 2, 3))
    theirs = timm.models.vision_transformer.VisionTransformer(
        img_size=518, patch_size=14, embed_dim=16, depth=4, num_heads=2, init_values=1.0,
        num_classes=0, dynamic_img_size=True,
    ).eval()  # fmt: skip
    ours = ViT(shape).eval()
    state = {key: torch.randn_like(value) * 0.2 for key, value in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    assert set(ours.state_dict()) - set(state) == {"mask_token"}
    ours.load_state_dict(state, strict=False)
    taps = list(shape.taps)
    for side, alike in ((518, True), (224, False)):
        picture = image(size=(side, side))
        with torch.no_grad():
            levels = ours(picture)
            others = theirs.forward_intermediates(picture, taps, norm=True, intermediates_only=True)
        for level, other in zip(levels, others, strict=True):
            assert torch.allclose(level, other, rtol=0, atol=1e-4) is alike


# Parts of heads

PYRAMID_KEYS = (
    (r"^convs\.4\.1\.", "whole.1.0."),
    (r"^convs\.4\.2\.", "whole.1.1."),
    (r"^convs\.", "branches."),
    (r"^project\.", "project.0."),
)


def smp_pyramid(rates: list[int]) -> nn.Module:
    pyramid: nn.Module = SmpPyramid(24, 256, rates, separable=False, dropout=0.0)
    return pyramid


def torchvision_pyramid(rates: list[int]) -> nn.Module:
    pyramid: nn.Module = ASPP(24, rates)
    pyramid.project[3].p = 0.0  # type: ignore[index, union-attr]
    return pyramid


@pytest.mark.parametrize("make", [torchvision_pyramid, smp_pyramid])
def test_the_pyramid_of_deeplab_on_a_resnet_is_that_of_both(
    make: Callable[[list[int]], nn.Module],
) -> None:
    """But for their dropout (0.5), which this network has not."""
    torch.manual_seed(0)
    theirs = shuffled(make([12, 24, 36]))
    ours = AtrousPyramid(24, (12, 24, 36), full=True)
    fill(ours, moved(theirs.state_dict(), *PYRAMID_KEYS))
    maps = torch.randn(2, 24, 15, 20)
    same_in_both_modes(ours, theirs, maps)


def test_the_separable_pyramid_of_smp_has_no_norm_between_its_convolutions() -> None:
    with torch.device("meta"):
        ours = AtrousPyramid(24, (6, 12, 18))
        theirs = SmpPyramid(24, 256, [6, 12, 18], separable=True, dropout=0.5)
    norms = [
        sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
        for network in (ours, theirs)
    ]
    assert norms == [1 + 3 * 2 + 0 + 1, 1 + 3 * 1 + 1 + 1]


def test_the_pyramid_of_pspnet_is_smps_but_for_one_norm_and_the_order() -> None:
    torch.manual_seed(0)
    theirs, ours = shuffled(smp.decoders.pspnet.decoder.PSPModule(16)), PoolingPyramid(16, 4).eval()
    state = {}
    for key, tensor in theirs.state_dict().items():
        _, level, _, _, part, name = key.split(".")
        state[f"levels.{level}.1.{part}.{name}"] = tensor
    state |= {
        key: tensor
        for key, tensor in ours.state_dict().items()
        if key.startswith("levels.0.1.1.") or key.endswith("num_batches_tracked")
    }
    bias = state.pop("levels.0.1.0.bias")
    state["levels.0.1.1.bias"] = bias  # the norm that SMP has not, passing all but the bias on
    fill(ours, state)
    assert (
        theirs.state_dict().keys() & {f"blocks.0.pool.1.1.{n}" for n in ("weight", "bias")} == set()
    )
    maps = torch.randn(2, 16, 12, 18)
    with torch.no_grad():
        first, last = ours(maps), theirs(maps)
    equal(first, torch.cat([last[:, 16:], last[:, :16]], dim=1))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(224, 224), (364, 476), (518, 518)])
def test_dpt_of_smp_takes_no_image_on_a_transformer_of_dinov2(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = smp.DPT("tu-vit_small_patch14_dinov2", dynamic_img_size=True, **SMP).eval()
        with pytest.raises(RuntimeError):
            model(torch.empty(1, 3, *size))


@pytest.mark.slow
def test_deeplab_v3_of_torchvision_up_to_the_output_of_its_pyramid() -> None:
    """Behind which DeepLab v3+ goes on with its decoder, and v3 with one convolution."""
    torch.manual_seed(0)
    theirs = shuffled(peers.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=5))
    ours = DeepLabV3Plus(5, backbone="resnet50", output_stride=8).eval()
    fill(ours.backbone, theirs.backbone.state_dict())
    fill(ours.pyramid, moved(theirs.classifier[0].state_dict(), *PYRAMID_KEYS))
    with torch.no_grad():
        _, high = ours.encode(image())
        equal(ours.pyramid(high), theirs.classifier[0](theirs.backbone(image())["out"]))


@pytest.mark.slow
def test_fcn_scores_what_torchvisions_classifier_computes() -> None:
    """fc6 and fc7 as convolutions give, at one place, what the linear layers give."""
    torch.manual_seed(0)
    theirs = vgg16().eval()
    ours = FCN32s(5).eval()
    ours.load_state_dict(ours.adapt_weights(theirs.state_dict()), strict=False)
    maps = torch.randn(1, 512, 7, 7)
    with torch.no_grad():
        first = ours.fc6(maps).relu()
        equal(ours.fc7(first).flatten(1), theirs.classifier[:4](maps.flatten(1)))


# Whole encoders under the same names


def test_unet_on_timm_reads_the_maps_that_smp_reads() -> None:
    torch.manual_seed(0)
    theirs = shuffled(smp.Unet("tu-test_resnet", encoder_weights=None))
    ours = UNet(5, width=8, backbone="timm:test_resnet").eval()
    assert ours.backbone is not None
    fill(ours.backbone.model, moved(theirs.encoder.state_dict(), (r"^model\.", "")))
    with torch.no_grad():
        for own, other in zip(ours.encode(image()), theirs.encoder(image())[1:], strict=True):
            equal(own, other)


# The table

K = 21
WITHOUT: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": K}
SMP: dict[str, Any] = {"encoder_weights": None, "classes": K}

NETWORKS: dict[tuple[str, str], tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    ("`fcn8s`", "torchvision `fcn_resnet50`"): (
        partial(FCN8s, K),
        partial(peers.fcn_resnet50, aux_loss=False, **WITHOUT),
    ),
    ("`deeplab_v3plus` on `resnet50`", "torchvision `deeplabv3_resnet50`"): (
        partial(DeepLabV3Plus, K, backbone="resnet50"),
        partial(peers.deeplabv3_resnet50, aux_loss=False, **WITHOUT),
    ),
    ("`deeplab_v3plus` on `resnet50`", "SMP `DeepLabV3Plus`"): (
        partial(DeepLabV3Plus, K, backbone="resnet50"),
        partial(smp.DeepLabV3Plus, "resnet50", **SMP),
    ),
    ("`deeplab_v3plus`", "SMP `DeepLabV3Plus` on `mobilenet_v2`"): (
        partial(DeepLabV3Plus, K),
        partial(smp.DeepLabV3Plus, "mobilenet_v2", **SMP),
    ),
    ("`lraspp`", "torchvision `lraspp_mobilenet_v3_large`"): (
        partial(LRASPP, K),
        partial(peers.lraspp_mobilenet_v3_large, **WITHOUT),
    ),
    ("`pspnet`", "SMP `PSPNet` on `resnet50`"): (
        partial(PSPNet, K),
        partial(smp.PSPNet, "resnet50", **SMP),
    ),
    ("`linknet`", "SMP `Linknet` on `resnet18`"): (
        partial(LinkNet, K),
        partial(smp.Linknet, "resnet18", **SMP),
    ),
    ("`unet`", "SMP `Unet` on `resnet50`"): (
        partial(UNet, K),
        partial(smp.Unet, "resnet50", **SMP),
    ),
    ("`unet` on `timm:resnet18`", "SMP `Unet` on `resnet18`"): (
        partial(UNet, K, backbone="timm:resnet18"),
        partial(smp.Unet, "resnet18", **SMP),
    ),
    ("`dpt`", "SMP `DPT` on `tu-vit_small_patch14_dinov2`"): (
        partial(DPT, K),
        partial(smp.DPT, "tu-vit_small_patch14_dinov2", **SMP),
    ),
}
"""Names of ours and of the peer's, as in the table -> what builds them."""


def parameters(make: Callable[[], nn.Module]) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in make().parameters())


def rows() -> dict[tuple[str, str], list[str]]:
    """The table beside other libraries: network and peer -> the other cells."""
    section = TABLE.read_text(encoding="utf-8").split("## Beside other libraries")[1]
    lines = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(row[0], row[1]): row[2:] for row in cells}


def test_the_table_has_every_network_that_is_compared() -> None:
    assert rows().keys() >= NETWORKS.keys()
    versions = TABLE.read_text(encoding="utf-8").split("## Beside other libraries")[1][:900]
    for package in (smp, timm, torchvision):
        assert package.__version__.split("+")[0].rpartition(".")[0] in versions


@pytest.mark.parametrize(
    "pair",
    [
        pair
        if "resnet18" in pair[1] or "mobilenet" in pair[1]
        else pytest.param(pair, marks=pytest.mark.slow)
        for pair in NETWORKS
    ],
)
def test_counts_in_the_table_are_those_of_the_networks(pair: tuple[str, str]) -> None:
    ours, theirs = (parameters(make) for make in NETWORKS[pair])
    assert rows()[pair][-2:] == [f"{ours:,}", f"{theirs:,}"]
