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
    help="An option of the data set, such as seed=1 (scenes); may be repeated.",
)


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

    from semisup.errors import RecipeError
    from semisup.options import describe_errors, options_schema
    from semisup.recipe.toml import parse_value

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
        raise RecipeError(describe_errors(error, schema, "--option ")) from None
    return values


def print_counts(counts: Mapping[str, int]) -> None:
    """A line for each class."""
    for class_name, count in counts.items():
        click.echo(f"  {class_name:<20}{count:>6}")
