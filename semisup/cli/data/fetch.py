"""`semisup data fetch`."""

from __future__ import annotations

from pathlib import Path

import click

from semisup.cli import options


@click.command(
    short_help="Fetch a data set, or say how to.",
    epilog="""\b
Examples:
  semisup data fetch voc --data-root /data
  semisup data fetch cityscapes
""",
)
@click.argument("name")
@options.data_root
def fetch(name: str, data_root: Path) -> None:
    """Fetch the official archives of data set NAME, check their checksums, and unpack them.

    An interrupted call is repeated: it goes on where it ended. Where a login or a form is needed,
    or no address is published, the steps to take are printed, and the exit status is 1 until the
    data set is there.
    """
    from semisup.data.fetching.fetch import fetch as fetch_archives
    from semisup.data.fetching.sources import source_of
    from semisup.errors import DataError

    source = source_of(name)
    check = f"'semisup data verify {name} --data-root {data_root}'"
    if source.archives:
        click.echo(f"terms: {source.terms}", err=True)
        fetch_archives(source, data_root, lambda line: click.echo(line, err=True))
        click.echo(f"{name}: in {data_root}; {check} checks every file")
        return
    if _is_there(name, data_root):
        click.echo(f"{name}: in {data_root}; {check} checks every file")
        return
    click.echo(f"{name} has to be fetched by hand. {source.terms}")
    for number, step in enumerate(source.steps, start=1):
        click.echo(f"{number}. {step.format(root=data_root)}")
    raise DataError(f"{name}: not in {data_root} yet; take the steps above, then {check}")


def _is_there(name: str, root: Path) -> bool:
    """Whether the reported subset opens: its lists and folders are there."""
    from semisup.catalog import DATASETS, create_dataset, find
    from semisup.errors import SemisupError

    try:
        create_dataset(name, root, find(DATASETS, "data set", name).eval_subset)
    except SemisupError:
        return False
    return True
