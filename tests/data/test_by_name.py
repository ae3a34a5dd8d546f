"""A data set under the class list of another one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.runs import make_set, relabelled

from semisup.data.by_name import ClassesByName, listed
from semisup.data.sets.folder import Folder
from semisup.errors import DataError


def test_masks_under_the_names_of_another_list(tmp_path: Path) -> None:
    make_set(data := tmp_path / "data")
    wider = relabelled(data, tmp_path / "wider", ("tree", "water", "ground", "sky"), (2, 3, 0))
    own, other = Folder(data, "val"), Folder(wider, "val")
    mapped = ClassesByName(other, own.classes, own.palette)
    assert (mapped.classes, mapped.palette, mapped.absent) == (own.classes, own.palette, ())
    assert all(torch.equal(mapped.mask(i), own.mask(i)) for i in range(len(own)))
    assert torch.equal(mapped.image(1), own.image(1))
    assert mapped.facts()["classes_made_void"] == ["water"]
    with pytest.raises(DataError, match="its classes are ground, sky, tree, those of the run are"):
        ClassesByName(own, ("sky", "road"), own.palette[:2])


def test_long_lists_of_classes_are_cut() -> None:
    names = [f"c{n}" for n in range(150)]
    assert listed(names).endswith("c28, c29 and 120 more")
    assert listed(["a\nb", "c"]) == "a\\nb, c"
