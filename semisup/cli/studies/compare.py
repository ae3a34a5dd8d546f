"""`semisup compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.runs.paths import Paths
    from semisup.studies.comparison import Comparison


@click.command(
    short_help="Compare runs: means, differences, tables.",
    epilog="""\b
Examples:
  semisup compare scenes/supervised_unet_1-8 scenes/adversarial_unet_1-8
  semisup compare plain=runs/plain better=runs/better --to table.tex
  semisup compare 'runs/scenes/*' --baseline scenes/supervised_unet_1-8
  semisup compare plain=runs/plain better=runs/better --to curves.pdf --sheet both.png
""",
)
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--baseline",
    default="",
    metavar="NAME",
    help="Arm or recipe that all others are compared with; default: the first of RUNS.",
)
@click.option(
    "--score",
    type=click.Choice(("selected", "last")),
    default="selected",
    show_default=True,
    help="Of the reported checkpoint, or of that after the last step.",
)
@click.option(
    "--to",
    "files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Write a file, by its ending: .md, .tex, .csv, .json, .txt; .png, .pdf or .svg are curves "
    "and scores. May be repeated.",
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a .png of the same images as one run of each arm predicts them.",
)
@options.out
@options.data_root_of_run
def compare(
    runs: tuple[str, ...],
    baseline: str,
    score: str,
    files: tuple[Path, ...],
    sheet: Path | None,
    out: Path,
    data_root: Path | None,
) -> None:
    """Compare RUNS over seeds, and differences on the same seeds and images.

    RUNS are folders of runs, folders that hold some, patterns, recipes that were run, or files of
    kept results (.jsonl). NAME=RUNS makes them one arm of that name. Runs of one recipe, budget and
    data that differ in the seed alone are averaged; other budgets have a row of their own. Runs of
    different protocols are refused. Runs that are not finished or cannot be read are left out and
    named.
    """
    from semisup.studies.comparison import compare as compared
    from semisup.studies.output.files import check_ending, write
    from semisup.studies.output.formats import as_text
    from semisup.studies.places import find_runs

    for file in files:
        check_ending(file)
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise click.UsageError(f"--sheet {sheet}: is a PNG. Give it the ending .png.")
    if sheet is not None and score != "selected":
        raise click.UsageError("--sheet is of the reported checkpoints: leave --score last out.")
    found = find_runs(runs, out)
    for line in found.damaged.values():
        click.echo(f"semisup: {line}", err=True)
    several = len(runs) > 1 and not baseline
    comparison = compared(
        found.runs,
        baseline=baseline,
        first=found.first if several else (),
        score=score,
        notes=found.notes,
    )
    for file in files:
        write(comparison, file)
        click.echo(f"Written: {file}")
    if sheet is not None:
        _draw(comparison, sheet, options.paths_of_run(data_root))
        click.echo(f"Written: {sheet}")
    if not files and sheet is None:
        click.echo(as_text(comparison, options.width()), nl=False)


def _draw(comparison: Comparison, sheet: Path, paths: Paths | None) -> None:
    from semisup.studies.output.pictures import draw_pictures
    from semisup.system.device import resolve_device

    options.load_plugins(())  # of SEMISUP_PLUGINS, and installed ones
    draw_pictures(comparison, sheet, resolve_device("auto"), paths)
