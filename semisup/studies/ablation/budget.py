"""Annotation budgets: how many images so many seconds of a person's time come to.

What each kind of label costs is in `semisup.data.weak_labels.costs`, with the published sources; a
study may state other figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisup.data.formats.trees import folder_of, names_folder
from semisup.data.weak_labels.costs import Content, Costs, read_costs
from semisup.errors import suggest
from semisup.system.words import counted

BUDGET = "budget."
"""How the keys of a budget begin."""

MASKS, TAGS = "masks", "tags"
"""What a budget pays for, beside the kinds of weak label."""


@dataclass(frozen=True)
class Budget:
    """What there is to label, and what it costs.

    Attributes:
        images: of the subset that is trained on.
        content: of an image, on average.
        costs: seconds of each kind of label.
    """

    images: int
    content: Content
    costs: Costs

    def seconds_an_image(self, kind: str) -> float:
        """What one image costs.

        Args:
            kind: "masks", "tags", or one of weak label with its options, as `data.masks` has it.

        Raises:
            ValueError: no kind of label is called so.
            RecipeError: an option of it is unknown or out of its range.
        """
        if kind == MASKS:
            return self.costs.masks(self.content)
        if kind == TAGS:
            return self.costs.tags(self.content)
        from semisup.data.sets.drawn_masks import read_kind
        from semisup.data.weak_labels.writing import KINDS

        name = kind.partition(":")[0]
        if name not in KINDS:
            known = [MASKS, TAGS, *KINDS]
            raise ValueError(
                f"budget.kind = {kind!r}: no such kind of label.{suggest(name, known)}"
            )
        return read_kind(kind, "budget.kind").seconds(self.costs, self.content)

    def affords(self, seconds: float, kind: str) -> int:
        """How many images can be labelled.

        Raises:
            ValueError: not even one, more than there are, or no kind of label is called so.
        """
        each = self.seconds_an_image(kind)
        count = images_for(seconds, each)
        if count > self.images:
            raise ValueError(
                f"budget.seconds = {seconds:g}: all {counted(self.images, 'image')} cost "
                f"{each * self.images:,.0f} s; take no more."
            )
        return count

    def changes(self, seconds: float, kind: str) -> dict[str, str]:
        """The keys of a recipe that give so many images labels of this kind.

        Raises:
            ValueError: as `affords`.
        """
        key = "data.tagged" if kind == TAGS else "data.split"
        return {key: f"{self.affords(seconds, kind)}/{self.images}"}


def kind_paid(stated: str, masks: str) -> str:
    """What kind of label a budget pays for: what is stated, else that of the training masks.

    Args:
        stated: `budget.kind`; empty: it is not stated.
        masks: `data.masks` of the cell.

    Returns:
        As `Budget.seconds_an_image` reads it, with the options of the labels.

    Raises:
        ValueError: the two contradict each other, or a folder does not say what it holds.
        DataError: what lies beside the labels of a folder is damaged.
    """
    if not masks and stated in ("", MASKS, TAGS):
        return stated or MASKS  # and loads no torch
    from semisup.data.weak_labels.writing import KINDS

    if not masks:
        if stated.partition(":")[0] in KINDS:
            raise ValueError(
                f"budget.kind = {stated!r}, but the cell trains on whole masks. State data.masks = "
                f"{stated!r}."
            )
        return stated
    kind = _kind_in(folder_of(masks, "data.masks")) if names_folder(masks) else masks
    if not kind and not stated:
        raise ValueError(
            f"data.masks = {masks!r}: the folder does not say which labels it holds. State "
            "budget.kind."
        )
    if stated and kind and stated != TAGS and stated.partition(":")[0] != kind.partition(":")[0]:
        raise ValueError(
            f"budget.kind = {stated!r}, but data.masks = {masks!r} are {kind.partition(':')[0]}. "
            "Take budget.kind out."
        )
    return kind if kind and stated != TAGS else stated


def _kind_in(folder: Path) -> str:
    """The kind of weak label that a folder says it holds; empty where it does not."""
    from semisup.data.sets.drawn_masks import kind_and_options
    from semisup.data.weak_labels.manifest import MANIFEST, read_manifest
    from semisup.data.weak_labels.writing import KINDS

    if not (folder / MANIFEST).is_file():
        return ""
    content = read_manifest(folder / MANIFEST)
    name, options = content.get("kind"), content.get("options")
    if name not in KINDS or not isinstance(options, Mapping):
        return ""
    return kind_and_options(str(name), options)


def images_for(seconds: float, each: float) -> int:
    """How many images of `each` seconds are done in `seconds`.

    Raises:
        ValueError: not one.
    """
    if not each > 0:
        raise ValueError(f"an image costs {each:g} s: that is no cost")
    count = math.floor(seconds / each + 1e-9)
    if count < 1:
        raise ValueError(f"budget.seconds = {seconds:g}: one image costs {each:.1f} s; take more.")
    return count


_CONTENT = {"asked": 20.0, "classes": 1.5, "objects": 2.8, "grounds": 0.0}
"""Of an image of Pascal VOC on average (Bearman et al. 2016)."""


def read_budget(stated: Mapping[str, Any]) -> Budget | None:
    """`[budget]` of a study; None where it states nothing.

    Raises:
        ValueError: a key is unknown or no number.
    """
    if not stated:
        return None
    known = ("images", "costs", *_CONTENT)
    for key in stated:
        if key in ("seconds", "kind"):
            raise ValueError(f"'budget.{key}' is of the cells: state it in [axes] or in [set].")
        if key not in known:
            raise ValueError(f"there is no key 'budget.{key}'.{suggest(key, known)}")
    images = stated.get("images")
    if not isinstance(images, int) or isinstance(images, bool) or images < 1:
        raise ValueError(f"'budget.images' = {images!r}: is how many images are trained on.")
    content = {
        key: _number(f"budget.{key}", stated.get(key, usual), 0) for key, usual in _CONTENT.items()
    }
    return Budget(images, Content(**content), _costs(stated.get("costs", {})))


def _costs(stated: Any) -> Costs:
    """The published costs with those that a study states."""
    table = {kind: dict(row) for kind, row in read_costs().table.items()}
    if not isinstance(stated, Mapping):
        raise ValueError(f"[budget.costs] must be a table, not {stated!r}.")
    for kind, row in stated.items():
        where = f"budget.costs.{kind}"
        if kind not in table:
            raise ValueError(f"'{where}': no such kind of label.{suggest(kind, table)}")
        if not isinstance(row, Mapping):
            raise ValueError(f"'{where}' = {row!r} is no table, such as {table[kind]}.")
        for key, value in row.items():
            if key not in table[kind]:
                raise ValueError(f"there is no key '{where}.{key}'.{suggest(key, table[kind])}")
            table[kind][key] = _number(f"{where}.{key}", value, 0)
    return Costs(table)


def _number(key: str, value: Any, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9:
        raise ValueError(f"'{key}' = {value!r}: is a number of {least:g} or more.")
    return float(value)
