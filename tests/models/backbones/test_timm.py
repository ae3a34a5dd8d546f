"""Encoders of timm under the networks that take them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from semisup.contracts import models as contract
from semisup.errors import RecipeError
from semisup.models.backbones.timm import MULTIPLE, TimmFeatures, TimmViT
from semisup.models.base import Segmenter
from semisup.models.deeplab_v3plus import DeepLabV3Plus
from semisup.models.dpt import DPT
from semisup.models.linknet import LinkNet
from semisup.models.pspnet import PSPNet
from semisup.models.torchvision_weights import torchvision_weights
from semisup.models.unet import UNet
from semisup.models.weights import load_weights
from tests.support.networks import shuffled

timm = pytest.importorskip("timm")

CLASSES = 5
Build = Callable[..., Segmenter]

NETWORKS: dict[str, Build] = {
    "unet": partial(UNet, CLASSES, width=4, batch_norm=True),
    "linknet": partial(LinkNet, CLASSES),
    "pspnet": partial(PSPNet, CLASSES),
    "deeplab_v3plus": partial(DeepLabV3Plus, CLASSES),
    "dpt": partial(DPT, CLASSES),
}

TINY = {
    "unet": "timm:test_resnet",
    "linknet": "timm:test_convnext",
    "pspnet": "timm:test_efficientnet",
    "deeplab_v3plus": "timm:test_resnet",
    "dpt": "timm:test_vit",
}
"""timm's own networks for tests, of under 500,000 parameters."""

SMALL = {
    "unet": ("resnet18", "mobilenetv3_small_050", "convnext_atto", "efficientnet_b0"),
    "linknet": ("resnet18", "mobilenetv3_small_050", "convnext_atto", "efficientnet_b0"),
    "pspnet": ("resnet18", "mobilenetv3_small_050", "convnext_atto", "efficientnet_b0"),
    "deeplab_v3plus": ("resnet18", "mobilenetv3_small_050", "convnext_atto", "efficientnet_b0"),
    "dpt": ("vit_tiny_patch16_224", "eva02_tiny_patch14_224", "deit3_small_patch16_224"),
}

every_network = pytest.mark.parametrize("name", NETWORKS)


def tiny(name: str) -> Segmenter:
    torch.manual_seed(0)
    return NETWORKS[name](backbone=TINY[name])


def refusal(build: Build, name: str) -> str:
    with pytest.raises(RecipeError) as caught:
        build(backbone=name)
    line = str(caught.value)
    assert "\n" not in line
    return line


def encoder(model: Segmenter) -> TimmFeatures | TimmViT:
    assert isinstance(model.backbone, TimmFeatures | TimmViT)
    return model.backbone


@every_network
def test_logits_have_the_size_of_any_image(name: str) -> None:
    model = tiny(name).eval()
    smallest = max(model.stride, 16)
    with torch.no_grad():
        for size in ((smallest, 33), (65, 47)):
            assert model(torch.randn(1, 3, *size)).shape == (1, CLASSES, *size)


@pytest.mark.parametrize(("name", "channels"), [("unet", 1), *((name, 4) for name in NETWORKS)])
def test_other_channels(name: str, channels: int) -> None:
    model = NETWORKS[name](backbone=TINY[name], in_channels=channels).eval()
    with torch.no_grad():
        assert model(torch.randn(1, channels, 40, 50)).shape == (1, CLASSES, 40, 50)


@every_network
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    contract.gradient_reaches_every_parameter(
        contract.ModelSubject(partial(NETWORKS[name], backbone=TINY[name]))
    )


@every_network
def test_eval_is_deterministic_in_every_memory_format(name: str) -> None:
    contract.eval_is_deterministic(
        contract.ModelSubject(partial(NETWORKS[name], backbone=TINY[name]))
    )


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("unet", "dpt") else pytest.param(name, marks=pytest.mark.slow)
        for name in NETWORKS
    ],
)
def test_keys_groups_and_steps_of_the_network(name: str) -> None:
    subject = contract.ModelSubject(partial(NETWORKS[name], backbone=TINY[name]))
    contract.groups_hold_each_parameter_once(subject)
    contract.keys_are_stable(subject)
    contract.forward_encodes_and_decodes(subject)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "chosen"), [(name, chosen) for name in SMALL for chosen in SMALL[name]]
)
def test_contract_of_small_encoders(name: str, chosen: str) -> None:
    subject = contract.ModelSubject(partial(NETWORKS[name], backbone=f"timm:{chosen}"))
    for check in contract.CHECKS:
        check.run(subject)


@pytest.mark.slow
@every_network
def test_one_graph_for_every_size(name: str) -> None:
    torch._dynamo.reset()
    model = tiny(name).eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        for size in ((64, 64), (65, 97)):
            image = torch.randn(1, 3, *size)
            assert torch.allclose(compiled(image), model(image), atol=1e-5)


@every_network
def test_a_file_of_timm_loads_by_key_without_its_classifier(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = timm.create_model(TINY[name].removeprefix("timm:"))
    path = tmp_path / "encoder.safetensors"
    save_file(theirs.state_dict(), path)
    model = tiny(name)
    report = load_weights(model, path)
    own = encoder(model).model.state_dict()
    assert {f"backbone.model.{key}" for key in own} <= set(report.loaded)
    assert all(torch.equal(own[key], theirs.state_dict()[key]) for key in own)
    head = {key for key in theirs.state_dict() if key.startswith(("head", "fc", "classifier"))}
    assert {f"backbone.model.{key}" for key in head} & set(report.unused)
    assert not any(key.startswith("backbone.") for key in report.missing)
    assert not report.misfits


def test_features_are_those_of_timm() -> None:
    features = shuffled(TimmFeatures("timm:test_resnet", "U-Net"))
    theirs = timm.create_model("test_resnet", features_only=True).eval()
    theirs.load_state_dict(features.model.state_dict())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        stages = features.stages(image)
        for stage, expected in zip(stages, theirs(image), strict=True):
            assert torch.equal(stage.pooled, expected)
    assert features.channels == tuple(theirs.feature_info.channels())
    sizes = [tuple(stage.size) for stage in stages]
    assert sizes == [(64, 96), (32, 48), (16, 24), (8, 12), (4, 6)]


@pytest.mark.parametrize(("output_stride", "strides"), [(32, [4, 8, 16, 32]), (8, [4, 8, 8, 8])])
def test_output_stride(output_stride: int, strides: list[int]) -> None:
    with torch.device("meta"):
        features = TimmFeatures(
            "timm:test_resnet", "DeepLab v3+", reductions=(4,), output_stride=output_stride
        )
        stages = features.stages(torch.empty(1, 3, 64, 64))
    assert [64 // stage.pooled.shape[-1] for stage in stages] == strides
    assert features.deepest_stride == output_stride


@pytest.mark.slow
def test_mobilenet_v3_is_dilated_too() -> None:
    with torch.device("meta"):
        model = NETWORKS["deeplab_v3plus"](backbone="timm:mobilenetv3_small_050", output_stride=8)
        low, high = model.encode(torch.empty(1, 3, 64, 64))
        whole = timm.create_model("mobilenetv3_small_050").state_dict()
    assert (low.shape[-1], high.shape[-1]) == (16, 8)
    assert encoder(model).model.state_dict().keys() <= whole.keys()


def test_an_image_is_padded_at_its_right_and_bottom() -> None:
    features = TimmFeatures("timm:test_resnet", "U-Net").eval()
    image = torch.randn(1, 3, 35, 45)
    padded = torch.zeros(1, 3, 64, 64)
    padded[..., :35, :45] = image
    with torch.no_grad():
        maps, expected = features.stages(image), features.stages(padded)
    assert features.padded_size(image.shape[-2:]) == (64, 64)
    assert all(
        torch.equal(one.pooled, other.pooled) for one, other in zip(maps, expected, strict=True)
    )
    assert features.padded_size(torch.Size((64, 33))) == (64, 2 * MULTIPLE)


def test_levels_of_a_transformer_pass_its_last_norm() -> None:
    model = tiny("dpt").eval()
    vit = encoder(model)
    assert isinstance(vit, TimmViT)
    assert (vit.depth, vit.taps, vit.patch) == (6, [0, 2, 3, 5], 16)
    theirs = timm.create_model("test_vit", dynamic_img_size=True).eval()
    theirs.load_state_dict(vit.model.state_dict(), strict=False)
    image = torch.randn(1, 3, 32, 48)
    expected = theirs.forward_intermediates(
        image, indices=vit.taps, norm=True, intermediates_only=True
    )
    with torch.no_grad():
        for level, other in zip(vit(image), expected, strict=True):
            assert torch.allclose(level, other, atol=1e-6)


def test_layers_of_a_transformer_have_rates_of_their_own() -> None:
    with torch.device("meta"):
        model = NETWORKS["dpt"](backbone="timm:test_vit", layer_decay=0.5)
    rates = {group.name: group.lr_scale for group in model.parameter_groups()}
    assert rates["backbone"] == 1.0
    assert rates["backbone layer 6"] == 0.5
    assert rates["backbone layer 0"] == 0.5**7


@pytest.mark.parametrize(
    ("chosen", "channels"),
    [
        ("test_vit", 64),
        pytest.param("vit_base_patch16_224", 128, marks=pytest.mark.slow),
        pytest.param("vit_huge_patch14_224", 256, marks=pytest.mark.slow),
    ],
)
def test_the_head_goes_with_the_width_of_the_transformer(chosen: str, channels: int) -> None:
    with torch.device("meta"):
        assert NETWORKS["dpt"](backbone=f"timm:{chosen}").embedding_channels == channels


def test_unet_has_as_many_steps_as_the_encoder_has_maps() -> None:
    with torch.device("meta"):
        deep, short = (
            UNet(CLASSES, width=8, backbone=f"timm:{chosen}")
            for chosen in ("test_resnet", "test_mambaout")
        )
        for model, steps, stride in ((deep, 4, 2), (short, 3, 4)):
            assert len(model.up) == steps
            image = torch.empty(1, 3, 64, 64)
            assert model.embed(model.encode(image)).shape == (1, 8, 64 // stride, 64 // stride)


def test_linknet_adds_every_map_but_the_deepest() -> None:
    model = tiny("linknet").eval()
    features = [maps.requires_grad_() for maps in model.encode(torch.randn(1, 3, 64, 64))]
    gradients: tuple[Tensor, ...] = torch.autograd.grad(model.embed(features).sum(), features)
    assert all(gradient.any() for gradient in gradients)
    assert [maps.shape[-1] for maps in features] == [16, 8, 4, 2]


@pytest.mark.parametrize("name", ["unet", "dpt"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("timm:resnet188", "Did you mean 'timm:resnet18"),
        ("timm:convnext_tny", "Did you mean 'timm:convnext_tiny'"),
        ("timm:qqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "timm.list_models() has all names"),
        ("timm:", "no backbone 'timm:'"),
        ("timm:hf-hub:timm/resnet18", "has no backbone"),
        ("timm:resnet18.a1_in1k", "Write 'timm:resnet18'"),
        ("convnext_tiny", "An encoder of timm is named 'timm:convnext_tiny'"),
    ],
)
def test_a_wrong_name_suggests_the_right_one(name: str, given: str, expected: str) -> None:
    assert expected in refusal(NETWORKS[name], given)


@every_network
def test_every_network_suggests_the_right_name(name: str) -> None:
    assert "Did you mean 'timm:resnet18" in refusal(NETWORKS[name], "timm:resnet188")


@pytest.mark.parametrize(
    ("name", "chosen", "expected"),
    [
        ("unet", "test_vit", "goes with model.name = 'dpt'"),
        ("linknet", "test_vit2", "reads maps of stride 4, 8, 16, 32 and none coarser"),
        ("pspnet", "test_mambaout", "needs maps of stride 8 and none coarser, and timm cannot"),
        ("deeplab_v3plus", "test_mambaout", "needs maps of stride 16 and none coarser"),
        ("dpt", "test_resnet", "reads a plain vision transformer"),
        ("unet", "test_maxvit", "reads images of any size"),
        ("dpt", "test_vit_relpos", "reads images of any size"),
        *(
            pytest.param(name, chosen, expected, marks=pytest.mark.slow)
            for name, chosen, expected in (
                ("linknet", "levit_128s", "reads maps of stride 4, 8, 16, 32"),
                ("pspnet", "densenet121", "timm cannot dilate"),
                ("deeplab_v3plus", "hrnet_w18_small", "timm cannot dilate"),
                ("linknet", "hiera_tiny_224", "reads images of any size"),
                ("unet", "inception_v3", "reads images of any size"),
                ("dpt", "beit_base_patch16_224", "reads images of any size"),
            )
        ),
    ],
)
def test_an_encoder_that_does_not_fit(name: str, chosen: str, expected: str) -> None:
    line = refusal(NETWORKS[name], f"timm:{chosen}")
    assert expected in line
    assert "Choose " in line


def test_torchvision_has_no_weights_for_an_encoder_of_timm() -> None:
    with pytest.raises(RecipeError, match="UNet here has a backbone that is not torchvision's"):
        torchvision_weights(tiny("unet"))


def test_valid_convolutions_have_no_encoder_of_timm() -> None:
    line = refusal(partial(UNet, CLASSES, padding="valid"), "timm:test_resnet")
    assert "leave one of the two out" in line


def test_without_timm_one_line_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    line = refusal(NETWORKS["unet"], "timm:resnet18")
    assert "pip install 'semisup[timm]'" in line
