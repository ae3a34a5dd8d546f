"""`semisup show`."""

from __future__ import annotations

import json
from dataclasses import replace
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

    loaded = load_recipe(recipe, changes)
    _check_players(loaded)
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


def _check_players(recipe: Recipe) -> None:
    """Refuse [optim.*] tables that are not the method's players.

    Who plays is known once the method is built: here without memory or weights.
    """
    import torch

    from semisup.cli.display.listing import COUNT_CLASSES
    from semisup.runs.assemble import build_method
    from semisup.training.optimisers import make_optimisers

    fresh = recipe.model.model_copy(update={"weights": ""})
    with torch.device("meta"):
        method, _ = build_method(replace(recipe, model=fresh), COUNT_CLASSES)
        make_optimisers(method.players(), recipe.optim)
