"""The tables of a report, for the page and for the files beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from semisup.evaluation.protocol import protocol_line
from semisup.studies.comparison import Arm, Difference
from semisup.studies.kept import Run
from semisup.studies.output.formats import first_large, latex, markdown, split
from semisup.studies.output.tables import (
    DASH,
    Table,
    interval,
    letters_of,
    masks,
    notes_of,
    p_text,
    signed,
    tables_of,
)
from semisup.studies.report.content import Report
from semisup.studies.report.verdicts import is_significant, verdicts

LATEX_WIDTH = 88
"""Characters of a line that fit between the margins of a page in a usual style."""


def names_in_sentences(report: Report) -> dict[str, str]:
    """Name of an arm -> the same, with its letter."""
    letters = letters_of(report.comparison.arms)
    return {name: f"{letter} ({name})" for name, letter in letters.items()}


def arms_table(report: Report) -> Table:
    """n, mean, sd and interval of each arm, of both checkpoints where both were scored."""
    letters = letters_of(report.comparison.arms)
    with_last = all(last is not None for _, last in report.both)
    seconds = any(report.annotation_seconds(arm) is not None for arm, _ in report.both)
    head = ["selected", "sd", "95 % interval"]  # first: what a telephone shows without scrolling
    head += ["last", "sd", "95 % interval"] if with_last else []
    head += ["n", "masks", *(["annotation s"] if seconds else [])]
    rows = []
    for arm, last in report.both:
        cost = report.annotation_seconds(arm)
        cells = [*_score(arm), *(_score(last) if last and with_last else [])]
        cells += [str(len(arm.runs)), masks(arm.runs)]
        cells += [DASH if cost is None else f"{cost:,.0f}"] if seconds else []
        rows.append((letters[arm.name], arm.name, *cells, f"{arm.train_seconds:.0f}"))
    return Table("mIoU of each arm", ("", "arm", *head, "train s"), tuple(rows), words=2)


def _score(arm: Arm) -> list[str]:
    sd = DASH if arm.sd is None else f"{arm.sd:.3f}"
    return [f"{arm.mean:.3f}", sd, interval(arm.interval)]


def differences_table(report: Report) -> Table | None:
    """Every difference with its tests; None where nothing is compared."""
    comparison = report.comparison
    if not comparison.differences:
        return None
    letters = letters_of(comparison.arms)
    images = any(one.images is not None for one in comparison.differences)
    head = ("arm", "baseline", "difference", "95 % interval", "p", "p, Holm")
    rows = tuple(
        (letters[one.arm], letters[one.baseline], *_difference(one, images))
        for one in comparison.differences
    )
    more = ("detectable", *(("over images", "over both") if images else ()), "seeds", "verdict")
    return Table(f"differences of the mIoU, {comparison.score}", (*head, *more), rows, words=2)


def _difference(one: Difference, images: bool) -> tuple[str, ...]:
    found = one.paired
    verdict = ("higher" if one.mean > 0 else "lower") if is_significant(one) else "open"
    cells = (
        signed(one.mean),
        interval(found.interval if found else None, sign=True),
        p_text(found.p) if found else DASH,
        p_text(one.p_holm) if one.p_holm is not None else DASH,
        f"{found.detectable:.3f}" if found else DASH,
    )
    both = one.both.interval if one.both else None
    over = (interval(one.images, sign=True), interval(both, sign=True)) if images else ()
    return (*cells, *over, str(len(one.seeds)), verdict if found else "untested")


def class_tables(report: Report) -> list[Table]:
    """IoU and differences of each class, columns headed by letters; empty without classes."""
    tables = tables_of(report.comparison, letters=True)
    return [table for table in tables if table.head[0] == "class"]


def notes(report: Report) -> list[str]:
    """What has to be known to read the tables, each in one line; the protocol stands apart."""
    comparison = report.comparison
    lines = [line for line in notes_of(comparison) if not line.startswith("Protocol: ")]
    if any(last is None for _, last in report.both):
        lines.append("The last checkpoint is left out: not every run has its score.")
    return lines


def protocol_rows(report: Report) -> list[tuple[str, str]]:
    """Each field of the protocol in words."""
    return [(key, _plain(value)) for key, value in sorted(report.comparison.protocol.items())]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return (
        {True: "yes", False: "no", None: "none"}.get(value, str(value))
        if (value is None or isinstance(value, bool))
        else str(value)
    )


def provenance_table(report: Report) -> Table:
    """Where the numbers of each run come from: one row a run."""
    letters = letters_of(report.comparison.arms)
    head = ("arm", "seed", "run", "recipe digest", "labelled list", "commit", "versions")
    numbers = ("mIoU", "checkpoint", "train s", "score s")
    rows = []
    for arm in report.comparison.arms:
        for run in arm.runs:
            words = (
                letters[arm.name],
                str(run.seed),
                report.place(run),
                run.digest,
                str(run.split.get("sha256", DASH))[:8],
                _commit(run),
                _versions(run),
            )
            step = run.content.get("checkpoint", {}).get("step")
            score = run.content["time"].get("score_seconds")
            cells = (
                f"{run.miou(report.comparison.score):.3f}",
                DASH if step is None else str(step),
                f"{run.train_seconds:.0f}",
                DASH if score is None else f"{score:.0f}",
            )
            rows.append((*words, *cells))
    return Table("provenance of every run", (*head, *numbers), tuple(rows), words=len(head))


def _commit(run: Run) -> str:
    git = run.content.get("git") or {}
    commit = str(git.get("commit") or DASH)[:8]
    return f"{commit} (changed)" if git.get("dirty") else commit


def _versions(run: Run) -> str:
    versions = run.content.get("versions") or {}
    known = [f"{name} {versions[name]}" for name in ("semisup", "torch") if name in versions]
    return ", ".join([*known, str(run.content.get("device", ""))]).strip(", ") or DASH


def cost_table(report: Report) -> Table:
    """Seconds of training and scoring of each arm."""
    letters = letters_of(report.comparison.arms)
    rows = []
    for arm in report.comparison.arms:
        train = [run.train_seconds for run in arm.runs]
        score = [float(run.content["time"].get("score_seconds") or 0.0) for run in arm.runs]
        total = sum(train) + sum(score)
        cells = (f"{sum(train) / len(train):.0f}", f"{min(train):.0f} to {max(train):.0f}")
        steps = str(arm.runs[0].settings.get("train.steps", DASH))
        rows.append((letters[arm.name], arm.name, steps, *cells, f"{total / 3600:.2f}"))
    head = ("", "arm", "steps", "train s, mean", "train s, from to", "hours, all runs")
    return Table("cost", head, tuple(rows), words=2)


def as_markdown(report: Report) -> str:
    """Answers, tables and notes as Markdown."""
    named = names_in_sentences(report)
    answers = [f"- {one.text}" for one in verdicts(report.comparison, named)]
    parts = [f"# {report.title}\n", *answers, ""]
    for table in _tables(report):
        parts += [f"**{first_large(table.title)}**\n", markdown(table)]
    lines = [*notes(report), f"Protocol: {protocol_line(report.comparison.protocol)}."]
    lines += left_out(report)
    return "\n".join([*parts, *(f"{line}\n" for line in lines)])


def as_latex(report: Report) -> str:
    """The tables in the manner of booktabs, the notes as comments."""
    head = ["% \\usepackage[T1]{fontenc}", "% \\usepackage{booktabs}"]
    lines = [*notes(report), f"Protocol: {protocol_line(report.comparison.protocol)}."]
    comments = [f"% {line}" for line in lines]
    parts = [part for table in _tables(report) for part in split(table, LATEX_WIDTH)]
    return "\n".join([*head, *comments, "", *(latex(part) for part in parts)])


def _tables(report: Report) -> list[Table]:
    differences = differences_table(report)
    found = [arms_table(report), *([differences] if differences else []), *class_tables(report)]
    return [*found, cost_table(report)]


def left_out(report: Report) -> list[str]:
    """What failed, is unfinished or was left out, each in one line."""
    unfinished = [f"{name}: {state}." for name, state in report.unfinished.items()]
    return [*unfinished, *report.unreadable(), *report.left_out]


def runs_csv(report: Report) -> str:
    """One row for each run, in full precision."""
    classes = list(report.comparison.protocol["classes"])
    head = [
        *("arm", "recipe", "digest", "seed", "labelled", "unlabelled", "annotation_seconds"),
        *("miou_selected", "miou_last", "checkpoint_step", "train_seconds", "score_seconds"),
        *("labelled_list_sha256", "commit", "device", "run"),
    ]
    rows: list[Sequence[Any]] = [[*head, *(f"iou/{name}" for name in classes)]]
    for arm in report.comparison.arms:
        for run in arm.runs:
            rows.append([*_cells(report, arm, run), *_ious(run, classes)])
    return _csv(rows)


def _cells(report: Report, arm: Arm, run: Run) -> list[Any]:
    scores, time = run.content["scores"], run.content["time"]
    return [
        *(arm.name, run.recipe, run.digest, run.seed),
        *(run.split["labelled"], run.split.get("unlabelled"), report.annotation_seconds(arm)),
        *(scores["selected"]["miou"], (scores.get("last") or {}).get("miou")),
        *(run.content.get("checkpoint", {}).get("step"), run.train_seconds),
        *(time.get("score_seconds"), run.split.get("sha256")),
        *((run.content.get("git") or {}).get("commit"), run.content.get("device")),
        report.place(run),
    ]


def _ious(run: Run, classes: Sequence[str]) -> list[float | None]:
    iou: Mapping[str, float | None] = run.content.get("iou", {})
    return [iou.get(name) for name in classes]


def arms_csv(report: Report) -> str:
    """One row for each arm, in full precision, with its difference from each baseline."""
    head = ["letter", "arm", "recipe", "least_masks", "most_masks", "annotation_seconds", "n"]
    head += [f"{what}_{which}" for which in ("selected", "last") for what in _STATISTICS]
    head += ["train_seconds", "baseline", "pairs", "difference", "difference_low"]
    head += ["difference_high", "p", "p_holm", "detectable"]
    letters = letters_of(report.comparison.arms)
    rows: list[Sequence[Any]] = [head]
    for arm, last in report.both:
        found = [one for one in report.comparison.differences if one.arm == arm.name]
        first = [letters[arm.name], arm.name, arm.runs[0].recipe, *arm.masks]
        first += [report.annotation_seconds(arm), len(arm.runs), *_statistics(arm)]
        first += [*_statistics(last), arm.train_seconds]
        rows += [[*first, *_tests(one)] for one in found] or [[*first, *[None] * 8]]
    return _csv(rows)


_STATISTICS = ("mean", "sd", "low", "high")


def _statistics(arm: Arm | None) -> list[float | None]:
    if arm is None:
        return [None] * len(_STATISTICS)
    low, high = arm.interval or (None, None)
    return [arm.mean, arm.sd, low, high]


def _tests(one: Difference) -> list[Any]:
    found = one.paired
    low, high = found.interval if found else (None, None)
    tests = [found.p, one.p_holm, found.detectable] if found else [None, None, None]
    return [one.baseline, len(one.seeds), one.mean, low, high, *tests]


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
