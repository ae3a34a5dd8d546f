"""The same images as the runs of a comparison predict them, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from semisup.errors import RunError
from semisup.metrics.confusion import class_iou, confusion_matrix, image_counts, label_map
from semisup.monitoring.snapshots import spread
from semisup.ops.pixels import as_shown
from semisup.pictures.sheets import contact_sheet
from semisup.runs.paths import Paths
from semisup.runs.reopen import OpenRun, open_run
from semisup.runs.sheets import panels
from semisup.studies.comparison import Arm, Comparison
from semisup.studies.kept import Run
from semisup.studies.output.tables import letters_of
from semisup.system.torch_errors import translated_errors

IMAGES = 8
"""On a sheet, spread evenly over the set: nobody has picked them."""


def draw_pictures(
    comparison: Comparison, path: Path, device: torch.device, paths: Paths | None = None
) -> None:
    """Write image, ground truth and the prediction of one run of each arm.

    Of the smallest seed that all arms have, else of the first seed of each.

    Args:
        comparison: of runs whose folders are here.
        path: PNG to write; appears whole or not at all.
        device: where to predict.
        paths: where the data lie; None: where they lay when each run last went on.

    Raises:
        RunError: a run is kept without its weights, or the file cannot be written.
    """
    runs = one_of_each(comparison.arms)
    opened = open_all(runs, device, paths)
    titles = titles_of(comparison, runs)
    with translated_errors():
        _draw(path, opened, titles)


def titles_of(comparison: Comparison, runs: Sequence[Run]) -> list[str]:
    """Of the columns, which are narrow: letters as in the tables, then what not all names say."""
    letters = letters_of(comparison.arms)
    parts = {arm.name: arm.name.split(", ") for arm in comparison.arms}
    common = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    said = {
        name: ", ".join(part for part in own if part not in common) for name, own in parts.items()
    }
    return [
        f"{letters[arm.name]}  {said[arm.name] or arm.name}, s{run.seed}"
        for arm, run in zip(comparison.arms, runs, strict=True)
    ]


def one_of_each(arms: Sequence[Arm]) -> list[Run]:
    """Of each arm the run of the smallest seed that all have, else of its first seed."""
    seeds = set.intersection(*(set(arm.seeds) for arm in arms))
    return [
        next(run for run in arm.runs if run.seed == min(seeds, default=arm.seeds[0]))
        for arm in arms
    ]


def open_all(
    runs: Sequence[Run], device: torch.device, paths: Paths | None = None, remedy: str = ""
) -> list[OpenRun]:
    """Open runs to predict with them.

    Args:
        runs: finished ones.
        device: where to predict.
        paths: where the data lie; None: where they lay when each run last went on.
        remedy: said where a run cannot be opened, besides the reason.

    Raises:
        RunError: a run is kept without its weights, or its data are not there.
    """
    for run in runs:
        if not Path(run.source).is_dir():
            raise RunError(
                f"{run.source}: was kept without its weights. Pictures need the folder of the "
                f"run{f': {remedy}' if remedy else ''}."
            )
    return [open_run(Path(run.source), device, paths=paths) for run in runs]


@torch.no_grad()
def _draw(path: Path, runs: Sequence[OpenRun], titles: Sequence[str]) -> None:
    data = runs[0].experiment.reported
    rows, captions = [], []
    for position in spread(len(data.ids), IMAGES):
        name = data.ids[position]
        index = data.index(name)
        image, mask = data.image(index), data.mask(index)
        labels = [prediction_of(run, name) for run in runs]
        rows.append(panels(as_shown(image, runs[0].images.kind), [mask, *labels], data))
        mious = ", ".join(miou_of(one, mask, len(data.classes)) for one in labels)
        captions.append(f"{name}    mIoU of this image {mious}")
    legend = list(zip(data.classes, data.palette, strict=True))
    columns = ["image", "ground truth", *titles]
    contact_sheet(path, rows, columns=columns, captions=captions, legend=legend)


def prediction_of(run: OpenRun, name: str) -> Tensor:
    """Labels (HW) of the scored image of a name, as a run predicts them."""
    data = run.experiment.reported
    index = data.index(name)
    return label_map(run.inference().logits_of(data, index, data.image(index))[None])[0].cpu()


def miou_of(labels: Tensor, mask: Tensor, classes: int) -> str:
    """The mIoU of one image (HW), over the classes that its mask or its labels have."""
    counts = image_counts(confusion_matrix(labels, mask, classes))
    return f"{float(class_iou(counts).nanmean()):.2f}"
