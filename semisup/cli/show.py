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
    short_help="Print a RECIPE with all its defaults, or a study.",
    epilog="""\b
Examples:
  semisup show quickstart
  semisup show quickstart --changed
  semisup show quickstart --set data.split=1/4 --json
  semisup show studies/quickstart
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
    """Print a RECIPE with every default filled in and where each value came from.

    Of a study, such as studies/quickstart, its file and the recipe of each cell.
    """
    from semisup.recipe.load import DEFAULT, STUDIES, load_recipe
    from semisup.recipe.toml import dump_toml, flatten, unflatten

    if recipe.startswith(STUDIES) and not recipe.endswith(".toml"):
        _show_study(recipe, changes, as_json)
        return
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


def _show_study(name: str, changes: Sequence[str], as_json: bool) -> None:
    """Print the file of a study, and which recipes it comes to."""
    from semisup.studies.ablation.cells import cells_of
    from semisup.studies.ablation.study import read_study

    study = read_study(name)
    cells = cells_of(study, changes)
    if as_json:
        facts = {
            "name": study.name,
            "seeds": list(study.seeds),
            "recipes": [
                {
                    "values": dict(cell.values),
                    "recipe": cell.run.recipe,
                    "set": list(cell.run.changes),
                    "digest": cell.run.digest,
                }
                for cell in cells
            ],
        }
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(study.text.rstrip())
    click.echo(f"\n# {len(cells)} recipes x {len(study.seeds)} seeds:")
    for cell in cells:
        click.echo(f"#   {cell.run.digest}  {cell.label}")


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
