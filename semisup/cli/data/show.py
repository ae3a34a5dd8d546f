"""`semisup data show`."""

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
    short_help="Write a contact sheet of a data set.",
    epilog="""\b
Examples:
  semisup data show scenes
  semisup data show voc --subset val --count 12 --to voc.png
  semisup data show camvid --masks folder:pseudo_labels
""",
)
@click.argument("name")
@click.option("--subset", default="", help="Default: what is trained on.")
@click.option("--count", type=click.IntRange(min=1), default=8, show_default=True)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG to write; default: NAME.png.",
)
@unlabelled_option
@masks_option
@dataset_options
@options.data_root
@options.plugins
def show(
    name: str,
    subset: str,
    count: int,
    to: Path | None,
    unlabelled: str,
    masks: str,
    settings: tuple[str, ...],
    data_root: Path,
) -> None:
    """Write a contact sheet of data set NAME: images, masks over them, and the classes.

    What the masks on it give away, such as 255 in the place of a class, is said beside. With
    --unlabelled, of the photographs of that folder.
    """
    from semisup.data.before_training import doubts_of_some
    from semisup.runs.sheets import draw_data_sheet

    path = to or Path(f"{name}.png")
    shown = open_set(name, data_root, subset, settings, masks)
    if unlabelled:
        shown = open_photographs(unlabelled, shown)
    for doubt in doubts_of_some(shown, draw_data_sheet(path, shown, count)):
        click.echo(f"warning: {doubt}", err=True)
    click.echo(f"Pictures: {path}")
