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
    from semisup.studies.ablation.executors import Executor, Outcome
    from semisup.studies.ablation.plan import Cost, Plan
    from semisup.studies.ablation.slurm.executor import SlurmExecutor
    from semisup.studies.ablation.slurm.parameters import Request


@click.command(
    short_help="Run a STUDY: recipes x splits x seeds.",
    epilog="""\b
Examples:
  semisup ablate quickstart --plan
  semisup ablate quickstart --jobs 2
  semisup ablate my_study.toml --data-root /data --retry
  semisup ablate consistency --set model.weights=torchvision
  semisup ablate my_study.toml --executor slurm --slurm partition=gpu
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
    show_default="1; slurm: as many as it lets",
    help="Runs at a time; local ones share the cores.",
)
@click.option("--retry", is_flag=True, help="Try what has failed before once more.")
@click.option(
    "--no-probe",
    is_flag=True,
    help="Do not measure a few steps of each arm to say how long it takes.",
)
@click.option(
    "--executor",
    type=click.Choice(("local", "slurm", "print")),
    default="local",
    show_default=True,
    help="slurm: job arrays; print: a shell line for each run that is left, for any scheduler.",
)
@click.option(
    "--slurm",
    "stated",
    metavar="KEY=VALUE",
    multiple=True,
    help="What Slurm is asked for each run, such as partition=gpu, time=4:00:00 or mem=16G; may be "
    "repeated.",
)
@click.option("--detach", is_flag=True, help="Leave once the jobs are submitted to Slurm.")
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
    jobs: int | None,
    retry: bool,
    no_probe: bool,
    executor: str,
    stated: tuple[str, ...],
    detach: bool,
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
    from semisup.errors import Interrupted, RecipeError, RunError
    from semisup.studies.ablation.executors import PrintExecutor
    from semisup.studies.ablation.local import LocalExecutor, threads_of
    from semisup.studies.ablation.next_steps import comparisons
    from semisup.studies.ablation.plan import estimate, make_plan
    from semisup.studies.ablation.probe import read_probes
    from semisup.studies.ablation.record import write_record
    from semisup.studies.ablation.study import read_study

    options.load_plugins(plugins)
    if executor != "slurm" and (stated or detach):
        raise RecipeError(f"{'--slurm' if stated else '--detach'} needs --executor slurm.")
    request = _request(stated, jobs) if executor == "slurm" else None
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
    runner: Executor
    if request is None:
        at_once, threads, standing = jobs or 1, threads_of(jobs or 1), []
        runner = LocalExecutor(_command(), given, jobs=at_once, retry=retry)
    else:
        at_once, threads = jobs or max(1, len(plan.left())), request.threads
        runner = slurm = _slurm(given, request, costs, retry, detach)
        standing = slurm.standing(plan)
    if not as_json:
        print_plan(plan, costs, at_once, threads, options.width())
        for line in standing:
            click.echo(line)
        click.echo()
    if only_plan:
        if as_json:
            click.echo(json.dumps(content_of(plan, costs, at_once), indent=1))
        return
    write_record(place, read, plan.cells, changes)
    outcome = _run(runner, plan, costs, at_once)
    plan = make_plan(read, place, changes)
    if as_json:
        click.echo(json.dumps(content_of(plan, costs, at_once), indent=1))
    if outcome.signal is not None:
        left = counted(plan.count("left"), "cell")
        goes_on = outcome.note or f"stopped with {left} left. The same command goes on."
        raise Interrupted(goes_on, 128 + outcome.signal)
    if outcome.note:
        click.echo(outcome.note, err=as_json)
    elif not as_json:
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


def _request(stated: Sequence[str], jobs: int | None) -> Request:
    """What Slurm is asked for, on a machine that can ask."""
    from semisup.studies.ablation.slurm.parameters import Request, read_parameters
    from semisup.studies.ablation.slurm.queue import check_slurm

    request = Request(read_parameters(stated), jobs)
    check_slurm()
    return request


def _slurm(
    given: Sequence[str], request: Request, costs: Mapping[str, Cost], retry: bool, detach: bool
) -> SlurmExecutor:
    from semisup.studies.ablation.slurm.executor import SlurmExecutor

    return SlurmExecutor(
        _command(), given, request=request, costs=costs, retry=retry, detach=detach
    )


def _run(executor: Executor, plan: Plan, costs: Mapping[str, Cost], jobs: int) -> Outcome:
    from semisup.cli.display.studies import make_board

    with make_board(plan, costs, jobs) as board:
        return executor.run(plan, board)
