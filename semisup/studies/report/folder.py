"""A report as a folder: the page, the tables and the figures, all of them or none."""

from __future__ import annotations

import html
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from semisup.errors import RunError
from semisup.studies.report import figures, look, matrices
from semisup.studies.report.board import board_files
from semisup.studies.report.commands import commands_of
from semisup.studies.report.content import Report
from semisup.studies.report.figures import Drawn
from semisup.studies.report.page import page
from semisup.studies.report.tables import arms_csv, as_latex, as_markdown, runs_csv
from semisup.system.files import writing

if TYPE_CHECKING:
    from semisup.studies.report.cases import Cases

MARK = "report.json"
"""The file that a folder of ours is known by; it names all others."""

PAGE = "index.html"

KINDS = ("svg", "pdf", "png")


def check_place(folder: Path) -> None:
    """Refuse a folder that holds anything but a report of ours, before anything is computed.

    Raises:
        RunError: it does; names the first file.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunError(f"{folder}: is a file. Choose another --out.")
    there = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
    others = [name for name in there if name not in _own(folder)]
    if others:
        raise RunError(
            f"{folder}: holds {others[0]}, which is no part of a report. Move it away or choose "
            "another --out."
        )


def _own(folder: Path) -> set[str]:
    """Files that the report of a folder is made of; empty where it is of something else."""
    try:
        content = json.loads((folder / MARK).read_text(encoding="utf-8"))
        files = content["files"] if content["semisup"] == "report" else []
        return {MARK, *map(str, files)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def drawn_of(report: Report) -> dict[str, Drawn]:
    """Name -> figure, of those that the runs have."""
    found = [
        figures.runs(report),
        figures.gains(report),
        figures.budgets(report),
        figures.annotation(report),
        matrices.classes(report),
        *(matrices.confusion(report, name) for name in report.confused),
        figures.curves(report),
        figures.calibration(report),
        figures.cost(report),
    ]
    return {one.name: one for one in found if one is not None}


def files_of(report: Report, cases: Cases | None = None) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file, the page first; the same bytes for the same runs."""
    commands, recipes = commands_of(report)
    drawn = drawn_of(report)
    with look.settings():
        made = {name: look.laid_out(one.draw()) for name, one in drawn.items()}
        svg = {name: _inline(drawn[name], figure) for name, figure in made.items()}
    yield PAGE, page(report, drawn, svg, commands, cases).encode()
    texts = {
        "report.md": as_markdown(report),
        "report.tex": as_latex(report),
        "runs.csv": runs_csv(report),
        "arms.csv": arms_csv(report),
        **{f"recipes/{name}": text for name, text in recipes.items()},
    }
    for name, text in texts.items():
        yield name, text.encode()
    yield from board_files(report)
    for name, figure in made.items():
        for kind in KINDS:
            with look.settings():
                content = look.saved(figure, kind)
            yield f"figures/{name}.{kind}", content


def _inline(one: Drawn, figure: Figure) -> str:
    return look.inline(figure, one.name, html.escape(one.title), html.escape(one.text))


def write_report(report: Report, folder: Path, cases: Cases | None = None) -> None:
    """Write a report in place of the one that is there; a reader finds the old or the new one.

    Args:
        report: what it is of.
        folder: not there, empty, or a report of ours.
        cases: pictures; None: without any.

    Raises:
        RunError: the folder holds something else, or cannot be written.
    """
    check_place(folder)
    folder = folder.absolute()
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    before = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            beside.mkdir()
        written = []
        for name, content in files_of(report, cases):
            with writing(folder):
                path = beside / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            written.append(name)
        mark = {"semisup": "report", "files": sorted(written)}
        with writing(folder):
            (beside / MARK).write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")
            check_place(folder)  # again: drawing takes its time
            if folder.exists():
                folder.rename(before)
            beside.rename(folder)
    finally:
        if before.exists() and not folder.exists():
            before.rename(folder)
        for rest in (beside, before):
            shutil.rmtree(rest, ignore_errors=True)
