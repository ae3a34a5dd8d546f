"""The literature's lists: known by their ids, in whatever dress; their overlaps as measured."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from semisup.catalog import DATASETS
from semisup.data.formats.id_lists import canonical_id, read_bare_list
from semisup.data.labels.known_lists.explain import explain_list, overlaps
from semisup.data.labels.known_lists.known import (
    REPOSITORIES,
    KnownList,
    known_lists,
    read_table,
    sha256_of,
)
from semisup.data.labels.splits import make_split, write_split
from semisup.data.sets.cityscapes import Cityscapes
from semisup.data.sets.folder import Folder
from semisup.data.sets.voc import Voc
from semisup.errors import DataError

NO_LISTS = {"classes.txt", "classes-59.txt", "classes-400.txt", "val_label.txt"}
"""Files of the collection that list no images."""

BY_NAME = {known.name: known for known in known_lists().values()}

explained = functools.cache(explain_list)

Ids = Callable[[str], frozenset[str]]


@pytest.fixture
def lists(shared_data: Path) -> Path:
    """The literature's lists, a folder for each project."""
    return shared_data / "lists"


@pytest.fixture
def ids_of(lists: Path) -> Ids:
    """Name of a known list -> its ids, from whichever project has it."""
    found = {}
    for path in sorted(lists.rglob("*.txt")):
        if path.name not in NO_LISTS:
            one = explained(path)
            if one.known is not None:
                found[one.known.name] = frozenset(one.ids)
    return found.__getitem__


def test_the_table_is_well_formed() -> None:
    assert len(BY_NAME) == len(known_lists())
    for sha256, known in known_lists().items():
        assert re.fullmatch(r"[0-9a-f]{64}", sha256), known
        assert known.count > 0
        assert known.sources
        assert set(known.sources) <= REPOSITORIES.keys(), known
        assert known.fine is None or known.fine <= min(known.count, 1464), known
        assert known.dataset in {*DATASETS, "nyudv2", "siftflow"}, known
        assert re.fullmatch(r"[a-z0-9]+-\S+", known.name), known


def test_a_table_is_read() -> None:
    text = "\n# head\nvoc-9-x 9 4 CPS U2PL\n  abc\n  a note\n# more\nade20k-8-y 8 - CCT\n  def\n"
    assert list(read_table(text)) == [
        KnownList("voc-9-x", 9, "abc", ("CPS", "U2PL"), 4, "a note"),
        KnownList("ade20k-8-y", 8, "def", ("CCT",)),
    ]


def test_the_hash_is_that_of_the_sorted_lines() -> None:
    # printf 'b\na\nb\n' | LC_ALL=C sort -u | sha256sum
    expected = "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2"
    assert sha256_of(["b", "a", "b"]) == sha256_of(("a", "b")) == expected


def test_every_list_of_the_collection_is_known(lists: Path) -> None:
    for path in sorted(lists.rglob("*.txt")):
        if path.name in NO_LISTS:
            continue
        found = explained(path)
        assert found.known is not None, path
        assert found.known.count == len(found.ids), path
        assert found.contradictions == (), path
        project = path.relative_to(lists).parts[0].replace("+", "/")
        assert project in " ".join(REPOSITORIES[name] for name in found.known.sources), path


def test_what_is_no_list_of_images_is_not_known(lists: Path) -> None:
    for path in lists.rglob("*.txt"):
        if path.name in NO_LISTS:
            assert explained(path).known is None, path


def test_no_list_is_known_that_is_nowhere(lists: Path, shared_data: Path) -> None:
    """But for those that a program cuts from an order, of which a test is below."""
    files = [*lists.rglob("*.txt"), *shared_data.glob("voc2012/official_lists/*.txt")]
    here = {explained(path).sha256 for path in files if path.name not in NO_LISTS}
    beyond = {known.name for sha256, known in known_lists().items() if sha256 not in here}
    assert beyond == {
        *(f"voc-1/{share}-cutmix_seg" for share in (100, 50, 8)),
        *(f"voc-1/{share}-s4gan" for share in (50, 20, 8)),
    }


def test_the_shares_of_one_order_are_known(lists: Path) -> None:
    """Those of Hung's kind: the first of split_0.pkl, positions in train_aug.txt."""
    names = (lists / "sud0301+semisup-semseg/data/voc_list/train_aug.txt").read_text().split()
    content = (lists / "sud0301+semisup-semseg/splits/voc/split_0.pkl").read_bytes()
    length = 8 * len(names)
    start = content.index(b"B" + length.to_bytes(4, "little")) + 5  # an array's bytes, BINBYTES
    order = np.frombuffer(content[start : start + length], "<i8")
    assert sorted(order) == list(range(len(names)))
    for known in known_lists().values():
        if known.name.endswith(("-s4gan", "-cutmix_seg")):
            assert sha256_of(names[place] for place in order[: known.count]) == known.sha256
    assert int(0.125 * len(names)) == BY_NAME["voc-1/8-s4gan"].count
    assert int(0.02 * len(names)) == BY_NAME["voc-1/50-s4gan"].count


def test_the_literatures_overlaps(ids_of: Ids) -> None:
    common = {
        ("voc-1/16-cps", "voc-1464-classic"): 93,
        ("voc-1/8-cps", "voc-1464-classic"): 193,
        ("voc-1/4-cps", "voc-1464-classic"): 388,
        ("voc-1/16-u2pl", "voc-1464-classic"): 662,
        ("voc-1/8-u2pl", "voc-1464-classic"): 1323,
        ("voc-1/4-u2pl", "voc-1464-classic"): 1464,
        ("voc-1/16-cps", "voc-1/16-u2pl"): 43,
        ("voc-1/16-cps", "voc-1/16-st++-0"): 44,
        ("voc-92-classic", "voc-183-classic"): 9,
        ("voc-366-classic", "voc-732-classic"): 188,
        ("cityscapes-1/16-cps", "cityscapes-1/16-u2pl"): 8,
        ("cityscapes-1/8-cps", "cityscapes-1/8-u2pl"): 48,
        ("cityscapes-1/4-cps", "cityscapes-1/4-u2pl"): 182,
    }
    found = {pair: len(ids_of(pair[0]) & ids_of(pair[1])) for pair in common}
    assert found == common


def test_which_families_are_nested(ids_of: Ids) -> None:
    def nested(*names: str) -> bool:
        sets = [ids_of(name) for name in names]
        return all(small < large for small, large in pairwise(sets))

    assert nested(*(f"voc-1/{share}-cps" for share in (16, 8, 4, 2)))
    assert nested(*(f"cityscapes-1/{share}-cps" for share in (16, 8, 4)))
    assert not nested("voc-92-classic", "voc-183-classic")
    assert not nested("voc-366-classic", "voc-732-classic")


def test_how_many_ids_are_finely_labelled(ids_of: Ids) -> None:
    own = ids_of("voc-1464-classic")
    for known in known_lists().values():
        if known.fine is not None and not known.name.endswith(
            ("-s4gan", "-cutmix_seg", "trainval")
        ):
            assert len(ids_of(known.name) & own) == known.fine, known.name


def test_the_ids_of_the_data_sets_are_canonical(cityscapes_root: Path, voc_root: Path) -> None:
    for data in (Cityscapes(cityscapes_root), Voc(voc_root)):
        for index, name in enumerate(data.ids):
            for path in (data.image_path(index), data.mask_path(index)):
                assert canonical_id(str(path)) == name
            assert canonical_id(name) == name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("2007_000033", "2007_000033"),
        ("  2007_000033.jpg ", "2007_000033"),
        ("/JPEGImages/2007_000033.jpg /SegmentationClassAug/2007_000033.png", "2007_000033"),
        ("a\\JPEGImages\\2007_000033.JPG", "2007_000033"),
        ('"2007_000033"', "2007_000033"),
        ("train2017/000000177254", "000000177254"),
        ("2007_000033 mask", "2007_000033"),
        ("images/x.jpg,masks/x.png", "x"),
        ("images/with space.jpg", "with space"),
        ("images/e\u0301.png", "\u00e9"),
        (
            "/images/train/jena_000078_000019.png\t/s/jena_000078_000019_gtFine.png",
            "jena_000078_000019",
        ),
        ("x_gtFine_labelTrainIds.png", "x"),
        ("x_leftImg8bit.png", "x"),
    ],
)
def test_an_id_in_every_dress(tmp_path: Path, line: str, name: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"# a comment\n\n{line}")
    assert [entry.id for entry in read_bare_list(path)] == [name]


def plain(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_list_that_contradicts_itself(tmp_path: Path) -> None:
    path = plain(tmp_path / "list.txt", "a", "b", "images/a.png", "c.png d.png", "b")
    found = explain_list(path)
    assert found.ids == ("a", "b")
    two, twice = found.contradictions
    assert two == (
        "line 4: 'c.png d.png' names two images, 'c' and 'd'; a line is one: correct the list"
    )
    assert twice.startswith("2 ids are named more than once, such as 'a' on lines 1 and 3: remove")
    assert found.sha256 == explain_list(plain(tmp_path / "other.txt", "b", "a")).sha256


def test_a_list_that_labels_nothing(tmp_path: Path) -> None:
    for lines in ([], ["# a"], ["a none"], ["b tags"]):
        with pytest.raises(DataError, match=r"list\.txt: labels no image"):
            explain_list(plain(tmp_path / "list.txt", *lines))
    with pytest.raises(DataError, match=r"order\.pkl is no text: give a list"):
        explain_list(tmp_path / "order.pkl")
    with pytest.raises(DataError, match=r"cannot read the list .*no\.txt"):
        explain_list(tmp_path / "no.txt")


def test_a_list_beside_the_data_set_that_it_is_of(tmp_path: Path, voc_root: Path) -> None:
    data = Voc(voc_root)
    found = explain_list(plain(tmp_path / "list.txt", "JPEGImages/2007_000001.jpg"), data)
    assert (found.ids, found.contradictions) == (("2007_000001",), ())
    assert {name for name, count in found.classes.items() if count} == {
        *("background", "dog", "person")
    }
    path = plain(tmp_path / "list.txt", "2007_000001", "2007_000003", "2007_000009")
    (line,) = explain_list(path, data).contradictions
    assert line == (
        "line 2: '2007_000003' is no image of voc train (1 other line cannot be used either): "
        "correct the list, or choose the subset that it was made for"
    )
    assert explain_list(path).contradictions == ()


def test_an_image_without_a_mask_is_said(tmp_path: Path, voc_root: Path) -> None:
    class Unmasked(Voc):
        def has_mask(self, index: int) -> bool:
            return self.ids[index] != "2007_000002"

    path = plain(tmp_path / "list.txt", "2007_000001", "2007_000002")
    found = explain_list(path, Unmasked(voc_root))
    assert found.contradictions == (
        "1 image of voc train without a mask is to be labelled, such as '2007_000002': add the "
        "mask, or drop the line",
    )
    assert found.classes["dog"] == 1


def test_folders_that_tell_ids_apart_count_with_the_data_set(
    tmp_path: Path, folder_root: Path, save_mask: Callable[[Path, object], Path]
) -> None:
    for city in ("bonn", "ulm"):
        for folder in ("images", "masks"):
            save_mask(folder_root / folder / city / "one.png", 1)
    names = ["bonn/one", "ulm/one"]
    plain(folder_root / "train.txt", *names)
    path = plain(tmp_path / "list.txt", *names)
    found = explain_list(path, Folder(folder_root))
    assert (found.ids, found.contradictions) == (("bonn/one", "ulm/one"), ())
    assert "name the data set" in explain_list(path).contradictions[0]


def test_the_hash_is_the_same_with_the_data_set_and_without(
    tmp_path: Path, folder_root: Path, save_mask: Callable[[Path, object], Path]
) -> None:
    names = ["bonn/one", "ulm/two"]
    for name in names:
        for folder in ("images", "masks"):
            save_mask(folder_root / folder / f"{name}.png", 1)
    plain(folder_root / "train.txt", *names)
    path = plain(tmp_path / "list.txt", *names)
    found = explain_list(path, Folder(folder_root))
    assert found.ids == tuple(names)
    assert found.sha256 == explain_list(path).sha256 == sha256_of(["one", "two"])


def test_a_written_split_is_known_by_what_it_labels(tmp_path: Path, voc_root: Path) -> None:
    path = tmp_path / "split.txt"
    split = make_split(Voc(voc_root), "1/2", seed=0)
    write_split(path, split)
    found = explain_list(path)
    assert found.ids == split.labelled
    assert found.contradictions == ()
    path.write_text(path.read_text().replace(" none", " mask"))
    (line,) = explain_list(path).contradictions
    assert line == "it was changed after it was written: its head states another sha256"


def test_what_lists_of_a_folder_have_in_common(tmp_path: Path) -> None:
    own = explain_list(plain(tmp_path / "own.txt", "a", "b", "c"))
    plain(tmp_path / "more/same.txt", "x/c.jpg", "x/b.jpg", "x/a.jpg")
    plain(tmp_path / "more/again.txt", "c", "a", "b")
    plain(tmp_path / "inside.txt", "a", "b")
    plain(tmp_path / "holds.txt", "a", "b", "c", "d")
    plain(tmp_path / "parts.txt", "a", "z")
    plain(tmp_path / "apart.txt", "y", "z")
    (tmp_path / "none.txt").write_bytes(b"\xff\xfe\x00")
    found = overlaps(own, tmp_path)
    assert [(row.name, row.files, row.count, row.common, row.relation) for row in found.rows] == [
        ("more/again.txt", 2, 3, 3, "the same"),
        ("holds.txt", 1, 4, 3, "holds it"),
        ("inside.txt", 1, 2, 2, "inside it"),
        ("parts.txt", 1, 2, 1, ""),
    ]
    assert found.apart == 1
    assert [path.name for path in found.unread] == ["none.txt"]
    with pytest.raises(DataError, match="has no other list"):
        overlaps(own, tmp_path / "more" / "nothing")


def test_lists_of_one_length_are_named_where_none_is_the_same(tmp_path: Path) -> None:
    found = explain_list(plain(tmp_path / "list.txt", *(f"i{number}" for number in range(92))))
    assert found.known is None
    assert found.as_long == ("voc-92-classic", "voc-92-classic-1", "voc-92-classic-2")
