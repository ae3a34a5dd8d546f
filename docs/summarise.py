"""Tables of docs/results.md from finished runs: `python docs/summarise.py runs/scenes/*`.

`--page PAGE` writes the tables of a page between `<!-- summarise: ARGUMENTS -->` and `<!-- end -->`
anew, each by the arguments that stand there. semisup/studies/pages.py says what they mean.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from semisup.studies import pages

ROOT = Path(__file__).resolve().parents[1]


def rewritten(page: str) -> str:
    """The text of a page, its marked parts made anew from the files that they name."""
    return pages.rewritten(page, ROOT)


def main(arguments: Sequence[str]) -> None:
    """Print the tables, or write those of a page."""
    pages.main(arguments, ROOT)


if __name__ == "__main__":
    main(sys.argv[1:])
