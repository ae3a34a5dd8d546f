"""`semisup data verify`."""

from __future__ import annotations

from pathlib import Path

import click

from semisup.cli import options
from semisup.cli.data.options import (
    dataset_options,
    masks_option,
    open_photographs,
    open_set,
    unlabelled_option,
)


@click.command(
    short_help="Check every file of a data set once.",
    epilog="""\b
Examples:
  semisup data verify voc --data-root /data
  semisup data verify voc --subset train_aug --subset val
  semisup data verify camvid --unlabelled folder:photographs
""",
)
@click.argument("name")
@click.option("--subset", "subsets", multiple=True, help="Default: what is trained and reported.")
@unlabelled_option
@masks_option
@dataset_options
@options.data_root
@options.plugins
def verify(
    name: str,
    subsets: tuple[str, ...],
    unlabelled: str,
    masks: str,
    settings: tuple[str, ...],
    data_root: Path,
) -> None:
    """Check every file of data set NAME once; exit with 1 if one is bad."""
    from semisup.catalog import DATASETS, find
    from semisup.cli.display.verification import print_verification
    from semisup.data.verify import verify as check
    from semisup.errors import DataError
    from semisup.system.words import counted

    cls = find(DATASETS, "data set", name)
    chosen = subsets or (cls.train_subset, cls.eval_subset)
    datasets = [open_set(name, data_root, subset, settings, masks) for subset in chosen]
    if unlabelled:
        datasets.append(open_photographs(unlabelled, datasets[0]))
    found = check(datasets)
    print_verification(found)
    if found.problems:
        file, reason = found.problems[0]
        where = "" if str(file) in reason else f"{file}: "
        bad = counted(len(found.problems), "bad file")
        raise DataError(f"{name}: {bad}, such as: {where}{reason}")
