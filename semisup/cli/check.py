"""`semisup check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semisup.cli import options
from semisup.cli.data.options import parse_options

if TYPE_CHECKING:
    from semisup.contracts.base import Finding


@click.command(
    short_help="Test a method, network or data set.",
    epilog="""\b
Examples:
  semisup check mean_teacher --plugin mean_teacher.py
  semisup check unet --option width=8
  semisup check my_data --plugin my_data.py --data-root /data
""",
)
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["method", "model", "data set"]),
    default=None,
    help="What NAME is, where it is several.",
)
@click.option(
    "--option",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of it, such as width=8; may be repeated.",
)
@options.data_root
@options.plugins
def check(name: str, kind: str | None, settings: tuple[str, ...], data_root: Path) -> None:
    """Test what every method, network or data set must hold to on NAME; exit with 1 if it fails.

    Methods are tried on a toy problem, networks on random images, data sets on up to 20 of their
    own images (`semisup data verify` reads them all).
    """
    from semisup.catalog import KINDS
    from semisup.contracts.base import ContractError
    from semisup.contracts.check import check_contract, kind_of_name

    known = kind_of_name(name, kind or "")
    values = parse_options(KINDS[known][name], settings)
    findings = list(check_contract(name, known, values, data_root))
    print_findings(f"{known} {name}", findings)
    failed = sum(finding.verdict == "fails" for finding in findings)
    if failed:
        raise ContractError(f"{known} '{name}': {failed} of {len(findings)} checks fail.")


def print_findings(title: str, findings: Sequence[Finding]) -> None:
    """A line for each check, and a paragraph for each that fails."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title=escape(title), title_justify="left", box=None, show_header=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("check")
    styles = {"holds": "green", "fails": "bold red", "-": "dim"}
    for finding in findings:
        style = styles[finding.verdict]
        why = f" [dim]({escape(finding.skipped)})[/]" if finding.skipped else ""
        table.add_row(f"[{style}]{finding.verdict}[/]", f"{escape(finding.title)}{why}")
    console.print(table)
    for finding in findings:
        if finding.problem:
            console.print(f"{finding.title}: {finding.problem}", markup=False)
