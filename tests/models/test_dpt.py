"""What is special to DPT: its counts, and that it is the network of UniMatch V2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from semisup.errors import RecipeError
from semisup.models.dpt import DPT, UNIMATCH_KEYS
from semisup.models.weights import load_weights, rename_prefix
from semisup.system.device import deterministic

SIZES = ("small", "base", "large")


@pytest.fixture(scope="module")
def network() -> DPT:
    torch.manual_seed(0)
    model = DPT(5).eval()
    with torch.no_grad():  # as after training, so that no part has little to say
        model.backbone.cls_token.normal_()
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize(
    ("size", "encoder", "whole", "slope", "unused"),
    [
        ("small", 22_056_576, 24_795_637, 65, 74_240),
        ("base", 86_580_480, 97_528_789, 129, 295_936),
        ("large", 304_368_640, 335_579_157, 257, 1_181_184),
    ],
)
def test_parameters(size: str, encoder: int, whole: int, slope: int, unused: int) -> None:
    with torch.device("meta"):
        model, other = (DPT(classes, backbone=f"dinov2_{size}") for classes in (21, 19))
    assert sum(p.numel() for p in model.backbone.parameters()) == encoder
    assert sum(p.numel() for p in model.parameters()) == whole
    assert sum(p.numel() for p in other.parameters()) == whole - 2 * slope
    assert sum(p.numel() for p in model.parameters() if not p.requires_grad) == unused
    assert len(model.backbone.state_dict()) == (343 if size == "large" else 175)
    assert not list(model.buffers())


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ((182, 238), (6.870, 26.435, 95.764)),
        pytest.param((364, 476), (32.769, 116.087, 410.557), marks=pytest.mark.slow),
        pytest.param((224, 224), (8.023, 30.715, 111.207), marks=pytest.mark.slow),
        pytest.param((518, 518), (56.885, 192.091, 668.519), marks=pytest.mark.slow),
    ],
)
def test_multiply_adds(side: tuple[int, int], expected: tuple[float, ...]) -> None:
    for size, billions in zip(SIZES, expected, strict=True):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            DPT(21, backbone=f"dinov2_{size}").eval()(torch.empty(1, 3, *side))
        assert counter.get_total_flops() / 2e9 == pytest.approx(billions, abs=0.0006)


@pytest.mark.parametrize(
    ("side", "grid", "resized", "fused"),
    [
        ((518, 518), (37, 37), (148, 74, 37, 19), (296, 148, 74, 37)),
        ((224, 224), (16, 16), (64, 32, 16, 8), (128, 64, 32, 16)),
        ((364, 364), (26, 26), (104, 52, 26, 13), (208, 104, 52, 26)),
    ],
)
def test_sizes_of_its_maps(
    side: tuple[int, int],
    grid: tuple[int, int],
    resized: tuple[int, ...],
    fused: tuple[int, ...],
) -> None:
    seen: dict[str, list[int]] = {"adapts": [], "fusions": []}
    with torch.device("meta"):
        model = DPT(3)
        for part, sides in seen.items():
            for layer in getattr(model, part):
                layer.register_forward_hook(lambda *call, to=sides: to.append(call[-1].shape[-1]))
        levels = model.encode(torch.empty(1, 3, *side))
        embedding = model.embed(levels)
    assert [level.shape for level in levels] == [(1, 384, *grid)] * 4
    assert tuple(seen["adapts"]) == resized
    assert tuple(reversed(seen["fusions"])) == fused
    assert embedding.shape == (1, 64, fused[0], fused[0])


class Transcription:
    """UniMatch V2's forward pass, written out over a state dict with its keys.

    Args:
        state: key -> tensor.
        taps: blocks whose tokens the head reads.
        heads: of the attention.
    """

    def __init__(self, state: dict[str, Tensor], taps: tuple[int, ...], heads: int) -> None:
        self.state = state
        self.taps = taps
        self.heads = heads

    def parameters(self, name: str) -> tuple[Tensor, Tensor | None]:
        return self.state[f"{name}.weight"], self.state.get(f"{name}.bias")

    def linear(self, name: str, tokens: Tensor) -> Tensor:
        return F.linear(tokens, *self.parameters(name))

    def convolution(self, name: str, maps: Tensor, padding: int = 0, stride: int = 1) -> Tensor:
        return F.conv2d(maps, *self.parameters(name), stride=stride, padding=padding)

    def norm(self, name: str, tokens: Tensor) -> Tensor:
        weight, bias = self.parameters(name)
        mean = tokens.mean(-1, keepdim=True)
        variance = tokens.var(-1, correction=0, keepdim=True)
        normal: Tensor = (tokens - mean) / (variance + 1e-6).sqrt()
        assert bias is not None
        return normal * weight + bias

    def positions(self, rows: int, columns: int) -> Tensor:
        table = self.state["backbone.pos_embed"]
        if rows == columns == 37:
            return table
        maps = table[:, 1:].reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
        factors = ((rows + 0.1) / 37, (columns + 0.1) / 37)
        maps = F.interpolate(maps, scale_factor=factors, mode="bicubic", antialias=False)
        assert maps.shape[-2:] == (rows, columns)
        return torch.cat([table[:, :1], maps.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], 1)

    def attention(self, name: str, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        each = width // self.heads
        parts = self.linear(f"{name}.qkv", tokens).reshape(batch, count, 3, self.heads, each)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = (query * each**-0.5 @ key.transpose(-2, -1)).softmax(-1)
        mixed = (weights @ value).transpose(1, 2).reshape(batch, count, width)
        return self.linear(f"{name}.proj", mixed)

    def levels(self, image: Tensor) -> list[Tensor]:
        patches = self.convolution("backbone.patch_embed.proj", image, stride=14)
        rows, columns = patches.shape[-2:]
        tokens = patches.flatten(2).transpose(1, 2)
        first = self.state["backbone.cls_token"].expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], 1) + self.positions(rows, columns)
        levels = []
        for number in range(self.taps[-1] + 1):
            block = f"backbone.blocks.{number}"
            attended = self.attention(f"{block}.attn", self.norm(f"{block}.norm1", tokens))
            tokens = tokens + self.state[f"{block}.ls1.gamma"] * attended
            inner = self.linear(f"{block}.mlp.fc1", self.norm(f"{block}.norm2", tokens))
            inner = self.linear(f"{block}.mlp.fc2", F.gelu(inner))
            tokens = tokens + self.state[f"{block}.ls2.gamma"] * inner
            if number in self.taps:
                level = self.norm("backbone.norm", tokens)[:, 1:]
                levels.append(level.transpose(1, 2).reshape(len(image), -1, rows, columns))
        return levels

    def residual(self, name: str, maps: Tensor) -> Tensor:
        inner = self.convolution(f"{name}.conv1", maps.relu(), padding=1)
        return self.convolution(f"{name}.conv2", inner.relu(), padding=1) + maps

    def fusion(self, number: int, below: Tensor, level: Tensor | None, size: list[int]) -> Tensor:
        name = f"head.scratch.refinenet{number}"
        if level is not None:
            below = below + self.residual(f"{name}.resConfUnit1", level)
        below = self.residual(f"{name}.resConfUnit2", below)
        below = F.interpolate(below, size, mode="bilinear", align_corners=True)
        return self.convolution(f"{name}.out_conv", below)

    def __call__(self, image: Tensor) -> Tensor:
        maps = [
            self.convolution(f"head.projects.{number}", level)
            for number, level in enumerate(self.levels(image))
        ]
        for number, stride in ((0, 4), (1, 2)):
            weight, bias = self.parameters(f"head.resize_layers.{number}")
            maps[number] = F.conv_transpose2d(maps[number], weight, bias, stride=stride)
        maps[3] = self.convolution("head.resize_layers.3", maps[3], padding=1, stride=2)
        one, two, three, four = (
            self.convolution(f"head.scratch.layer{number}_rn", level, padding=1)
            for number, level in enumerate(maps, start=1)
        )
        path = self.fusion(4, four, None, list(three.shape[2:]))
        path = self.fusion(3, path, three, list(two.shape[2:]))
        path = self.fusion(2, path, two, list(one.shape[2:]))
        path = self.fusion(1, path, one, [2 * side for side in one.shape[2:]])
        path = self.convolution("head.scratch.output_conv.0", path, padding=1).relu()
        logits = self.convolution("head.scratch.output_conv.2", path)
        return F.interpolate(logits, image.shape[2:], mode="bilinear", align_corners=True)


def unimatch_state(model: DPT) -> dict[str, Tensor]:
    """The weights of `model` under the keys of UniMatch V2."""
    state = model.state_dict()
    for theirs, ours in UNIMATCH_KEYS[1:]:
        state = rename_prefix(state, ours, theirs)
    return state


def peer(model: DPT) -> Transcription:
    return Transcription(unimatch_state(model), (2, 5, 8, 11), 6)


@pytest.mark.parametrize("size", [(56, 98), (70, 14)])
def test_it_is_the_one_of_unimatch_v2(network: DPT, size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        ours, theirs = network(image), peer(network)(image)
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_other_sizes_go_through_the_nearest_multiples_of_14(network: DPT) -> None:
    image = torch.randn(1, 3, 63, 50)
    whole = F.interpolate(image, (70, 56), mode="bilinear", align_corners=True)
    with torch.no_grad():
        expected = peer(network)(whole)
        expected = F.interpolate(expected, (63, 50), mode="bilinear", align_corners=True)
        torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("side", "patches"),
    [
        (333, 24),
        (375, 27),
        (500, 36),
        (480, 34),
        (360, 26),
        (366, 26),
        (1024, 73),
        (14, 1),
        (21, 2),
    ],
)
def test_patches_of_a_side(side: int, patches: int) -> None:
    with torch.device("meta"):
        levels = DPT(2).encode(torch.empty(1, 3, side, 14))
    assert levels[0].shape[-2:] == (patches, 1)


def test_positions_are_the_table_itself_on_its_own_grid_alone(network: DPT) -> None:
    backbone = network.backbone
    with torch.no_grad():
        assert backbone.positions(torch.Size((37, 37))) is backbone.pos_embed
        for rows, columns in ((16, 16), (1, 119), (60, 36)):
            expected = peer(network).positions(rows, columns)
            found = backbone.positions(torch.Size((rows, columns)))
            torch.testing.assert_close(found, expected)
        by_size = backbone.pos_embed[:, 1:].unflatten(1, (37, 37)).permute(0, 3, 1, 2)
        by_size = F.interpolate(by_size, (16, 16), mode="bicubic").flatten(2).transpose(1, 2)
    assert not torch.allclose(backbone.positions(torch.Size((16, 16)))[:, 1:], by_size, atol=1e-4)


def test_positions_are_resized_alike_with_deterministic_algorithms(network: DPT) -> None:
    size = torch.Size((5, 61))
    weights = torch.randn(1, 1 + 5 * 61, 384)
    table = network.backbone.pos_embed
    plain = network.backbone.positions(size)
    (gradient,) = torch.autograd.grad((plain * weights).sum(), table)
    with deterministic(True):
        fixed = network.backbone.positions(size)
        (fixed_gradient,) = torch.autograd.grad((fixed * weights).sum(), table)
    torch.testing.assert_close(fixed, plain, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(fixed_gradient, gradient, rtol=1e-4, atol=1e-5)


def test_weights_start_as_in_the_release() -> None:
    torch.manual_seed(1)
    backbone = DPT(2).backbone
    weight = backbone.blocks[3].attn.qkv.weight.detach()
    assert float(weight.std()) == pytest.approx(0.02, rel=0.02)
    assert float(backbone.pos_embed.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert not backbone.blocks[3].attn.qkv.bias.any()
    assert all((block.ls1.gamma == 1).all() for block in backbone.blocks)
    assert float(backbone.cls_token.detach().abs().max()) < 1e-4


def test_every_layer_is_trained_but_the_two_that_never_act(network: DPT) -> None:
    frozen = {key for key, p in network.named_parameters() if not p.requires_grad}
    skip = {f"fusions.3.skip.conv{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")}
    assert frozen == {"backbone.mask_token"} | skip
    assert not {id(p) for g in network.parameter_groups() for p in g.params} & {
        id(p) for p in network.parameters() if not p.requires_grad
    }


def test_the_head_learns_forty_times_faster() -> None:
    with torch.device("meta"):
        backbone, head = DPT(21).parameter_groups()
    assert (backbone.name, backbone.lr_scale) == ("backbone", 1.0)
    assert (head.name, head.lr_scale) == ("head", 40.0)
    assert sum(p.numel() for p in backbone.params) == 22_056_576 - 384
    assert sum(p.numel() for p in head.params) == 2_739_061 - 2 * (9 * 64**2 + 64)


def test_a_frozen_backbone_is_in_no_group_and_gets_no_gradient() -> None:
    torch.manual_seed(0)
    model = DPT(2, frozen_backbone=True)
    (head,) = model.parameter_groups()
    assert (head.name, head.lr_scale) == ("head", 40.0)
    model(torch.randn(1, 3, 28, 28)).square().mean().backward()
    assert all(p.grad is not None for p in head.params)
    assert all(p.grad is None for p in model.backbone.parameters())


def test_layers_may_learn_at_rates_of_their_own() -> None:
    with torch.device("meta"):
        model = DPT(2, layer_decay=0.5)
    groups = {group.name: group for group in model.parameter_groups()}
    assert len(groups) == 15
    of = {id(p): group.lr_scale for group in groups.values() for p in group.params}
    backbone = model.backbone
    assert of[id(backbone.norm.weight)] == 1.0
    assert of[id(backbone.blocks[11].norm1.weight)] == 0.5
    assert of[id(backbone.blocks[10].mlp.fc1.weight)] == 0.25
    assert of[id(backbone.blocks[0].attn.qkv.weight)] == 0.5**12
    for embedding in (backbone.cls_token, backbone.pos_embed, backbone.patch_embed["proj"].weight):
        assert of[id(embedding)] == 0.5**13
    assert of[id(model.classifier.weight)] == 40.0


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.5, float("nan")])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="layer_decay must be above 0 and at most 1"):
        DPT(2, layer_decay=decay)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"DPT has no backbone 'dinov2_smal'.*dinov2_small"):
        DPT(2, backbone="dinov2_smal")


def release_state(model: DPT) -> dict[str, Tensor]:
    prefix = "backbone."
    own = model.state_dict().items()
    return {key.removeprefix(prefix): t.clone() for key, t in own if key.startswith(prefix)}


def timm_state(model: DPT) -> dict[str, Tensor]:
    state = release_state(model)
    del state["mask_token"]
    return state


def transformers_state(model: DPT, version: int) -> dict[str, Tensor]:
    """The keys of `Dinov2Model`, with query, key and value apart."""
    names = {
        4: ("attention.query", "attention.key", "attention.value", "output.dense"),
        5: ("q_proj", "k_proj", "v_proj", "o_proj"),
    }[version]
    fixed = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "mask_token": "embeddings.mask_token",
    }
    state = {}
    for key, tensor in release_state(model).items():
        key = fixed.get(key, key)
        key = key.replace("patch_embed.proj.", "embeddings.patch_embeddings.projection.")
        key = re.sub(r"^norm\.", "layernorm.", key)
        key = re.sub(r"^blocks\.", "encoder.layer.", key)
        key = re.sub(r"\.ls(\d)\.gamma", r".layer_scale\1.lambda1", key)
        key = key.replace(".attn.proj.", f".attention.{names[3]}.")
        if ".attn.qkv." in key:
            for name, rows in zip(names, tensor.chunk(3), strict=False):
                state[key.replace(".attn.qkv.", f".attention.{name}.")] = rows
        else:
            state[key] = tensor
    return state


def assert_loads(model: DPT, state: dict[str, Tensor], folder: Path, *missing: str) -> None:
    """The backbone of a fresh network becomes that of `model`, but for what is `missing`."""
    torch.save(state, folder / "weights.pth")
    torch.manual_seed(2)
    fresh = DPT(5)
    report = load_weights(fresh, folder / "weights.pth")
    assert not report.unused
    assert not report.misfits
    absent = [key for key in report.missing if key.startswith("backbone.")]
    assert absent == list(missing)
    for key, tensor in fresh.backbone.state_dict().items():
        if f"backbone.{key}" not in missing:
            assert torch.equal(tensor, model.backbone.state_dict()[key])


def test_the_release_of_dinov2_fills_the_backbone(network: DPT, tmp_path: Path) -> None:
    assert len(release_state(network)) == 175
    assert_loads(network, release_state(network), tmp_path)


def test_a_file_of_timm_fills_all_but_the_mask_token(network: DPT, tmp_path: Path) -> None:
    assert len(timm_state(network)) == 174
    assert_loads(network, timm_state(network), tmp_path, "backbone.mask_token")


@pytest.mark.parametrize(("version", "prefix"), [(4, ""), (5, ""), (4, "dinov2.")])
def test_a_file_of_transformers_fills_the_backbone(
    network: DPT, tmp_path: Path, version: int, prefix: str
) -> None:
    state = {prefix + key: t for key, t in transformers_state(network, version).items()}
    assert len(state) == 223
    assert_loads(network, state, tmp_path)


def test_a_checkpoint_of_unimatch_v2_loads_in_full(network: DPT, tmp_path: Path) -> None:
    state = {f"module.{key}": tensor for key, tensor in unimatch_state(network).items()}
    assert "module.head.scratch.refinenet4.resConfUnit1.conv1.weight" in state
    torch.save({"model": state, "epoch": 3}, tmp_path / "latest.pth")
    fresh = DPT(5)
    report = load_weights(fresh, tmp_path / "latest.pth")
    assert report.complete
    assert not report.unused
    own = network.state_dict()
    assert all(torch.equal(tensor, own[key]) for key, tensor in fresh.state_dict().items())
