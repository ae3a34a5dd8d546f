"""What is exported: normalisation, the network, and the class of each pixel."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from semisup.errors import RunError
from semisup.models.base import FindsObjects, SegmentsByClass
from semisup.models.layers import at_least_one
from semisup.ops.pixels import ImageFormat

TRACED = (2, 113, 145)
"""B, H and W of the images that a network is traced with, where it takes any; D is 9 of a volume.

Odd and unequal, so that no size is taken for another one, or for a constant.
"""

TRACED_DEPTH = 9

_ABOVE_ONE = re.compile(r"L\['image'\]\.size\(\)\[0\] (>|!=) 1")

_TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""What torch notes of a node beside what it computes: lines of code, with paths of this machine."""


class ExportedNetwork(nn.Module):
    """A predictor that takes images as they are decoded.

    Args:
        predictor: normalised image BCHW -> logits BKHW, or BCDHW -> BKDHW of volumes.
        images: what the values of the images are, and how they are normalised.
        volumes: whether the images are volumes.
        scale: at which the predictor sees them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        predictor: nn.Module,
        images: ImageFormat,
        *,
        volumes: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.scale = scale
        self.largest = 2**images.bits - 1
        places = (-1, 1, 1, 1) if volumes else (-1, 1, 1)
        self.register_buffer("mean", torch.tensor(images.mean).view(places))
        self.register_buffer("std", torch.tensor(images.std).view(places))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits BKHW float32 and labels BHW uint8 of an image BCHW, uint8 or uint16.

        The same operations in the same order as in `semisup.evaluation.inference`.
        """
        size = list(image.shape[-2:])
        normalised = (image.float() / self.largest - self.mean) / self.std
        if self.scale != 1:
            seen = [at_least_one(_rounded(side, self.scale)) for side in size]
            normalised = F.interpolate(
                normalised, seen, mode="bilinear", align_corners=False, antialias=self.scale < 1
            )
        logits = self.predictor(normalised).float()
        if self.scale != 1:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        return logits, logits.argmax(1).to(torch.uint8)


def _rounded(side: int, scale: float) -> int:
    """`round(side * scale)`, halves to even, in whole numbers: a program knows no other rounding.

    A program is made for sizes that are not known; it has sums, products and remainders of them.
    """
    share = Fraction(scale).limit_denominator(1000)
    product, divisor = side * share.numerator, share.denominator
    return (2 * product + divisor - 1 + product // divisor % 2) // (2 * divisor)


def exportable(
    network: nn.Module, images: ImageFormat, *, volumes: bool, scale: float = 1.0
) -> ExportedNetwork:
    """A copy of a run's predictor for export: on the CPU, in float32 and in eval mode.

    Raises:
        RunError: what it computes depends on what it finds in an image.
    """
    if isinstance(network, FindsObjects):
        raise RunError(
            f"{type(network).__name__} cannot be exported: how many objects it merges depends on "
            "the image, and a traced program has no such branch. Take 'semisup predict'."
        )
    if isinstance(network, SegmentsByClass):
        raise RunError(
            f"{type(network).__name__} cannot be exported: it computes a map for each class that "
            "it identifies, and a traced program has no such branch. Take 'semisup predict'."
        )
    copied = copy.deepcopy(network).to("cpu", torch.float32)
    for tensor in (*copied.parameters(), *copied.buffers()):
        # Not contiguous(): of 1 x 1 kernels that keeps strides that look like channels last.
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    copied.requires_grad_(False)
    return ExportedNetwork(copied, images, volumes=volumes, scale=scale).eval()


def traced(
    network: ExportedNetwork, images: ImageFormat, size: tuple[int, int] | None
) -> ExportedProgram:
    """The program of a network for batches of any number and, unless `size` says one, of any size.

    Args:
        network: of `exportable`.
        images: channels and bits of the images.
        size: H and W of all images; None: the program takes any.

    Raises:
        RunError: the network cannot be traced so; says why and what to do.
    """
    count, *sides = (TRACED[0], *(size or TRACED[1:]))
    depth = [TRACED_DEPTH] if network.mean.ndim == 4 else []
    shape = (count, images.kind.channels, *depth, *sides)
    image = torch.zeros(shape, dtype=images.kind.dtype)
    free = [0, *range(2, len(shape) - (2 if size else 0))]
    dynamic = (dict.fromkeys(free, Dim.DYNAMIC),)
    with quiet(), torch.no_grad(), _any_size():
        try:
            program = torch.export.export(network, (image,), dynamic_shapes=dynamic, strict=False)
        except Exception as error:  # of many kinds, by what in the network stopped it
            raise RunError(_not_traced(network, error, size)) from error
    for node in program.graph.nodes:
        for name in _TRACES:
            node.meta.pop(name, None)
    # Torch asks for a batch above 1 where layouts of one image would be ambiguous, which changes
    # no value; a batch of 1 is among those that the file is compared on.
    program._guards_code = [
        guard for guard in program._guards_code if not _ABOVE_ONE.fullmatch(guard)
    ]
    return program


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """In the `with` block, the exporters do not speak of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _any_size() -> contextlib.AbstractContextManager[None]:
    """In the `with` block, torch takes the way that holds for all sizes where it has the choice.

    Without, a trace states that two sizes differ that happened to, and refuses images where they
    are equal.
    """
    config: Any = importlib.import_module("torch.fx.experimental._config")
    settings: contextlib.AbstractContextManager[None] = config.patch(backed_size_oblivious=True)
    return settings


def _not_traced(network: ExportedNetwork, error: Exception, size: tuple[int, int] | None) -> str:
    name = type(network.predictor).__name__
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    why = (reason or type(error).__name__)[:200].rstrip(".")
    if size is None:
        return f"{name} cannot be exported for images of any size ({why}). Name one by --size."
    return f"{name} cannot be exported ({why}). Take 'semisup predict'."
