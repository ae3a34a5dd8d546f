"""FC-DenseNet, the "hundred layers tiramisu": dense blocks on the way down and on the way up.

Jegou, Drozdzal, Vazquez, Romero and Bengio, CVPR Workshops 2017, https://arxiv.org/abs/1611.09326,
after the authors' code (Lasagne), which differs from the paper's text:
1. FC-DenseNet103 has 896, 1088, 816, 576 and 384 channels behind the deepest block and the first
   four on the way up; the paper's table prints 16 less for each.
2. In testing the authors normalise by the statistics of the batch, of ten images, and not by the
   running ones: `batch_statistics`.

Only the maps that a block has newly made go up from it. A transposed convolution of kernel 3 and
stride 2 without padding makes 2n + 1 of n pixels; the authors' centre crop cuts its one pixel too
many at the end, because half of one is rounded to zero before it.

Differs from the code: a block keeps its maps as a list and joins them in each layer, which gives
the same values; running variances are the unbiased ones, as everywhere in torch.
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from semisup.models.base import Segmenter

FIRST_CHANNELS = 48
"""C of the first convolution."""

EPSILON = 1e-4
"""What Lasagne adds to the variance."""


class FCDenseNet(Segmenter):
    """What the three networks share; one of them is a growth and its numbers of layers.

    Weights start from He et al. 2015, uniform (fan-in), biases at zero, as in the code.

    Training needs more than one image, or at least 64 pixels a side: the deepest map is 32 times
    smaller than the image, rounded down, and one pixel has no variance.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        dropout: share of values dropped in training behind every convolution but the first, the
            last and the transposed ones.
        recompute: forget the joined and the normalised maps of every layer, and compute them once
            more in the backward pass: the same gradients from a fraction of the memory. It changes
            nothing in a compiled network, where torch's compiler chooses what is computed twice.
        batch_statistics: normalise by the batch in testing too, as the authors do. What is
            predicted for an image then depends on the others in its batch.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1611.09326"
    year: ClassVar[int | None] = 2017
    stride: ClassVar[int] = 32
    growth: ClassVar[int]
    """C of the map that every layer adds."""
    layers: ClassVar[tuple[int, ...]]
    """Layers of the blocks on the way down, the deepest block last; on the way up in turn."""

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        dropout: float = 0.2,
        recompute: bool = False,
        batch_statistics: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be from 0 to below 1, not {dropout}")

        def unit(channels: int, out: int, kernel_size: int = 3) -> NormReluConv:
            norm = Norm(channels, batch_statistics=batch_statistics)
            return NormReluConv(norm, out, kernel_size, dropout=dropout, recompute=recompute)

        def block(channels: int, count: int) -> DenseBlock:
            widths = (channels + self.growth * number for number in range(count))
            return DenseBlock([unit(width, self.growth) for width in widths])

        *down, deepest = self.layers
        self.first = nn.Conv2d(in_channels, FIRST_CHANNELS, 3, padding=1)
        self.down, self.transition_down = nn.ModuleList(), nn.ModuleList()
        channels, skips = FIRST_CHANNELS, []
        for count in down:
            self.down.append(block(channels, count))
            channels += self.growth * count
            skips.append(channels)
            self.transition_down.append(unit(channels, channels, kernel_size=1))
        self.deepest = block(channels, deepest)
        self.up, self.transition_up = nn.ModuleList(), nn.ModuleList()
        below = self.growth * deepest
        for count, skip in zip(reversed(down), reversed(skips), strict=True):
            self.transition_up.append(nn.ConvTranspose2d(below, below, 3, stride=2))
            self.up.append(block(below + skip, count))
            channels, below = below + skip + self.growth * count, self.growth * count
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                _initialise(layer)

    def encode(self, image: Tensor) -> list[Tensor]:
        """All maps of strides 1 to 16, and those that the deepest block has made at stride 32."""
        features: list[Tensor] = []
        stack = self.first(image)
        for block, transition in zip(self.down, self.transition_down, strict=True):
            stack = torch.cat([stack, *block([stack])], dim=1)
            features.append(stack)
            stack = F.max_pool2d(transition([stack]), 2)
        return [*features, torch.cat(self.deepest([stack]), dim=1)]

    @property
    def embedding_channels(self) -> int:
        """C of all maps of the last block and of those it was given."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """All maps at the image's size: the last block's, and those it was given."""
        *skips, made = features
        maps: list[Tensor] = []
        for transition, block in zip(self.transition_up, self.up, strict=True):
            skip = skips.pop()
            raised = transition(made)[..., : skip.shape[-2], : skip.shape[-1]]
            new = block([raised, skip])
            maps, made = [raised, skip, *new], torch.cat(new, dim=1)
        return torch.cat(maps, dim=1)

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each place by itself."""
        logits: Tensor = self.classifier(embedding)
        return logits


class FCDenseNet56(FCDenseNet):
    """FC-DenseNet56 (Jegou et al. 2017): 1,376,795 parameters at 11 classes.

    The paper says 1.5 million, which its own numbers of layers and growth do not give.
    """

    growth = 12
    layers = (4, 4, 4, 4, 4, 4)


class FCDenseNet67(FCDenseNet):
    """FC-DenseNet67 (Jegou et al. 2017): 3,463,243 parameters at 11 classes."""

    growth = 16
    layers = (5, 5, 5, 5, 5, 5)


class FCDenseNet103(FCDenseNet):
    """FC-DenseNet103 (Jegou et al. 2017): 9,322,091 parameters at 11 classes.

    It takes fewer operations than FC-DenseNet67, which has more layers at the image's size.
    """

    growth = 16
    layers = (4, 5, 7, 10, 12, 15)


class DenseBlock(nn.Module):
    """Layers that each read all maps before them.

    Args:
        layers: from the maps so far to the next one.
    """

    def __init__(self, layers: list[NormReluConv]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The newly made maps alone, from `maps` (BChw each)."""
        made: list[Tensor] = []
        for layer in self.layers:
            made.append(layer([*maps, *made]))
        return made


class Norm(nn.BatchNorm2d):
    """Batch normalisation that may go by the batch in testing too.

    Args:
        channels: C.
        batch_statistics: whether it does. Running statistics are then followed in training all the
            same, and left alone in testing.
    """

    def __init__(self, channels: int, *, batch_statistics: bool) -> None:
        super().__init__(channels, eps=EPSILON)
        self.batch_statistics = batch_statistics

    def forward(self, input: Tensor) -> Tensor:
        """BChw, normalised for each channel."""
        if self.training or not self.batch_statistics:
            return super().forward(input)
        return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)


class NormReluConv(nn.Module):
    """Normalisation, ReLU, convolution and dropout of several maps joined.

    Args:
        norm: over the channels of all maps.
        out_channels: C of the result.
        kernel_size: side of the kernel, odd; H and W are kept.
        dropout: share of values to drop.
        recompute: keep the maps alone for the backward pass, and neither the joined nor the
            normalised ones. The convolution is not repeated: nothing needs its result.
    """

    def __init__(
        self, norm: Norm, out_channels: int, kernel_size: int, *, dropout: float, recompute: bool
    ) -> None:
        super().__init__()
        self.norm = norm
        padding = kernel_size // 2
        self.conv = nn.Conv2d(norm.num_features, out_channels, kernel_size, padding=padding)
        self.dropout = nn.Dropout(dropout)
        self.recompute = recompute

    def forward(self, maps: list[Tensor]) -> Tensor:
        """BChw of the maps, BChw each."""
        if self.recompute and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            new = checkpoint(
                self._convolve,
                *maps,
                use_reentrant=False,
                preserve_rng_state=False,  # dropout is outside
                context_fn=lambda: (contextlib.nullcontext(), SecondPass(self.norm)),
            )
        else:
            new = self._convolve(*maps)
        dropped: Tensor = self.dropout(new)
        return dropped

    def _convolve(self, *maps: Tensor) -> Tensor:
        convolved: Tensor = self.conv(F.relu(self.norm(torch.cat(maps, dim=1)), inplace=True))
        return convolved


class SecondPass:
    """In the `with` block the norm is in the mode of the first pass, and its statistics stay.

    `statistics_kept` will not do: without running statistics fewer tensors are kept for the
    backward pass, and torch wants those of the second pass to match those of the first. Nor will a
    generator: whoever goes back through a graph twice enters it twice.

    Args:
        norm: in the mode of the first pass now.
    """

    def __init__(self, norm: Norm) -> None:
        self.norm = norm
        self.inside = {
            "training": norm.training,
            "track_running_stats": norm.track_running_stats,
            "momentum": 0.0,
            "num_batches_tracked": None,
        }

    def __enter__(self) -> None:
        self.outside = {name: getattr(self.norm, name) for name in self.inside}
        self._set(self.inside)

    def __exit__(self, *error: object) -> None:
        self._set(self.outside)

    def _set(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.norm, name, value)


def _initialise(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    if layer.weight.is_meta:
        return  # there is nothing to fill
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
