"""What is special to ENet: its counts, its blocks, and maxima that go back to their places."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from support.networks import shuffled
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from semisup.models.enet import Bottleneck, ENet, UpsamplingBottleneck
from semisup.models.weights import load_weights
from semisup.system.device import deterministic


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("classes", "count"), [(11, 363_791), (19, 364_311), (21, 364_441), (22, 364_506)]
)
def test_parameters_of_the_release(classes: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(ENet(classes)) == count


def test_parameters_without_decoder_and_without_biases() -> None:
    with torch.device("meta"):
        whole, encoder = ENet(11), ENet(11, decoder=False)
    assert parameters(encoder) == 339_575
    layers = [m for m in whole.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    biases = [m.bias.numel() for m in layers if m.bias is not None]
    assert parameters(whole) - sum(biases) == 363_087


@pytest.mark.parametrize(
    ("classes", "height", "width", "gmac"), [(11, 360, 640, 1.694), (19, 512, 1024, 3.922)]
)
def test_multiply_adds(classes: int, height: int, width: int, gmac: float) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ENet(classes).eval()(torch.empty(1, 3, height, width))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmac, abs=5e-4)


@pytest.mark.parametrize(
    ("height", "width", "deepest"), [(360, 480, (45, 60)), (35, 45, (5, 6)), (8, 9, (1, 2))]
)
def test_sizes_inside(height: int, width: int, deepest: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = ENet(11)
        finer, encoded, finer_switches, switches = model.encode(torch.empty(1, 3, height, width))
        embedding = model.embed([finer, encoded, finer_switches, switches])
    assert encoded.shape == (1, 128, *deepest)
    assert finer.shape == (1, 64, *(2 * side for side in deepest))
    assert switches.shape == (1, 64, *deepest)
    assert finer_switches.shape == (1, 16, *(2 * side for side in deepest))
    assert embedding.shape == (1, 16, *(4 * side for side in deepest))


def test_dropout_is_weak_in_the_first_five_bottlenecks_and_absent_in_the_decoder() -> None:
    with torch.device("meta"):
        model = ENet(11)
    rates = [m.p for m in model.modules() if isinstance(m, nn.Dropout2d)]
    assert rates == [0.01] * 5 + [0.1] * 17
    assert model.decoder is not None
    assert not any(isinstance(m, nn.Dropout2d | nn.PReLU) for m in model.decoder.modules())


def test_middle_convolutions_of_both_dilated_stages() -> None:
    with torch.device("meta"):
        model = ENet(11)
    expected = [1, 2, "5 x 5", 4, 1, 8, "5 x 5", 16]
    for stage in (model.stage2, model.stage3):
        found: list[object] = []
        for block in stage:
            assert isinstance(block, Bottleneck)
            middle = block.main[3]
            assert isinstance(middle, nn.Conv2d)
            rows = middle.kernel_size == (1, 5) and block.main[4].kernel_size == (5, 1)
            found.append("5 x 5" if rows else middle.dilation[0])
        assert found == expected


class Transcription:
    """ENet as one function over its state dict, after the release's Lua, with loops to unpool."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        padding = [dilation * (side - 1) // 2 for side in weight.shape[2:]]
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride, padding, dilation)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, variance, scale, shift = (
            self.state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-3).sqrt() * scale + shift

    def activation(self, x: Tensor, name: str) -> Tensor:
        slope = self.state.get(f"{name}.weight")
        return x.clamp(min=0) + (0 if slope is None else slope[:, None, None] * x.clamp(max=0))

    def main(self, x: Tensor, name: str, *, stride: int = 1, dilation: int = 1) -> Tensor:
        x = self.conv(x, f"{name}.main.0", stride)
        x = self.activation(self.norm(x, f"{name}.main.1"), f"{name}.main.2")
        place = 3
        while f"{name}.main.{place}.running_mean" not in self.state:
            weight = self.state[f"{name}.main.{place}.weight"]
            if name.startswith("decoder.up"):
                bias = self.state[f"{name}.main.{place}.bias"]
                x = F.conv_transpose2d(x, weight, bias, 2, 1, 1)
            else:
                x = self.conv(x, f"{name}.main.{place}", 1, dilation)
            place += 1
        x = self.activation(self.norm(x, f"{name}.main.{place}"), f"{name}.main.{place + 1}")
        return self.norm(self.conv(x, f"{name}.main.{place + 2}"), f"{name}.main.{place + 3}")

    def regular(self, x: Tensor, name: str, dilation: int = 1) -> Tensor:
        return self.activation(self.main(x, name, dilation=dilation) + x, f"{name}.activation")

    def down(self, x: Tensor, name: str) -> tuple[Tensor, Tensor]:
        main = self.main(x, name, stride=2)
        lacking = main.shape[1] - x.shape[1]
        zeros = torch.zeros(1, lacking, *main.shape[2:], dtype=x.dtype)
        shortcut = torch.cat([F.max_pool2d(x, 2), zeros], dim=1)
        return self.activation(main + shortcut, f"{name}.activation"), x

    def up(self, x: Tensor, name: str, pooled: Tensor) -> Tensor:
        shortcut = self.norm(self.conv(x, f"{name}.shortcut.0"), f"{name}.shortcut.1")
        raised = unpool_by_loop(shortcut, pooled)
        return self.activation(self.main(x, name) + raised, f"{name}.activation")

    def logits(self, image: Tensor) -> Tensor:
        first = torch.cat([self.conv(image, "initial.conv", 2), F.max_pool2d(image, 2)], dim=1)
        x = self.activation(self.norm(first, "initial.norm"), "initial.activation")
        x, before_first = self.down(x, "down1")
        for block in range(4):
            x = self.regular(x, f"stage1.{block}")
        x, before_second = self.down(x, "down2")
        for stage in ("stage2", "stage3"):
            for block, dilation in enumerate((1, 2, 1, 4, 1, 8, 1, 16)):
                x = self.regular(x, f"{stage}.{block}", dilation)
        x = self.up(x, "decoder.up1", before_second)
        for block in range(2):
            x = self.regular(x, f"decoder.stage1.{block}")
        x = self.regular(self.up(x, "decoder.up2", before_first), "decoder.stage2")
        weight, bias = self.state["classifier.weight"], self.state["classifier.bias"]
        return F.conv_transpose2d(x, weight, bias, 2)


def unpool_by_loop(values: Tensor, pooled: Tensor) -> Tensor:
    """`values` where the maximum of each 2 x 2 window of `pooled` is, zeros elsewhere."""
    raised = torch.zeros_like(pooled)
    for channel, row, column in itertools.product(*map(range, values.shape[1:])):
        window = pooled[0, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        down, right = divmod(int(window.argmax()), 2)
        raised[0, channel, 2 * row + down, 2 * column + right] = values[0, channel, row, column]
    return raised


def test_forward_is_that_of_a_transcription() -> None:
    torch.manual_seed(0)
    model = shuffled(ENet(5)).double()
    image = torch.randn(1, 3, 16, 24, dtype=torch.float64)
    with torch.no_grad():
        expected = Transcription(model.state_dict()).logits(image)
        torch.testing.assert_close(model(image), expected)
    assert expected.std() > 0


def test_each_maximum_goes_back_to_its_place() -> None:
    torch.manual_seed(0)
    pooled = torch.randn(1, 16, 8, 6)
    _, switches = F.max_pool2d(pooled, 2, return_indices=True)
    block = UpsamplingBottleneck(64, 16).eval()
    for layer in block.main:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.zeros_(layer.weight)  # the shortcut alone is left
    values = torch.randn(1, 64, 4, 3)
    with torch.no_grad():
        expected = unpool_by_loop(block.shortcut(values), pooled).clamp(min=0)
        torch.testing.assert_close(block(values, switches), expected)


def test_a_padded_image_gives_the_logits_of_the_image() -> None:
    torch.manual_seed(0)
    model = shuffled(ENet(3))
    image = torch.randn(1, 3, 37, 41)
    with torch.no_grad():
        padded = model(F.pad(image, (0, 7, 0, 3)))
        torch.testing.assert_close(model(image), padded[..., :37, :41])


def test_logits_of_the_encoder_lie_on_the_grid_of_the_padded_image() -> None:
    torch.manual_seed(0)
    model = shuffled(ENet(3, decoder=False))
    image = torch.randn(1, 3, 20, 24)
    with torch.no_grad():
        coarse = model.decode(model.encode(image))
        expected = F.interpolate(coarse, size=(24, 24), mode="bilinear")[..., :20, :]
        assert torch.equal(model(image), expected)
    assert coarse.shape == (1, 3, 3, 3)


def test_weights_start_as_in_the_release() -> None:
    torch.manual_seed(0)
    model = ENet(40)
    for layer in (model.stage1[0].main[3], model.decoder.up1.main[3], model.classifier):
        bound = (layer.in_channels * layer.kernel_size[0] ** 2) ** -0.5
        for values in (layer.weight.detach(), layer.bias.detach()):
            assert 0.7 * bound < float(values.abs().max()) <= bound
    slopes = [m.weight for m in model.modules() if isinstance(m, nn.PReLU)]
    assert len(slopes) == 1 + 22 * 3
    assert all((slope == 0.25).all() for slope in slopes)


def test_the_whole_network_starts_from_the_encoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder, whole = ENet(5, decoder=False), ENet(5)
    path = tmp_path / "predictor.safetensors"
    save_file(encoder.state_dict(), path)
    report = load_weights(whole, path)
    assert set(report.unused) == {"encoder_classifier.weight", "encoder_classifier.bias"}
    assert not report.misfits
    assert all(key.startswith(("decoder.", "classifier.")) for key in report.missing)
    assert torch.equal(whole.stage3[7].main[3].weight, encoder.stage3[7].main[3].weight)


@pytest.mark.parametrize("channels", [1, 4, 60])
def test_the_pooled_image_is_appended_whatever_its_channels(channels: int) -> None:
    with torch.device("meta"):
        model = ENet(5, in_channels=channels)
        logits = model.eval()(torch.empty(1, channels, 16, 16))
    assert model.embedding_channels == 13 + channels
    assert logits.shape == (1, 5, 16, 16)


def test_trains_with_deterministic_algorithms() -> None:
    torch.manual_seed(0)
    model = ENet(3)
    image = torch.randn(1, 3, 32, 32)
    torch.manual_seed(1)
    expected = model(image)
    with deterministic(True):
        torch.manual_seed(1)
        logits = model(image)
        logits.square().mean().backward()
    assert torch.equal(logits, expected)
    assert all(p.grad is not None for p in model.parameters())
