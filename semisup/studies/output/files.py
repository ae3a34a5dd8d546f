"""A comparison as a file, by its ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from semisup.errors import RunError
from semisup.studies.comparison import Comparison
from semisup.studies.output.formats import as_csv, as_json, as_latex, as_markdown, as_text
from semisup.system.files import write_text

TEXTS: dict[str, Callable[[Comparison], str]] = {
    ".csv": as_csv,
    ".json": as_json,
    ".md": as_markdown,
    ".tex": as_latex,
    ".txt": as_text,
}
"""Ending -> what makes the text of the file."""

FIGURES = (".pdf", ".png", ".svg")
"""Endings of curves and scores as a picture."""


def check_ending(path: Path) -> None:
    """Refuse what cannot be written, before anything is computed.

    Raises:
        RunError: no file has that ending; names those that are known.
    """
    if path.suffix.lower() not in (*TEXTS, *FIGURES):
        known = ", ".join(sorted((*TEXTS, *FIGURES)))
        raise RunError(f"{path}: no table or figure has that ending. Known: {known}.")


def write(comparison: Comparison, path: Path) -> None:
    """Write a comparison, whole or not at all.

    Args:
        comparison: of one arm or more.
        path: .csv, .json, .md, .tex or .txt for tables; .pdf, .png or .svg for curves and scores.

    Raises:
        RunError: no file has that ending, or it cannot be written.
    """
    check_ending(path)
    if not path.parent.is_dir():
        raise RunError(f"{path}: its folder is not there. Make it first.")
    ending = path.suffix.lower()
    if ending in TEXTS:
        write_text(path, TEXTS[ending](comparison))
        return
    from semisup.studies.output.charts import draw

    draw(comparison, path)
