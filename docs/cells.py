"""A page of the site from a notebook: docs/notebooks/*.ipynb, without Jupyter.

The notebooks are kept without outputs, which would be out of date; a test runs their cells.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from semisup.errors import SemisupError

NOTEBOOKS = Path(__file__).parent / "notebooks"


def cells(notebook: Path) -> list[tuple[str, str]]:
    """Kind ("markdown" or "code") and text of each cell.

    Raises:
        SemisupError: it is no notebook, or a cell has an output.
    """
    content: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8"))
    if content.get("nbformat") != 4:
        raise SemisupError(f"{notebook}: is no notebook of format 4.")
    found = []
    for number, cell in enumerate(content["cells"], 1):
        if cell.get("outputs") or cell.get("execution_count"):
            raise SemisupError(f"{notebook}: cell {number} has an output; clear it.")
        found.append((cell["cell_type"], "".join(cell["source"])))
    return found


def notebook_page(notebook: Path) -> str:
    """The notebook as Markdown, with a link to the file."""
    parts = []
    for kind, text in cells(notebook):
        parts.append(f"```python\n{text}\n```\n" if kind == "code" else f"{text}\n")
    title, *rest = parts
    link = f"[Download this page as a notebook](../notebooks/{notebook.name}){{ download }}.\n"
    return "\n".join([title, link, *rest])
