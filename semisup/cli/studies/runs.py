"""`semisup runs`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from semisup.cli import options


@click.command(
    short_help="List runs: state, scores, what differs.",
    epilog="""\b
Examples:
  semisup runs
  semisup runs adversarial 1/8 --sort best
  semisup runs other_runs --where state=stopped
  semisup runs --where method.name=cps --json
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
@options.as_json
@options.out
def runs(
    words: tuple[str, ...], sort: str, where: tuple[str, ...], as_json: bool, out: Path
) -> None:
    """List the runs in a folder, finished or not.

    Each of WORDS that is a folder is looked through in place of --out; each other one must stand
    in the run's name, state, split, folder or in what differs between runs of its recipe. On a
    terminal the columns that do not fit are left out; a pipe gets all, one line for each run.
    """
    from semisup.cli.display.runs import lines_of
    from semisup.studies.listing import chosen, content_of, list_runs, ordered

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
