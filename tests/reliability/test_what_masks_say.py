"""The table of docs/datasets/folder.md: what `verify`, `run` and `show` say of unsound masks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from places import Place, run_command

from semisup.data.sets.folder import Folder
from semisup.errors import DataError

BEGIN = "<!-- made by python -m pytest tests/reliability --write-table -->"
END = "<!-- end of the table -->"
HEAD = "| masks | `data verify` | `run` | `data show` | read |\n|---|---|---|---|---|\n"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "datasets" / "folder.md"
REMEDY = "run python -m pytest tests/reliability --write-table"

COLOURS = np.array([(0, 90, 0), (0, 0, 255), (255, 0, 0)], np.uint8)
CLASSES = "ground 0 90 0\nsky 0 0 255\nsea 255 0 0\n"
Spoil = Callable[[Path, np.ndarray], None]
"""Writes the mask file of the labels (uint8 HW) as somebody's tool would."""


def indexed(path: Path, labels: np.ndarray, values: np.ndarray, order: np.ndarray) -> None:
    """A palette PNG whose entry i is `values[order[i]]`: right to the eye, with other numbers."""
    image = Image.fromarray(np.argsort(order)[labels].astype(np.uint8))
    image.putpalette(values[order].tobytes())
    image.save(path)


def order_of(path: Path) -> np.ndarray:
    return np.random.default_rng(list(path.stem.encode())).permutation(3)


def grey_indexed(path: Path, labels: np.ndarray) -> None:
    indexed(path, labels, np.arange(3, dtype=np.uint8)[:, None].repeat(3, 1), np.array([0, 2, 1]))


def colours_indexed(path: Path, labels: np.ndarray) -> None:
    order = np.array([0, 1, 2]) if path.stem.startswith("v") else np.array([0, 2, 1])
    indexed(path, labels, COLOURS, order)


def quantised(path: Path, labels: np.ndarray) -> None:
    indexed(path, labels, COLOURS, order_of(path))


def resized(path: Path, labels: np.ndarray) -> None:
    small = Image.fromarray(labels).resize((25, 20), Image.Resampling.NEAREST)
    small.resize((50, 40), Image.Resampling.BILINEAR).save(path)


def some_resized(path: Path, labels: np.ndarray) -> None:
    grey(lambda same: same)(path, labels) if path.stem == "t0" else resized(path, labels)


def grey(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return lambda path, labels: Image.fromarray(change(labels).astype(np.uint8)).save(path)


KINDS: dict[str, Spoil] = {
    "right": grey(lambda labels: labels),
    "re-indexed: grey, by a lossless optimiser": grey_indexed,
    "re-indexed: palettes, some of them": colours_indexed,
    "quantised: colours made indexed one by one": quantised,
    "resized smoothly": resized,
    "resized smoothly, some of them": some_resized,
    "0 and 255": grey(lambda labels: (labels > 0) * 255),
    "from 1, 0 nowhere": grey(lambda labels: labels + 1),
    "from 1, 0 for void": grey(lambda labels: np.where(labels == 1, 0, labels + 1)),
    "all void": grey(lambda labels: labels * 0 + 255),
}


@pytest.fixture(scope="module")
def rows() -> dict[str, str]:
    """Of the kinds that have been tried, in this process."""
    return {}


def truth(number: int) -> np.ndarray:
    """Blocks of three classes, in every mask."""
    generator = np.random.default_rng(number)
    blocks = generator.permutation(np.arange(20) % 3).reshape(4, 5)
    return blocks.repeat(10, 0).repeat(10, 1).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said(kind: str, place: Place, rows: dict[str, str]) -> None:
    (place.data / "classes.txt").write_text(CLASSES)
    paths = sorted((place.data / "masks").iterdir())
    right = {path.stem: truth(number) for number, path in enumerate(paths)}
    for path in paths:
        KINDS[kind](path, right[path.stem])
    calls = [
        place.verify(),
        place.train("data.split=all"),
        ["data", "show", "folder", "--data-root", place.data, "--to", place.root / "sheet.png"],
    ]
    said = [told(run_command(call), place.root) for call in calls]
    wrong = share_read_wrong(Folder(place.data, "all"), right)
    told_of = wrong == "as meant" or said[0] != "nothing"
    assert told_of
    if kind == "right":
        assert [*said, wrong] == ["nothing", "nothing", "nothing", "as meant"]
    rows[kind] = f"| {' | '.join([kind, *said, wrong])} |"


def told(result: Result, root: Path) -> str:
    """What a command says beside its tables; a sentence that it says twice, once."""
    lines = dict.fromkeys(sentences(result))
    said = "<br>".join(line.replace(str(root), "DIR") for line in lines) or "nothing"
    code = f" (exit code {result.exit_code})" if result.exit_code else ""
    return re.sub(r"([^|])\|", r"\1\\|", said) + code


def sentences(result: Result) -> Iterator[str]:
    assert result.exception is None or isinstance(result.exception, SystemExit)
    if result.exit_code:
        yield result.stderr.splitlines()[-1].removeprefix("semisup: ")
    for line in result.output.splitlines():
        if line.startswith(("warning: ", "note: ")):
            yield line


def share_read_wrong(data: Folder, right: dict[str, np.ndarray]) -> str:
    """How many pixels are read as another class, or as void."""
    wrong = lost = pixels = 0
    for index, name in enumerate(data.ids):
        try:
            read = data.mask(index).numpy()
        except DataError:
            continue
        void = read == 255
        lost += int(void.sum())
        wrong += int((~void & (read != right[name])).sum())
        pixels += read.size
    if not pixels:
        return "not at all"
    shares = {"wrong": wrong / pixels, "void": lost / pixels}
    told = [f"{share:.0%} of the pixels {how}" for how, share in shares.items() if share]
    return ", ".join(told) or "as meant"


def test_the_page_says_what_was_said(rows: dict[str, str], pytestconfig: pytest.Config) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    written, _, after = rest.partition(END)
    if pytestconfig.getoption("--write-table") and rows.keys() == KINDS.keys():
        body = "".join(f"{rows[kind]}\n" for kind in KINDS)
        written = f"\n\n{HEAD}{body}\n"
        PAGE.write_text(f"{before}{BEGIN}{written}{END}{after}", encoding="utf-8")
    for row in rows.values():
        assert row in written.splitlines(), REMEDY
    assert len(written.strip().splitlines()) == len(KINDS) + 2, REMEDY
