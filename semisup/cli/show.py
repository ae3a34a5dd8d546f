"""`semisup show`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.recipe.recipe import Recipe


@click.command(
    short_help="Print a RECIPE with all its defaults.",
    epilog="""\b
Examples:
  semisup show quickstart
  semisup show quickstart --changed
  semisup show quickstart --set data.split=1/4 --json
""",
)
@click.argument("recipe")
@options.changes
@click.option(
    "--changed",
    is_flag=True,
    help="Print only what the recipe, its parents and --set state, and no default.",
)
@options.as_json
@options.plugins
def show(recipe: str, changes: tuple[str, ...], changed: bool, as_json: bool) -> None:
    """Print a RECIPE with every default filled in and where each value came from."""
    from semisup.recipe.load import DEFAULT, load_recipe
    from semisup.recipe.toml import dump_toml, flatten, unflatten

    loaded = load_recipe(recipe, changes)
    _check(recipe, loaded, changes)
    tables = loaded.resolved()
    if changed:
        stated = {
            key: value
            for key, value in flatten(tables).items()
            if loaded.sources.get(key) != DEFAULT
        }
        tables = unflatten(stated, loaded.name)
    if as_json:
        facts: dict[str, Any] = {
            "name": loaded.name,
            "digest": loaded.digest(),
            "recipe": tables,
            "sources": {key: loaded.sources[key] for key in flatten(tables)},
        }
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(f"# {loaded.name}, digest {loaded.digest()}\n")
    click.echo(dump_toml(tables, notes=loaded.sources))


_BUILT_FROM = ("model.", "method.", "optim.", "data.crop")
"""Keys that the networks and the method are built from."""


def _check(name: str, recipe: Recipe, changes: Sequence[str]) -> None:
    """Refuse a method that cannot be built with its options.

    A shipped recipe can, which a test sees to; to build it again torch is imported, which takes
    seconds.
    """
    changed = any(change.strip().startswith(_BUILT_FROM) for change in changes)
    if name.endswith(".toml") or changed:
        from semisup.runs.assemble import check_method

        check_method(recipe)
