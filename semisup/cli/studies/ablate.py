"""`semisup ablate`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semisup.cli import options
from semisup.system.words import counted

if TYPE_CHECKING:
    from semisup.studies.ablation.executors import Outcome
    from semisup.studies.ablation.local import LocalExecutor
    from semisup.studies.ablation.plan import Cost, Plan


@click.command(
    short_help="Run a STUDY: recipes x splits x seeds.",
    epilog="""\b
Examples:
  semisup ablate quickstart --plan
  semisup ablate quickstart --jobs 2
  semisup ablate my_study.toml --data-root /data --retry
  semisup ablate consistency --set model.weights=torchvision
  semisup ablate my_study.toml --executor print > cells.sh
""",
)
@click.argument("study")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="runs/studies/STUDY",
    help="Folder of the study's runs.",
)
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="Show what there is to do and how long it takes, and stop.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs at a time, which share the cores.",
)
@click.option("--retry", is_flag=True, help="Try what has failed before once more.")
@click.option(
    "--no-probe",
    is_flag=True,
    help="Do not measure a few steps of each arm to say how long it takes.",
)
@click.option(
    "--executor",
    type=click.Choice(("local", "print")),
    default="local",
    show_default=True,
    help="print: a shell line for each run that is left, for any scheduler.",
)
@click.option(
    "--set",
    "changes",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a key of every cell, such as train.steps=100; may be repeated.",
)
@options.device
@options.data_root
@click.option(
    "--plugin",
    "plugins",
    metavar="MODULE|FILE",
    multiple=True,
    help="Code of your own that registers a method, network or data set; may be repeated. "
    "SEMISUP_PLUGINS too.",
)
@options.as_json
def ablate(
    study: str,
    out: Path | None,
    only_plan: bool,
    jobs: int,
    retry: bool,
    no_probe: bool,
    executor: str,
    changes: tuple[str, ...],
    device: str,
    data_root: Path,
    plugins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the plan of a STUDY, then run all of its cells.

    STUDY is the name of a shipped study or a .toml file that states a recipe, what is varied, and
    the seeds. Each cell is a run of its own process in the folder --out, where 'semisup runs' and
    'semisup compare' find it. The same command goes on where an earlier one was stopped or killed;
    two of them share the work. A cell that fails is told at the end, and the rest goes on.
    """
    from semisup.cli.display.studies import content_of, print_end, print_plan
    from semisup.errors import Interrupted, RunError
    from semisup.studies.ablation.executors import PrintExecutor
    from semisup.studies.ablation.local import LocalExecutor
    from semisup.studies.ablation.next_steps import comparisons
    from semisup.studies.ablation.plan import estimate, make_plan
    from semisup.studies.ablation.probe import read_probes
    from semisup.studies.ablation.record import write_record
    from semisup.studies.ablation.study import read_study

    options.load_plugins(plugins)
    read = read_study(study)
    place = out or Path("runs") / "studies" / read.name
    given = [*_options(device, data_root, plugins), "--out", str(place)]
    plan = make_plan(read, place, changes)
    if executor == "print":
        for note in plan.notes:
            click.echo(f"note: {note}", err=True)
        if not only_plan:  # the report of the lines' runs knows their axes by it
            write_record(place, read, plan.cells, changes)
        PrintExecutor(given, click.echo).run(plan)
        return
    if not no_probe:
        _probe(plan, _options(device, data_root, plugins))
    costs = estimate(plan, read_probes(place))
    local = LocalExecutor(_command(), given, jobs=jobs, retry=retry)
    if not as_json:
        print_plan(plan, costs, jobs, local.threads, options.width())
        click.echo()
    if only_plan:
        if as_json:
            click.echo(json.dumps(content_of(plan, costs, jobs), indent=1))
        return
    write_record(place, read, plan.cells, changes)
    outcome = _run(local, plan, costs, jobs)
    plan = make_plan(read, place, changes)
    if as_json:
        click.echo(json.dumps(content_of(plan, costs, jobs), indent=1))
    if outcome.signal is not None:
        raise Interrupted(
            f"stopped with {counted(plan.count('left'), 'cell')} left. The same command goes on.",
            128 + outcome.signal,
        )
    if not as_json:
        again = shlex.join(["semisup", *sys.argv[1:], *([] if retry else ["--retry"])])
        print_end(plan, outcome.failed, comparisons(plan), again)
    if outcome.failed:
        raise RunError(f"{len(outcome.failed):,} of {len(plan.jobs):,} runs failed; see above.")


def _command() -> list[str]:
    """What runs a cell."""
    return [sys.executable, "-m", "semisup.cli.studies.cell"]


def _options(device: str, data_root: Path, plugins: Sequence[str]) -> list[str]:
    """What every cell is told beside its recipe."""
    told = ["--data-root", str(data_root)]
    told += [] if device == "auto" else ["--device", device]
    return told + [word for plugin in plugins for word in ("--plugin", plugin)]


def _probe(plan: Plan, given: Sequence[str]) -> None:
    from semisup.studies.ablation.probe import keep_probes, probe, to_probe

    stages = to_probe(plan)
    if stages:
        costs = probe(stages, _command(), given, lambda line: click.echo(line, err=True))
        keep_probes(plan.out, costs)


def _run(local: LocalExecutor, plan: Plan, costs: Mapping[str, Cost], jobs: int) -> Outcome:
    from semisup.cli.display.studies import make_board

    with make_board(plan, costs, jobs) as board:
        return local.run(plan, board)
