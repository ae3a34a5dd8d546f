"""A ResNet written a second time, from its state dict alone, to compare networks with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = Mapping[str, Tensor]


def normalised(state: State, key: str, maps: Tensor) -> Tensor:
    """The batch norm `key` in eval mode."""
    mean, variance = state[f"{key}.running_mean"], state[f"{key}.running_var"]
    return F.batch_norm(maps, mean, variance, state[f"{key}.weight"], state[f"{key}.bias"])


def bottleneck(
    state: State, key: str, maps: Tensor, *, strides: tuple[int, int], dilation: int
) -> Tensor:
    """One block, with the strides of its first 1 x 1 and of its 3 x 3 convolution."""
    inner = F.conv2d(maps, state[f"{key}.conv1.weight"], stride=strides[0])
    inner = normalised(state, f"{key}.bn1", inner).relu()
    inner = F.conv2d(
        inner,
        state[f"{key}.conv2.weight"],
        stride=strides[1],
        padding=dilation,
        dilation=dilation,
    )
    inner = normalised(state, f"{key}.bn2", inner).relu()
    inner = normalised(state, f"{key}.bn3", F.conv2d(inner, state[f"{key}.conv3.weight"]))
    if f"{key}.downsample.0.weight" in state:
        stride = strides[0] * strides[1]
        maps = F.conv2d(maps, state[f"{key}.downsample.0.weight"], stride=stride)
        maps = normalised(state, f"{key}.downsample.1", maps)
    return (inner + maps).relu()


def stem(state: State, image: Tensor) -> Tensor:
    """The first convolution of 7 x 7, or the three of a deep stem, up to the pooling."""
    if "conv1.weight" in state:
        maps = F.conv2d(image, state["conv1.weight"], stride=2, padding=3)
        return normalised(state, "bn1", maps).relu()
    maps = F.conv2d(image, state["conv1.0.weight"], stride=2, padding=1)
    maps = normalised(state, "conv1.1", maps).relu()
    maps = F.conv2d(maps, state["conv1.3.weight"], padding=1)
    maps = normalised(state, "conv1.4", maps).relu()
    maps = F.conv2d(maps, state["conv1.6.weight"], padding=1)
    return normalised(state, "bn1", maps).relu()


def resnet_stages(
    state: State,
    image: Tensor,
    *,
    strides: Sequence[int],
    dilations: Sequence[Sequence[int]],
    caffe: bool = False,
) -> list[Tensor]:
    """The maps of the four stages in eval mode.

    Args:
        state: of a ResNet without a prefix.
        image: BCHW.
        strides: of the four stages.
        dilations: of every block of the four stages; the last of a stage is that of all after it.
        caffe: stride at the 1 x 1 convolution, pooling that rounds up.
    """
    maps = F.max_pool2d(stem(state, image), 3, 2, 1, ceil_mode=caffe)
    found = []
    for stage, (stride, rates) in enumerate(zip(strides, dilations, strict=True), start=1):
        number = 0
        while f"layer{stage}.{number}.conv1.weight" in state:
            own = 1 if number else stride
            maps = bottleneck(
                state,
                f"layer{stage}.{number}",
                maps,
                strides=(own, 1) if caffe else (1, own),
                dilation=rates[min(number, len(rates) - 1)],
            )
            number += 1
        found.append(maps)
    return found


def part(state: State, prefix: str) -> dict[str, Tensor]:
    """What lies under `prefix`, without it."""
    return {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}


@torch.no_grad()
def shake_norms(network: nn.Module) -> None:
    """Norms that change something, as after training, and keep maps of a deep network small."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (layer.bias, layer.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)


def randomised(state: State) -> dict[str, Tensor]:
    """A file of a network with other keys: fan-in weights, norms that change something."""
    generator = torch.Generator().manual_seed(0)
    filled = {}
    for key, tensor in state.items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim == 4:
            filled[key] = noise / max(1, tensor[0].numel()) ** 0.5
        elif key.endswith(("running_var", "weight")):
            filled[key] = 0.5 + noise.abs() / 2
        else:
            filled[key] = noise * 0.1
    return filled
