"""What is known of the literature's lists: their names, numbers and hashes.

No id of a list is here, as the lists are others' work: only what was measured of them.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from semisup.data.labels.known_lists import other_sets, voc

REPOSITORIES: Mapping[str, str] = MappingProxyType(
    {
        "AdvSemiSeg": "hfslyc/AdvSemiSeg",
        "CCT": "yassouali/CCT",
        "CPS": "charlesCXK/TorchSemiSeg",
        "CutMix-Seg": "Britefury/cutmix-semisup-seg",
        "FCN": "shelhamer/fcn.berkeleyvision.org",
        "IRN": "jiwoon-ahn/irn",
        "PixelSSL": "ZHKKKe/PixelSSL",
        "PseudoSeg": "googleinterns/wss",
        "s4GAN": "sud0301/semisup-semseg",
        "SEAM": "YudeWang/SEAM",
        "ST++": "LiheYoung/ST-PlusPlus",
        "U2PL": "Haochen-Wang409/U2PL",
        "UniMatch": "LiheYoung/UniMatch",
        "UniMatch-V2": "LiheYoung/UniMatch-V2",
        "VOC": "the data set itself",
        "Whats-the-Point": "abearman/whats-the-point1",
    }
)
"""Project -> its repository on GitHub."""


@dataclass(frozen=True, slots=True)
class KnownList:
    """A list of the literature.

    Attributes:
        name: DATASET-SIZE-FAMILY, with a number where a family has several of a size, such as
            "voc-1/16-u2pl", "voc-92-classic" and "cityscapes-1/30-st++-2"; or DATASET-SUBSET.
        count: of the ids.
        sha256: of the ids, see `sha256_of`.
        sources: projects that have the list, keys of `REPOSITORIES`.
        fine: how many ids are of VOC's own train, whose masks are finer than SBD's; None where
            that says nothing.
        note: what else is to be known of it, such as its name in a source; mostly empty.
    """

    name: str
    count: int
    sha256: str
    sources: tuple[str, ...]
    fine: int | None = None
    note: str = ""

    @property
    def dataset(self) -> str:
        """The data set that it is of, such as "voc"."""
        return self.name.partition("-")[0]


def sha256_of(ids: Iterable[str]) -> str:
    """SHA-256 of the sorted ids with a newline behind each; an id that is there twice counts once.

    Of a plain list it is that of `LC_ALL=C sort -u FILE | sha256sum`.
    """
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(set(ids))).encode()).hexdigest()


def read_table(text: str) -> Iterator[KnownList]:
    """The lists of a table.

    Each is "NAME COUNT FINE SOURCE...", below it the hash and, where there is one, a note; "-" as
    FINE is None. Lines with "#" say what follows.
    """
    text = re.sub(r"^#.*\n", "", text.lstrip("\n"), flags=re.MULTILINE)
    for block in re.split(r"\n(?=\S)", text.rstrip("\n")):
        head, sha256, *note = (line.strip() for line in block.splitlines())
        name, count, fine, *sources = head.split()
        own = None if fine == "-" else int(fine)
        yield KnownList(name, int(count), sha256, tuple(sources), own, " ".join(note))


@functools.cache
def known_lists() -> Mapping[str, KnownList]:
    """Hash -> the list that has it."""
    tables = (voc.TABLE, other_sets.TABLE)
    found = {known.sha256: known for table in tables for known in read_table(table)}
    return MappingProxyType(found)
