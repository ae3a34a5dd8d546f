"""What two or more networks share."""

from __future__ import annotations

from torch import nn
from torchvision.ops import Conv2dNormActivation


def initialise(module: nn.Module) -> None:
    """Fill every convolution in `module`: normal weights that keep the variance through a ReLU
    (He et al. 2015, https://arxiv.org/abs/1502.01852, fan-in), zero biases.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def conv_norm_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    padding: int | None = None,
    dilation: int = 1,
    groups: int = 1,
    batch_norm: bool = True,
) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; the convolution has a bias where there is no norm.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: side of the kernel.
        padding: zero padding in pixels; None keeps H and W.
        dilation: spacing of the kernel's taps (its rate).
        groups: `in_channels` makes it depthwise.
        batch_norm: normalise before the ReLU.
    """
    block: nn.Sequential = Conv2dNormActivation(
        in_channels,
        out_channels,
        kernel_size,
        padding=padding,
        dilation=dilation,
        groups=groups,
        norm_layer=nn.BatchNorm2d if batch_norm else None,
    )
    return block
