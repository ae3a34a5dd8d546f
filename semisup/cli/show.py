"""`semisup show`."""

from __future__ import annotations

import json
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
    from semisup.ops.pixels import ImageFormat
    from semisup.runs.experiment import Experiment
    from semisup.runs.paths import Paths
    from semisup.training.optimisers import make_optimisers

    meta = torch.device("meta")
    stated = recipe.model.in_channels
    channels = 3 if stated == "auto" else stated
    experiment = Experiment(
        recipe,
        Paths(),
        meta,
        read_weights=False,
        stated_classes=COUNT_CLASSES,
        stated_images=ImageFormat((0.0,) * channels, (1.0,) * channels, bits=8),
    )
    with meta:
        make_optimisers(experiment.method.players(), recipe.optim)
