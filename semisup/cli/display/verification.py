"""How `semisup data verify` prints what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from semisup.data.verify import Verification

SHOWN = 10
"""Problems named; the rest is counted."""


def print_verification(found: Verification) -> None:
    """Subsets, shares of the classes, notes, warnings, and the first problems."""
    console = Console(highlight=False)
    table = Table(title="subsets (sizes are height x width)", title_justify="left")
    for column in found.columns():
        table.add_column(escape(column), justify="left" if column == "subset" else "right")
    for row in found.rows():
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(_classes(found))
    for note in found.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    for warning in found.warnings:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
    for problem in found.problems[:SHOWN]:
        console.print(f"bad: {problem.reason}", markup=False, soft_wrap=True)
    if len(found.problems) > SHOWN:
        console.print(f"... and {len(found.problems) - SHOWN} more")


def _classes(found: Verification) -> Table:
    table = Table(title="share of the pixels that are not void", title_justify="left")
    table.add_column("class")
    reports = [report for report in found.subsets if report.has_masks]
    for report in reports:
        table.add_column(escape(report.subset), justify="right")
    columns = [dict(report.class_shares()) for report in reports]
    for name in found.subsets[0].classes:
        table.add_row(escape(name), *(f"{shares[name]:.2%}" for shares in columns))
    return table
