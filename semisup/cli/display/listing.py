"""What `semisup list` shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from semisup.models.base import Segmenter

COUNT_CLASSES = 21
"""Classes at which networks are measured: Pascal VOC."""

COUNT_SIDE = 320
"""Side of the image for which multiply-adds are counted, that of DecoupledNet."""

STRIDE_SIDE = 448
"""Side of a square image that every output stride divides, that of a patch of 14 too."""

ARXIV = "https://arxiv.org/abs/"


def entries(kind: str) -> list[dict[str, Any]]:
    """Name and one line of each entry; models with their size, cost, output stride and paper.

    What is from outside the package says from where ("from"). Keys of a model are in every row:
    what cannot be measured, or is in no paper, is None.
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
            row |= measured(name)
        outside = catalog.OUTSIDE.get((catalog.kind_of(cls), name))
        if outside is not None:
            row["from"] = outside.plugin
        rows.append(row | {"about": _first_line(cls)})
    return rows


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
    table = Table(title=kind, title_justify="left", caption_justify="left")
    table.add_column("name", no_wrap=True)
    columns = MEASURES if any("parameters" in row for row in rows) else {}
    for header in columns:
        table.add_column(header, justify="right")
    outside = any("from" in row for row in rows)
    if outside:
        table.add_column("from")
    if columns:
        table.caption = CAPTION
    else:
        table.add_column("about")
    for row in rows:
        measures = [escape(show(row)) for show in columns.values()]
        origin = [escape(row.get("from", ""))] if outside else []
        about = [] if columns else [escape(row["about"])]
        table.add_row(escape(row["name"]), *measures, *origin, *about)
    Console(highlight=False).print(table)


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
