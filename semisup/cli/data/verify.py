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
  semisup data verify voc --json > voc.json
""",
)
@click.argument("name")
@click.option("--subset", "subsets", multiple=True, help="Default: what is trained and reported.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@unlabelled_option
@masks_option
@dataset_options
@options.data_root
@options.plugins
def verify(
    name: str,
    subsets: tuple[str, ...],
    as_json: bool,
    unlabelled: str,
    masks: str,
    settings: tuple[str, ...],
    data_root: Path,
) -> None:
    """Check every file of data set NAME once, and what all masks say; exit with 1 if one is bad.

    Files beside the masks are among them, such as VOC's boxes and maps of objects.
    """
    import json

    from semisup.catalog import DATASETS, find
    from semisup.cli.display.verification import print_verification
    from semisup.data.verify import verify as check
    from semisup.errors import DataError

    cls = find(DATASETS, "data set", name)
    chosen = subsets or (cls.train_subset, cls.eval_subset)
    datasets = [open_set(name, data_root, subset, settings, masks) for subset in chosen]
    if unlabelled:
        datasets.append(open_photographs(unlabelled, datasets[0]))
    found = check(datasets)
    if as_json:
        about = {"name": name, "root": str(datasets[0].root)}
        click.echo(json.dumps({**about, **found.as_json()}, indent=1))
    else:
        print_verification(found)
    if found.problems:
        file, reason = found.problems[0]
        where = "" if str(file) in reason or file == datasets[0].root else f"{file}: "
        count = len(found.problems)
        head = "1 problem" if count == 1 else f"{count} problems, such as"
        raise DataError(f"{name}: {head}: {where}{reason}")
