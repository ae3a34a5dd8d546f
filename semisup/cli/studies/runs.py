"""`semisup runs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.studies.listing import Listed


@click.command(
    short_help="List runs: state, scores, what differs.",
    epilog="""\b
Examples:
  semisup runs
  semisup runs adversarial 1/8 --sort best
  semisup runs other_runs --where state=stopped
  semisup runs --where method.name=cps --json
  semisup runs runs/studies/mine --mlflow http://localhost:5000
""",
)
@click.argument("words", nargs=-1)
@click.option(
    "--sort",
    type=click.Choice(("newest", "best", "name")),
    default="newest",
    show_default=True,
    help="Which runs come first.",
)
@click.option(
    "--where",
    metavar="KEY=VALUE",
    multiple=True,
    help="Only runs of this state, recipe, split, seed or value of a key of the recipe; may be "
    "repeated.",
)
@click.option(
    "--mlflow",
    "uri",
    metavar="URI",
    help="Export the finished ones of them to MLflow; what is there already is not sent twice.",
)
@options.as_json
@options.out
def runs(
    words: tuple[str, ...],
    sort: str,
    where: tuple[str, ...],
    uri: str | None,
    as_json: bool,
    out: Path,
) -> None:
    """List the runs in a folder, finished or not.

    Each of WORDS that is a folder is looked through in place of --out; each other one must stand
    in the run's name, state, split, folder or in what differs between runs of its recipe. On a
    terminal the columns that do not fit are left out; a pipe gets all, one line for each run.
    """
    from semisup.cli.display.runs import lines_of
    from semisup.studies.listing import chosen, content_of, list_runs, ordered

    if uri is not None:
        from semisup.studies.output.mlflow import check_installed

        if as_json:
            raise click.UsageError("--mlflow and --json: give one of them.")
        check_installed(uri)
    folders = [Path(word) for word in words if Path(word).is_dir()]
    listed, bad = list_runs(folders or [out])
    kept = chosen(listed, [word for word in words if not Path(word).is_dir()], where)
    kept = ordered(kept, sort)
    for line in bad:
        click.echo(f"semisup: {line}", err=True)
    if as_json:
        click.echo(json.dumps([content_of(run) for run in kept], indent=1))
        return
    if not kept:
        click.echo(f"none of {len(listed)} runs" if listed else "no runs")
        return
    width = options.width() if sys.stdout.isatty() else None
    for line in lines_of(kept, width):
        click.echo(line)
    if uri is not None:
        _export(kept, uri)


def _export(listed: Sequence[Listed], uri: str) -> None:
    """Send the finished runs of a list to MLflow, and say what was done."""
    from semisup.studies.output.mlflow import send

    finished = [run.folder for run in listed if run.state == "finished"]
    sent = send(finished, uri)
    told = {"added": sent.added, "replaced": sent.replaced, "there already": sent.there}
    told["left out, since they are not finished"] = len(listed) - len(finished)
    counts = [f"{count} {what}" for what, count in told.items() if count]
    click.echo(f"MLflow, experiment {sent.experiment}: {', '.join(counts)}")
