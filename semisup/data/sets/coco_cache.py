"""The index of a large annotation file, kept for the next time under the SHA-256 of the file.

A kept index is used only if the annotation file has that SHA-256 now, and the index has the one
written at its begin; any other is built and written anew. It holds numbers and names, no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from semisup.data.sets.coco_index import ARRAYS, CocoIndex, build_index, unreadable
from semisup.errors import DataError, RunError
from semisup.system.files import write_atomically
from semisup.version import __version__

LEAST = 16 << 20
"""Bytes of an annotation file from which on its index is kept: a smaller one is read at once."""

FORM = 1
"""Of a kept index; another number for every change of what it holds."""

_DIGEST = hashlib.sha256().digest_size


def read_index(path: Path) -> CocoIndex:
    """The index of an annotation file: the kept one if it is of this file, else built.

    Raises:
        DataError: as of `build_index`.
    """
    try:
        if path.stat().st_size < LEAST:
            return build_index(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(unreadable(path, error)) from None
    kept = _read(path, sha256)
    if kept is not None:
        return kept
    built = build_index(path)
    # What cannot be written is built again next time, which costs time and nothing else.
    with contextlib.suppress(OSError, RuntimeError, RunError):
        place = index_path(built.sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        content = _packed(built)
        write_atomically(place, lambda file: file.write(content))
    return built


def index_path(sha256: str) -> Path:
    """`coco-<sha256>.index` in `$XDG_CACHE_HOME/semisup`, else in `~/.cache/semisup`."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "semisup" / f"coco-{sha256}.index"


def _packed(index: CocoIndex) -> bytes:
    facts = {**_facts(index.sha256), "description": index.description}
    facts["categories"] = list(index.categories.items())
    text = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    content = save({"facts": text, **{name: getattr(index, name) for name in ARRAYS}})
    return hashlib.sha256(content).digest() + content


def _facts(sha256: str) -> dict[str, Any]:
    """What the index must say of itself to be used."""
    return {"form": FORM, "semisup": __version__, "sha256": sha256}


def _read(path: Path, sha256: str) -> CocoIndex | None:
    """The kept index of a file, or None if there is none that can be believed."""
    try:
        raw = index_path(sha256).read_bytes()
        if hashlib.sha256(raw[_DIGEST:]).digest() != raw[:_DIGEST]:
            return None
        arrays = load(raw[_DIGEST:])
        facts = json.loads(arrays.pop("facts").numpy().tobytes())
        if facts | _facts(sha256) != facts or not _fits(arrays):
            return None
        categories = {int(number): str(name) for number, name in facts["categories"]}
        return CocoIndex(path, sha256, categories, str(facts["description"]), **arrays)
    except (OSError, RuntimeError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _fits(arrays: dict[str, Tensor]) -> bool:
    """Whether the arrays are those of an index."""
    return set(arrays) == set(ARRAYS) and len(arrays["first"]) == len(arrays["numbers"]) + 1
