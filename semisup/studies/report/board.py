"""The runs of a report for TensorBoard's HParams tab: what they have, and their scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from semisup.monitoring.hparams import Session, event_files
from semisup.studies.kept import SEED_OF_SPLIT, Run, differences
from semisup.studies.output.tables import letters_of
from semisup.studies.report.content import Report

FOLDER = "tensorboard"
"""Of the report, that TensorBoard is to look at."""


def board_files(report: Report) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file; the same bytes for the same runs.

    A row of the tab is an arm, with the mean of its seeds. Its columns are the axes of the study,
    or the keys in which the arms differ where there is no study, the labelled images, and what
    these cost where that is known; and the names of the arms where they tell more.

    Args:
        report: whose runs they are.
    """
    letters = letters_of(report.comparison.arms)
    named = {arm.name: _values(report, arm.runs[0]) for arm in report.comparison.arms}
    numeric = {key for key in _keys(named) if all(map(_is_number, _column(named, key)))}
    told = {tuple(values.items()) for values in named.values()}
    with_name = len(told) < len(named) or any(arm.runs[0].arm for arm in report.comparison.arms)
    sessions = []
    for arm in report.comparison.arms:
        seconds = report.annotation_seconds(arm)
        for run in arm.runs:
            values: dict[str, float | str] = {"arm": arm.name} if with_name else {}
            for key, value in named[arm.name].items():
                values[key] = float(value) if key in numeric else value
            values["labelled images"] = float(arm.masks[0])
            if seconds is not None:
                values["annotation seconds"] = seconds
            letter = letters[arm.name]
            name = f"{letter}-s{run.seed}"
            sessions.append(Session(name, letter, values, _metrics(run), _step(run)))
    return ((f"{FOLDER}/{name}", content) for name, content in event_files(sessions))


def _values(report: Report, run: Run) -> Mapping[str, str]:
    """The axes of a study, or what differs between the arms."""
    axes = {} if report.study is None else report.study.values_of(run)
    if axes:
        return axes
    firsts = [arm.runs[0] for arm in report.comparison.arms]
    keys = {key for one in firsts for key in differences(firsts[0].settings, one.settings)}
    settings = {key: run.settings.get(key) for key in sorted(keys - {SEED_OF_SPLIT})}
    return {key: "none" if value is None else str(value) for key, value in settings.items()}


def _keys(named: Mapping[str, Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(key for values in named.values() for key in values))


def _column(named: Mapping[str, Mapping[str, str]], key: str) -> Sequence[str]:
    return [values[key] for values in named.values() if key in values]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _metrics(run: Run) -> dict[str, float]:
    found = {"score/miou": run.miou("selected"), "cost/train_seconds": run.train_seconds}
    if run.content["scores"].get("last") is not None:
        found["score/miou of the last checkpoint"] = run.miou("last")
    return dict(sorted(found.items()))


def _step(run: Run) -> int:
    step = run.content.get("checkpoint", {}).get("step", run.settings.get("train.steps", 0))
    return int(step) if isinstance(step, int | float) else 0
