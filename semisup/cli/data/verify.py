"""`semisup data verify`."""

from __future__ import annotations

from pathlib import Path

import click

from semisup.cli import options
from semisup.cli.data.options import dataset_options, open_set


@click.command(
    short_help="Check every file of a data set once.",
    epilog="""\b
Examples:
  semisup data verify voc --data-root /data
  semisup data verify voc --subset train_aug --subset val
""",
)
@click.argument("name")
@click.option("--subset", "subsets", multiple=True, help="Default: what is trained and reported.")
@dataset_options
@options.data_root
@options.plugins
def verify(name: str, subsets: tuple[str, ...], settings: tuple[str, ...], data_root: Path) -> None:
    """Check every file of data set NAME once; exit with 1 if one is bad."""
    from semisup.catalog import DATASETS, find
    from semisup.cli.display.verification import print_verification
    from semisup.data.verify import verify as check
    from semisup.errors import DataError

    cls = find(DATASETS, "data set", name)
    chosen = subsets or (cls.train_subset, cls.eval_subset)
    found = check([open_set(name, data_root, subset, settings) for subset in chosen])
    print_verification(found)
    if found.problems:
        file, reason = found.problems[0]
        where = "" if str(file) in reason else f"{file}: "
        raise DataError(f"{name}: {len(found.problems)} bad files, such as: {where}{reason}")
