"""`semisup report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.studies.report.cases import Cases
    from semisup.studies.report.content import Report


@click.command(
    short_help="Make a page of a study: answers, tables, figures.",
    epilog="""\b
Examples:
  semisup report scenes/supervised_unet_1-8 scenes/fixmatch_unet_1-8
  semisup report runs/my_study --out my_report
  semisup report results.jsonl --baseline supervised --out my_report
  semisup report plain=runs/plain better=runs/better --pictures
""",
)
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("report"),
    show_default=True,
    help="Folder to write; an older report in it is replaced.",
)
@click.option(
    "--baseline",
    default="",
    metavar="NAME",
    help="Arm or recipe that all others are compared with; default: the first of several RUNS, "
    "else the one supervised arm of each budget.",
)
@click.option(
    "--score",
    type=click.Choice(("selected", "last")),
    default="selected",
    show_default=True,
    help="Which checkpoint is tested; the table of arms has both.",
)
@click.option("--title", default="", metavar="TEXT", help="Of the page; default: by the study.")
@click.option(
    "--confusion",
    multiple=True,
    metavar="NAME",
    help="Arm whose confusion is drawn; may be repeated; default: the first two.",
)
@click.option(
    "--pictures/--no-pictures",
    default=False,
    show_default=True,
    help="Put photographs into the page: the same images as each arm predicts them. Look at their "
    "terms before you publish it.",
)
@click.option(
    "--runs",
    "runs_in",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder of the runs, in which recipes are looked for.",
)
@options.data_root_of_run
def report(
    runs: tuple[str, ...],
    out: Path,
    baseline: str,
    score: str,
    title: str,
    confusion: tuple[str, ...],
    pictures: bool,
    runs_in: Path,
    data_root: Path | None,
) -> None:
    """Write a page that opens from the disk, and its tables and figures beside it.

    RUNS are the folder of a study, or what 'semisup compare' takes: folders of runs,
    patterns, recipes that were run, files of kept results (.jsonl), NAME=RUNS. Runs of different
    protocols, pretraining or data are refused; runs that are not finished or cannot be read are
    left out and named. A difference is called one only where its p is at most 0.05 after Holm's
    correction for all differences of the page.
    """
    from semisup.studies.report.commands import command_of
    from semisup.studies.report.content import read_report
    from semisup.studies.report.folder import PAGE, check_place, write_report
    from semisup.studies.report.page import check_installed
    from semisup.studies.report.verdicts import verdicts

    check_installed()
    check_place(out)
    if pictures and score != "selected":
        raise click.UsageError("--pictures are of the reported checkpoints: leave --score out.")
    found = read_report(
        runs,
        runs_in,
        baseline=baseline,
        score=score,
        title=title,
        confusion=confusion,
        command=command_of(runs, baseline, score, title, confusion, pictures=pictures),
    )
    for line in found.damaged.values():
        click.echo(f"semisup: {line}", err=True)
    write_report(found, out, _cases(found, data_root) if pictures else None)
    click.echo(f"Written: {out / PAGE}, with tables and figures beside it")
    kinds = [one.kind for one in verdicts(found.comparison, {a: a for a in _names(found)})]
    if found.comparison.differences:
        click.echo(
            f"Of {len(kinds)} differences {kinds.count('above') + kinds.count('below')} are "
            f"significant ({kinds.count('above')} higher, {kinds.count('below')} lower)."
        )
    else:
        click.echo(f"No difference was tested. Arms: {'; '.join(_names(found))}.")


def _names(report: Report) -> list[str]:
    return [arm.name for arm in report.comparison.arms]


def _cases(report: Report, data_root: Path | None) -> Cases:
    from semisup.studies.report.cases import find_cases
    from semisup.system.device import resolve_device

    options.load_plugins(())  # of SEMISUP_PLUGINS, and installed ones
    return find_cases(report, resolve_device("auto"), options.paths_of_run(data_root))
