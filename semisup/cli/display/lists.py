"""How `semisup data split --explain` prints what a list is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from semisup.data.labels.known_lists.explain import ExplainedList, Overlaps

NAMED = 3
"""Files and names that are shown; the rest is counted."""


def print_explained(found: ExplainedList, subset: str = "") -> None:
    """Name, number and hash; how often each class is there, and what contradicts itself.

    Args:
        found: what is to be said.
        subset: what the list is of, such as "voc train_aug, 10,582 images"; empty: not known.
    """
    from semisup.data.labels.known_lists.known import known_lists

    console = Console(highlight=False)
    facts = Table.grid(padding=(0, 2), pad_edge=False)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("list", escape(str(found.path)))
    if found.known is None:
        facts.add_row("known as", f"none of the {len(known_lists())} lists of the literature")
        if found.as_long:
            facts.add_row("as long as", escape(_some(found.as_long)))
    else:
        facts.add_row("known as", escape(found.known.name))
    facts.add_row("images", f"{len(found.ids):,}")
    facts.add_row("sha256", found.sha256)
    if found.known is not None:
        facts.add_row("in", escape(", ".join(found.known.sources)))
        if found.known.fine is not None:
            facts.add_row("fine", f"{found.known.fine:,}, in VOC's own train")
        if found.known.note:
            facts.add_row("note", escape(found.known.note))
    if subset:
        facts.add_row("subset", escape(subset))
    console.print(facts)
    if found.classes:
        console.print("labelled images with each class:")
        classes = Table()
        classes.add_column("class", overflow="fold")
        classes.add_column("images", justify="right")
        for name, count in found.classes.items():
            classes.add_row(escape(name), f"{count:,}")
        console.print(classes)
    for line in found.contradictions:
        console.print(f"bad: {line}", markup=False, soft_wrap=True)


def print_overlaps(found: Overlaps) -> None:
    """A row for each list that shares an id with the explained one."""
    console = Console(highlight=False)
    table = Table(title="lists that share images with it", title_justify="left")
    table.add_column("list", overflow="fold")
    for header in ("files", "images", "in common"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("relation", no_wrap=True)
    for row in found.rows:
        numbers = (f"{row.files:,}", f"{row.count:,}", f"{row.common:,}")
        table.add_row(escape(row.name), *numbers, row.relation)
    console.print(table)
    console.print(f"lists that share none: {found.apart:,}")
    if found.unread:
        names = _some([path.name for path in found.unread])
        console.print(f"no lists: {names}", markup=False, soft_wrap=True)


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
