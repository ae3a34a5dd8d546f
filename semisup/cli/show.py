"""`semisup show`."""

from __future__ import annotations

import json
from typing import Any

import click

from semisup.cli import options


@click.command(
    short_help="Print a RECIPE with all its defaults.",
    epilog="""\b
Examples:
  semisup show quickstart
  semisup show quickstart --set data.split=1/4 --json
""",
)
@click.argument("recipe")
@options.changes
@options.as_json
@options.plugins
def show(recipe: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Print a RECIPE with every default filled in and where each value came from."""
    from semisup.recipe.load import load_recipe
    from semisup.recipe.toml import dump_toml
    from semisup.runs.assemble import check_method

    loaded = load_recipe(recipe, changes)
    check_method(loaded)
    if as_json:
        tables: dict[str, Any] = {
            "name": loaded.name,
            "digest": loaded.digest(),
            "recipe": loaded.resolved(),
            "sources": dict(loaded.sources),
        }
        click.echo(json.dumps(tables, indent=1))
        return
    click.echo(f"# {loaded.name}, digest {loaded.digest()}\n")
    click.echo(dump_toml(loaded.resolved(), notes=loaded.sources))
