"""`semisup list`."""

from __future__ import annotations

import json
import shutil
import sys

import click

from semisup.cli import options

KINDS = ("models", "methods", "datasets", "recipes", "studies")


@click.command(
    "list",
    short_help="List models, methods, data sets, recipes, studies.",
    epilog="""\b
Examples:
  semisup list
  semisup list models
  semisup list recipes voc_small fixmatch
  semisup list studies
  semisup list recipes > recipes.tsv
  semisup list recipes --json
  semisup list methods --plugin my_method.py
""",
)
@click.argument("kind", required=False, type=click.Choice(KINDS))
@click.argument("words", nargs=-1)
@options.as_json
@options.plugins
def list_names(kind: str | None, words: tuple[str, ...], as_json: bool) -> None:
    """List models (with cost and paper), methods, datasets, recipes and studies.

    Each of the WORDS must be in the name, or in the data set, method, model or split of a recipe.
    On a terminal a line is cut to its width; elsewhere each entry is one line of values with a tab
    between two, the name first.
    """
    from semisup.cli.display.listing import entries, matching, print_entries
    from semisup.errors import RecipeError

    chosen = {name: matching(entries(name), words) for name in ([kind] if kind else KINDS)}
    if words and not any(chosen.values()):
        raise RecipeError(
            f"none of the {kind or 'names'} has {' and '.join(map(repr, words))} in it. "
            f"'semisup list {kind or ''}".rstrip()
            + "' names all."
        )
    if as_json:
        click.echo(json.dumps(chosen[kind] if kind else chosen, indent=1))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for name, rows in chosen.items():
        if kind is None and not width:
            click.echo(f"# {name}")
        print_entries(name, rows, width=width)
