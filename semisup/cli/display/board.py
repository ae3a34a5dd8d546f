"""How TensorBoard is shown a folder of runs: by names that say what they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from semisup.errors import RecipeError
from semisup.recipe.toml import read_toml

EVENTS = "events.out.tfevents."
"""How TensorBoard's files begin."""

MOST_KEYS = 2
"""Keys in a name, at most: what differs in more is told apart by its digest."""

SAID = ("method.name", "model.name", "data.split", "train.seed")
PLACES = ("data.root", "data.workers", "data.cache", "data.split_seed", "eval.pictures")

Settings = Mapping[str, Any]


class Board:
    """Links to the runs in a folder, by name: what TensorBoard looks at in place of it.

    TensorBoard names a run after its folder, which says nothing: `5ccc6c38f1-s0`. A name that was
    given once stays, whatever runs are added.

    Args:
        runs: folder of runs, or a run.
        links: an empty folder, for the links.
    """

    def __init__(self, runs: Path, links: Path) -> None:
        self._runs, self._links = runs.resolve(), links
        self._names: dict[Path, str] = {}

    def refresh(self) -> None:
        """Link runs that have come, and remove links to those that are gone."""
        found = dict.fromkeys(find_runs(self._runs))
        for folder in [folder for folder in self._names if folder not in found]:
            (self._links / self._names.pop(folder)).unlink(missing_ok=True)
        new = {folder: _settings(folder) for folder in found if folder not in self._names}
        taken = set(self._names.values())
        for folder, name in names_of(new, self._runs, taken).items():
            link = self._links / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(folder, target_is_directory=True)
            self._names[folder] = name


def find_runs(folder: Path) -> Iterator[Path]:
    """Folders below `folder`, or itself, that hold files of TensorBoard, in order."""
    for place, below, files in os.walk(folder):
        below.sort()
        if any(name.startswith(EVENTS) for name in files):
            below.clear()
            yield Path(place)


def names_of(
    runs: Mapping[Path, Settings | None], root: Path, taken: Iterable[str] = ()
) -> dict[Path, str]:
    """A name for each run, such as "adversarial unet 1/8 s0".

    Where several would have one name, the keys that differ are added, and else the digest. Of a
    run of another program it is the path.

    Args:
        runs: folder -> dotted keys of its recipe; None: it has none that can be read.
        root: what paths are relative to.
        taken: names of other runs.
    """
    data = {settings.get("data.name") for settings in runs.values() if settings}
    plain = {
        folder: _plain_name(settings, with_data=len(data) > 1)
        for folder, settings in runs.items()
        if settings
    }
    paths = {folder: _path_name(folder, root) for folder in runs}
    names = {
        folder: name + _difference(folder, [other for other in plain if plain[other] == name], runs)
        for folder, name in plain.items()
    }
    names = paths | names
    digests = {f: f"{name} {f.name.partition('-')[0]}" for f, name in names.items()}
    for instead in (digests, paths):
        clashing = _clashing(names, taken)
        names = {f: instead[f] if f in clashing else name for f, name in names.items()}
    return names


def _clashing(names: Mapping[Path, str], taken: Iterable[str]) -> set[Path]:
    """Whose name another has, or a part of one: a link is no folder to put links in."""
    known = set(taken)
    return {
        folder
        for folder, name in names.items()
        for other in known | {one for key, one in names.items() if key != folder}
        if f"{name}/".startswith(f"{other}/") or f"{other}/".startswith(f"{name}/")
    }


def _path_name(folder: Path, root: Path) -> str:
    path = folder.relative_to(root).as_posix()
    return root.name if path == "." else path


def _settings(folder: Path) -> Settings | None:
    try:
        settings = read_toml(folder / "recipe.toml")
    except RecipeError:
        return None
    return settings if all(key in settings for key in SAID) else None


def _plain_name(settings: Settings, *, with_data: bool) -> str:
    method, model, split, seed = (str(settings[key]) for key in SAID)
    words = [method, model, _short(split), f"s{seed}"]
    return " ".join([str(settings.get("data.name")), *words] if with_data else words)


def _short(value: Any) -> str:
    """A value in a name: of a path the file alone, and no slash at an end."""
    text = str(value)
    if text.startswith(("file:", "folder:")):
        text = Path(text.partition(":")[2]).name
    return text.strip("/ ") or "none"


def _difference(folder: Path, alike: list[Path], runs: Mapping[Path, Settings | None]) -> str:
    """The keys in which runs of one name differ, where they are few."""
    settings = [runs[other] or {} for other in alike]
    own = runs[folder] or {}
    keys = sorted({key for one in settings for key in one})
    told = [
        key
        for key in keys
        if key not in PLACES and any(one.get(key) != own.get(key) for one in settings)
    ]
    if not told or len(told) > MOST_KEYS:
        return ""
    return "".join(f" {key.partition('.')[2]}={_short(own.get(key))}" for key in told)
