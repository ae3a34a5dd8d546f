"""Which runs stand in one row, what a row is called, and which runs must not stand together.

Runs are grouped by the digest of their recipe and by the files that they were trained on, so that
budgets are never averaged together. Where all runs have the same number as `data.split_seed` and as
seed of the training, the two are one seed. Files of one name and different content, such as initial
weights, masks or tags, are different groups always.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from semisup.errors import RunError
from semisup.studies.kept import SEED_OF_SPLIT, Run, differences

Group = tuple[str, ...]

_TRAINED_ON = "training_masks"
"""What a protocol calls the masks that were trained on, which score nothing."""


_RECORDED = {
    "data.masks": "masks",
    "data.weak_masks": "weak_masks",
    "data.unlabelled": "unlabelled_from",
    "data.tags": "tags",
}
"""Keys that name a folder or file -> where the record of a split has the hash of its content."""


def groups_of(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each group, in the order of their seeds.

    Raises:
        RunError: two runs of one group have one seed; names both.
    """
    tied = _split_follows_seed(runs)
    groups: dict[Group, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.seed):
        group = groups[_group(run, tied)]
        same = [other for other in group if other.seed == run.seed]
        if same:
            raise RunError(
                f"{same[0].source} and {run.source} are of the same recipe, data and seed "
                f"{run.seed}; give one of the two"
            )
        group.append(run)
    return [groups[key] for key in sorted(groups)]


def _split_follows_seed(runs: Sequence[Run]) -> bool:
    """Whether split and training have one seed in all runs; with all masks there is no draw."""
    drawn = [run for run in runs if run.settings.get("data.split") != "all"]
    return all(run.settings.get(SEED_OF_SPLIT) == run.seed for run in drawn) and bool(drawn)


def _group(run: Run, tied: bool) -> Group:
    """What runs that differ in their seed alone have in common."""
    contents = json.dumps(_contents(run), sort_keys=True)
    if not tied:
        return run.arm, run.recipe, run.digest, run.of_files("trained"), contents
    settings = {key: value for key, value in run.settings.items() if key != SEED_OF_SPLIT}
    text = json.dumps(settings, sort_keys=True)
    return run.arm, run.recipe, text, run.of_files("trained", "ids_sha256"), contents


def _contents(run: Run) -> dict[str, str]:
    """Key of the recipe that names a file or folder -> what its content is known again by."""
    split = run.split
    found = {"model.weights": str(run.protocol.get("pretraining") or "")}
    for key, part in _RECORDED.items():
        found[key] = str((split.get(part) or {}).get("sha256") or "")[:8]
    if not str(run.settings.get("data.tags") or "").startswith("file:"):
        found.pop("data.tags")  # tags of the masks are of the images that were drawn
    for key in ("data.masks", "data.weak_masks"):
        if run.settings.get(key) == "init":
            found.pop(key)  # each seed has the pseudo-masks of its own first stage
    return {key: value for key, value in found.items() if value}


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs whose scores must not stand in one table.

    The masks that were trained on may differ: they are part of what is compared.

    Raises:
        RunError: of different protocols, or scored on other files.
    """
    first = runs[0]
    for run in runs[1:]:
        pair = f"{first.source} and {run.source}"
        keys = [key for key in differences(first.protocol, run.protocol) if key != _TRAINED_ON]
        if keys:
            one, other = (_short(each.protocol.get(keys[0])) for each in (first, run))
            more = f" (and {', '.join(keys[1:])})" if keys[1:] else ""
            raise RunError(
                f"{pair} were scored by different protocols: {keys[0]} is {one} and {other}{more}. "
                "Give runs of one protocol."
            )
        if run.of_files("reported") != first.of_files("reported"):
            raise RunError(
                f"{pair} were scored on files of other content; give runs of one data set"
            )


def shared_protocol(runs: Sequence[Run]) -> dict[str, Any]:
    """By which all of the runs were scored; without the training masks where these differ."""
    protocol = runs[0].protocol
    if len({masks_trained_on(run) for run in runs}) == 1:
        return protocol
    return {key: value for key, value in protocol.items() if key != _TRAINED_ON}


def masks_trained_on(run: Run) -> str:
    """The folder of the training masks with the start of its hash; empty: the data set's own."""
    return str(run.protocol.get(_TRAINED_ON) or "")


def _short(value: object) -> str:
    """A value of a protocol as it fits into a line."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_lists(runs: Sequence[Run]) -> None:
    """Refuse runs of one seed whose labelled images differ without being more or fewer.

    Raises:
        RunError: their lists differ, or one list was read from other files.
    """
    firsts: dict[tuple[object, ...], Run] = {}
    for run in runs:
        key = (run.seed, run.split["labelled"])
        first = firsts.setdefault(key, run)
        pair = f"{first.source} and {run.source}, both of seed {run.seed},"
        if run.split.get("sha256") != first.split.get("sha256"):
            raise RunError(f"{pair} have different labelled images; give runs of one list")
        first = firsts.setdefault((*key, masks_trained_on(run)), run)
        pair = f"{first.source} and {run.source}, both of seed {run.seed},"
        if run.of_files("trained") != first.of_files("trained"):
            raise RunError(f"{pair} were trained on files of other content; give runs of one")


def of_one_list(runs: Sequence[Run], others: Sequence[Run]) -> bool:
    """Whether both have the same labelled images at each seed that they share."""
    lists = {run.seed: (run.split.get("sha256"), run.split["labelled"]) for run in others}
    return all(
        lists[run.seed] == (run.split.get("sha256"), run.split["labelled"])
        for run in runs
        if run.seed in lists
    )


def names_of(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each group: of its arm, or the recipe and what differs from others of its name.

    Raises:
        RunError: two groups have one arm.
    """
    names = [_name(group[0], groups) for group in groups]
    for place, name in enumerate(names):
        if name in names[:place]:
            one, other = groups[names.index(name)][0], groups[place][0]
            keys = differences(one.settings, other.settings)
            tied = _split_follows_seed([run for group in groups for run in group])
            found = [key for key in keys if not (tied and key == SEED_OF_SPLIT)]
            found += [
                f"the content of {key}"
                for key in differences(_contents(one), _contents(other))
                if key not in found
            ]
            found = found or ["their data"]
            more = f" and {len(found) - 6} more" if len(found) > 6 else ""
            listed = f"{', '.join(found[:6])}{more}"
            raise RunError(
                f"{one.source} and {other.source} are both of the arm {name}, and differ in "
                f"{listed}"
            )
    return names


def _name(run: Run, groups: Sequence[Sequence[Run]]) -> str:
    if run.arm:
        return f"`{run.arm}`"
    tied = _split_follows_seed([one for group in groups for one in group])
    alike = [group[0] for group in groups if (group[0].arm, group[0].recipe) == ("", run.recipe)]
    keys = {key for other in alike for key in _telling(run, other)}
    if len({masks_trained_on(group[0]) for group in groups}) > 1:
        keys.add("data.masks")
    keys -= {SEED_OF_SPLIT} if tied else set()
    if len(alike) == 1 and not keys:
        return f"`{run.recipe}`"
    parts = [f"{key} = {json.dumps(run.settings.get(key))}" for key in sorted(keys)]
    contents = _contents(run)
    told = {key for other in alike for key in differences(contents, _contents(other))} - keys
    parts += [f"{key} of content {contents.get(key, 'unknown')}" for key in sorted(told)]
    files = run.of_files("trained")
    if any(o.digest == run.digest and o.of_files("trained") != files for o in alike):
        parts.append(f"trained on files {files[:8]}")
    return f"`{run.recipe}`, {', '.join(parts) or f'digest {run.digest}'}"


def _telling(run: Run, other: Run) -> list[str]:
    """Keys at which a run differs from another; options of two methods are not compared."""
    keys = differences(run.settings, other.settings)
    if "method.name" in keys:
        return [key for key in keys if key == "method.name" or not key.startswith("method.")]
    return keys
