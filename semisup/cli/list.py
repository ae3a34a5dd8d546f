"""`semisup list`."""

from __future__ import annotations

import difflib
import json
import shlex
import shutil
import sys

import click

from semisup.cli import options

KINDS = ("models", "methods", "datasets", "recipes", "studies")


MEANT = {
    **dict.fromkeys(("networks", "architectures", "backbones"), "models"),
    **dict.fromkeys(("algorithms", "trainers"), "methods"),
    **dict.fromkeys(("data", "sets"), "datasets"),
    **dict.fromkeys(("configs", "experiments"), "recipes"),
}
"""Other words for what is listed."""


class _Kind(click.Choice[str]):
    """What is listed; another word is answered with what is nearest."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click's, with a suggestion.

        Raises:
            click.BadParameter: it is none of them.
        """
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            line = f"{value!r} is none of {', '.join(map(str, self.choices))}.{_hint(value)}"
            raise click.BadParameter(line, ctx, param) from None


def _hint(word: str) -> str:
    """What to type in place of a word that is no kind: a kind, or a kind and the word."""
    from semisup.cli.display.listing import entries, nearest_part

    low = word.lower()
    near = difflib.get_close_matches(low, [*KINDS, *MEANT], n=1, cutoff=0.75)
    if near:
        return f" Did you mean 'semisup list {MEANT.get(near[0], near[0])}'?"
    names = {kind: [row["name"] for row in entries(kind)] for kind in reversed(KINDS)}
    every = [name for known in names.values() for name in known]
    if not any(low in name.lower() for name in every):
        word = low = nearest_part(low, every)
    kinds = [kind for kind, known in names.items() if any(low in name.lower() for name in known)]
    commands = " or ".join(f"'semisup list {kind} {shlex.quote(word)}'" for kind in kinds)
    return f" Did you mean {commands}?" if low else ""


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
@click.argument("kind", required=False, type=_Kind(KINDS))
@click.argument("words", nargs=-1)
@options.as_json
@options.plugins
def list_names(kind: str | None, words: tuple[str, ...], as_json: bool) -> None:
    """List models (with cost and paper), methods, datasets, recipes and studies.

    Each of the WORDS must be in the name, or in the data set, method, model or split of a recipe.
    On a terminal a line is cut to its width; elsewhere each entry is one line of values with a tab
    between two, the name first.
    """
    from semisup.cli.display.listing import entries, matching, nearest_part, print_entries
    from semisup.errors import RecipeError

    rows = {name: entries(name) for name in ([kind] if kind else KINDS)}
    chosen = {name: matching(found, words) for name, found in rows.items()}
    if words and not any(chosen.values()):
        names = [row["name"] for found in rows.values() for row in found]
        near = [nearest_part(word, names) for word in words]
        meant = " ".join(part or word for word, part in zip(words, near, strict=True))
        raise RecipeError(
            f"none of the {kind or 'names'} has {' and '.join(map(repr, words))} in it. "
            + (f"Did you mean {meant!r}? " if any(near) else "")
            + f"'semisup list {kind or ''}".rstrip()
            + "' names all."
        )
    if as_json:
        click.echo(json.dumps(chosen[kind] if kind else chosen, indent=1))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for name, found in chosen.items():
        if kind is None and not width:
            click.echo(f"# {name}")
        print_entries(name, found, width=width)
