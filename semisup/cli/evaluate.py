"""`semisup evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from semisup.cli import options


@click.command(
    short_help="Score a finished RUN again.",
    epilog="""\b
Examples:
  semisup evaluate quickstart
  semisup evaluate quickstart --seed 1
  semisup evaluate runs/quickstart/0123456789-s0 --subset test --set eval.flip=true
  semisup evaluate quickstart --crf --set eval.crf_colour_sigma=5
  torchrun --nproc-per-node 2 -m semisup evaluate quickstart
""",
)
@click.argument("run")
@click.option("--subset", default="", help="Which ids to score; default: the recipe's own.")
@options.seed_of_run
@options.crf
@options.protocol_changes
@options.device
@options.out
@options.data_root
@options.plugins
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

    RUN is the folder of a run, or a recipe's name: its most recently finished run (--seed picks
    another). Only [eval] can be changed. The result is kept in the run's folder, under a name of
    its own.
    """
    from semisup.cli.display.results import print_result
    from semisup.runs.reopen import evaluate_run
    from semisup.system.device import resolve_device
    from semisup.system.distributed import joined
    from semisup.system.progress import is_first_process

    folder = options.find_run(run, out, seed)
    paths = options.paths(data_root, out)
    options.warn_of_changed_plugins(folder)
    where = resolve_device(device)
    with joined(where):
        done = evaluate_run(folder, paths, where, subset, options.with_crf(changes, crf))
    if not is_first_process():
        return
    if as_json:
        click.echo(json.dumps(done.result.content(), indent=1))
        return
    print_result(done.result, folder)
    click.echo(f"Kept in {done.file}")
