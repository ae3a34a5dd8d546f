"""A finished run as a notebook shows it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from semisup.studies.output.formats import html, html_table
from semisup.studies.output.tables import DASH, Table

if TYPE_CHECKING:
    from semisup.runs.result import Result


def html_of_run(folder: Path, result: Result, *, with_sheet: bool = True) -> str:
    """Scores, the classes, and the picture sheet where the run has drawn one.

    Args:
        folder: of the run.
        result: of it.
        with_sheet: whether the picture sheet of the folder is of this result.
    """
    low, high = result.scores.selected.miou_interval_95
    counted = f" {result.counted()}" if result.counted() else ""
    head = (
        f"{result.recipe}, seed {result.seed}: mIoU {result.scores.selected.miou:.4f}{counted} "
        f"(95 % interval over images {low:.4f} to {high:.4f})"
    )
    rows = tuple(
        (name, DASH if iou is None else f"{iou:.3f}") for name, iou in result.iou().items()
    )
    table = html_table(Table("", ("class", "IoU"), rows))
    sheet = _sheet(folder) if with_sheet else ""
    return f"<p><b>{html(head)}</b></p>{table}{sheet}<p>{html(str(folder))}</p>"


def _sheet(folder: Path) -> str:
    path = folder / "pictures" / "sheet.png"
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="pictures of the run" src="data:image/png;base64,{data}">'
