"""Tables of docs/results.md from finished runs: `python docs/summarise.py runs/scenes/*`.

One row for each recipe as it was run: runs are grouped by the digest of their recipe and by the
files that they were trained on, and rows of one recipe are named by the keys that differ. A row has
the seeds, and the mean, standard deviation and 95 % interval of the mIoU over them (Student's t:
training is repeated, the images stay the same), and the training time.

Refused are runs of different protocols or scored on different files, whose numbers must not stand
in one table, and two runs of one group and seed, which would count once more than they are.

`--score last` takes the checkpoint after the last step in place of the one that is reported.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from semisup.evaluation.protocol import protocol_line
from semisup.recipe.toml import read_toml

HEAD = "| recipe | masks | seeds | mIoU of each | mean mIoU | sd | 95 % interval | train s |"
RULE = "|---|--:|---|---|--:|--:|--:|--:|"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it lies.
        result: its result.json.
        settings: dotted key -> value of its recipe, without the seed.
    """

    folder: Path
    result: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def group(self) -> tuple[str, str, str]:
        """What runs that differ in their seed alone have in common."""
        return self.result["recipe"], self.result["recipe_hash"], self.files("trained")

    @property
    def seed(self) -> int:
        """Of the training."""
        return int(self.result["seed"])

    def files(self, use: str) -> str:
        """The hash of the files that were "trained" on or "reported" on, as far as it is known."""
        record = self.result.get("data", {}).get(use, {})
        return str(record.get("files_sha256", ""))

    def miou(self, score: str) -> float:
        """Of the "selected" or the "last" checkpoint."""
        scores = self.result["scores"][score]
        if scores is None:
            sys.exit(
                f"{self.folder}: only its reported checkpoint was scored; take --score selected"
            )
        return float(scores["miou"])


def read_runs(folders: Sequence[str]) -> list[Run]:
    """All finished runs below the folders, each once, by recipe, digest and seed."""
    paths = {path.resolve() for folder in folders for path in Path(folder).rglob("result.json")}
    runs = []
    for path in paths:
        settings = read_toml(path.with_name("recipe.toml"))
        settings.pop("train.seed", None)
        result = json.loads(path.read_text(encoding="utf-8"))
        runs.append(Run(path.parent, result, settings))
    return sorted(runs, key=lambda run: (run.group, run.seed, run.folder))


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each group, in the order of their seeds.

    Raises:
        SystemExit: two runs of one group have one seed; names their folders.
    """
    groups: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        same = [other for other in groups[run.group] if other.seed == run.seed]
        if same:
            sys.exit(
                f"{same[0].folder} and {run.folder} are of the same recipe, data and seed "
                f"{run.seed}; give one of the two"
            )
        groups[run.group].append(run)
    return list(groups.values())


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs whose scores must not stand in one table.

    Raises:
        SystemExit: of different protocols, or scored on other files.
    """
    first = runs[0]
    for run in runs[1:]:
        pair = f"{first.folder} and {run.folder}"
        if run.result["protocol"] != first.result["protocol"]:
            sys.exit(f"{pair} were scored by different protocols; give runs of one")
        if run.files("reported") != first.files("reported"):
            sys.exit(f"{pair} were scored on files of other content; give runs of one data set")


def names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each group: the recipe, and what differs from the other groups of its name."""
    return [_name(group[0], [other[0] for other in groups]) for group in groups]


def _name(run: Run, others: Sequence[Run]) -> str:
    recipe, digest, files = run.group
    alike = [other for other in others if other.group[0] == recipe]
    if len(alike) == 1:
        return f"`{recipe}`"
    keys = sorted({key for other in alike for key in other.settings})
    differ = [
        key for key in keys if any(o.settings.get(key) != run.settings.get(key) for o in alike)
    ]
    parts = [f"{key} = {json.dumps(run.settings.get(key))}" for key in differ]
    if any(other.group[1] == digest and other.group[2] != files for other in alike):
        parts.append(f"trained on files {files[:8]}")
    return f"`{recipe}`, {', '.join(parts) or f'digest {digest}'}"


def interval(values: Sequence[float]) -> str:
    """95 % interval of the mean by Student's t, or a dash for one value."""
    if len(values) < 2:
        return "-"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values) - half:.3f} to {np.mean(values) + half:.3f}"


def row(name: str, runs: Sequence[Run], score: str = "selected") -> str:
    """One group."""
    scores = [run.miou(score) for run in runs]
    deviation = f"{np.std(scores, ddof=1):.3f}" if len(scores) > 1 else "-"
    seconds = np.mean([run.result["time"]["train_seconds"] for run in runs])
    cells = [
        name,
        str(runs[0].result["split"]["labelled"]),
        " ".join(str(run.seed) for run in runs),
        " ".join(f"{value:.3f}" for value in scores),
        f"**{np.mean(scores):.3f}**",
        deviation,
        interval(scores),
        f"{seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> None:
    """Print the table, which score it is of, and the protocol."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--score", choices=("selected", "last"), default="selected")
    options = parser.parse_args(arguments)
    runs = read_runs(options.folders)
    if not runs:
        sys.exit("no result.json below " + " ".join(options.folders))
    check_comparable(runs)
    groups = grouped(runs)
    print(f"{HEAD}\n{RULE}")
    for name, group in zip(names(groups), groups, strict=True):
        print(row(name, group, options.score))
    protocol = runs[0].result["protocol"]
    rule = protocol["selection"] if options.score == "selected" else "after the last step"
    print(f"\nScore: {options.score}, that is of the checkpoint by this rule: {rule}.")
    print(f"Protocol: {protocol_line(protocol)}.")
    print(f"Device: {', '.join(sorted({run.result['device'] for run in runs}))}.")


if __name__ == "__main__":
    main(sys.argv[1:])
