"""Where the unlabelled images come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from semisup.data.labels.pools import make_pool
from semisup.data.labels.splits import hold_out, make_split
from semisup.data.labels.tags import Tags
from semisup.data.sets.folder import Folder
from semisup.data.verify import check_pool_apart, verify
from semisup.errors import DataError

Picture = Callable[..., Path]


def tags_of(data: Folder) -> Tags:
    return Tags(data.classes, {name: frozenset({1}) for name in sorted(data.ids)}, "xml")


def test_the_rest_is_what_has_neither_mask_nor_tags(folder_root: Path) -> None:
    data = Folder(folder_root, "all")
    split = make_split(data, "1/3", 0)
    pool = make_pool(data, "rest", split)
    assert pool.data is data
    assert pool.ids == split.unlabelled
    assert len(pool.ids) == 2
    assert pool.source == {"source": "rest"}
    tagged = make_split(data, "1/3", 0, tags=tags_of(data), tagged="all")
    assert make_pool(data, "rest", tagged).ids == ()


def test_all_is_every_image_but_the_held_out_ones(folder_root: Path) -> None:
    data = Folder(folder_root, "all")
    split = make_split(data, "all", 0)
    assert make_pool(data, "all", split).ids == ("one", "three", "two")
    training, held_out = hold_out(split, 1, 0)
    assert set(make_pool(data, "all", training, held_out).ids) == {*data.ids} - {*held_out}
    tagged = make_split(data, "1/3", 0, tags=tags_of(data))
    assert make_pool(data, "all", tagged).ids == ("one", "three", "two")


def test_a_list_that_states_kinds_leaves_images_out_of_all(
    folder_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("one mask\ntwo none\n")
    data = Folder(folder_root, "all")
    assert make_pool(data, "all", make_split(data, f"file:{tmp_path / 'list'}", 0)).ids == (
        "one",
        "two",
    )


def test_a_folder_without_the_held_out_images_that_lie_in_it(folder_root: Path) -> None:
    data = Folder(folder_root, "all")
    training, held_out = hold_out(make_split(data, "all", 0), 1, 0)
    pool = make_pool(data, f"folder:{folder_root / 'images'}", training, held_out)
    assert len(pool.ids) == 2
    assert {Path(name).stem for name in pool.ids} == {*data.ids} - {*held_out}
    assert pool.source["files"] == 3


def test_nothing_but_held_out_images_is_refused(folder_root: Path, tmp_path: Path) -> None:
    data = Folder(folder_root, "all")
    training, (held_out,) = hold_out(make_split(data, "all", 0), 1, 0)
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "link.png").symlink_to(data.image_path(data.index(held_out)))
    with pytest.raises(DataError, match="nothing but held-out images"):
        make_pool(data, f"folder:{tmp_path / 'pool'}", training, (held_out,))


def test_a_reported_image_in_the_folder_is_refused(
    folder_root: Path, tmp_path: Path, picture: Picture
) -> None:
    data, reported = Folder(folder_root), Folder(folder_root, "val")
    picture(tmp_path / "pool" / "fine.jpg")
    spec, split = f"folder:{tmp_path / 'pool'}", make_split(data, "1/2", 0)
    check_pool_apart(make_pool(data, spec, split).data, reported)
    check_pool_apart(make_pool(data, "all", split).data, reported)
    (tmp_path / "pool" / "sub").mkdir()
    (tmp_path / "pool" / "sub" / "link.png").symlink_to(reported.image_path(0))
    pool = make_pool(data, spec, split)
    with pytest.raises(DataError, match=r"sub/link\.png is image 'three' of subset 'val' of fold"):
        check_pool_apart(pool.data, reported)
    found = verify([data, reported, pool.data])
    assert [problem.file.name for problem in found.problems] == ["link.png"]


def test_verify_reads_photographs_without_masks(
    folder_root: Path, tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "pool" / "fine.jpg", (9, 5))
    picture(tmp_path / "pool" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    data = Folder(folder_root)
    pool = make_pool(data, f"folder:{tmp_path / 'pool'}", make_split(data, "all", 0))
    found = verify([data, pool.data])
    assert found.rows()[1] == ("folder:pool", "2", "9x5", "9x5", "-", "1")
    assert [problem.file.name for problem in found.problems] == ["torn.jpg"]
