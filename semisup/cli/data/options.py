"""What the commands of `semisup data` share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from semisup.data.base import SegmentationData

dataset_options = click.option(
    "--option",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of the data set, such as seed=1 (scenes), or ignore_classes, which all have; "
    "may be repeated.",
)


masks_option = click.option(
    "--masks",
    default="",
    metavar="folder:PATH|KIND",
    help="Masks of what is trained on, as data.masks. Default: the data set's own.",
)

unlabelled_option = click.option(
    "--unlabelled",
    default="",
    metavar="folder:PATH",
    help="A folder of photographs, as data.unlabelled.",
)


def open_set(
    name: str, root: Path, subset: str, settings: tuple[str, ...], masks: str = ""
) -> SegmentationData:
    """One subset, with options as `key=value`, and with the masks of a folder, if one is given.

    The subset that the data set is reported on keeps its own masks.
    """
    from semisup.catalog import DATASETS, create_dataset, find
    from semisup.data.sets.drawn_masks import with_masks

    options = parse_options(find(DATASETS, "data set", name), settings)
    data = create_dataset(name, root, subset or None, **options)
    if not masks or data.subset == data.eval_subset:
        return data
    return with_masks(data, masks, 0)


def open_photographs(spec: str, beside: SegmentationData) -> SegmentationData:
    """The photographs that --unlabelled names, for a recipe of the data set `beside`."""
    from semisup.data.sets.photographs import Photographs, read_photographs

    return Photographs(read_photographs(spec), beside)


def parse_options(cls: type, settings: tuple[str, ...], flag: str = "--option") -> dict[str, Any]:
    """What --option gives, checked against the options of a class.

    Raises:
        RecipeError: no `=`, an unknown key or a value of the wrong type; names the flag.
    """
    from pydantic import ValidationError

    from semisup.data.base import SegmentationData
    from semisup.data.without_classes import OPTION
    from semisup.errors import RecipeError
    from semisup.options import describe_errors, options_schema
    from semisup.recipe.toml import parse_value

    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError(f"{flag} {setting}: is not of the form key=value, such as seed=1.")
        values[key] = parse_value(text, f"{flag} {key}")
    schema = options_schema(cls)
    of_all = [OPTION] if issubclass(cls, SegmentationData) else []
    try:
        schema.model_validate({key: value for key, value in values.items() if key not in of_all})
    except ValidationError as error:
        raise RecipeError(describe_errors(error, schema, f"{flag} ", of_all)) from None
    return values


def print_counts(counts: Mapping[str, int]) -> None:
    """A line for each class."""
    for class_name, count in counts.items():
        click.echo(f"  {class_name:<20}{count:>6}")
