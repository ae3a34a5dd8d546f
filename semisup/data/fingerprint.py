"""What tells the files of a data set from others: names and sizes, and masks by their content."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from semisup.data.base import SegmentationData

Files = Mapping[str, str]
"""Name of a file, relative to the folder of its data set -> its size, or SHA-256 of its content."""

LARGEST = 1 << 26
"""Bytes of a mask file up to which its content counts; of a larger one, an archive, the size."""


def fingerprint(data: SegmentationData, labelled: Iterable[int]) -> dict[str, str]:
    """The files of `data`: all images by name and size, the masks of `labelled` by their content.

    No picture is decoded. Names do not depend on where the data set lies, so one that was moved as
    a whole has the same fingerprint.

    Args:
        data: the images.
        labelled: positions of the images whose masks are used.
    """
    images = dict.fromkeys(data.image_path(index) for index in range(len(data)))
    masks = dict.fromkeys(data.mask_path(index) for index in labelled)
    facts = {file_name(data.root, path): _size(path) for path in images}
    return facts | {file_name(data.root, path): _content(path) for path in masks}


def file_name(root: Path, path: Path) -> str:
    """`path` relative to `root`; what lies elsewhere keeps the last two parts of its path."""
    head, text = f"{os.fspath(root)}{os.sep}", os.fspath(path)
    if text.startswith(head):
        return text[len(head) :]
    if head == f".{os.sep}" and not path.is_absolute():
        return text
    return "/".join(path.parts[-2:])


def changed_files(then: Files, now: Files) -> list[str]:
    """The names whose facts differ, sorted; those that are in one of the two only among them."""
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def is_size(fact: str) -> bool:
    """Whether a fact is of a file that was not opened, such as that of an image."""
    return not re.fullmatch(r"[0-9a-f]{64}", fact)


def _size(path: Path) -> str:
    try:
        return f"{path.stat().st_size} bytes"
    except OSError:
        return "missing"


def _content(path: Path) -> str:
    try:
        facts = path.stat()
        if stat.S_ISREG(facts.st_mode) and facts.st_size <= LARGEST:  # to open a pipe is to wait
            return hashlib.sha256(path.read_bytes()).hexdigest()
        return f"{facts.st_size} bytes"
    except OSError:
        return "missing"
