"""What two or more networks share."""

from __future__ import annotations

import contextlib
import math
import typing
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import Conv2dNormActivation

from semisup.errors import RecipeError


def initialise(module: nn.Module) -> None:
    """Fill every convolution in `module`: normal weights that keep the variance through a ReLU
    (He et al. 2015, https://arxiv.org/abs/1502.01852, fan-in), zero biases.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:  # there is nothing to fill
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise_by_connections(layer: nn.Module) -> None:
    """Fill a convolution as U-Net's authors: N(0, sqrt(2 / N)) of N incoming connections, biases 0.

    The transposed ones are of stride and side 2: a place that leaves one was reached by one tap per
    channel. Other layers are left alone.
    """
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    if not isinstance(layer, kinds):
        return
    taps = 1 if layer.transposed else math.prod(layer.kernel_size)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (taps * layer.in_channels)))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def at_least_one(side: int) -> int:
    """`max(1, side)`, without a branch that an export would settle by the traced size."""
    return typing.cast(int, torch.sym_max(1, side))


def next_multiple(side: int, step: int) -> int:
    """The smallest multiple of `step` from `side` (positive) up.

    Without a negative number: ONNX cuts the fraction of their quotient off where Python floors it.
    """
    return (side + step - 1) // step * step


def mirrored(maps: Tensor, axis: int, first: int, length: int) -> Tensor:
    """`length` places of `maps` along an axis from `first` on, mirrored beyond its ends.

    The border itself is not repeated; a side smaller than what is asked for is mirrored again and
    again, and a single place repeated.
    """
    side = maps.shape[axis]
    places = torch.arange(length, device=maps.device) + first
    # As tensors: ONNX has no remainder by a number that follows from the size of an image.
    period = torch.full_like(places, at_least_one(2 * side - 2))
    folded = places % period
    return maps.index_select(
        axis, torch.minimum(folded, period - folded) % torch.full_like(places, side)
    )


def channels_last_of(module: nn.Module) -> torch.memory_format:
    """The memory format NHWC, or NDHWC of a network for volumes."""
    volumes = any(parameter.ndim == 5 for parameter in module.parameters())
    return torch.channels_last_3d if volumes else torch.channels_last


class WideDeconvolution(nn.ConvTranspose2d):
    """A transposed convolution of stride 1 without padding, as one matrix product.

    The same map as torch's, for wide kernels on small maps (7 x 7 on 4 x 4), where it is several
    times as fast on a CPU.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: side k of the kernel; a map of side n becomes one of side n + k - 1.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size)

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        """BChw -> BC(h+k-1)(w+k-1)."""
        assert output_size is None, "a stride of 1 leaves no choice"
        assert self.bias is not None
        return transposed_convolution(features, self.weight) + self.bias[:, None, None]


def transposed_convolution(features: Tensor, weight: Tensor) -> Tensor:
    """What `torch.nn.functional.conv_transpose2d` gives at stride 1 without padding.

    Args:
        features: BChw.
        weight: CDkk, the layout of a transposed convolution (and of the convolution that it is the
            transpose of).

    Returns:
        BD(h+k-1)(w+k-1).
    """
    kernel = weight.shape[-1]
    height, width = features.shape[-2:]
    places = features.flatten(2).transpose(1, 2)  # B, h w, C
    if weight.is_contiguous():
        columns = places @ weight.flatten(1)  # B, h w, D k k
    else:  # channels last: the product is put in order, not the weight, which may take 400 MB
        last = places @ weight.permute(0, 2, 3, 1).flatten(1)  # B, h w, k k D
        columns = torch.unflatten(last, 2, (kernel**2, -1)).transpose(2, 3).flatten(2)
    size = (height + kernel - 1, width + kernel - 1)
    return F.fold(columns.transpose(1, 2), size, kernel)


def resize(
    maps: Tensor, size: torch.Size, mode: str = "bilinear", *, align_corners: bool = False
) -> Tensor:
    """`maps` (BCHW) at `size` (H, W), as they are where they have it.

    An export does not ask, as its answer would hold for the traced size alone: to resize maps to
    the size that they have changes none of their bits.
    """
    if not torch.compiler.is_exporting() and maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=list(size), mode=mode, align_corners=align_corners)


class BinMeans(nn.AdaptiveAvgPool2d):
    """Means over `side` x `side` bins of a map, as torch's adaptive pooling.

    An export writes them as two matrix products: ONNX has no such pooling, and the bins of one that
    is unrolled are those of the traced size.

    Args:
        side: bins along each axis.
    """

    output_size: int

    def __init__(self, side: int) -> None:
        super().__init__(side)

    def forward(self, maps: Tensor) -> Tensor:
        """BChw -> BC(side)(side)."""
        if self.output_size == 1 or not torch.compiler.is_exporting():
            return super().forward(maps)
        rows, columns = (_shares_of_bins(self.output_size, maps, axis) for axis in (2, 3))
        return rows @ (maps @ columns.t())


def _shares_of_bins(side: int, maps: Tensor, axis: int) -> Tensor:
    """The matrix of means along an axis: `side` rows, bin i from i n / side to (i + 1) n / side."""
    length = maps.shape[axis]
    places = torch.arange(length, device=maps.device)
    bins = torch.arange(side, device=maps.device)[:, None]
    first, behind = (bins * length) // side, ((bins + 1) * length + side - 1) // side
    inside = ((places >= first) & (places < behind)).to(maps.dtype)
    return inside / inside.sum(1, keepdim=True)


def resize_and_cut(
    maps: Tensor, padded: torch.Size, size: torch.Size, *, align_corners: bool = False
) -> Tensor:
    """`maps` (BCHW) of a `padded` image (H, W) at the `size` of the image, at its top left."""
    height, width = size
    return resize(maps, padded, align_corners=align_corners)[..., :height, :width]


def unpool(maps: Tensor, switches: Tensor, size: torch.Size) -> Tensor:
    """`maps` at the places of a pooling's maxima, with zeros elsewhere: BCHW.

    What `torch.nn.functional.max_unpool2d` gives. That has no deterministic form in torch and none
    in ONNX, so with `train.deterministic` and in an export the values are scattered: the same bits,
    as windows do not overlap.

    Args:
        maps: BChw.
        switches: BChw int64, the indices of a 2 x 2 pooling.
        size: H and W of what was pooled.
    """
    if not (torch.are_deterministic_algorithms_enabled() or torch.compiler.is_exporting()):
        return F.max_unpool2d(maps, switches, (2, 2), output_size=size)
    height, width = size
    raised = maps.new_zeros(*maps.shape[:2], height * width)
    raised = raised.scatter(2, switches.flatten(2), maps.flatten(2))
    return torch.unflatten(raised, 2, (height, width))


def laid_out_as(maps: Tensor, other: Tensor) -> Tensor:
    """`maps` (BCHW) with their channels last in memory where those of `other` (BDHW) are.

    `torch.cat` keeps that format only where all maps have it, and one that was made from 1 x 1
    has not. A convolution behind it would turn all of them.
    """
    if other.is_contiguous() or not other.is_contiguous(memory_format=torch.channels_last):
        return maps
    return maps.contiguous(memory_format=torch.channels_last)


def of_rows(maps: Tensor, rows: Tensor | None) -> Tensor:
    """N of B maps: those of `rows`, or all B in order where that is None."""
    return maps if rows is None else maps[rows]


def conv_norm_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    padding: int | None = None,
    dilation: int = 1,
    groups: int = 1,
    batch_norm: bool = True,
    bias: bool | None = None,
) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: side of the kernel.
        padding: zero padding in pixels; None keeps H and W.
        dilation: spacing of the kernel's taps (its rate).
        groups: `in_channels` makes it depthwise.
        batch_norm: normalise before the ReLU.
        bias: whether the convolution has one; None: where there is no norm behind it.
    """
    block: nn.Sequential = Conv2dNormActivation(
        in_channels,
        out_channels,
        kernel_size,
        padding=padding,
        dilation=dilation,
        groups=groups,
        norm_layer=nn.BatchNorm2d if batch_norm else None,
        bias=bias,
    )
    return block


@contextlib.contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """In the `with` block, batch norms normalise by the batch but leave running statistics alone.

    For images that are none of the data, such as those of a generator: what is scored and stored
    goes by the statistics of real ones.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextlib.contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """In the `with` block, norms go by running statistics and nothing is dropped."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def dropout_layers(network: nn.Module) -> list[nn.Module]:
    """The layers of a network that drop something.

    Raises:
        RecipeError: there is none.
    """
    found = [layer for layer in network.modules() if isinstance(layer, _DropoutNd) and layer.p]
    if not found:
        raise RecipeError(
            f"eval.samples: {type(network).__name__} has no dropout, so that all "
            "samples would be the same. Set it to 0, or train a network that has dropout, such as "
            "'bayesian_segnet' or 'fc_densenet56' (docs/evaluation.md lists them)."
        )
    return [*found]


@contextlib.contextmanager
def dropout_active(network: nn.Module) -> Iterator[None]:
    """In the `with` block, dropout works in eval mode too: each forward pass is another sample.

    Batch norms keep their mode. Call `eval()` before the block, not in it. See Gal and Ghahramani
    2016, https://arxiv.org/abs/1506.02142.

    Raises:
        RecipeError: the network has no dropout.
    """
    dropouts = dropout_layers(network)
    modes = [layer.training for layer in dropouts]
    for layer in dropouts:
        layer.train()
    try:
        yield
    finally:
        for layer, mode in zip(dropouts, modes, strict=True):
            layer.train(mode)
