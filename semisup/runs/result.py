"""A result is never a bare number: scores with protocol, split, seed and how they were chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeGuard

from semisup.errors import RunError
from semisup.system.files import write_text

_PARTS: dict[str, type] = {
    "recipe": str,
    "recipe_hash": str,
    "scores": dict,
    "per_class": dict,
    "protocol": dict,
    "palette": list,
    "split": dict,
    "seed": int,
    "checkpoint": dict,
    "device": str,
    "time": dict,
}
"""What whoever opens a run again relies on."""


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result file, atomically."""
    write_text(path, json.dumps(result, indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> dict[str, Any] | None:
    """A result file's content; None if there is none.

    Raises:
        RunError: it is damaged.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}). Check --out.") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read ({error}). Delete it and run again.") from None
    if not _is_whole(result):
        raise RunError(f"{path}: is no result file of semisup. Delete it and run again.")
    return result


def _is_whole(result: object) -> TypeGuard[dict[str, Any]]:
    """Whether all parts are there; what is in them is nobody's to change."""
    return (
        isinstance(result, dict)
        and all(isinstance(result.get(name), kind) for name, kind in _PARTS.items())
        and "selected" in result["scores"]
        and "classes" in result["protocol"]
    )
