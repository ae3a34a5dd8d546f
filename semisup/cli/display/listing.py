"""What `semisup list` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

COUNT_CLASSES = 21
"""Classes at which parameters are counted: Pascal VOC."""


def entries(kind: str) -> list[dict[str, Any]]:
    """Name and one line of each entry; models with their parameters at 21 classes.

    What is from outside the package says from where ("from").
    """
    if kind == "recipes":
        return _recipes()
    from semisup import catalog

    tables: dict[str, dict[str, type]] = {
        "models": dict(catalog.MODELS),
        "methods": dict(catalog.METHODS),
        "datasets": dict(catalog.DATASETS),
    }
    rows = []
    for name, cls in sorted(tables[kind].items()):
        row: dict[str, Any] = {"name": name}
        if kind == "models":
            row["parameters"] = count_parameters(name)
        outside = catalog.OUTSIDE.get((catalog.kind_of(cls), name))
        if outside is not None:
            row["from"] = outside.plugin
        rows.append(row | {"about": _first_line(cls)})
    return rows


def count_parameters(model: str) -> int:
    """Learnable parameters at 21 classes, without memory for them."""
    import torch

    from semisup.catalog import create_model

    with torch.device("meta"):
        network = create_model(model, COUNT_CLASSES)
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _recipes() -> list[dict[str, Any]]:
    from semisup.recipe.load import shipped_recipes

    rows = []
    for name, path in shipped_recipes().items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        rows.append({"name": name, "about": first.lstrip("# ")})
    return rows


def _first_line(cls: type) -> str:
    return next(iter((cls.__doc__ or "").strip().splitlines()), "")


def print_entries(kind: str, rows: Sequence[dict[str, Any]]) -> None:
    """A table for people."""
    table = Table(title=kind, title_justify="left")
    table.add_column("name", no_wrap=True)
    counted = any("parameters" in row for row in rows)
    if counted:
        table.add_column(f"parameters ({COUNT_CLASSES} classes)", justify="right")
    outside = any("from" in row for row in rows)
    if outside:
        table.add_column("from")
    table.add_column("about")
    for row in rows:
        count = [f"{row['parameters']:,}"] if counted else []
        origin = [escape(row.get("from", ""))] if outside else []
        table.add_row(escape(row["name"]), *count, *origin, escape(row["about"]))
    Console(highlight=False).print(table)
