"""`semisup run` and `semisup evaluate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from semisup.cli import options


@click.command(
    epilog="""\b
Examples:
  semisup run quickstart
  semisup run quickstart --seed 1 --set data.split=1/4
  semisup run my_recipe.toml --device cuda:0 --data-root /data
  torchrun --nproc-per-node 2 -m semisup run my_recipe.toml
"""
)
@click.argument("recipe")
@options.changes
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the run (train.seed).")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights to start from (model.weights): safetensors or pth.",
)
@options.device
@options.out
@options.data_root
def run(
    recipe: str,
    changes: tuple[str, ...],
    seed: int | None,
    weights: Path | None,
    device: str,
    out: Path,
    data_root: Path,
) -> None:
    """Train a RECIPE, score it, and record the result.

    RECIPE is the name of a shipped recipe or a .toml file. The same command goes on where an
    earlier one was stopped, and prints the result of a run that is finished. Under torchrun several
    processes share each batch; the first of them prints and writes.
    """
    from semisup.cli.results import print_result
    from semisup.cli.view import make_view
    from semisup.console import is_first_process
    from semisup.engine.runtime import resolve_device
    from semisup.ops.ranks import joined
    from semisup.recipe import load_recipe
    from semisup.runs import run_recipe

    overrides: dict[str, tuple[Any, str]] = {}
    if seed is not None:
        overrides["train.seed"] = (seed, "--seed")
    if weights is not None:
        overrides["model.weights"] = (str(weights), "--weights")
    loaded = load_recipe(recipe, changes, overrides=overrides)
    place = options.place(data_root, out)
    where = resolve_device(device)
    with make_view(loaded.name, place.run_folder(loaded)) as view, joined(where):
        done = run_recipe(loaded, place, where, view=view, command=sys.argv)
    if not is_first_process():
        return
    if not done.fresh:
        click.echo(f"This run was finished before: {done.folder}")
    print_result(done.result, done.folder)


@click.command(
    epilog="""\b
Examples:
  semisup evaluate quickstart
  semisup evaluate quickstart --seed 1
  semisup evaluate runs/quickstart/0123456789-s0 --subset test --set eval.flip=true
  semisup evaluate quickstart --crf --set eval.crf_colour_sigma=5
  torchrun --nproc-per-node 2 -m semisup evaluate quickstart
"""
)
@click.argument("run")
@click.option("--subset", default="", help="Which ids to score; default: the recipe's own.")
@options.seed_of_run
@options.crf
@options.protocol_changes
@options.device
@options.out
@options.data_root
@options.as_json
def evaluate(
    run: str,
    subset: str,
    seed: int | None,
    crf: bool,
    changes: tuple[str, ...],
    device: str,
    out: Path,
    data_root: Path,
    as_json: bool,
) -> None:
    """Score a finished RUN again, on another subset or by another protocol.

    RUN is a run's folder, or a recipe: then its run that ended last, unless --seed chooses. Only
    [eval] can be changed. The result is kept in the run's folder, under a name of its own.
    """
    from semisup.cli.results import print_result
    from semisup.console import is_first_process
    from semisup.engine.runtime import resolve_device
    from semisup.ops.ranks import joined
    from semisup.reopen import evaluate_run

    folder = options.find_run(run, out, seed)
    place = options.place(data_root, out)
    where = resolve_device(device)
    with joined(where):
        result, path = evaluate_run(folder, place, where, subset, options.with_crf(changes, crf))
    if not is_first_process():
        return
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    print_result(result, folder)
    click.echo(f"Kept in {path}")
