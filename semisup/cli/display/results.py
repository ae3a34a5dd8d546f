"""How a result is printed."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from semisup.runs.result import (
        FinishedRun,
        Gain,
        ObjectScores,
        Result,
        Scores,
        SplitRecord,
    )

NARROWEST = 20
"""Columns that sentences are wrapped to, at least."""


def print_result(
    result: Result, folder: Path, *, pictures: bool = True, per_class: bool = True
) -> None:
    """Per-class table, scores, protocol line and where to look.

    Args:
        result: of a run, or of scoring one again.
        folder: of the run.
        pictures: whether those in the folder are of this result.
        per_class: whether to print the table.
    """
    from semisup.evaluation.protocol import protocol_line

    console = Console(highlight=False, soft_wrap=True)
    if per_class:
        console.print(_per_class(result))
    selected, last = result.scores.selected, result.scores.last
    low, high = selected.miou_interval_95
    console.print(
        f"[bold]mIoU {selected.miou:.4f}[/bold] {escape(_counted(result))}"
        f"(95 % interval over images {low:.4f} to {high:.4f})"
        + (f", last checkpoint {last.miou:.4f}" if last else ""),
        soft_wrap=not console.is_terminal,
    )
    _print_sentence(
        console,
        f"pixel accuracy {selected.pixel_accuracy:.4f}, "
        f"mean class accuracy {selected.mean_class_accuracy:.4f}, "
        f"frequency-weighted IoU {selected.frequency_weighted_iou:.4f}" + _boundary(selected),
    )
    if result.objects is not None:
        console.print(_objects(result.objects))
    _print_sentence(console, f"Protocol: {protocol_line(result.protocol)}")
    _print_sentence(console, _training_line(result))
    sheet = folder / "pictures" / "sheet.png"
    if pictures and sheet.is_file():
        console.print(f"Pictures: {sheet}", markup=False)
    console.print(f"Run: {folder}", markup=False)


def print_next(folder: Path) -> None:
    """What can be done with a finished run, on standard error: results go to standard output.

    Args:
        folder: of the run.
    """
    run, runs = shlex.quote(str(folder)), shlex.quote(str(folder.parent))
    lines = (
        f"semisup predict {run} photo.jpg",
        f"semisup compare {run} OTHER_RUN",
        f"semisup monitor {runs}",
    )
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("What next:", style="dim", markup=False)
    for line in lines:
        console.print(f"  {line}", markup=False)


def _print_sentence(console: Console, text: str) -> None:
    """Wrapped between words where somebody reads it; one line in a file or a pipe."""
    if console.is_terminal:
        lines = textwrap.wrap(
            text,
            width=max(console.width, NARROWEST),
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        text = "\n".join(lines)
    console.print(text, markup=False)


def print_gain(run: FinishedRun, baseline: FinishedRun, gain: Gain) -> None:
    """Both runs in one table, and by how much the second is higher."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(title=escape(f"{run.recipe} beside {baseline.recipe}"), title_justify="left")
    table.add_column("class")
    table.add_column("baseline", justify="right")
    table.add_column("this run", justify="right")
    table.add_column("gain", justify="right")
    own, others = run.per_class, baseline.per_class
    for name, iou in own.items():
        table.add_row(escape(name), *_pair(others.get(name), iou))
    table.add_section()
    table.add_row("mIoU", *_pair(baseline.miou, run.miou), style="bold")
    table.add_row("masks", *(str(one.result.split.labelled) for one in (baseline, run)), "")
    seconds = (f"{one.result.time.train_seconds:.0f} s" for one in (baseline, run))
    table.add_row("training", *seconds, "")
    console.print(table)
    low, high = gain.miou_interval_95
    console.print(
        f"[bold]gain {gain.miou:+.4f}[/bold] (95 % interval over images {low:+.4f} to {high:+.4f}; "
        f"seed {run.seed} alone)"
    )
    if gain.differs:
        console.print(
            f"The two differ in {', '.join(gain.differs)} beside their methods.", markup=False
        )
    sheet = run.folder / "pictures" / "baseline.png"
    if sheet.is_file():
        console.print(f"Pictures of both: {sheet}", markup=False)


def _pair(other: float | None, own: float | None) -> tuple[str, str, str]:
    if own is None or other is None:
        return _cell(other, 3), _cell(own, 3), "-"
    difference = round(own - other, 3) + 0.0  # no "-0.000"
    return _cell(other, 3), _cell(own, 3), f"{difference:+.3f}"


def _counted(result: Result) -> str:
    """Over how many classes the mean is, where that is not over all."""
    counted = result.counted()
    return f"{counted} " if counted else ""


def _boundary(scores: Scores) -> str:
    if scores.boundary_f1 is None and scores.boundary_iou is None:
        return ""
    return f", boundary F1 {_cell(scores.boundary_f1, 4)}, boundary IoU " + _cell(
        scores.boundary_iou, 4
    )


def _objects(scores: ObjectScores) -> str:
    box, mask = scores.box, scores.mask
    return (
        f"box AP {_cell(box.ap, 4)} (at IoU 0.5: {_cell(box.ap50, 4)}), "
        f"mask AP {_cell(mask.ap, 4)} (at IoU 0.5: {_cell(mask.ap50, 4)})"
    )


def _cell(score: float | None, digits: int) -> str:
    return "-" if score is None else f"{score:.{digits}f}"


def _training_line(result: Result) -> str:
    from semisup.runs.result import maker_of_masks, name_of_masks

    split, checkpoint = result.split, result.checkpoint
    weakly = ""
    if split.weak_masks is not None:
        source = name_of_masks(split.weak_masks)
        weakly = f", {split.weakly_labelled} weakly labelled from {source}"
    maker = maker_of_masks(split.masks) or maker_of_masks(split.weak_masks)
    weakly += f", pseudo-masks of {maker}" * bool(maker)
    return (
        f"Trained: split {split.name} (sha256 {split.sha256[:8]}; {split.labelled} "
        f"labelled, {split.held_out} of them held out{weakly}, {split.unlabelled} unlabelled"
        f"{_pool(split)}), "
        f"seed {result.seed}, step {checkpoint.step} of {checkpoint.steps}, "
        f"{result.time.train_seconds:.0f} s on {result.device}"
    )


def _pool(split: SplitRecord) -> str:
    """Where the unlabelled images come from, where that is not the rest of the split."""
    source = split.unlabelled_from.source
    if source == "rest":
        return ""
    return " (labelled ones too)" if source == "all" else f" from {source}"


def _per_class(result: Result) -> Table:
    from semisup.runs.result import COLUMNS

    rows = result.per_class
    columns = list(next(iter(rows.values())))
    table = Table(title=escape(f"{result.recipe}: per class"), title_justify="left")
    table.add_column("class")
    for column in columns:
        table.add_column(COLUMNS.get(column, column), justify="right")
    table.add_column("")
    iou = result.iou()
    for name, row in rows.items():
        bar = "#" * round(20 * (iou[name] or 0))
        cells = [_cell(row[column], 3) for column in columns]
        table.add_row(escape(name), *cells, f"[green]{bar}[/green]")
    return table
