"""`semisup data make`."""

from __future__ import annotations

from pathlib import Path

import click

from semisup.cli import options
from semisup.cli.data.options import dataset_options, open_set
from semisup.system.words import counted


@click.command(
    short_help="Make the pictures of a data set.",
    epilog="""\b
Examples:
  semisup data make scenes
  semisup data make scenes --option seed=1 --data-root /data
""",
)
@click.argument("name", type=click.Choice(["scenes"]))
@dataset_options
@options.data_root
def make(name: str, settings: tuple[str, ...], data_root: Path) -> None:
    """Make the pictures of data set NAME, unless they are there."""
    made = open_set(name, data_root, "", settings)
    click.echo(f"{name}: {counted(len(made), 'training image')} in {made.root}")
