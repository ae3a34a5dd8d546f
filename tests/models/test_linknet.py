"""What is special to LinkNet: its counts, and which maps its decoder blocks are added to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support.networks import shuffled
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from semisup.models.backbones.resnet import ResNet18Features, ResNet50Features
from semisup.models.linknet import LinkNet
from semisup.models.weights import load_weights


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("classes", "count"), [(11, 11_535_659), (19, 11_536_691), (21, 11_536_949)]
)
def test_parameters_of_the_release(classes: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(LinkNet(classes)) == count


def test_parameters_without_biases() -> None:
    with torch.device("meta"):
        model = LinkNet(11)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    biases = [m.bias.numel() for m in layers if m.bias is not None]
    assert parameters(model) - sum(biases) == 11_534_592


def test_parameters_of_the_backbones() -> None:
    with torch.device("meta"):
        assert parameters(ResNet18Features()) == 11_176_512
        assert parameters(ResNet50Features()) == 23_508_032


@pytest.mark.parametrize(
    ("classes", "height", "width", "gmac"),
    [(11, 352, 640, 9.289), (11, 576, 768, 18.240), (19, 512, 1024, 21.752)],
)
def test_multiply_adds(classes: int, height: int, width: int, gmac: float) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        LinkNet(classes).eval()(torch.empty(1, 3, height, width))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmac, abs=5e-4)


def test_sizes_inside() -> None:
    up: list[tuple[int, ...]] = []
    with torch.device("meta"):
        model = LinkNet(11)
        for block in model.decoder:
            block.register_forward_hook(lambda *call: up.append(tuple(call[-1].shape[1:])))
        features = model.encode(torch.empty(1, 3, 360, 480))
        embedding = model.embed(features)
    assert [tuple(m.shape[1:]) for m in features] == [
        (64, 90, 120),
        (64, 90, 120),
        (128, 45, 60),
        (256, 23, 30),
        (512, 12, 15),
    ]
    assert up == [(256, 24, 30), (128, 46, 60), (64, 90, 120), (64, 90, 120)]
    assert embedding.shape == (1, 32, 180, 240)


class Transcription:
    """LinkNet as the release nests it: each stage's input goes round all that is inside it."""

    def __init__(self, model: LinkNet) -> None:
        self.state = model.state_dict()
        self.encoder = resnet18().to(next(model.parameters()).dtype).eval()
        prefix = "backbone."
        own = {k.removeprefix(prefix): v for k, v in self.state.items() if k.startswith(prefix)}
        self.encoder.load_state_dict(own, strict=False)

    def norm_relu(self, x: Tensor, name: str, epsilon: float = 1e-3) -> Tensor:
        mean, variance, scale, shift = (
            self.state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (variance + epsilon).sqrt() * scale + shift).clamp(min=0)

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self.state[f"{name}.weight"], self.state[f"{name}.bias"]

    def decode(self, x: Tensor, block: int, stride: int) -> Tensor:
        name = f"decoder.{block}"
        x = self.norm_relu(F.conv2d(x, *self.layer(f"{name}.0")), f"{name}.1")
        x = F.conv_transpose2d(x, *self.layer(f"{name}.3"), stride, 1, stride - 1)
        x = self.norm_relu(x, f"{name}.4")
        return self.norm_relu(F.conv2d(x, *self.layer(f"{name}.6")), f"{name}.7")

    def bypass(self, x: Tensor, level: int) -> Tensor:
        inside = getattr(self.encoder, f"layer{level}")(x)
        if level < 4:
            inside = self.bypass(inside, level + 1)
        return (self.decode(inside, 4 - level, 1 if level == 1 else 2) + x).clamp(min=0)

    def logits(self, image: Tensor) -> Tensor:
        encoder = self.encoder
        x = encoder.maxpool(encoder.relu(encoder.bn1(encoder.conv1(image))))
        x = self.bypass(x, 1)
        x = F.conv_transpose2d(x, *self.layer("head.0"), 2, 1, 1)
        x = self.norm_relu(x, "head.1", 1e-5)
        x = self.norm_relu(F.conv2d(x, *self.layer("head.3"), 1, 1), "head.4")
        return F.conv_transpose2d(x, *self.layer("classifier"), 2)


def test_forward_is_that_of_a_transcription() -> None:
    torch.manual_seed(0)
    model = shuffled(LinkNet(5)).double()
    image = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = Transcription(model).logits(image)
        torch.testing.assert_close(model(image), expected)
    assert expected.std() > 0


def test_the_encoder_is_torchvisions() -> None:
    torch.manual_seed(0)
    theirs = shuffled(resnet18())
    model = LinkNet(3).eval()
    adapted = model.adapt_weights(theirs.state_dict())
    missing, unexpected = model.load_state_dict(adapted, strict=False)
    assert unexpected == ["fc.weight", "fc.bias"]
    assert all(key.startswith(("decoder.", "head.", "classifier.")) for key in missing)
    image = torch.randn(1, 3, 65, 70)
    with torch.no_grad():
        pooled = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        deepest = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(pooled))))
        features = model.encode(image)
    assert torch.equal(features[0], pooled)
    assert torch.equal(features[-1], deepest)


def test_a_file_of_torchvision_fills_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = resnet18().state_dict()
    path = tmp_path / "resnet18.pth"
    torch.save(theirs, path)
    model = LinkNet(3, in_channels=1)
    report = load_weights(model, path)
    assert report.unused == ("fc.weight", "fc.bias")
    assert report.fitted == ("backbone.conv1.weight",)
    assert len(report.loaded) == 120
    assert torch.equal(model.backbone.layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])


def test_weights_start_as_in_the_release() -> None:
    torch.manual_seed(0)
    model = LinkNet(400)
    outputs = {
        "decoder.0.0": 128,
        "decoder.0.3": 9 * 128,
        "decoder.0.6": 256,
        "head.0": 9 * 32,
        "head.3": 9 * 32,
        "classifier": 4 * 400,
    }
    for name, number in outputs.items():
        weight = model.get_submodule(name).weight.detach()
        assert float(weight.std()) == pytest.approx((2 / number) ** 0.5, rel=0.05)


def test_maps_are_cut_at_their_right_and_bottom() -> None:
    """Far from the cut an odd image gives what an even one gives."""
    torch.manual_seed(0)
    model = shuffled(LinkNet(2)).double()
    image = torch.randn(1, 3, 32, 1024, dtype=torch.float64)
    with torch.no_grad():
        whole, cut = model(image), model(image[..., :1019])
    torch.testing.assert_close(cut[..., :256], whole[..., :256])
    assert cut.shape[-1] == 1019
