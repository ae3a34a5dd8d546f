"""`semisup data`: verify, make, tag, split and show data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.data.base import SegmentationData

dataset_options = click.option(
    "--option",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of the data set, such as seed=1 (scenes); may be repeated.",
)


@click.group(
    epilog="""\b
Examples:
  semisup data make scenes
  semisup data verify voc --data-root /data
"""
)
def data() -> None:
    """Verify, make, tag, split and look at data sets."""


def open_set(name: str, root: Path, subset: str, settings: tuple[str, ...]) -> SegmentationData:
    """One subset, with options as `key=value`."""
    from semisup.catalog import DATASETS, create_dataset, find

    values = parse_options(find(DATASETS, "data set", name), settings)
    return create_dataset(name, root, subset or None, **values)


def parse_options(cls: type, settings: tuple[str, ...]) -> dict[str, Any]:
    """What --option gives, checked against the options of a data set.

    Raises:
        RecipeError: no `=`, an unknown key or a value of the wrong type; names the --option.
    """
    from pydantic import ValidationError

    from semisup.catalog import explain, options_schema
    from semisup.errors import RecipeError
    from semisup.tables import parse_value

    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError(f"--option {setting}: is not of the form key=value, such as seed=1.")
        values[key] = parse_value(text, f"--option {key}")
    schema = options_schema(cls)
    try:
        schema.model_validate(values)
    except ValidationError as error:
        raise RecipeError(explain(error, schema, "--option ")) from None
    return values


@data.command(
    epilog="""\b
Examples:
  semisup data verify voc --data-root /data
  semisup data verify voc --subset train_aug --subset val
"""
)
@click.argument("name")
@click.option("--subset", "subsets", multiple=True, help="Default: what is trained and reported.")
@dataset_options
@options.data_root
def verify(name: str, subsets: tuple[str, ...], settings: tuple[str, ...], data_root: Path) -> None:
    """Check every file of data set NAME once; exit with 1 if one is bad."""
    from semisup.catalog import DATASETS, find
    from semisup.cli.verification import print_verification
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


@data.command(
    epilog="""\b
Examples:
  semisup data make scenes
  semisup data make scenes --option seed=1 --data-root /data
"""
)
@click.argument("name", type=click.Choice(["scenes"]))
@dataset_options
@options.data_root
def make(name: str, settings: tuple[str, ...], data_root: Path) -> None:
    """Make the pictures of data set NAME, unless they are there."""
    made = open_set(name, data_root, "", settings)
    click.echo(f"{name}: {len(made)} training images in {made.root}")


@data.command(
    epilog="""\b
Examples:
  semisup data split scenes 1/8
  semisup data split voc 5/class --seed 1 --to split.txt
  semisup data split voc 5/class --tags xml
"""
)
@click.argument("name")
@click.argument("spec")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--subset", default="", help="Default: what is trained on.")
@click.option("--tags", "source", default="", help="Image tags: xml or file:PATH. Default: none.")
@click.option("--tagged", default="all", help="Who has tags, said as SPEC. Default: all.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the split; a recipe reads it with data.split = 'file:PATH'.",
)
@dataset_options
@options.data_root
def split(
    name: str,
    spec: str,
    seed: int,
    subset: str,
    source: str,
    tagged: str,
    to: Path | None,
    settings: tuple[str, ...],
    data_root: Path,
) -> None:
    """Make the label split SPEC (all, 1/8, 5/class, none, file:PATH) of data set NAME."""
    from semisup.data.splits import make_split, write_split
    from semisup.data.tags import read_tags

    dataset = open_set(name, data_root, subset, settings)
    tags = read_tags(dataset, source) if source else None
    made = make_split(dataset, spec, seed, tags=tags, tagged=tagged)
    click.echo(f"split      {made.name}")
    click.echo(f"sha256     {made.sha256}")
    click.echo(f"labelled   {len(made.labelled)}")
    click.echo(f"unlabelled {len(made.unlabelled)}")
    if tags is not None:
        click.echo(f"tagged     {len(made.weak)} (with the labelled ones)")
    click.echo("labelled images with each class:")
    print_counts(made.class_counts)
    if to is not None:
        write_split(to, made)
        click.echo(f"written to {to}")


def print_counts(counts: Mapping[str, int]) -> None:
    """A line for each class."""
    for class_name, count in counts.items():
        click.echo(f"  {class_name:<20}{count:>6}")


@data.command(
    epilog="""\b
Examples:
  semisup data tags scenes --from xml --to tags.txt
  semisup data tags voc --subset train_aug --from masks --to tags.txt
  semisup data tags voc --subset train_aug --from file:cls_labels.npy --to tags.txt
"""
)
@click.argument("name")
@click.option(
    "--from",
    "source",
    required=True,
    help="masks (opens them all), xml (the set's own annotations) or file:PATH.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write; a recipe reads it with data.tags = 'file:PATH'.",
)
@click.option("--subset", default="", help="Default: what is trained on.")
@dataset_options
@options.data_root
def tags(
    name: str,
    source: str,
    to: Path,
    subset: str,
    settings: tuple[str, ...],
    data_root: Path,
) -> None:
    """Derive the image tags of data set NAME once and store them."""
    from semisup.data.tags import read_tags, tags_from_masks, write_tags

    dataset = open_set(name, data_root, subset, settings)
    found = tags_from_masks(dataset) if source == "masks" else read_tags(dataset, source)
    write_tags(to, found)
    click.echo(f"images {len(found.of)}")
    click.echo(f"sha256 {found.sha256}")
    click.echo("images with each class:")
    print_counts(found.class_counts)
    click.echo(f"written to {to}")


@data.command(
    epilog="""\b
Examples:
  semisup data show scenes
  semisup data show voc --subset val --count 12 --to voc.png
"""
)
@click.argument("name")
@click.option("--subset", default="", help="Default: what is trained on.")
@click.option("--count", type=click.IntRange(min=1), default=8, show_default=True)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG to write; default: NAME.png.",
)
@dataset_options
@options.data_root
def show(
    name: str,
    subset: str,
    count: int,
    to: Path | None,
    settings: tuple[str, ...],
    data_root: Path,
) -> None:
    """Write a contact sheet of data set NAME: images, masks over them, and the classes."""
    from semisup.sheets import draw_data_sheet

    path = to or Path(f"{name}.png")
    draw_data_sheet(path, open_set(name, data_root, subset, settings), count)
    click.echo(f"Pictures: {path}")
