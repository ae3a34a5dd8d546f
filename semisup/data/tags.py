"""Image tags: which classes are in a picture, but not where."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from semisup.data.base import SegmentationData


@dataclass(frozen=True, slots=True)
class Tags:
    """The foreground classes of each image of a data set.

    Attributes:
        classes: the K class names.
        of: image id -> its label ids, in sorted order of the ids; 0, background, is in none.
        source: "xml", "masks" or "file:NAME".
    """

    classes: tuple[str, ...]
    of: Mapping[str, frozenset[int]]
    source: str

    @property
    def sha256(self) -> str:
        """SHA-256 over the sorted lines of `write_tags`, heads apart: equal tags agree."""
        return hashlib.sha256("".join(sorted(self._lines())).encode()).hexdigest()

    def _lines(self) -> list[str]:
        return [
            "\t".join([key, *(self.classes[label] for label in sorted(labels))]) + "\n"
            for key, labels in self.of.items()
        ]


def read_tags(data: SegmentationData, spec: str) -> Tags:
    """The tags of exactly the images of `data`; no mask is opened."""
    raise NotImplementedError


def tags_from_masks(data: SegmentationData) -> Tags:
    """The tags that the masks of `data` come to."""
    raise NotImplementedError


def write_tags(path: Path, tags: Tags) -> None:
    """Writes `tags` as a file that "file:PATH" reads back with the same `sha256`."""
    raise NotImplementedError
