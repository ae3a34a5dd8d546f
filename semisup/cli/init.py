"""`semisup init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from semisup.own_data.start import Started


@click.command(
    short_help="Prepare a folder of pictures and some masks.",
    epilog="""\b
Examples:
  semisup init pets
  semisup init pets --weights torchvision
  semisup init pets --seed 1 --overwrite
""",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Draws the images that are reported on.",
)
@click.option(
    "--weights",
    metavar="FILE",
    help="Weights to start from: a file, or torchvision. Default: torchvision's ImageNet weights "
    "if they were fetched before, else none.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that you have edited, too.")
def init(folder: Path, seed: int, weights: str | None, overwrite: bool) -> None:
    """Look at a FOLDER of pictures and some masks, and write what training needs.

    Finds the images, their masks and the values in them, in most layouts: images/ and masks/,
    x.jpg with x_mask.png, folders in folders; grey, palette or RGB. Writes classes.txt, train.txt,
    val.txt and recipes into FOLDER, and a sheet to look at. The pictures are left as they are, and
    so are files that you have edited.
    """
    from semisup.cli.data.options import open_set
    from semisup.errors import DataError
    from semisup.own_data.start import remember_sheet, sheet_of, start
    from semisup.runs.sheets import draw_data_sheet

    done = start(folder, seed=seed, weights=weights, overwrite=overwrite)
    sheet = sheet_of(folder)
    if sheet is not None:
        try:
            draw_data_sheet(sheet, open_set("folder", folder, "train", done.options), 8)
        except DataError:  # of a list that was kept: the notes say more
            _print_notes(done)
            raise
        remember_sheet(folder)
    _print(done, sheet)


def _print(done: Started, sheet: Path | None) -> None:
    """What was found, what is odd, what was written, and what comes next."""
    from semisup.own_data.look import places_of_images
    from semisup.system.words import counted

    found, lists = done.found, done.lists
    masked = sum(image in found.masks for image in lists.train)
    click.echo(f"images     {len(found.images):,}, {len(found.masks):,} with a mask")
    click.echo(f"masks      {_kind(done)}")
    click.echo(f"classes    {', '.join(done.classes)}")
    rest = len(lists.train) - masked
    click.echo(f"train      {counted(masked, 'mask')}, {rest:,} unlabelled")
    test = f", and test {counted(len(lists.test), 'mask')}" if lists.test else ""
    click.echo(f"val        {counted(len(lists.val), 'mask')}{test}")
    _print_notes(done)
    click.echo(f"written    {', '.join((*done.written, *([sheet.name] if sheet else ())))}")
    if done.kept:
        click.echo(f"kept       {', '.join(done.kept)} (--overwrite replaces)")
    options = "".join(f" --option {option}" for option in done.options)
    look = f"Look at {sheet}, name" if sheet else "Name"
    click.echo(f"\n{look} the classes in {done.class_list}, then:")
    click.echo(f"  semisup data verify folder --data-root {_quoted(done.root)}{options}")
    click.echo(f"  semisup run {_quoted(done.recipe)}")
    if done.baseline is not None:
        click.echo(f"  semisup run {_quoted(done.baseline)}   # the baseline")
    images = " ".join(_quoted(done.root / place) for place in places_of_images(found))
    click.echo(f"  semisup predict {done.recipe.stem} {images} --to predictions --overlay")


def _print_notes(done: Started) -> None:
    for note in done.notes:
        click.echo(f"note: {note}")


def _quoted(path: Path) -> str:
    """For a shell, which is to expand a "*", and is not to take a name for an option."""
    import shlex

    text = f"./{path}" if str(path).startswith("-") else str(path)
    return "*".join(shlex.quote(part) if part else "" for part in text.split("*"))


def _kind(done: Started) -> str:
    """What the masks hold."""
    seen = done.seen
    values = sorted(seen.masks)
    if seen.colours:
        return f"{len(values)} colours"
    shown = ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
    return f"values {shown}{' (with a palette)' if seen.palette else ''}"
