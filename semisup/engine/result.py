"""A result is never a bare number: scores with protocol, split, seed and how they were chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from semisup.errors import RunError
from semisup.files import write_text


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
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}). Delete it and run again.") from None
    if not isinstance(result, dict) or "scores" not in result or "protocol" not in result:
        raise RunError(f"{path}: is no result file of semisup. Delete it and run again.")
    return result
