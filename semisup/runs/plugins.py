"""Which plug-ins a run was made with, and whether they are here and unchanged.

What a run's folder says is compared with what the user has loaded. Nothing is imported for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from semisup.catalog import KINDS, OUTSIDE
from semisup.errors import RecipeError, RunError
from semisup.recipe.recipe import Recipe

Plugins = list[dict[str, str]]
"""Of each name from outside: `kind`, `name`, `plugin` (file or module) and `sha256`."""


def describe_plugins(recipe: Recipe) -> Plugins:
    """What of a recipe comes from outside the package, for run and result."""
    return list(_used(recipe))


def _used(recipe: Recipe) -> Iterator[dict[str, str]]:
    """Those of the recipe itself, and then those that only its first stage uses."""
    names = {
        "method": recipe.method.name,
        "model": recipe.model.name,
        "data set": recipe.data.name,
    }
    for kind, name in names.items():
        origin = OUTSIDE.get((kind, name))
        if origin is not None:
            yield {"kind": kind, "name": name, "plugin": origin.plugin, "sha256": origin.sha256}
    if recipe.first is not None:
        earlier = _used(recipe.first)
        yield from (entry for entry in earlier if names[entry["kind"]] != entry["name"])


def check_loaded(folder: Path, recorded: Any) -> None:
    """Refuse to open a run whose plug-ins were not given.

    Args:
        folder: of the run, for the error.
        recorded: its plug-ins as its result or run.json states them.

    Raises:
        RunError: a name is not in the catalogue; says which plug-in to give.
    """
    for entry in _sound(recorded):
        if entry["kind"] in KINDS and entry["name"] not in KINDS[entry["kind"]]:
            raise RunError(
                f"{folder}: this run was made with the plug-in {entry['plugin']} "
                f"({entry['kind']} '{entry['name']}'): add --plugin {_to_give(entry['plugin'])}"
            )


def changed_plugins(recorded: Any) -> list[str]:
    """Which plug-ins of a run have changed since, each as a part of a sentence."""
    changed = []
    for entry in _sound(recorded):
        origin = OUTSIDE.get((entry["kind"], entry["name"]))
        if origin is not None and origin.sha256 != entry["sha256"]:
            changed.append(
                f"the plug-in {entry['plugin']} ({entry['kind']} '{entry['name']}') has changed "
                f"since this run was made (sha256 {_short(entry['sha256'])}, now "
                f"{_short(origin.sha256)})"
            )
    return changed


def refuse_changed(folder: Path, recorded: Any) -> None:
    """Refuse to go on with a run that another version of a plug-in has begun.

    Raises:
        RunError: the source file of one has changed.
    """
    for change in changed_plugins(recorded):
        raise RunError(
            f"{folder}: {change}, and would go on to other weights. Restore the file, or choose "
            "another --out to begin anew."
        )


def check_runs_of(folder: Path, error: RecipeError) -> None:
    """Say which plug-in to give, if a run of a recipe knew the name that the recipe now fails on.

    Args:
        folder: `runs/<recipe>`.
        error: why the recipe cannot be loaded.

    Raises:
        RunError: a run's plug-in was not given, and `error` names what is of it.
    """
    for facts in sorted(folder.glob("*/run.json")):
        try:
            record = json.loads(facts.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        stated = record.get("plugins") if isinstance(record, dict) else None
        named = [entry for entry in _sound(stated) if f"'{entry['name']}'" in str(error)]
        check_loaded(facts.parent, named)


def _sound(recorded: Any) -> Sequence[dict[str, str]]:
    """The plug-ins of a record; what is not of their form is left out."""
    keys = ("kind", "name", "plugin", "sha256")
    return [
        entry
        for entry in (recorded if isinstance(recorded, list | tuple) else [])
        if isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in keys)
    ]


def _to_give(plugin: str) -> str:
    """What stands behind --plugin: of a file only the name is known, not where it lies."""
    return f"PATH/{plugin}" if plugin.endswith(".py") else plugin


def _short(digest: str) -> str:
    return digest[:8] or "unknown"
