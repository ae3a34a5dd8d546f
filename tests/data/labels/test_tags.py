"""Image tags: where they come from, what they cost, and what no file may do."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semisup.data.base import SegmentationData
from semisup.data.formats.pickles import RefusedError, read_dict
from semisup.data.labels.tags import Tags, read_tags, tags_from_masks, write_tags
from semisup.data.loading.cache import CachedData
from semisup.data.sets.camvid import CamVid
from semisup.data.sets.folder import Folder
from semisup.data.sets.scenes.dataset import Scenes
from semisup.data.sets.voc import CLASSES, Voc
from semisup.data.without_classes import WithoutClasses
from semisup.errors import DataError, RecipeError, RunError

DOG, PERSON = CLASSES.index("dog"), CLASSES.index("person")
ONE, TWO = "2007_000001", "2007_000002"
PETS = ("background", "cat", "dog")


@pytest.fixture
def voc(voc_root: Path) -> Voc:
    """Two images: dog and a difficult person; person alone. Both with boxes."""
    annotations = voc_root / "VOCdevkit/VOC2012/Annotations"
    text = (annotations / f"{ONE}.xml").read_text()
    start, end = text.index("  <object>\n    <name>dog"), text.index("  <object>\n    <name>person")
    (annotations / f"{TWO}.xml").write_text(text[:start] + text[end:])
    return Voc(voc_root)


def without_masks(data: Voc) -> Voc:
    shutil.rmtree(data.root / "SegmentationClass")
    return data


def row(*labels: int, columns: int = 20, kind: str = "f4") -> np.ndarray:
    """As in cls_labels.npy: column 0 is the first class behind background."""
    marks = np.zeros(columns, kind)
    marks[[label - 1 for label in labels]] = 1
    return marks


def save_rows(path: Path, rows: object, protocol: int = 4) -> str:
    """What `numpy.save` makes of a dict; gives the spec."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": ()})
    array = np.array(rows, dtype=object)
    path.write_bytes(head.getvalue() + pickle.dumps(array, protocol=protocol))
    return f"file:{path}"


BOTH = {ONE: frozenset({DOG, PERSON}), TWO: frozenset({PERSON})}


def test_tags_of_boxes_count_difficult_objects_and_open_no_mask(voc: Voc) -> None:
    tags = read_tags(without_masks(voc), "xml")
    assert tags == Tags(CLASSES, BOTH, "xml")
    counts = tags.class_counts
    assert (counts["dog"], counts["person"], counts["cat"]) == (1, 2, 0)
    assert "background" not in counts


def test_tags_of_masks_leave_background_and_void_out(voc: Voc) -> None:
    tags = tags_from_masks(voc)
    assert (tags.of, tags.source) == (BOTH, "masks")
    assert tags.sha256 == read_tags(voc, "xml").sha256


def test_the_hash_is_that_of_the_lines() -> None:
    tags = Tags(("background", "a b", "c"), {"x y": frozenset({2, 1}), "b": frozenset()}, "xml")
    # printf 'b\nx y\ta b\tc\n' | sha256sum
    assert tags.sha256 == "33350471194aaeb435b1b88efa6084ada6185027396925a8937e53d1e0064080"


def test_made_scenes_have_equal_tags_in_boxes_and_masks(tmp_path: Path) -> None:
    data = Scenes(tmp_path, train=12, val=1, test=1, size=(48, 64))
    assert read_tags(data, "xml").sha256 == tags_from_masks(data).sha256
    assert read_tags(CachedData(data, 1), "xml") == read_tags(data, "xml")


def test_left_out_classes_leave_the_tags(voc_root: Path, voc: Voc, tmp_path: Path) -> None:
    write_tags(tmp_path / "tags.txt", read_tags(voc, "xml"))
    spec = save_rows(tmp_path / "rows.npy", {ONE: row(DOG, PERSON), TWO: row(PERSON)})
    pets = Voc(voc_root, classes=PETS)
    assert pets.stored_classes == CachedData(pets, 1).stored_classes == CLASSES
    for source in ("xml", f"file:{tmp_path / 'tags.txt'}", spec):
        assert read_tags(pets, source).of == {ONE: frozenset({2}), TWO: frozenset()}
    assert tags_from_masks(pets).of == read_tags(pets, "xml").of


# Text


def test_what_is_written_is_read_back(voc: Voc, tmp_path: Path) -> None:
    path = tmp_path / "tags.txt"
    tags = read_tags(voc, "xml")
    write_tags(path, tags)
    again = read_tags(without_masks(voc), f"file:{path}")
    assert (again.of, again.sha256, again.source) == (tags.of, tags.sha256, "file:tags.txt")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# classes: background\taeroplane\t")
    assert lines[1:] == [f"# sha256: {tags.sha256}", f"{ONE}\tdog\tperson", f"{TWO}\tperson"]


def test_ignored_classes_leave_the_tags(voc: Voc, tmp_path: Path) -> None:
    write_tags(tmp_path / "all.txt", read_tags(voc, "xml"))
    ignoring = WithoutClasses(voc, ["person", "cat"])
    dog = ignoring.classes.index("dog")
    expected = {ONE: frozenset({dog}), TWO: frozenset[int]()}
    for tags in (
        read_tags(ignoring, "xml"),
        read_tags(ignoring, f"file:{tmp_path / 'all.txt'}"),
        read_tags(ignoring, save_rows(tmp_path / "t.npy", {ONE: row(DOG), TWO: row(PERSON)})),
        tags_from_masks(ignoring),
    ):
        assert tags.of == expected
        assert tags.classes == ignoring.classes


def test_there_are_no_tags_where_background_is_ignored(voc: Voc) -> None:
    ignoring = WithoutClasses(voc, ["background"])
    line = "voc cannot have tags while 'background' is left out, .* keep the class"
    for read in (lambda: read_tags(ignoring, "xml"), lambda: tags_from_masks(ignoring)):
        with pytest.raises(RecipeError, match=line):
            read()


def test_ids_and_classes_may_hold_spaces(
    tmp_path: Path, picture: Callable[[Path], Path], save_mask: Callable[..., Path]
) -> None:
    labels = {"# 1": 0, "street view": 1, "tall building": 1}
    for name, label in labels.items():
        picture(tmp_path / "images" / f"{name}.jpg")
        save_mask(tmp_path / "masks" / f"{name}.png", label)
    (tmp_path / "classes.txt").write_text("background\ntall building\n")
    data = Folder(tmp_path, "all")
    tags = tags_from_masks(data)
    assert tags.of == {key: frozenset({label} - {0}) for key, label in labels.items()}
    write_tags(tmp_path / "t.txt", tags)
    assert read_tags(data, f"file:{tmp_path / 't.txt'}").of == tags.of


def test_a_list_of_ones_own_in_every_dress(voc: Voc, tmp_path: Path) -> None:
    lines = f"# mine\n\n{TWO}\tperson\r\nother\tno such class\n{ONE}\tperson\tbackground\tdog"
    for content in (lines.encode(), b"\xef\xbb\xbf" + lines.encode(), lines.encode() + b"\r\n"):
        (tmp_path / "t.txt").write_bytes(content)
        assert read_tags(voc, f"file:{tmp_path / 't.txt'}").of == BOTH


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            f"{ONE}\tdog\n",
            f"no tags for 1 of the 2 images of subset 'train' .* '{TWO}' .* add them",
        ),
        (f"{ONE} dog\n{TWO} dog\n", "no tags for 2 of the 2 .* with tabs between"),
        (f"{ONE}\tdog\n{TWO}\tdgo\n", r"t\.txt, line 2: 'dgo' is no class of voc\. .* 'dog'"),
        (f"{ONE}\tdog\n{ONE}\tcat\n", r"t\.txt, line 2: '2007_000001' was named before; remove"),
        ("# classes: background\tdog\n", "classes without 'aeroplane'.* write the tags anew"),
        (b"\xff\xfe", r"t\.txt is neither UTF-8 text nor a \.npy file; write the tags with"),
        (b"x" * ((1 << 24) + 1), r"t\.txt is refused: it has more than 16 MiB"),
    ],
)
def test_a_list_that_cannot_be_used(
    content: str | bytes, words: str, voc: Voc, tmp_path: Path
) -> None:
    (tmp_path / "t.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=words) as error:
        read_tags(voc, f"file:{tmp_path / 't.txt'}")
    assert "\n" not in str(error.value)


def test_names_that_a_file_cannot_hold(tmp_path: Path) -> None:
    for name in ("a\tb", "a\nb", "a\x0bb"):
        with pytest.raises(DataError, match="has a tab or a line break"):
            write_tags(tmp_path / "t.txt", Tags(("background",), {name: frozenset()}, "masks"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(RunError, match="cannot be written"):
        write_tags(tmp_path / "none" / "t.txt", Tags(("background",), {}, "masks"))


# The array of the field


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["f4", "f8", ">f8", "u1", "?", "<i8"])
def test_rows_of_every_protocol_and_type(
    protocol: int, kind: str, voc: Voc, tmp_path: Path
) -> None:
    rows = {TWO: row(PERSON, kind=kind), ONE: row(PERSON, DOG, kind=kind), "more": row(kind=kind)}
    spec = save_rows(tmp_path / "rows.npy", rows, protocol)
    assert read_tags(without_masks(voc), spec) == Tags(CLASSES, BOTH, "file:rows.npy")


@pytest.mark.parametrize("number", [int, np.int32, np.int64])
def test_ids_as_numbers(number: Callable[[int], object], voc: Voc, tmp_path: Path) -> None:
    rows = {number(2007000001): row(DOG, PERSON), number(2007000002): row(PERSON)}
    assert read_tags(voc, save_rows(tmp_path / "rows.npy", rows)).of == BOTH


def test_what_numpy_saves_today(voc: Voc, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, {ONE: row(DOG, PERSON), TWO: row(PERSON)})  # type: ignore[arg-type]
    assert read_tags(voc, f"file:{path}").of == BOTH


class Payload:
    """Leaves a file behind in whoever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("place", ["all", "value", "key", "row"])
def test_a_hostile_pickle_executes_nothing(
    protocol: int, place: str, voc: Voc, tmp_path: Path
) -> None:
    payload = Payload(tmp_path / "trap")
    rows: object = {
        "all": payload,
        "value": {ONE: row(DOG), TWO: payload},
        "key": {ONE: row(DOG), TWO: row(), payload: row()},
        "row": {ONE: row(DOG), TWO: np.array([payload] * 20, dtype=object)},
    }[place]
    spec = save_rows(tmp_path / "rows.npy", rows, protocol)
    with pytest.raises(DataError, match=r"rows\.npy is refused: .*; write the tags with"):
        read_tags(voc, spec)
    assert not (tmp_path / "trap").exists()
    np.load(tmp_path / "rows.npy", allow_pickle=True)  # what a careless reader does
    assert (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("numpy load", b"(Vx\ntR."),
        ("numpy ndarray", b"(J\xff\xff\xff\x7ftR."),  # would take two gigabytes
        ("builtins bytearray", b"J\xff\xff\xff\x7f\x85R."),
        ("numpy.core.multiarray fromfile", b"(Vx\ntR."),
        ("_codecs encode", b"(Vx\nVzlib\ntR."),
    ],
)
def test_what_is_not_on_the_list_is_refused(name: str, call: bytes) -> None:
    with pytest.raises(RefusedError):
        read_dict(b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n" + call)


def test_a_file_costs_no_more_than_its_length() -> None:
    # A memo of four billion places; an object of 4 GB; a key whose hash takes for ever.
    deep = b")" + b"q\0h\0\x86" * 2000
    contents = {
        b"}r\xff\xff\xff\xff.": "no dict of images",
        b"B\xff\xff\xff\xffx.": "expected 4294967295 bytes",
        b"}" + deep + b"Ns.": "a key that is neither a name nor a number",
    }
    for content, words in contents.items():
        with pytest.raises(ValueError, match=words):
            read_dict(content)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({ONE: row(DOG)}, f"no tags for 1 of the 2 images .* '{TWO}'"),
        ({ONE: row(columns=19), TWO: row()}, f"the row of '{ONE}' is not 20 times 0 or 1"),
        ({ONE: row() + 0.5, TWO: row()}, f"the row of '{ONE}' is not 20 times 0 or 1"),
        ({ONE: row() + np.nan, TWO: row()}, f"the row of '{ONE}' is not 20 times 0 or 1"),
        ({ONE: np.zeros((4, 5)), TWO: row()}, f"'{ONE}' has an array of 20 numbers and another"),
        ({ONE: np.zeros(5000), TWO: row()}, "more than there can be classes"),
        ({ONE: [0, 1], TWO: row()}, f"no array behind '{ONE}'"),
        ([row(), row()], "no dict of images"),
        ({}, "no dict of images"),
    ],
)
def test_rows_that_cannot_be_used(rows: object, words: str, voc: Voc, tmp_path: Path) -> None:
    spec = save_rows(tmp_path / "rows.npy", rows)
    with pytest.raises(DataError, match=words) as error:
        read_tags(voc, spec)
    assert str(tmp_path / "rows.npy") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_or_plain_array(voc: Voc, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    save_rows(path, {ONE: row(), TWO: row()})
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"rows\.npy is no tag file .*; fetch it again"):
        read_tags(voc, f"file:{path}")
    np.save(path, np.zeros((2, 20)))
    with pytest.raises(DataError, match=r"rows\.npy holds no dict of images; write the tags"):
        read_tags(voc, f"file:{path}")


# What has no tags


def test_sources_that_are_not_there(voc: Voc, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="tags 'boxes' cannot be understood: write \"xml\""):
        read_tags(voc, "boxes")
    with pytest.raises(RecipeError, match="after 'semisup data tags --from masks'"):
        read_tags(voc, "masks")
    with pytest.raises(DataError, match=r"none\.txt: cannot read the tags .*; give file:PATH"):
        read_tags(voc, f"file:{tmp_path / 'none.txt'}")
    annotation = voc.root / "Annotations" / f"{TWO}.xml"
    annotation.write_text(annotation.read_text().replace("person", "persn"))
    with pytest.raises(DataError, match=rf"{TWO}\.xml names the class 'persn'.* 'person'"):
        read_tags(voc, "xml")
    annotation.unlink()
    with pytest.raises(DataError, match=rf"{TWO}\.xml .*; unpack the Annotations"):
        read_tags(voc, "xml")


@pytest.mark.parametrize("make", [tags_from_masks, lambda data: read_tags(data, "xml")])
def test_without_background_there_are_no_tags(
    make: Callable[[SegmentationData], Tags], segnet_root: Path
) -> None:
    with pytest.raises(RecipeError, match="camvid cannot have tags: class 0 is 'sky'"):
        make(CamVid(segnet_root))


def test_a_folder_says_what_it_has(folder_root: Path) -> None:
    with pytest.raises(RecipeError, match=r"folder has masks alone.* --from masks"):
        read_tags(Folder(folder_root), "xml")


# Real files


def test_the_published_tags_beside_the_masks(shared_data: Path) -> None:
    """Tags come from boxes, which count what the masks leave out: most differ in that alone."""
    data = Voc(shared_data / "voc2012_small", "train_aug")
    assert len(data) == 3151
    folder = shared_data / "voc2012_tags"
    tags = read_tags(data, f"file:{folder / 'cls_labels.npy'}")
    assert tags.sha256 == "bc68acecd8073fe368a7dbb90941d1b1769bcc0967c89b6711d2d5845f4913be"
    assert read_tags(data, f"file:{folder / 'cls_labels_irn.npy'}").of == tags.of
    data.ids = data.ids[::10]
    found = tags_from_masks(data).of
    equal = sum(tags.of[key] == found[key] for key in data.ids) / len(data)
    assert 0.90 < equal < 0.97
    assert sum(tags.of[key] >= found[key] for key in data.ids) > 0.99 * len(data)


@pytest.mark.slow
def test_the_published_tags_beside_all_masks_of_voc(
    shared_data: Path, voc_masks: Voc, voc_mask_archive: Path
) -> None:
    """VOC's own masks have their classes but for two; SBD's lack 902, and have none beyond."""
    path = shared_data / "voc2012_tags" / "cls_labels.npy"
    published = read_tags(voc_masks, f"file:{path}").of
    found = tags_from_masks(voc_masks).of
    own = (shared_data / "voc2012" / "official_lists" / "trainval.txt").read_text().split()
    counted = {}
    with tarfile.open(voc_mask_archive) as archive:
        for member in archive:
            if member.name.endswith(".png"):
                with Image.open(io.BytesIO(archive.extractfile(member).read())) as picture:
                    labels = np.unique(np.asarray(picture))
                counted[Path(member.name).stem] = frozenset(labels.tolist()) - {0, 255}
    assert found == counted
    only_file = {key: published[key] - counted[key] for key in counted}
    only_mask = {key: counted[key] - published[key] for key in counted}
    equal = sum(published[key] == counted[key] for key in counted)
    assert (len(counted), equal) == (12_031, 11_213)  # 93.2 %
    assert [key for key, more in only_mask.items() if more] == ["2008_005245"]
    lacking = [key for key, more in only_file.items() if more]
    assert len(lacking) == 817
    assert [key for key in lacking if key in own] == ["2011_001621"]
    missed = Counter(CLASSES[label] for key in lacking for label in only_file[key])
    assert sum(missed.values()) == 903
    assert missed.most_common(4) == [
        ("person", 257),
        ("sofa", 158),
        ("chair", 147),
        ("diningtable", 85),
    ]
