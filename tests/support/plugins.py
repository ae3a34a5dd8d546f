"""A catalogue to register in, and what plug-ins of tests are made of."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from semisup import catalog, plugins

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture
def outside() -> Iterator[None]:
    """What a test registers or imports from outside is forgotten after it."""
    tables = [*catalog.KINDS.values(), catalog.OUTSIDE]
    before = [dict(table) for table in tables]
    modules, path = set(sys.modules), list(sys.path)
    _forget()
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)
    for name in set(sys.modules) - modules:
        if not name.startswith("semisup."):
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if "site-packages" not in origin and "/lib/python" not in origin:
                del sys.modules[name]
    sys.path[:] = path
    _forget()


def _forget() -> None:
    catalog.load_installed.cache_clear()
    plugins._files.cache_clear()


def code_lines(path: Path) -> int:
    """Lines of code of a file: neither blank, nor a comment, nor a docstring."""
    source = path.read_text(encoding="utf-8")
    lines = {
        number
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#")
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            assert node.end_lineno is not None
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)
