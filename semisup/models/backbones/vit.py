"""Vision transformers with the shapes of DINOv2 (Oquab et al. 2024, https://arxiv.org/abs/2304.07193).

Patches of 14 x 14 pixels and one class token; the keys are those of the released files
(`dinov2_vits14_pretrain.pth` ...), which timm's `vit_small_patch14_dinov2` shares; transformers'
`Dinov2Model` has names of its own. As in the release, and unlike timm, the table of positions is
resized without antialiasing, by the factor (n + 0.1) / 37 for n patches: the tenth shifts the
places at which it is sampled a little. Models with registers have another rule and are not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.models.weights import rename_prefix

PATCH = 14
"""Side of a patch, in pixels."""

TABLE = 37
"""Side of the table of positions, in patches: that of an image of 518 x 518."""

OFFSET = 0.1
"""What the release adds to the number of patches before it divides by `TABLE`."""


@dataclass(frozen=True, slots=True)
class ViTShape:
    """Size of a transformer.

    Attributes:
        width: channels of a token.
        depth: number of blocks.
        heads: of the attention.
        taps: the blocks, from 0, whose tokens are a level of the result.
    """

    width: int
    depth: int
    heads: int
    taps: tuple[int, ...]


SHAPES: Mapping[str, ViTShape] = MappingProxyType(
    {
        "dinov2_small": ViTShape(384, 12, 6, (2, 5, 8, 11)),
        "dinov2_base": ViTShape(768, 12, 12, (2, 5, 8, 11)),
        "dinov2_large": ViTShape(1024, 24, 16, (4, 11, 17, 23)),
    }
)
"""Name -> shape."""

PARTS = ("cls_token", "pos_embed", "mask_token", "patch_embed.", "blocks.", "norm.")
"""What the keys of the release begin with."""

TRANSFORMERS_KEYS = (
    (r"^(dinov2\.)?embeddings\.cls_token$", "cls_token"),
    (r"^(dinov2\.)?embeddings\.position_embeddings$", "pos_embed"),
    (r"^(dinov2\.)?embeddings\.mask_token$", "mask_token"),
    (r"^(dinov2\.)?embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(dinov2\.)?layernorm\.", "norm."),
    (r"^(dinov2\.)?encoder\.layer\.", "blocks."),
    (r"^(blocks\.\d+)\.attention\.attention\.(q|k|v)(uery|ey|alue)\.", r"\1.attn.\2."),
    (r"^(blocks\.\d+)\.attention\.(q|k|v)_proj\.", r"\1.attn.\2."),
    (r"^(blocks\.\d+)\.attention\.(output\.dense|o_proj)\.", r"\1.attn.proj."),
    (r"^(blocks\.\d+)\.layer_scale(\d)\.lambda1$", r"\1.ls\2.gamma"),
)
"""Patterns of the keys of transformers, of versions 4 and 5, and what they are in the release."""


class ViT(nn.Module):
    """A transformer of one of `SHAPES`, whose levels all pass the last norm.

    Weights start as in UniMatch V2's copy of the release: N(0, 0.02), biases at zero, a scale of 1
    on every branch. `mask_token` is in its files and never used, so it is frozen.

    Args:
        shape: of the transformer.
        in_channels: C of the input image.
    """

    def __init__(self, shape: ViTShape, *, in_channels: int = 3) -> None:
        super().__init__()
        width = shape.width
        self.width, self.depth, self.patch = width, shape.depth, PATCH
        self.taps = shape.taps
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TABLE**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width), requires_grad=False)
        project = nn.Conv2d(in_channels, width, PATCH, stride=PATCH)
        self.patch_embed = nn.ModuleDict({"proj": project})
        self.blocks = nn.ModuleList(Block(width, shape.heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self._initialise()

    def forward(self, image: Tensor) -> list[Tensor]:
        """The levels BChw of `image` (BCHW), shallowest first; 14 divides H and W."""
        patches: Tensor = self.patch_embed["proj"](image)
        size = patches.shape[-2:]
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = tokens + self.positions(size)
        levels = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in self.taps:
                level = self.norm(tokens)[:, 1:]
                levels.append(level.transpose(1, 2).unflatten(2, tuple(size)))
        return levels

    def positions(self, size: torch.Size) -> Tensor:
        """What is added to the class token and the patches of a grid of `size` (h, w): 1(1+hw)C."""
        height, width = size
        first, table = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        table = torch.unflatten(table, 1, (TABLE, TABLE))
        if torch.compiler.is_exporting():
            return torch.cat([first, _resized_in_export(table, height, width)], dim=1)
        if height == width == TABLE:
            return self.pos_embed
        return torch.cat([first, _resized(table, height, width).flatten(1, 2)], dim=1)

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for layer in self.blocks.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)


def _resized(table: Tensor, height: int, width: int) -> Tensor:
    """`table` (1 x 37 x 37 x C) at another size, 1hwC."""
    factors = ((height + OFFSET) / TABLE, (width + OFFSET) / TABLE)
    if not torch.are_deterministic_algorithms_enabled():
        maps = table.permute(0, 3, 1, 2)
        resized = F.interpolate(maps, scale_factor=factors, mode="bicubic")
        return resized.permute(0, 2, 3, 1)
    # torch has no deterministic gradient of it on GPUs: the same weights, as two matrices
    rows, columns = (_weights(factor, table) for factor in factors)
    with torch.autocast(table.device.type, enabled=False):
        return torch.einsum("hy,wx,byxc->bhwc", rows, columns, table)


def _weights(factor: float, like: Tensor) -> Tensor:
    """The matrix that resizes 37 values by `factor`: a row for each new value."""
    unit = torch.eye(TABLE, dtype=like.dtype, device=like.device)[None, :, :, None]
    resized = F.interpolate(unit, scale_factor=(factor, 1.0), mode="bicubic")
    return resized[0, :, :, 0].t()


def _resized_in_export(table: Tensor, height: int, width: int) -> Tensor:
    """`table` (1 x 37 x 37 x C) for a grid of any size, as it is for one of 37 x 37: 1(hw)C.

    The weights are written out: an interpolation by a factor holds for the traced size alone.
    """
    counts = [
        torch.arange(side, dtype=torch.float64, device=table.device) for side in (height, width)
    ]
    sides = [places[-1:] + 1 for places in counts]
    same = (sides[0] == TABLE) & (sides[1] == TABLE)
    offset = torch.where(same, 0.0, OFFSET)
    rows, columns = (
        _bicubic(places, TABLE / (side + offset)).to(table.dtype)
        for places, side in zip(counts, sides, strict=True)
    )
    channels_first = table[0].permute(2, 0, 1)  # C37(37)
    resized = rows @ (channels_first @ columns.t())
    return resized.permute(1, 2, 0).flatten(0, 1)[None]


def _bicubic(places: Tensor, step: Tensor) -> Tensor:
    """The matrix that takes 37 values at places `step` apart: a row for each new value.

    torch's cubic convolution, of a = -0.75; beyond the ends the last value is repeated.
    """
    a = -0.75
    at = (places + 0.5) * step - 0.5
    left = at.floor()
    table = torch.arange(TABLE, dtype=at.dtype, device=at.device)
    matrix = torch.zeros_like(at[:, None] * table)
    for tap in (-1, 0, 1, 2):
        far = (at - left - tap).abs()
        if tap in (0, 1):
            weight = ((a + 2) * far - (a + 3)) * far * far + 1
        else:
            weight = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
        chosen = (left + tap).clamp(0, TABLE - 1)
        matrix = matrix + weight[:, None] * (chosen[:, None] == table).to(at.dtype)
    return matrix


class Block(nn.Module):
    """Attention and two linear layers, each behind a norm, scaled by channel and added.

    Args:
        width: channels of a token.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1 = Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)
        self.ls2 = Scale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """BNC of BNC."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        result: Tensor = tokens + self.ls2(self.mlp(self.norm2(tokens)))
        return result


class Attention(nn.Module):
    """Self-attention of several heads.

    Args:
        width: channels of a token; divided by `heads`.
        heads: number of them.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """BNC of BNC."""
        parts = self.qkv(tokens).unflatten(2, (3, self.heads, -1))  # B, N, 3, heads, C / heads
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return result


class Mlp(nn.Module):
    """Two linear layers with four times the channels between them.

    Args:
        width: channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """BNC of BNC."""
        result: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return result


class Scale(nn.Module):
    """A learned factor for each channel, from 1.

    Args:
        width: channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """BNC of BNC."""
        return tokens * self.gamma


def adapt_dinov2(state: dict[str, Tensor], *, backbone: str) -> dict[str, Tensor]:
    """The state dict of the release, of timm or of transformers with the keys of a network.

    Keys of others pass unchanged.

    Args:
        state: key -> tensor; where query, key and value are apart, they become one.
        backbone: prefix of a `ViT`, such as "backbone.".
    """
    state = _joined({_of_the_release(key): tensor for key, tensor in state.items()})
    for part in PARTS:
        state = rename_prefix(state, part, f"{backbone}{part}")
    return state


def _of_the_release(key: str) -> str:
    for pattern, replacement in TRANSFORMERS_KEYS:
        key = re.sub(pattern, replacement, key)
    return key


def _joined(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the rows of query, key and value in one tensor, where all three are there."""
    joined = dict(state)
    for key in state:
        found = re.match(r"^(blocks\.\d+\.attn\.)q\.(weight|bias)$", key)
        if found is None:
            continue
        names = [f"{found[1]}{part}.{found[2]}" for part in "qkv"]
        if all(name in state for name in names):
            joined[f"{found[1]}qkv.{found[2]}"] = torch.cat([joined.pop(name) for name in names])
    return joined
