"""Folders and list files of data sets, shared by their readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from semisup.errors import DataError, suggest
from semisup.system.files import exists
from semisup.types import IGNORE


def find_folder(
    root: Path | str, places: Sequence[str], holds: Sequence[str], *, what: str, remedy: str
) -> Path:
    """The first of `places` under `root` that has everything in `holds`.

    Raises:
        DataError: none has; names what was sought, where, and `remedy`.
    """
    folders = [Path(root).expanduser() / place for place in places]
    for folder in folders:
        if all(exists(folder / name) for name in holds):
            return folder
    raise DataError(
        f"{what} is not there: {_missing(folders, holds)}; "
        f"set the data root (--data-root or SEMISUP_DATA), {remedy}"
    )


def _missing(folders: Sequence[Path], holds: Sequence[str]) -> str:
    """What the folder that has most of `holds` lacks, and where else it was looked for."""
    looked = ", ".join(str(folder) for folder in folders)
    if len(folders) > 1:
        looked = f"any of {looked}"
    best = max(folders, key=lambda folder: sum(exists(folder / name) for name in holds))
    lacks = [name for name in holds if not exists(best / name)]
    if len(lacks) == len(holds):
        return f"no {' and '.join(holds)} in {looked}"
    verb = "is" if len(lacks) == 1 else "are"
    elsewhere = f", and not all is in {looked}" if len(folders) > 1 else ""
    return f"{' and '.join(lacks)} {verb} missing in {best}{_near(best, lacks)}{elsewhere}"


def _near(folder: Path, lacks: Sequence[str]) -> str:
    """What is there under the name of a thing that is missing, in other letters."""
    wanted = {name.casefold() for name in lacks}
    names = [path.name for path in folder.iterdir() if path.name.casefold() in wanted]
    return f" (but '{names[0]}' is: rename it)" if names else ""


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without blank ones.

    A byte order mark, CRLF and a missing last newline are tolerated.

    Raises:
        DataError: the file is missing or not UTF-8.
    """
    return [line for _, line in numbered_lines(path)]


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """`read_lines` with the number of each, from 1."""
    lines = enumerate((line.strip() for line in read_text(path).split("\n")), start=1)
    return [(number, line) for number, line in lines if line]


def read_text(path: Path) -> str:
    """The text of a list; lines end in a line feed, a carriage return or both.

    Raises:
        DataError: the file is missing or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            f"cannot read the list {path} ({error.strerror}); make it a text file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text; save it as UTF-8") from error


def unique(ids: Iterable[str], path: Path) -> tuple[str, ...]:
    """`ids` as a tuple.

    Raises:
        DataError: there is none, or one stands there twice; names `path` and the id.
    """
    ids = tuple(ids)
    if not ids:
        raise DataError(f"{path} lists no image; write one id on each line")
    name, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise DataError(f"{path} lists '{name}' {times} times; remove the repeats")
    return ids


def choose_subset(subset: str, known: Iterable[str], where: Path) -> str:
    """`subset`, if it is one of `known`.

    Raises:
        DataError: it is not; names the nearest.
    """
    known = list(known)
    if subset not in known:
        raise DataError(f"no subset '{subset}' in {where}.{suggest(subset, known)}")
    return subset


def check_labels(labels: Tensor, num_classes: int, path: Path) -> Tensor:
    """`labels` (uint8 HW), if each is below `num_classes` or void.

    Raises:
        DataError: another label; names `path` and the label.
    """
    if int((labels + 1).max()) > num_classes:  # void is 255, and one more is 0: one fast pass
        wrong = labels[(labels >= num_classes) & (labels != IGNORE)]
        raise DataError(
            f"{path} holds label {int(wrong[0])}, but the classes are 0..{num_classes - 1} and "
            f"{IGNORE} for void; correct the mask or the list of classes"
            + _hint(labels, int(wrong.max()) == num_classes)
        )
    return labels


def relabel(labels: Tensor, table: Tensor) -> Tensor:
    """The entry of `table` (256, uint8) for each of `labels` (uint8 HW)."""
    # Several times as fast as an index.
    return table.index_select(0, labels.int().flatten()).view(labels.shape)


def _hint(labels: Tensor, reach_one_more: bool) -> str:
    """What labels point to that reach just beyond the last class."""
    if not reach_one_more:
        return ""
    if bool((labels == 0).any()):
        return " (is a class missing in the list, or is 0 void in the masks?)"
    return " (do the labels of the masks start at 1?)"
