"""`semisup evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from semisup.cli import options


@click.command(
    short_help="Score a RUN again, or on other data.",
    epilog="""\b
Examples:
  semisup evaluate quickstart
  semisup evaluate quickstart --seed 1
  semisup evaluate runs/quickstart/0123456789-s0 --subset test --set eval.flip=true
  semisup evaluate quickstart --crf --set eval.crf_colour_sigma=5
  semisup evaluate runs/my_recipe/0123456789-s0 --data-root other_leaves
  semisup evaluate voc_small/supervised_deeplab_v3plus_all --data folder --data-root pets
  semisup evaluate runs/my_recipe/0123456789-s0 --step 2000
  torchrun --nproc-per-node 2 -m semisup evaluate quickstart
""",
)
@click.argument("run")
@click.option("--subset", default="", help="Which ids to score; default: the recipe's own.")
@click.option(
    "--data",
    default="",
    metavar="NAME",
    help="Another data set to score on, with its options as --set data.KEY=VALUE.",
)
@options.step_of_run
@options.seed_of_run
@options.crf
@click.option(
    "--set",
    "changes",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a key of [eval], such as eval.flip=true, or name and options of the data set; "
    "may be repeated.",
)
@options.device
@options.out
@options.data_root_of_run
@options.plugins
@options.as_json
def evaluate(
    run: str,
    subset: str,
    data: str,
    step: int | None,
    seed: int | None,
    crf: bool,
    changes: tuple[str, ...],
    device: str,
    out: Path,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Score a finished RUN again, on another subset, on other data or by another protocol.

    RUN is the folder of a run, or a recipe's name: its most recently finished run (--seed picks
    another). Only [eval] can be changed, and the data set that is scored: --data-root, --data. The
    classes of another set are matched by their names. Each result is kept in the run's folder,
    under a name of its own.
    """
    from semisup.cli.display.results import print_result
    from semisup.runs.reopen import evaluate_run
    from semisup.system.device import resolve_device
    from semisup.system.distributed import joined
    from semisup.system.progress import is_first_process

    folder = options.find_run(run, out, seed, marker=options.marker_of(step))
    paths = options.paths_of_run(data_root)
    options.warn_of_changed_plugins(folder)
    where = resolve_device(device)
    with joined(where):
        done = evaluate_run(
            folder, paths, where, subset, options.with_crf(changes, crf), data=data, step=step
        )
    if not is_first_process():
        return
    for note in done.notes:
        click.echo(f"semisup: {note}", err=True)
    if as_json:
        click.echo(json.dumps(done.result.content(), indent=1))
        return
    print_result(done.result, folder, pictures=False)
    click.echo(f"Kept in {done.file}")
