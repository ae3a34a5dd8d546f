"""The table of bad input in docs/reliability.md, from what the cases really said."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

BEGIN = "<!-- table of bad input: made by python -m pytest tests/reliability --write-table -->"
END = "<!-- end of the table -->"

VARYING = (
    # Words of other libraries, which change with their version.
    (
        r"(cannot be (?:decoded|read)|is damaged|is no tag file|does not fit '\w+'|\.mat file"
        r"|optimisers) \(.*\)",
        r"\1 (...)",
    ),
    (r"^No such option.*", "No such option ..."),
    (r"sees \d+ CUDA", "sees N CUDA"),
    (r"a{50,}", "aaa..."),
    (r"(is not valid TOML): .*\.$", r"\1: ..."),
    (r"\b[0-9a-f]{10}(-s\d+)", r"DIGEST\1"),
    (r"another recipe \([^)]*\)", "another recipe (...)"),
    (r"process \d+", "process N"),
    (r"scenes-[0-9a-f]{12}", "scenes-DIGEST"),
    (r"\.\d+-\d+\.tmp", ".N.tmp"),
)
"""What is not the same on every machine -> what stands in the table."""

LONGEST = 300
"""Characters of a line shown; whatever a user typed may be longer."""


@dataclass
class Table:
    """Rows by title, gathered while the cases run."""

    page: Path
    rewrite: bool
    rows: dict[str, str] = field(default_factory=dict)

    def add(self, theme: str, title: str, said: str, code: int, root: Path) -> None:
        for pattern, name in ((re.escape(str(root)), "DIR"), *VARYING):
            said = re.sub(pattern, name, said)
        if len(said) > LONGEST:
            said = f"{said[:LONGEST]}..."
        said = said.replace("|", "\\|").replace("<", "&lt;")
        self.rows[title] = f"| {theme} | {title} | {said} | {code} |"

    def written(self) -> dict[str, str]:
        """The rows that stand in the page, by title."""
        _, _, rest = self.page.read_text(encoding="utf-8").partition(BEGIN)
        rows = rest.partition(END)[0].strip().splitlines()[2:]
        return {row.split(" | ")[1]: row for row in rows}

    def write(self, titles: list[str]) -> None:
        """Put the rows into the page, in the order of `titles`; old ones of cases left out."""
        known = self.written() | self.rows
        head = "| of | input | what is said | exit code |\n|---|---|---|---|\n"
        body = "".join(f"{known[title]}\n" for title in titles if title in known)
        before, _, rest = self.page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        self.page.write_text(f"{before}{BEGIN}\n\n{head}{body}\n{END}{after}", encoding="utf-8")
