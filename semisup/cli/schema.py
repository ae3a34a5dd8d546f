"""`semisup schema`."""

from __future__ import annotations

import json

import click

from semisup.cli import options


@click.command(
    short_help="Print the JSON schema of a recipe.",
    epilog="""\b
Examples:
  semisup schema > semisup-recipe.schema.json
  semisup schema --plugin my_method.py > semisup-recipe.schema.json
""",
)
@options.plugins
def schema() -> None:
    """Print the JSON schema of a recipe, for editors that complete and check TOML."""
    from semisup.recipe.json_schema import recipe_schema

    click.echo(json.dumps(recipe_schema(), indent=1))
