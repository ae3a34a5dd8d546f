"""What a run was begun with, and the refusal to go on with other data."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semisup.data.sets.masks_in_folder import describe_masks, read_masks
from semisup.data.sets.photographs import describe_photographs, read_photographs
from semisup.errors import DataError, RunError
from semisup.recipe.recipe import Recipe
from semisup.runs.result import Result, plain

_IDENTITY = {
    "sha256": "split of the images",
    "tags": "image tags",
    "masks": "masks (data.masks)",
    "unlabelled_from": "unlabelled images (data.unlabelled)",
}
"""What of a described split must stay the same while a run goes on, in words."""


def refuse_changed_data(folder: Path, recorded: Any, now: Mapping[str, Any]) -> None:
    """Refuse to go on with other labels or unlabelled images than a run was begun with.

    Args:
        folder: of the run.
        recorded: its split as recorded; a part that it does not state is not compared.
        now: the same parts as they are now.

    Raises:
        RunError: one of them differs.
    """
    if not isinstance(recorded, dict):
        return
    for key, what in _IDENTITY.items():
        if key in recorded and key in now and recorded[key] != now[key]:
            raise RunError(
                f"{folder}: was begun with another {what}: {_brief(recorded[key])}, now "
                f"{_brief(now[key])}. Put the files back as they were, or choose another --out."
            )


def check_finished(folder: Path, recipe: Recipe, result: Result) -> None:
    """Refuse the result of masks or photographs that have changed since, where they are there.

    Raises:
        RunError: the content of a folder is another one.
    """
    found: dict[str, Any] = {}
    with contextlib.suppress(DataError):
        if recipe.data.masks:
            found["masks"] = describe_masks(read_masks(recipe.data.masks))
    with contextlib.suppress(DataError):
        if recipe.data.unlabelled.strip() not in ("rest", "all"):
            found["unlabelled_from"] = describe_photographs(
                read_photographs(recipe.data.unlabelled)
            )
    refuse_changed_data(folder, plain(result.split), found)


def _brief(fact: Any) -> str:
    """A hash by its first digits, with the source where one is known."""
    if not isinstance(fact, dict):
        return f"sha256 {str(fact)[:8]}"
    files = f", {fact['files']} files" if "files" in fact else ""
    digest = f" (sha256 {str(fact['sha256'])[:8]}{files})" if "sha256" in fact else ""
    return f"{fact.get('source')}{digest}"
