"""The table of docs/reliability.md of what users of other projects met, and that it is whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from situations import KINDS, NOT_YET, Kind, Situation, listed
from test_bad_input import CASES

BEGIN = "<!-- table of situations: made by python -m pytest tests/reliability --write-table -->"
END = "<!-- end of the situations -->"
HEAD = "| kind | no. | situation | now | shown by |\n|---|---|---|---|---|\n"
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
CODES = {case.title: case.code for _, case in CASES}
ALL = [situation for kind in KINDS for situation in kind.met]
LEAST = 3


def row(kind: Kind, situation: Situation) -> str:
    cells = (kind.name, ", ".join(situation.numbers), situation.words, situation.now)
    return f"| {' | '.join(cells)} | {shown(situation.shown)} |\n"


def shown(by: tuple[str, ...]) -> str:
    names = [f"`{name.partition('::')[2]}`" if "::" in name else name for name in by]
    return "; ".join(names).replace("__", r"\_\_") or "-"


def rows() -> Iterator[str]:
    for kind in KINDS:
        yield from (row(kind, situation) for situation in kind.met)
        if kind.further:
            yield f"| {kind.name} | | of the same kind, not reported | | {shown(kind.further)} |\n"


def test_each_listed_situation_has_one_row() -> None:
    found = Counter(number for situation in ALL for number in situation.numbers)
    assert found == Counter(listed())


@pytest.mark.parametrize("situation", ALL, ids=[situation.numbers[0] for situation in ALL])
def test_what_shows_a_situation_is_there_and_ends_as_it_says(situation: Situation) -> None:
    assert bool(situation.shown) != situation.now.startswith(NOT_YET)
    codes = {CODES[name] for name in situation.shown if there(name)}
    if situation.now.startswith("read"):
        assert 0 in codes
    if situation.now.startswith("refused"):
        assert codes - {0} or not codes
    if codes and codes <= {1, 2}:
        assert "refused" in situation.now or "exit code 1" in situation.now


def there(name: str) -> bool:
    """Whether a name is that of a case; one of a test is looked for in its file."""
    path, _, test = name.partition("::")
    if not test:
        return name in CODES or pytest.fail(f"no case is called {name!r}")
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^def {test}\(", text, re.MULTILINE), name
    return False


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_each_kind_has_cases_of_our_own(kind: Kind) -> None:
    for name in kind.further:
        there(name)
    reported = {name for situation in kind.met for name in situation.shown}
    done = any(situation.shown for situation in kind.met)
    assert len({*kind.further} - reported) >= LEAST * done


def test_the_page_has_the_situations(pytestconfig: pytest.Config) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    written, _, after = rest.partition(END)
    wanted = f"\n\n{HEAD}{''.join(rows())}\n"
    if pytestconfig.getoption("--write-table"):
        PAGE.write_text(f"{before}{BEGIN}{wanted}{END}{after}", encoding="utf-8")
        written = wanted
    assert written == wanted, "run python -m pytest tests/reliability --write-table"
