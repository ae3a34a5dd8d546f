"""Finished runs as tables and figures read them: from their folders or from kept files.

A kept file (such as docs/measurements/NAME.jsonl, written by docs/collect.py) has what the tables
need of many runs and nothing else: no weights, and no path of the machine that they were made on.
Its first line has what all of its runs share, such as the protocol and most settings; each other
line is a run. Both are parts of what result.json has, under the same keys, beside:

    arm        the name of its row; empty: named by its recipe and by what differs
    settings   dotted key -> value of its recipe, without the seed and what depends on the machine
    iou        class -> IoU of the selected checkpoint
    curves     scalar -> pairs of step and value along the run, of its pseudo-labels
"""

from __future__ import annotations

import json
import ntpath
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisup.errors import RunError, SemisupError
from semisup.recipe.places import PLACES, without_watching
from semisup.recipe.toml import read_toml
from semisup.system.files import write_text

SEED_OF_SPLIT = "data.split_seed"
_SCHEME = re.compile(r"(.*?(?:\b(?:file|folder):|=)|)(.*)", re.DOTALL)

CURVES = (
    "self_taught_share",
    "confident_share",
    "agreement",
    "strong_agreement",
    "teacher_agreement",
    "trusted_share",
    "self_taught_accuracy",
    "self_taught_confidence",
    "self_taught_ece",
    "labelled_accuracy",
)
"""The scalars that are kept along a run, where it has them."""

KEPT = (
    "recipe",
    "recipe_hash",
    "seed",
    "scores",
    "protocol",
    "split",
    "checkpoint",
    "git",
    "versions",
    "device",
    "processes",
    "precision",
    "time",
    "init",
    "plugins",
    "weights_sha256",
)
"""Keys of result.json that are kept whole."""

NEEDED = {
    "arm": str,
    "recipe": str,
    "recipe_hash": str,
    "seed": int,
    "scores": dict,
    "settings": dict,
    "protocol": dict,
    "split": dict,
    "time": dict,
}
"""Keys without which there is no table, with the kind of their values."""

NEEDED_WITHIN = (
    ("scores", "selected"),
    ("split", "labelled"),
    ("time", "train_seconds"),
    ("protocol", "selection"),
)
"""Keys within these without which there is none either."""

KEPT_OF_DATA = ("name", "subset", "images", "ids_sha256", "masks", "files", "files_sha256")

OWN = ("arm", "recipe", "recipe_hash", "seed", "scores", "iou", "curves")
"""Keys that stand in the line of each run, shared or not."""

SAME = ("scores", "iou", "protocol", "split", "data", "checkpoint", "weights_sha256")
"""Keys in which two results of one recipe and seed must agree. Times and versions need not."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        source: its folder, or the file and line that it is kept in; for errors.
        content: what is kept of it.
    """

    source: str
    content: Mapping[str, Any]

    @property
    def arm(self) -> str:
        """The name of its row; empty: named by its recipe and by what differs."""
        return str(self.content["arm"])

    @property
    def recipe(self) -> str:
        """Name of its recipe."""
        return str(self.content["recipe"])

    @property
    def digest(self) -> str:
        """Of its recipe, whatever the seed of the training."""
        return str(self.content["recipe_hash"])

    @property
    def seed(self) -> int:
        """Of the training."""
        return int(self.content["seed"])

    @property
    def settings(self) -> Mapping[str, Any]:
        """Dotted key -> value of its recipe."""
        settings: Mapping[str, Any] = self.content["settings"]
        return settings

    @property
    def protocol(self) -> dict[str, Any]:
        """What its scores depend on beside the weights."""
        protocol: dict[str, Any] = self.content["protocol"]
        return protocol

    @property
    def split(self) -> Mapping[str, Any]:
        """Name, hash and counts of its split."""
        split: Mapping[str, Any] = self.content["split"]
        return split

    def of_files(self, use: str, what: str = "files_sha256") -> str:
        """A hash of the files that were "trained" on or "reported" on, as far as it is known."""
        return str(self.content.get("data", {}).get(use, {}).get(what, ""))

    def miou(self, score: str) -> float:
        """Of the "selected" or the "last" checkpoint.

        Raises:
            RunError: only the selected one was scored.
        """
        scores = self.content["scores"].get(score)
        if scores is None:
            raise RunError(
                f"{self.source}: only its reported checkpoint was scored; take --score selected"
            )
        return float(scores["miou"])

    @property
    def train_seconds(self) -> float:
        """How long it trained."""
        return float(self.content["time"]["train_seconds"])

    def named(self, arm: str) -> Run:
        """The same run in a row of this name."""
        return Run(self.source, {**self.content, "arm": arm})


def read_runs(places: Iterable[str | Path], damaged: dict[str, str] | None = None) -> list[Run]:
    """All finished runs below the folders and in the kept files, each folder once.

    Args:
        places: folders and kept files.
        damaged: gets the folder of each run that cannot be read, with the reason; None: the first
            one is an error.

    Raises:
        RunError: a place has none, or a file cannot be read.
    """
    runs: dict[str, Run] = {}
    for place in map(Path, places):
        found = read_kept(place) if place.suffix == ".jsonl" else _below(place, damaged)
        runs |= {run.source: run for run in found}
    return sorted(runs.values(), key=_order)


def _order(run: Run) -> tuple[str, str, int, str, str]:
    return run.arm, run.recipe, run.seed, run.digest, run.source


def read_arms(places: Sequence[str], options: Sequence[str]) -> list[Run]:
    """The runs of the places, and those of each NAME=PLACE in a row of that name.

    Raises:
        RunError: an option is not of that form, or a run is in two arms.
    """
    runs = {run.source: run for run in read_runs(places)} if places else {}
    taken: dict[str, str] = {}
    for option in options:
        name, equals, place = option.partition("=")
        if not (equals and name.strip() and place):
            raise RunError(f"--arm {option}: is not of the form NAME=FOLDER.")
        for run in read_runs([place]):
            if taken.setdefault(run.source, name) != name:
                raise RunError(f"{run.source} is in the arms '{taken[run.source]}' and '{name}'.")
            runs[run.source] = run.named(name.strip())
    return list(runs.values())


def _below(folder: Path, damaged: dict[str, str] | None) -> list[Run]:
    paths = sorted({path.resolve() for path in folder.rglob("result.json")})
    if not paths:
        raise RunError(f"no result.json below {folder}")
    runs = []
    for path in paths:
        try:
            runs.append(read_folder(path.parent))
        except SemisupError as error:
            if damaged is None:
                raise
            damaged[str(path.parent)] = " ".join(str(error).splitlines())
    return runs


def read_folder(folder: Path) -> Run:
    """What is kept of the run in a folder.

    Raises:
        RunError: a file of it cannot be read.
    """
    where = str(folder / "result.json")
    result = _object(_text(folder / "result.json"), where)
    settings = without_watching(read_toml(folder / "recipe.toml"))
    settings = {k: v for k, v in settings.items() if k not in PLACES}
    if settings.get(SEED_OF_SPLIT) == "same":
        settings[SEED_OF_SPLIT] = result.get("seed")
    try:
        content = {key: result[key] for key in KEPT if key in result} | {
            "arm": "",
            "settings": settings,
            "iou": {name: row["iou"] for name, row in result.get("per_class", {}).items()},
            "data": _data(result.get("data", {})),
        }
    except (AttributeError, KeyError, TypeError):
        raise RunError(f"{where}: is not as a run writes it. Delete it and run again.") from None
    content["curves"] = _curves(folder / "scalars.jsonl")
    return Run(str(folder), _checked(without_folders(content), where))


def _checked(content: dict[str, Any], where: str) -> dict[str, Any]:
    """The content, if it has what every table needs.

    Raises:
        RunError: it has not; names the key.
    """
    for key, kind in NEEDED.items():
        if not isinstance(content.get(key), kind):
            raise RunError(f"{where}: has no '{key}'. Is it the result of a run?")
    for key, inner in NEEDED_WITHIN:
        if content[key].get(inner) is None:
            raise RunError(f"{where}: has no '{inner}' in '{key}'. Is it the result of a run?")
    if not isinstance(content["scores"]["selected"], dict):
        raise RunError(f"{where}: 'selected' in 'scores' is no table. Is it the result of a run?")
    if not isinstance(content["scores"]["selected"].get("miou"), int | float):
        raise RunError(f"{where}: 'selected' in 'scores' has no mIoU. Is it the result of a run?")
    return content


def _data(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the files of a run are known again by."""
    return {
        use: {key: record[use][key] for key in KEPT_OF_DATA if key in record[use]}
        for use in ("reported", "trained")
        if record.get(use)
    }


def _curves(path: Path) -> dict[str, list[list[float]]]:
    if not path.is_file():
        return {}
    curves: dict[str, list[list[float]]] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        record = _object(line, f"{path}, line {number}")
        for name in CURVES:
            if "step" in record and record.get(name) is not None:
                value = record[name]
                if not isinstance(value, int | float):
                    raise RunError(f"{path}, line {number}: '{name}' is no number. Write it anew.")
                curves.setdefault(name, []).append([record["step"], round(value, 5)])
    return curves


def without_folders(value: Any) -> Any:
    """Values in which a path is the name of its file: folders are those of one machine."""
    if isinstance(value, Mapping):
        return {key: without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_folders(inner) for inner in value]
    if not isinstance(value, str):
        return value
    found = _SCHEME.fullmatch(value)
    assert found is not None, "it matches any text"
    before, path = found.groups()
    for flavour in (posixpath, ntpath):
        if flavour.isabs(path) or path.startswith(("~", "../", "./")):
            return f"{before}{flavour.basename(path.rstrip('/'))}"
    return value


def read_kept(path: Path) -> list[Run]:
    """The runs of a kept file.

    Raises:
        RunError: it cannot be read, or is not of the form that `write_kept` writes.
    """
    first, *lines = _text(path).splitlines() or [""]
    shared = _object(first, f"{path}, line 1").get("shared")
    if not isinstance(shared, dict):
        raise RunError(f"{path}, line 1: has no 'shared'. Is it a file of docs/collect.py?")
    runs = []
    for number, line in enumerate(lines, 2):
        where = f"{path}, line {number}"
        runs.append(Run(where, _checked(_merged(shared, _object(line, where)), where)))
    return runs


def write_kept(path: Path, runs: Sequence[Run]) -> None:
    """Write a kept file, whole or not at all; what the runs share stands once."""
    contents = [run.content for run in sorted(runs, key=_order)]
    shared = _shared([{k: v for k, v in one.items() if k not in OWN} for one in contents])
    lines = [{"shared": shared}, *(_rest(one, shared) for one in contents)]
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = (json.dumps(line, sort_keys=True, allow_nan=False) for line in lines)
    write_text(path, "".join(f"{text}\n" for text in texts))


def _shared(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all of the records have, nested tables key by key."""
    shared: dict[str, Any] = {}
    for key, value in records[0].items():
        others = [record.get(key) for record in records]
        if all(isinstance(other, Mapping) for other in others):
            shared[key] = _shared([other for other in others if other is not None])
        elif all(key in record and record[key] == value for record in records):
            shared[key] = value
    return shared


def _rest(record: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """What a record has beside the shared part."""
    rest: dict[str, Any] = {}
    for key, value in record.items():
        if key not in shared:
            rest[key] = value
        elif isinstance(value, Mapping) and (inner := _rest(value, shared[key])):
            rest[key] = inner
    return rest


def _merged(shared: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The record again: `_rest` turned round."""
    merged = {**shared, **rest}
    for key in shared.keys() & rest.keys():
        if isinstance(shared[key], Mapping) and isinstance(rest[key], Mapping):
            merged[key] = _merged(shared[key], rest[key])
    return merged


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Keys at which two tables differ, sorted."""
    return sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path}: cannot be read ({reason}). Check the path.") from None


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where}: cannot be read ({error}). Write it anew.") from None
    if not isinstance(value, dict):
        raise RunError(f"{where}: is no table of JSON. Write it anew.")
    return value
