"""How `semisup data stats` prints what it measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from semisup.system.words import counted

if TYPE_CHECKING:
    from semisup.data.image_formats import ImageStatistics

_COLUMNS = ("channel", "mean", "std", "lowest", "highest")


def print_statistics(found: ImageStatistics) -> None:
    """A row for each channel; what is constant; what a run makes of it."""
    from semisup.ops.pixels import RGB

    console = Console(highlight=False)
    largest = 2**found.kind.bits - 1
    title = (
        f"{found.kind}, {counted(found.images, 'image')} (mean and std in shares of {largest:,})"
    )
    table = Table(title=title, title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    columns = (found.mean, found.std, found.lowest, found.highest)
    for number, (mean, std, low, high) in enumerate(zip(*columns, strict=True), start=1):
        table.add_row(str(number), f"{mean:.6f}", f"{std:.6f}", f"{low:,}", f"{high:,}")
    console.print(table)
    for channel in found.constant:
        console.print(f"warning: channel {channel} has one value everywhere", soft_wrap=True)
    used = "the mean and std of ImageNet's images" if found.kind == RGB else "this mean and std"
    console.print(f"A run normalises such images by {used}.", soft_wrap=True)
