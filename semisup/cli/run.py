"""`semisup run`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.recipe.recipe import Recipe
    from semisup.runs.paths import Paths
    from semisup.runs.result import FinishedRun


@click.command(
    short_help="Train a RECIPE and score it.",
    epilog="""\b
Examples:
  semisup run quickstart
  semisup run quickstart --seed 1 --split 1/4
  semisup run quickstart --seeds 0,1,2
  semisup run my_recipe.toml --device cuda:0 --data-root /data
  semisup run my_recipe.toml --plugin my_method.py
  semisup run quickstart --json > result.json
  torchrun --nproc-per-node 2 -m semisup run my_recipe.toml
""",
)
@click.argument("recipe")
@options.changes
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the run (train.seed).")
@click.option(
    "--seeds",
    type=options.Seeds(),
    help="Run it with each of these seeds, one after the other, such as 0,1,2 or 0-4.",
)
@click.option(
    "--split",
    metavar="SPEC",
    help="Which images have masks, such as 1/8, as --set data.split=SPEC.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights to start from (model.weights): safetensors or pth, or 'torchvision'.",
)
@click.option("--digest", hidden=True, help="Refuse a recipe of another digest than this one.")
@options.device
@options.out
@options.data_root
@options.plugins
@options.as_json
def run(
    recipe: str,
    changes: tuple[str, ...],
    seed: int | None,
    seeds: tuple[int, ...] | None,
    split: str | None,
    weights: Path | None,
    digest: str | None,
    device: str,
    out: Path,
    data_root: Path,
    as_json: bool,
) -> None:
    """Train a RECIPE, score it, and record the result.

    RECIPE is the name of a shipped recipe or a .toml file. The same command goes on where an
    earlier one was stopped, and prints the result of a run that is finished. Under torchrun several
    processes share each batch; the first of them prints and writes. With --json the result is
    printed as result.json states it, with its folder, and all else on standard error; with --seeds
    it is a list of them.
    """
    from semisup.errors import RecipeError
    from semisup.recipe.load import load_recipe
    from semisup.runs.paths import Paths
    from semisup.runs.plugins import check_runs_of
    from semisup.system.progress import is_first_process

    if seeds and seed is not None:
        raise click.UsageError("--seed and --seeds exclude each other: give one of them.")
    overrides: dict[str, tuple[Any, str]] = {}
    if split is not None:
        overrides["data.split"] = (split, "--split")
    if weights is not None:
        overrides["model.weights"] = (str(weights), "--weights")
    recipes = []
    for one in seeds or (seed,):
        stated = {} if one is None else {"train.seed": (one, "--seeds" if seeds else "--seed")}
        try:
            recipes.append(load_recipe(recipe, changes, overrides={**overrides, **stated}))
        except RecipeError as error:
            check_runs_of(out / Path(recipe).stem, error)
            raise
    if digest is not None and recipes[0].digest() != digest:
        raise RecipeError(
            f"recipe {recipe}: was changed after its study was planned (digest "
            f"{recipes[0].digest()}, not {digest}). Call 'semisup ablate' again: it plans anew."
        )
    done = []
    for loaded in recipes:
        done.append(_brought_to_its_end(loaded, Paths(data_root, out), device))
        if is_first_process() and not as_json:
            _print(done[-1])
    if not is_first_process():
        return
    if as_json:
        contents = [_content(one) for one in done]
        click.echo(json.dumps(contents if seeds else contents[0], indent=1))
    elif seeds:
        _print_seeds([one.folder for one in done])


def _print(done: FinishedRun) -> None:
    """Print the result of a run."""
    from semisup.cli.display.results import print_gain, print_next, print_result

    if not done.fresh:
        click.echo(f"This run was finished before: {done.folder}")
    print_result(done.result, done.folder, per_class=done.gain is None)
    if done.baseline is not None and done.gain is not None:
        print_gain(done, done.baseline, done.gain)
    print_next(done.folder)


def _print_seeds(folders: Sequence[Path]) -> None:
    """The mean over the seeds, and what each class has."""
    from semisup.studies.comparison import compare
    from semisup.studies.kept import read_runs
    from semisup.studies.output.formats import as_text

    click.echo()
    click.echo(as_text(compare(read_runs(folders)), options.width()), nl=False)


def _brought_to_its_end(recipe: Recipe, paths: Paths, device: str) -> FinishedRun:
    """The run of a recipe; one that is finished is told without torch, whose import takes seconds.

    A device that is named is looked for in any case, and of several processes each takes part.
    """
    from semisup.runs.data.untouched import finished_before

    if device in ("auto", "cpu") and "RANK" not in os.environ:
        known = finished_before(recipe, paths)
        if known is not None:
            for note in known.notes:
                click.echo(note, err=True)
            return known
    from semisup import api

    return api.run_loaded(recipe, paths, device, command=sys.argv)


def _content(done: FinishedRun) -> dict[str, Any]:
    from semisup.runs.result import plain

    gain = None if done.gain is None else plain(done.gain)
    return {"folder": str(done.folder), **done.result.content(), **({"gain": gain} if gain else {})}
