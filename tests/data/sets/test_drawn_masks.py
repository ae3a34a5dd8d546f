"""Weak labels that are drawn from the masks of a data set as they are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from semisup.cli.main import cli
from semisup.data.labels.pools import make_weak_pool
from semisup.data.labels.splits import make_split
from semisup.data.sets.drawn_masks import DrawnMasks, describe, read_kind, with_masks
from semisup.data.sets.masks_in_folder import MasksInFolder
from semisup.data.sets.scenes.dataset import Scenes
from semisup.data.weak_labels.costs import read_costs
from semisup.data.weak_labels.points import Points
from semisup.data.weak_labels.writing import KINDS, write_weak_labels
from semisup.data.without_classes import WithoutClasses
from semisup.errors import RecipeError


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    return Scenes(tmp_path_factory.mktemp("scenes"), "train", train=4, val=1, test=1, size=(48, 64))


@pytest.mark.parametrize("name", KINDS)
def test_what_is_drawn_is_what_weaken_writes(name: str, scenes: Scenes, tmp_path: Path) -> None:
    write_weak_labels(tmp_path / "out", scenes, KINDS[name](), seed=3, costs=read_costs())
    drawn = with_masks(scenes, name, 3)
    written = with_masks(scenes, f"folder:{tmp_path / 'out'}", 3)
    assert isinstance(drawn, DrawnMasks)
    assert isinstance(written, MasksInFolder)
    for index in range(len(scenes)):
        torch.testing.assert_close(drawn.mask(index), written.mask(index), rtol=0, atol=0)
        assert not torch.equal(drawn.mask(index), scenes.mask(index))


def test_colours_are_compared_with_the_labels_of_the_files(scenes: Scenes) -> None:
    """Where classes are left out, the palette is that of the numbers in the files."""
    fewer = WithoutClasses(scenes, scenes.classes[1:2])
    assert with_masks(fewer, "points", 0).as_stored is scenes
    assert with_masks(scenes, "points", 0).classes == scenes.classes


def test_another_seed_draws_others(scenes: Scenes) -> None:
    first, second = (with_masks(scenes, "points", seed).mask(0) for seed in (0, 1))
    assert not torch.equal(first, second)


def test_options_are_written_behind_the_kind() -> None:
    kind = read_kind("points: clicks=2 ,radius=3,miss_rate=0.5,per=class", "data.masks")
    assert isinstance(kind, Points)
    assert vars(kind) == {"clicks": 2, "radius": 3, "miss_rate": 0.5, "per": "class"}
    assert vars(read_kind("points:", "data.masks")) == vars(Points())


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("pionts", "no such kind of label. Did you mean 'points'? Or write \"folder:PATH\""),
        ("points:click=2", "there is no key 'click'. Did you mean 'clicks'?"),
        ("points:clicks", "options are written once each, such as points:clicks=2,radius=3"),
        ("points:clicks=1,clicks=2", "options are written once each"),
        ("points:clicks=x", "'clicks' = 'x'"),
        ("points:clicks=0", "points need clicks >= 1"),
        ("/labels", "no such kind of label"),
    ],
)
def test_a_wrong_kind_or_option_names_the_key(spec: str, expected: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(expected)) as error:
        read_kind(spec, "data.masks")
    assert str(error.value).startswith(f"data.masks = {spec!r}: ")


def test_the_record_says_kind_and_options_and_no_seed(scenes: Scenes) -> None:
    one, other = (with_masks(scenes, spec, 0).source for spec in ("points", "points:clicks=2"))
    assert one["source"] == "points:clicks=1,miss_rate=0.0,per=object,radius=2"
    assert one["sha256"] != other["sha256"]
    assert with_masks(scenes, "points", 1).source == one == describe("points", "data.masks")
    again = with_masks(scenes, one["source"], 0)
    assert again.source == one, "what is recorded can be written into a recipe"


def test_weak_masks_are_of_the_images_without_a_mask(scenes: Scenes) -> None:
    split = make_split(scenes, "1/2", 0)
    pool = make_weak_pool(scenes, "scribbles", split, 5)
    assert set(pool.ids) == set(scenes.ids) - set(split.labelled)
    index = scenes.index(pool.ids[0])
    drawn = with_masks(scenes, "scribbles", 5).mask(index)
    torch.testing.assert_close(pool.data.mask(index), drawn, rtol=0, atol=0)


def test_they_can_be_looked_at(scenes: Scenes, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    words = ["data", "show", "scenes", "--data-root", str(scenes.root.parent)]
    done = CliRunner().invoke(cli, [*words, "--masks", "points:radius=4", "--to", str(sheet)])
    assert done.exit_code == 0, done.output
    assert sheet.is_file()
