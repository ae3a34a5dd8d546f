"""What `semisup list` shows."""

from __future__ import annotations

import difflib
import itertools
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semisup.models.base import Segmenter

COUNT_CLASSES = 21
"""Classes at which networks are measured: Pascal VOC."""

COUNT_SIDE = 320
"""Side of the image for which multiply-adds are counted, that of DecoupledNet."""

STRIDE_SIDE = 448
"""Side of a square image that every output stride divides, that of a patch of 14 too."""

ARXIV = "https://arxiv.org/abs/"

_KINDS = {"models": "model", "methods": "method", "datasets": "data set"}
"""What is listed -> the kind of the catalogue."""


def entries(kind: str) -> list[dict[str, Any]]:
    """Name and one line of each entry; models with their size, cost, output stride and paper.

    What is from outside the package says from where ("from"). Keys of a model are in every row:
    what cannot be measured, or is in no paper, is None.
    """
    if kind == "recipes":
        return _recipes()
    if kind == "studies":
        return _studies()
    from semisup import catalog

    table = catalog.KINDS[_KINDS[kind]]
    rows = []
    for name in sorted(table):
        row: dict[str, Any] = {"name": name}
        if kind == "models":
            row |= table.known(name) or measured(name)
        outside = catalog.OUTSIDE.get((table.kind, name))
        if outside is not None:
            row["from"] = outside.plugin
        rows.append(row | {"about": table.about(name)})
    return rows


def nearest_part(word: str, names: Iterable[str]) -> str:
    """The part of a name that is nearest to a word; empty where it is in one, or none is near."""
    names = list(names)
    if any(word.lower() in name.lower() for name in names):
        return ""
    parts = {part for name in names for part in (*name.split("/"), *re.split(r"[/_]", name))}
    near = difflib.get_close_matches(word.lower(), sorted(parts), n=1, cutoff=0.7)
    return near[0] if near else ""


def measured(model: str) -> dict[str, Any]:
    """Parameters, multiply-adds, output stride, paper and year of a network with its defaults."""
    network = _without_memory(model)
    return {
        "parameters": _learnable(network),
        "multiply_adds": count_multiply_adds(network),
        "image": [COUNT_SIDE, COUNT_SIDE],
        "output_stride": output_stride(network),
        "paper": network.paper or None,
        "year": network.year,
    }


def count_parameters(model: str) -> int:
    """Learnable parameters at 21 classes, without memory for them."""
    return _learnable(_without_memory(model))


def count_multiply_adds(network: Segmenter, side: int = COUNT_SIDE) -> int | None:
    """Multiply-adds of convolutions and matrix products for one square image, by torch's counter.

    Args:
        network: on the meta device, in eval mode.
        side: of the image, in pixels.

    Returns:
        None where the network cannot run on the meta device: one from outside the package, or one
        whose cost depends on how many boxes it finds.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    image = torch.empty(1, network.in_channels, side, side, device="meta")
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            network(image)
    except Exception:  # whatever code from outside may do: it is no reason to list nothing
        return None
    return int(counter.get_total_flops()) // 2


def output_stride(network: Segmenter, side: int = STRIDE_SIDE) -> int | None:
    """Pixels of the image to one of the deepest map of `encode`.

    By how much the map grows with the image: borders that are cut or padded do not count.

    Args:
        network: on the meta device, in eval mode.
        side: of a square image, in pixels; the other image has twice that.

    Returns:
        None where the network, one from outside the package, cannot run on the meta device.
    """
    import torch

    try:
        with torch.no_grad():
            small, large = (
                min(
                    maps.shape[-1]
                    for maps in network.encode(
                        torch.empty(1, network.in_channels, length, length, device="meta")
                    )
                )
                for length in (side, 2 * side)
            )
    except Exception:  # as above
        return None
    if large == small:  # it brings every image to a size of its own
        return round(COUNT_SIDE / small)
    return round(side / (large - small))


def _without_memory(model: str) -> Segmenter:
    import torch

    from semisup.catalog import create_model

    with torch.device("meta"):
        return create_model(model, COUNT_CLASSES).eval()


def _learnable(network: Segmenter) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _recipes() -> list[dict[str, Any]]:
    from semisup.catalog import DATASETS
    from semisup.recipe.load import shipped_recipes, stated_in

    rows = []
    for name, path in shipped_recipes().items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        stated = stated_in(name)
        data = stated["data.name"]
        split = str(stated.get("data.split", DATASETS.value(data, "default_split")))
        rows.append(
            {
                "name": name,
                "data": data,
                "method": stated["method.name"],
                "model": stated["model.name"],
                "split": split,
                "about": first.lstrip("# "),
            }
        )
    return rows


def _studies() -> list[dict[str, Any]]:
    from semisup.studies.ablation.study import read_study, shipped_studies

    rows = []
    for name in shipped_studies():
        study = read_study(name)
        axes = ", ".join(f"{len(axis.values)} {axis.name}" for axis in study.axes)
        rows.append(
            {
                "name": name,
                "axes": axes,
                "cells": sum(1 for _ in study.points()) * len(study.seeds),
                "about": study.about,
            }
        )
    return rows


def matching(rows: Sequence[dict[str, Any]], words: Sequence[str]) -> list[dict[str, Any]]:
    """The rows in which every word occurs, in the name or any other text but the description.

    Args:
        rows: as `entries` gives them.
        words: what to look for, in any case.
    """
    return [row for row in rows if all(_has(row, word.lower()) for word in words)]


def _has(row: Mapping[str, Any], word: str) -> bool:
    texts = (value for key, value in row.items() if key != "about" and isinstance(value, str))
    return any(word in text.lower() for text in texts)


def print_entries(kind: str, rows: Sequence[dict[str, Any]], *, width: int = 0) -> None:
    """A line for each entry.

    Args:
        kind: of them.
        rows: as `entries` gives them.
        width: columns of the terminal, into which each line is fitted; 0: of no terminal: values
            with a tab between two, whole.
    """
    import click

    lines: Iterable[str]
    if not width:
        lines = ("\t".join(map(_plain, row.values())) for row in rows)
    elif kind == "recipes":
        lines = _tree(rows, width)
    else:
        lines = _columns(kind, rows, width)
    for line in lines:
        click.echo(line)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "-" if value is None else str(value)


def _columns(kind: str, rows: Sequence[dict[str, Any]], width: int) -> Iterator[str]:
    """Names with what is measured of them, or their first line."""
    measures = MEASURES if any("parameters" in row for row in rows) else {}
    table = [
        [row["name"], *(show(row) for show in measures.values()), *_origin(row, rows)]
        for row in rows
    ]
    heads = ["name", *measures, *([""] if table and len(table[0]) > 1 + len(measures) else [])]
    table = [heads, *table] if measures else table
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    yield _title(kind, len(rows))
    texts = ["" if measures else row["about"] for row in rows]
    for cells, text in zip(table, ["", *texts] if measures else texts, strict=True):
        name, *others = (
            cell.ljust(space) if not number or number > len(measures) else cell.rjust(space)
            for number, (cell, space) in enumerate(zip(cells, widths, strict=True))
        )
        yield fitted("  " + "  ".join([name, *others, text]).rstrip(), width)
    if measures:
        yield from textwrap.wrap(CAPTION, width)


def _origin(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where an entry is from, in a list with one from outside."""
    return [row.get("from", "")] if any("from" in other for other in rows) else []


def _title(kind: str, count: int) -> str:
    return f"{kind} ({count})"


def _tree(rows: Sequence[dict[str, Any]], width: int) -> Iterator[str]:
    """Recipes below their folders: each name whole, and as many of the columns as there is room."""
    yield _title("recipes", len(rows))
    placed = sorted(rows, key=lambda row: row["name"].rpartition("/")[::2])
    for folder, group in itertools.groupby(placed, key=lambda row: row["name"].rpartition("/")[0]):
        yield from _branch(f"{folder}/" if folder else "", list(group), width)


def _branch(folder: str, rows: Sequence[dict[str, Any]], width: int) -> Iterator[str]:
    """One folder: its name and the heads of the columns, and a line for each recipe."""
    names = [row["name"].removeprefix(folder) for row in rows]
    ends = [_published(row["about"]) for row in rows]
    least = max((len(end) + 2 for end in ends if end.startswith(_PAPER)), default=0)
    title = f"{folder} ({len(rows)})" if folder else ""
    first = max(map(len, [*names, title[2:]]))
    spare = width - 2 - first - least
    columns = {}
    for key in ("split", "model", "method"):  # the name of a recipe says most of the latter
        texts = [_HEADS[key], *(_masks(row[key]) for row in rows)]
        needed = max(map(len, texts)) + 2
        if needed <= spare:
            columns[key] = texts
            spare -= needed
    chosen = [columns[key] for key in ("method", "model", "split") if key in columns]
    widths = [first + 2, *(max(map(len, column)) for column in chosen), 0]
    room = width - sum(widths) - 2 * (len(widths) - 1)
    ends = [end if room >= len(end) or room >= _WORTH_IT else "" for end in ends]
    table = [[title, *(f"  {name}" for name in names)], *chosen, ["", *ends]]
    for cells in zip(*table, strict=True):
        padded = (cell.ljust(space) for cell, space in zip(cells, widths, strict=True))
        yield fitted("  ".join(padded).rstrip(), width)


_HEADS = {"method": "method", "model": "model", "split": "masks"}

_PAPER = "paper "

_WORTH_IT = 16
"""Columns from which on the beginning of a description says something."""


def _masks(text: str) -> str:
    """A split in short, a list by the name of its file; any other text as it is."""
    if not text.startswith("file:"):
        return text
    return text.removeprefix("file:").rpartition("/")[2].removesuffix(".txt")


def _published(about: str) -> str:
    """The number that a paper or its code states, where the line has one; else its first words."""
    found = re.search(r"(?:Theirs|Paper): (\d[\d.]*\d)", about)
    return f"{_PAPER}{found[1]}" if found else about


def fitted(line: str, width: int) -> str:
    """A line that has at most `width` columns."""
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def _shown(value: object, pattern: str = "{}") -> str:
    return "-" if value is None else pattern.format(value)


def _giga(row: dict[str, Any]) -> str:
    count = row["multiply_adds"]
    return _shown(None if count is None else count / 1e9, "{:,.1f}")


def _paper(row: dict[str, Any]) -> str:
    return _shown(row["paper"]).removeprefix(ARXIV)


MEASURES: dict[str, Callable[[dict[str, Any]], str]] = {
    "parameters": lambda row: _shown(row["parameters"], "{:,}"),
    "GMACs": _giga,
    "stride": lambda row: _shown(row["output_stride"]),
    "year": lambda row: _shown(row["year"]),
    "paper (arXiv)": _paper,
}
"""Columns of the table of models, each with how it shows a row."""

CAPTION = (
    f"With the defaults and {COUNT_CLASSES} classes. GMACs: 10^9 multiply-adds for an image of "
    f"{COUNT_SIDE} x {COUNT_SIDE}. Stride: pixels of the image to one of the deepest map."
)
