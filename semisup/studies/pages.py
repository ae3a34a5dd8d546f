"""Tables of docs/results.md from finished runs, as docs/summarise.py prints and writes them.

Reads folders of runs and files of kept results (docs/measurements/*.jsonl, docs/collect.py).

One row for each recipe as it was run: runs are grouped by the digest of their recipe and by the
files that they were trained on, and rows of one recipe are named by the keys that differ. Where all
runs have the same number as `data.split_seed` and as seed of the training, the two are one seed. A
row has the seeds, and the mean, standard deviation and 95 % interval of the mIoU over them
(Student's t: training is repeated, the images stay the same), and the training time.

`--score last` takes the checkpoint after the last step in place of the one that is reported.
`--arm NAME=FOLDER` names the runs of a folder.

`--baseline NAME` compares: a table of all rows with both scores, one of each seed, and one of the
differences between each row and the baseline, paired on the seeds that both have as `semisup
compare` does (semisup/studies/pairing.py). Given twice, it compares with both, and Holm's
correction is for all of these comparisons. With `--brief` one table has the score of each row and
how far it is above the first baseline.

Refused are runs of different protocols or scored on different files, whose numbers must not stand
in one table, two runs of one group and seed, which would count once more than they are, and in a
comparison runs of one seed that have different labelled images of the same number.

`--page PAGE` writes the tables of a page between `<!-- summarise: ARGUMENTS -->` and `<!-- end -->`
anew, each by the arguments that stand there, and between `<!-- compare: ARGUMENTS -->` and
`<!-- end -->` the command `semisup compare ARGUMENTS` with what it prints.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from semisup.errors import RunError, SemisupError
from semisup.evaluation.protocol import protocol_line
from semisup.studies.comparison import compare
from semisup.studies.groups import (
    check_comparable,
    check_lists,
    groups_of,
    names_of,
    shared_protocol,
)
from semisup.studies.kept import Run, read_arms
from semisup.studies.output.formats import as_text
from semisup.studies.output.tables import DASH, interval, masks, p_text, signed
from semisup.studies.pairing import Pairs, pair_arms
from semisup.studies.places import find_runs
from semisup.studies.statistics import over_seeds, smallest_sign_flip_p
from semisup.system.files import write_text

PART = re.compile(r"(<!-- (summarise|compare): (.*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

WORDS = ("recipe", "arm", "baseline", "seeds", "mIoU of each", "mIoU of seed")
"""Headings of columns that are aligned to the left."""


def deviation(values: Sequence[float]) -> str:
    """Standard deviation with n - 1, or a dash for one value."""
    sd = over_seeds(values).sd
    return DASH if sd is None else f"{sd:.3f}"


def spread(values: Sequence[float]) -> tuple[str, str]:
    """Standard deviation, and 95 % interval of the mean by Student's t."""
    return deviation(values), interval(over_seeds(values).interval)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers are aligned to the right."""
    rule = "|".join("---" if name in WORDS else "--:" for name in head)
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:], ""])


def summary(named: Mapping[str, Sequence[Run]], score: str) -> str:
    """One row for each group, of one score."""
    head = ["recipe", "masks", "seeds", "mIoU of each", "mean mIoU", "sd", "95 % interval"]
    return table([*head, "train s"], [row(name, runs, score) for name, runs in named.items()])


def row(name: str, runs: Sequence[Run], score: str = "selected") -> list[str]:
    """One group."""
    scores = [run.miou(score) for run in runs]
    return [
        name,
        masks(runs),
        " ".join(str(run.seed) for run in runs),
        " ".join(f"{value:.3f}" for value in scores),
        f"**{np.mean(scores):.3f}**",
        *spread(scores),
        seconds(runs),
    ]


def seconds(runs: Sequence[Run]) -> str:
    """Mean training time."""
    return f"{np.mean([run.train_seconds for run in runs]):.0f}"


def comparison(named: Mapping[str, Sequence[Run]], baselines: Sequence[str], score: str) -> str:
    """All rows, each seed, and the differences from the baselines, in three tables.

    Args:
        named: name -> runs.
        baselines: one name or more; a difference between two of them stands there once.
        score: of the differences, "selected" or "last".

    Raises:
        RunError: no row is named so, or a score is not finite.
    """
    ordered, first = _baselines_first(named, baselines)
    scores = _scores(ordered)
    found = _differences(*_paired(ordered, first, score), score)
    return "\n".join([_arms(ordered, scores), _seeds(ordered, scores), found])


def _baselines_first(
    named: Mapping[str, Sequence[Run]], baselines: Sequence[str]
) -> tuple[dict[str, Sequence[Run]], list[str]]:
    """All rows, the baselines before the others; and the baselines, each once."""
    check_lists([run for runs in named.values() for run in runs])
    first = dict.fromkeys(_known(named, baseline) for baseline in baselines)
    return {name: named[name] for name in [*first, *named]}, list(first)


def _known(named: Mapping[str, Sequence[Run]], baseline: str) -> str:
    for name in named:
        if name.strip("`") == baseline.strip("`"):
            return name
    known = ", ".join(name.strip("`") for name in named)
    raise RunError(f"--baseline {baseline}: no row has that name. Known: {known}.")


def _scores(named: Mapping[str, Sequence[Run]]) -> list[str]:
    """Both scores, or one where the selected checkpoint is the last one in all runs."""
    runs = [run for group in named.values() for run in group]
    if any(run.content["scores"].get("last") is None for run in runs):
        return ["selected"]
    one = all(run.miou("last") == run.miou("selected") for run in runs)
    return ["last"] if one else ["last", "selected"]


def _arms(named: Mapping[str, Sequence[Run]], scores: Sequence[str]) -> str:
    columns = [(f"mIoU, {score}", "sd", "95 % interval") for score in scores]
    head = ["arm", "masks", "n", *(name for names in columns for name in names), "train s"]
    rows = []
    for name, runs in named.items():
        cells = [name, masks(runs), str(len(runs))]
        for score in scores:
            values = [run.miou(score) for run in runs]
            cells += [f"{np.mean(values):.3f}", *spread(values)]
        rows.append([*cells, seconds(runs)])
    return table(head, rows)


def _seeds(named: Mapping[str, Sequence[Run]], scores: Sequence[str]) -> str:
    seeds = sorted({run.seed for runs in named.values() for run in runs})
    rows = []
    for name, runs in named.items():
        for score in scores:
            found = {run.seed: f"{run.miou(score):.3f}" for run in runs}
            rows.append([name, score, *(found.get(seed, "") for seed in seeds)])
    return table(["arm", "mIoU of seed", *map(str, seeds)], rows)


def brief(named: Mapping[str, Sequence[Run]], baselines: Sequence[str], score: str) -> str:
    """One table: each row's score, and how far it is above the first of the baselines.

    Args:
        named: name -> runs.
        baselines: as of `comparison`, for whose differences p is corrected.
        score: "selected" or "last".

    Raises:
        RunError: as of `comparison`.
    """
    ordered, first = _baselines_first(named, baselines)
    base, (found, _) = first[0], _paired(ordered, first, score)
    by_name = {one.arm: one for one in found if one.baseline == base}
    rows = []
    for name, runs in ordered.items():
        cells = [DASH, DASH, DASH]
        if name in by_name:
            difference = _difference(by_name[name])
            some = len(by_name[name].seeds) < len(runs)
            over = f" ({difference[0]} of {len(runs)} seeds)" if some else ""
            cells = [f"{difference[1]}{over}", difference[3], difference[5]]
        values = [run.miou(score) for run in runs]
        rows.append([name, masks(runs), str(len(runs)), f"{np.mean(values):.3f}", *cells])
    head = ["arm", "masks", "n", "mIoU", f"above {base}", "95 % interval", "p, Holm"]
    return table(head, rows)


def _paired(
    named: Mapping[str, Sequence[Run]], baselines: Sequence[str], score: str
) -> tuple[list[Pairs], list[str]]:
    """Differences of rows from baselines, and of two baselines from one another once."""
    candidates = [
        (name, base)
        for place, base in enumerate(baselines)
        for name in named
        if name not in baselines[: place + 1]
    ]
    return pair_arms(named, candidates, score)


def _differences(found: Sequence[Pairs], apart: Sequence[str], score: str) -> str:
    rows = [[one.arm, one.baseline, *_difference(one)] for one in found]
    head = ["arm", "baseline", "pairs", f"difference, {score}", "sd", "95 % interval", "p"]
    text = [table([*head, "p, Holm", "detectable"], rows)] if rows else []
    return "\n".join([*text, *(f"{note}\n" for note in (*_notes(found), *apart))])


def _difference(one: Pairs) -> list[str]:
    if one.paired is None or one.p_holm is None:
        return [str(len(one.seeds)), signed(one.mean), *[DASH] * 5]
    found = one.paired
    return [
        str(found.pairs),
        signed(found.mean),
        f"{found.sd:.3f}",
        interval(found.interval, sign=True),
        p_text(found.p),
        p_text(one.p_holm),
        f"{found.detectable:.3f}",
    ]


def _notes(pairs_of_arms: Sequence[Pairs]) -> Iterator[str]:
    found = [one.paired for one in pairs_of_arms if one.paired is not None]
    if not found:
        return
    comparisons = "one comparison" if len(found) == 1 else f"{len(found)} comparisons"
    yield (
        "p: exact two-sided sign-flip test over paired seeds; Holm: corrected for the "
        f"{comparisons} of this table. Detectable: the smallest mean difference that a paired "
        "t-test at 0.05, not corrected, finds with a power of 0.8 at this sd."
    )
    for pairs in sorted({one.pairs for one in found}):
        if smallest_sign_flip_p(pairs) > 0.05:
            yield f"With {pairs} pairs p is never below {smallest_sign_flip_p(pairs):g}."
    least = len(found) * min(one.smallest_p for one in found)
    if least > 0.05:  # the smallest p of m is corrected by m, and no other falls below it
        yield f"With so many comparisons no corrected p is below {min(1.0, least):g}: more seeds."


def tables(arguments: Sequence[str], root: Path = Path()) -> str:
    """What the command prints: the tables, which score they are of, and the protocol.

    Args:
        arguments: of the command line, without `--page`.
        root: the folder that relative places are in.

    Raises:
        SemisupError: runs cannot be read, or must not stand in one table.
    """
    options = _parser().parse_args(arguments)
    places = [str(root / place) for place in options.places]
    runs = read_arms(places, [_under(root, option) for option in options.arm])
    if options.brief and not options.baseline:
        raise RunError("--brief compares with a baseline: give --baseline NAME")
    if not runs:
        raise RunError("no runs: give their folders")
    check_comparable(runs)
    groups = groups_of(runs)
    named = dict(zip(names_of(groups), groups, strict=True))
    score = options.score
    if options.baseline:
        score = "last" if _scores(named) == ["last"] else score
        if options.brief:
            return brief(named, options.baseline, score)
        text = comparison(named, options.baseline, score)
    else:
        text = summary(named, score)
    protocol = shared_protocol(runs)
    rule = protocol["selection"] if score == "selected" else "after the last step"
    devices = ", ".join(sorted({str(run.content["device"]) for run in runs}))
    return (
        f"{text}\nScore: {score}, that is of the checkpoint by this rule: {rule}.\n"
        f"Protocol: {protocol_line(protocol)}.\nDevice: {devices}.\n"
    )


def _under(root: Path, option: str) -> str:
    """NAME=PLACE with the place in a folder; an absolute one as it is."""
    name, equals, place = option.partition("=")
    return f"{name}{equals}{root / place}" if place else option


def rewritten(page: str, root: Path) -> str:
    """The text of a page, its marked parts made anew from the files that they name.

    Args:
        page: its text.
        root: the folder that the places in it are relative to.

    Raises:
        SemisupError: a part cannot be made.
    """

    def part(found: re.Match[str]) -> str:
        make = tables if found[2] == "summarise" else compared
        return f"{found[1]}{make(shlex.split(found[3]), root)}{found[5]}"

    return PART.sub(part, page)


def compared(arguments: Sequence[str], root: Path) -> str:
    """The command `semisup compare ARGUMENTS` and what it prints, as two blocks of a page.

    Raises:
        SemisupError: runs cannot be read, or must not stand in one table.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("places", nargs="*")
    parser.add_argument("--baseline", default="")
    parser.add_argument("--score", choices=("selected", "last"), default="selected")
    options = parser.parse_args(arguments)
    found = find_runs([_under(root, f"={place}")[1:] for place in options.places], root / "runs")
    several = len(options.places) > 1 and not options.baseline
    comparison = compare(
        found.runs,
        baseline=options.baseline,
        first=found.first if several else (),
        score=options.score,
        notes=found.notes,
    )
    command = f"semisup compare {shlex.join(arguments)}"
    return f"```sh\n{command}\n```\n\n```text\n{as_text(comparison)}```\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("places", nargs="*", help="folders of runs and files of kept results")
    parser.add_argument("--arm", action="append", default=[], metavar="NAME=PLACE")
    parser.add_argument("--score", choices=("selected", "last"), default="selected")
    parser.add_argument("--baseline", action="append", default=[], metavar="NAME")
    parser.add_argument("--brief", action="store_true", help="one table, beside --baseline")
    parser.add_argument("--page", type=Path, help="write the marked parts of this page anew")
    return parser


def main(arguments: Sequence[str], root: Path) -> None:
    """Print the tables, or write those of a page, whose places are relative to `root`."""
    page = _parser().parse_args(arguments).page
    try:
        if page is None:
            print(tables(arguments), end="")
        else:
            write_text(page, rewritten(page.read_text(encoding="utf-8"), root))
    except SemisupError as error:
        sys.exit(str(error))
