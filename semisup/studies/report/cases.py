"""The same images as the arms of a report predict them: the worst and median ones of the baseline.

Which images are shown follows from the scores of the baseline alone, so that nobody has picked
those that suit a method.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from semisup.monitoring.snapshots import spread
from semisup.ops.pixels import as_shown
from semisup.runs.sheets import panels
from semisup.studies.images import has_counts, read_counts
from semisup.studies.kept import Run
from semisup.studies.output.pictures import miou_of, one_of_each, open_all, prediction_of
from semisup.studies.output.tables import letters_of
from semisup.studies.report.content import Report
from semisup.system.torch_errors import translated_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from semisup.runs.paths import Paths
    from semisup.runs.reopen import OpenRun

EACH = 3
"""Images of either kind, worst and median."""

MOST_ARMS = 6
"""Beside one another."""

WIDTH = 320
"""Of a picture in the page, in pixels."""


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: below it.
        alt: what it shows, for those who do not see it.
        uri: JPEG as a data URI.
        width: in pixels.
        height: in pixels.
    """

    title: str
    alt: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Case:
    """One image as the arms predict it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Cases:
    """All images.

    Attributes:
        note: how they were chosen.
        cases: in the order of the page.
        legend: name and colour of each class, as CSS.
    """

    note: str
    cases: tuple[Case, ...]
    legend: tuple[tuple[str, str], ...]


def find_cases(report: Report, device: torch.device, paths: Paths | None = None) -> Cases:
    """Predict the images that are shown.

    Args:
        report: of runs whose folders are here.
        device: where to predict.
        paths: where the data lie; None: where they lay when each run last went on.

    Raises:
        RunError: a run is kept without its weights, or its data are not there.
    """
    arms = report.comparison.arms[:MOST_ARMS]
    runs = one_of_each(arms)
    opened = open_all(runs, device, paths, remedy="leave --pictures out")
    letters = letters_of(report.comparison.arms)
    titles = [letters[arm.name] for arm in arms]
    with translated_errors(), torch.no_grad():
        return _drawn(runs, opened, titles)


def _drawn(runs: Sequence[Run], opened: Sequence[OpenRun], titles: Sequence[str]) -> Cases:
    data = opened[0].experiment.reported
    chosen, note = _chosen(runs[0], len(data.ids))
    cases = []
    for kind, position in chosen:
        name = sorted(data.ids)[position]
        index = data.index(name)
        image, mask = data.image(index), data.mask(index)
        labels = [prediction_of(run, name) for run in opened]
        drawn = panels(as_shown(image, opened[0].images.kind), [mask, *labels], data)
        scores = [miou_of(one, mask, len(data.classes)) for one in labels]
        heads = ["image", "ground truth"]
        heads += [
            f"{title}, seed {run.seed}: {score}"
            for title, run, score in zip(titles, runs, scores, strict=True)
        ]
        shown = [_panel(one, head, name) for one, head in zip(drawn, heads, strict=True)]
        cases.append(Case(f"{name}, {kind}", tuple(shown)))
    legend = tuple(
        (name, f"#{red:02x}{green:02x}{blue:02x}")
        for name, (red, green, blue) in zip(data.classes, data.palette, strict=True)
    )
    return Cases(note, tuple(cases), legend)


def _chosen(base: Run, images: int) -> tuple[list[tuple[str, int]], str]:
    """Kind and place (among the sorted ids) of each image, and how they were found."""
    if not has_counts(base):
        places = spread(images, 2 * EACH)
        return [("spread evenly", place) for place in places], (
            "Images spread evenly over the scored set: the first arm has kept no counts of single "
            "images to choose by. Numbers are the mIoU of the image."
        )
    order = by_score(read_counts(base))
    worst = order[:EACH]
    middle = max(len(worst), (len(order) - EACH) // 2)
    median = order[middle : middle + EACH]
    note = (
        "The images that the first arm does worst, and those in the middle of its scores: chosen "
        f"by the mIoU of single images of its seed {base.seed}, and by nobody. Numbers are the "
        "mIoU of the image."
    )
    return [("worst", place) for place in worst] + [("median", place) for place in median], note


def by_score(counts: NDArray[np.int64]) -> list[int]:
    """Places of the images with a label, the lowest mIoU first.

    Args:
        counts: NK3, as `image_counts` gives them.
    """
    intersection, predicted, true = np.moveaxis(counts.astype(np.float64), -1, 0)
    union = predicted + true - intersection
    present = union > 0
    iou = np.divide(intersection, union, out=np.zeros_like(union), where=present)
    some = present.any(1)
    mean = iou.sum(1) / np.maximum(present.sum(1), 1)
    return [int(place) for place in np.argsort(mean, kind="stable") if some[place]]


def _panel(picture: Tensor, title: str, name: str) -> Panel:
    shown = Image.fromarray(picture.cpu().numpy())
    height = max(1, round(shown.height * WIDTH / shown.width))
    shown = shown.resize((WIDTH, height), Image.Resampling.BOX)
    file = io.BytesIO()
    shown.save(file, format="JPEG", quality=85)
    uri = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return Panel(title, f"{title} of {name}", uri, WIDTH, height)
