"""`semisup list`."""

from __future__ import annotations

import json

import click

from semisup.cli import options

KINDS = ("models", "methods", "datasets", "recipes")


@click.command(
    "list",
    short_help="List models, methods, data sets, recipes.",
    epilog="""\b
Examples:
  semisup list
  semisup list models
  semisup list recipes --json
  semisup list methods --plugin my_method.py
""",
)
@click.argument("kind", required=False, type=click.Choice(KINDS))
@options.as_json
@options.plugins
def list_names(kind: str | None, as_json: bool) -> None:
    """List what a recipe may name: models (with cost and paper), methods, datasets, recipes."""
    from semisup.cli.display.listing import entries, print_entries

    chosen = {name: entries(name) for name in ([kind] if kind else KINDS)}
    if as_json:
        click.echo(json.dumps(chosen[kind] if kind else chosen, indent=1))
        return
    for name, rows in chosen.items():
        print_entries(name, rows)
