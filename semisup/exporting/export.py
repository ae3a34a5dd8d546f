"""Write the network of a run to a file, and check the file against the run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from semisup.errors import RunError, SemisupError
from semisup.evaluation.inference import Inference
from semisup.evaluation.volumes import VolumeInference
from semisup.exporting.check import Compared, batches, compare
from semisup.exporting.example import example
from semisup.exporting.facts import facts_of, scale_of
from semisup.exporting.formats import ENDINGS, check_installed, format_of, read, write
from semisup.exporting.network import exportable, traced
from semisup.models.base import Segmenter
from semisup.ops.pixels import ImageFormat
from semisup.runs.reopen import OpenRun
from semisup.settings import EvalSettings
from semisup.system.files import exists, write_atomically, write_text

PICTURES = 3
"""Of the run's data that a file is checked on."""


@dataclass(frozen=True)
class Exported:
    """A network that was exported.

    Attributes:
        file: where it lies.
        script: a script beside it that uses it without semisup.
        facts: what the file states of itself.
        compared: the batches on which the file was checked against the run.
        pictures: how many pictures of the run's data they were cut from; 0: random values.
    """

    file: Path
    script: Path
    facts: dict[str, Any]
    compared: tuple[Compared, ...]
    pictures: int

    @property
    def difference(self) -> float:
        """Largest of the logits, as a share of the largest logit."""
        return max(one.difference for one in self.compared)


def export_run(
    run: OpenRun,
    to: Path | None = None,
    kind: str | None = None,
    *,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> Exported:
    """Export the predictor of a run, with the normalisation of its images.

    The file is written beside its place, read again, and compared with the run at three sizes, none
    of them the one that was traced; only then is it renamed.

    Args:
        run: opened, on any device.
        to: the file; None: the recipe's name, in the working folder.
        kind: "onnx" or "torch"; None: as the file's name ends, else "onnx".
        size: H and W of the images; None: any.
        overwrite: replace a file and a script that are there already.

    Raises:
        RunError: the network cannot be exported, the file fails its check, something is there
            already, or a package is missing.
    """
    kind = format_of(to, kind)
    check_installed(kind)
    path = to or Path(run.recipe.name.replace("/", "_") + ENDINGS[kind])
    script = path.with_name(f"{path.stem}_example.py")
    for place in (path, script):
        if exists(place) and not overwrite:
            raise RunError(f"{place}: is there already. Give --overwrite, or another --to.")
    _check_size(size)
    volumes = _reads_volumes(run.network)
    facts = facts_of(run, size, volumes=volumes)
    pictures = _pictures(run)
    images = batches(pictures, run.images.kind, size, volumes=volumes)
    compared = export_network(
        *(run.network, run.images, path, kind, facts, images),
        size=size,
        scale=scale_of(run.recipe.eval),
    )
    text = example(
        kind,
        path.name,
        script.name,
        run.images.kind,
        size,
        volumes=volumes,
        apply_exif=run.applies_exif,
    )
    write_text(script, text)
    return Exported(path, script, facts, compared, len(pictures))


def export_network(
    network: nn.Module,
    images: ImageFormat,
    path: Path,
    kind: str,
    facts: dict[str, Any],
    batches: list[Tensor],
    *,
    size: tuple[int, int] | None = None,
    scale: float = 1.0,
) -> tuple[Compared, ...]:
    """Export one network, and compare the file with it.

    Args:
        network: normalised image BCHW -> logits BKHW, or of volumes; in eval mode.
        images: what the values of the images are, and how they are normalised.
        path: of the file.
        kind: "onnx" or "torch".
        facts: what the file is to state of itself.
        batches: images to compare with, whole numbers.
        size: H and W of the images; None: any.
        scale: at which the network sees them.

    Raises:
        RunError: it cannot be exported, or the file fails its check; nothing is left behind.
    """
    copied = exportable(network, images, volumes=batches[0].ndim == 5, scale=scale)
    program = traced(copied, images, size)
    expected = _predictor(network, images, scale)
    found: list[Compared] = []

    def write_and_check(file: BinaryIO) -> None:
        write(kind, program, facts, file)
        file.flush()
        written = read(kind, Path(file.name))
        found.extend(compare(written, expected, batches))

    write_atomically(path, write_and_check)
    return tuple(found)


def _predictor(network: nn.Module, images: ImageFormat, scale: float) -> Callable[[Tensor], Tensor]:
    """Whole numbers -> logits on the CPU, as `predict` computes them of one view, whole."""
    first = next(network.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    settings = EvalSettings(mode="whole", scales=(scale,))
    inference: type[Inference] = VolumeInference if _reads_volumes(network) else Inference
    apply = inference(_InPlanes(network), settings, device, images=images)
    return lambda batch: apply.logits(batch).cpu()


class _InPlanes(nn.Module):
    """A predictor that sees images plane by plane, as an exported file does.

    With channels last sums are rounded otherwise, and where two values of a pooled window are all
    but equal another place is remembered for the unpooling.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """As the predictor."""
        logits: Tensor = self.network(image.contiguous())
        return logits


def _reads_volumes(network: nn.Module) -> bool:
    return any(isinstance(m, Segmenter) and m.reads_volumes for m in network.modules())


def _pictures(run: OpenRun) -> list[Tensor]:
    """The first images of what the run is scored on; none where they are not at hand."""
    with contextlib.suppress(SemisupError):
        data = run.scored_set().data
        return [data.image(n) for n in range(min(PICTURES, len(data)))]
    return []


def _check_size(size: tuple[int, int] | None) -> None:
    if size is not None and min(size) < 1:
        raise RunError(f"size: {size[0]}x{size[1]} is none; give height x width, such as 512x512.")
