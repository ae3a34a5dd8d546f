"""What a set of masks gives away, and that sound sets give nothing away."""

from __future__ import annotations

from pathlib import Path

import pytest

from semisup.data.evidence import (
    MaskSet,
    names,
    signs,
    signs_of_classes,
    signs_of_some,
)
from semisup.data.labels.classes_in_masks import MaskContent
from semisup.data.labels.seams import Seams
from semisup.data.sets.camvid import CamVid
from semisup.data.sets.scenes.dataset import Scenes
from semisup.data.sets.voc import Voc
from semisup.data.verify import verify

TWO = ("background", "pet")
CITYSCAPES = ("road", "sidewalk", "building", "wall", "fence", "pole")


def masks(classes: tuple[str, ...], *held: set[int], stored: tuple[str, ...] = ()) -> MaskSet:
    """A set named "train"; 255 among the numbers is void."""
    contents = [MaskContent(frozenset(one - {255}), 255 in one) for one in held]
    return MaskSet("of train", classes, contents, stored)


def faults(found: MaskSet) -> list[str]:
    return [text for text, fault in signs(found) if fault]


def doubts(found: MaskSet) -> list[str]:
    return [text for text, fault in signs(found) if not fault]


def test_no_masks_give_nothing_away() -> None:
    assert signs(masks(TWO)) == []


@pytest.mark.parametrize(
    "found",
    [
        masks(TWO, {0, 1}, {0}, {0, 1, 255}),
        masks(TWO, {0, 255}, {0, 1, 255}),  # VOC: void is a border, or an object left out
        masks(TWO, {0, 255}, {0, 255}, {0, 255}, {1, 0, 255}),
        masks(TWO, {0}, {1}),
        masks(("sky", "tree", "road"), {0, 1, 2}),
        masks(("sky", "tree", "background"), {0, 1, 2}),
        masks(CITYSCAPES, {0, 1, 2, 255}, {3, 4, 5, 255}, {0, 255}),
        masks(("a", "b"), {255}, {0, 1}),  # some images nobody has annotated
    ],
    ids=range(8),
)
def test_sound_masks_give_nothing_away(found: MaskSet) -> None:
    assert signs(found) == []


@pytest.mark.parametrize("held", [[{0, 255}], [{0, 255}, {0}, {255}], [{0}, {0, 255}] * 40])
def test_masks_of_0_and_255_are_a_fault(held: list[set[int]]) -> None:
    (text,) = faults(masks(TWO, *held))
    assert "only 0 and 255: 255 is void, and no pixel of 'pet' is left" in text
    assert 'values = {0 = "background", 255 = "pet"}' in text
    assert doubts(masks(TWO, *held)) == []


def test_masks_of_0_and_255_with_more_classes_name_them_all() -> None:
    (text,) = faults(masks(("background", "cat", "dog"), {0, 255}))
    assert "no pixel of 'cat' and 'dog' is left" in text
    assert "save its pixels as a label from 1 to 2" in text


THREE = ("background", "cat", "dog")


def test_void_that_comes_of_an_ignored_class_is_no_evidence() -> None:
    held = [{0, 255}, {255}, {0, 255}, {0, 255}]
    found = masks(THREE[1:], *held, stored=THREE)  # only cats: 0 in the files is background
    assert faults(found) == []
    assert doubts(found) == ["'dog' has no labelled pixel in the 4 masks of train"]
    with_dogs = masks(THREE[1:], *held, {1}, {0, 1}, stored=THREE)  # and a habit of none
    assert signs(with_dogs) == []
    first_missing = masks(THREE[1:], {1, 255}, {1, 255}, {1}, stored=THREE)
    assert doubts(first_missing) == ["'cat' has no labelled pixel in the 3 masks of train"]


def test_masks_of_0_and_255_are_a_fault_where_another_class_is_ignored() -> None:
    (text,) = faults(masks(THREE[:2], {0, 255}, {0}, stored=THREE))
    assert "hold only 0 and 255 (or 'dog', left out): 255 is void, and no pixel of 'cat'" in text
    assert "save its pixels as a label from 1 to 2" in text


def test_nothing_but_void_and_ignored_classes_is_a_fault() -> None:
    (text,) = faults(masks(THREE[1:], {255}, {255}, stored=THREE))
    assert "of train is void (255) or of 'background', left out: there is nothing to" in text


def test_only_zeros_are_no_masks_of_0_and_255() -> None:
    assert faults(masks(TWO, {0}, {0})) == []
    assert doubts(masks(TWO, {0}, {0})) == [
        "'pet' has no labelled pixel in the 2 masks of train: all is 'background', and there is "
        "nothing to tell apart",
    ]


def test_void_where_the_last_class_is_absent_may_be_that_class() -> None:
    (text,) = doubts(masks(("a", "b", "c"), {0, 1, 255}, {0}))
    assert text.endswith(". 255 is void: if it stands for 'c' in the masks, map it")
    assert "stands for" not in doubts(masks(("a", "b", "c"), {0, 1}, {0}))[0]
    assert "stands for" not in doubts(masks(("a", "b", "c"), {0, 2, 255}, {0}))[0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("0", "2", "1"), "'2' is that of label 1"),
        (("1", "2"), "'1' is that of label 0"),
        (("Cat", "cat"), "'Cat' and 'cat' are two classes"),
        (("STRASSE", "straße"), "'STRASSE' and 'straße' are two classes"),
    ],
)
def test_names_in_doubt(names: tuple[str, ...], said: str) -> None:
    (sign,) = signs_of_classes(names)
    assert said in sign.text
    assert not sign.fault


@pytest.mark.parametrize("names", [("0", "1"), ("zone", "10"), ("cat", "dog")])
def test_names_without_doubt(names: tuple[str, ...]) -> None:
    assert signs_of_classes(names) == []


@pytest.mark.parametrize("classes", [("a",), TWO, CITYSCAPES])
def test_nothing_but_void_is_a_fault(classes: tuple[str, ...]) -> None:
    (text,) = faults(masks(classes, {255}, {255}))
    assert text.startswith("every labelled pixel in the 2 masks of train is void (255)")


def test_two_ways_to_save_an_object_are_told() -> None:
    held = [{0, 255}] * 3 + [{0, 1}] * 5
    (text,) = doubts(masks(TWO, *held))
    assert text.startswith("3 of the 8 masks of train hold only 0 and 255")
    assert doubts(masks(TWO, *held, {0, 1, 255})) == []  # void is used as void elsewhere


def test_classes_without_a_pixel_are_named() -> None:
    (text,) = doubts(masks(CITYSCAPES, {0, 1, 2}, {4, 5}))
    assert text == "'wall' has no labelled pixel in the 2 masks of train"
    many = tuple(f"c{k}" for k in range(30))
    (text,) = doubts(masks(many, set(range(20))))
    assert text == (
        "'c20', 'c21', 'c22', 'c23', 'c24' and 5 more of 30 classes have no labelled pixel in the "
        "mask of train"
    )


def test_a_sample_does_not_tell_what_is_absent() -> None:
    assert signs_of_some(masks(CITYSCAPES, {0, 1})) == []
    assert [sign.fault for sign in signs_of_some(masks(TWO, {0, 255}))] == [True]


@pytest.mark.parametrize(
    ("classes", "held", "says"),
    [
        (("background", "cat", "dog"), [{1, 2}], "None holds label 0, 'background'"),
        (("Background", "cat", "dog"), [{1}, {1}], "If theirs start at 1, subtract 1"),
        (("cat", "dog", "cow", "hen"), [{1, 2}, {1, 3}, {2}], "labels start at 0 here"),
        (("__ignore__", "_background_", "cat", "dog"), [{0, 1, 2}], "may be one off"),
        (("# comment", "background", "cat", "dog"), [{0, 1}, {0, 2}], "last class is nowhere"),
        (("Pixel Value, Class", "0, background", "1, cat"), [{0, 1}], "may be one off"),
    ],
)
def test_names_that_may_be_one_off_are_told(
    classes: tuple[str, ...], held: list[set[int]], says: str
) -> None:
    (text,) = doubts(masks(classes, *held))
    assert says in text


@pytest.mark.parametrize(
    ("classes", "held"),
    [
        (CITYSCAPES, [{1, 2, 255}, {4, 5}]),  # no road in two photographs
        (("sky", "tree", "car"), [{1, 2}]),
        (("cat", "dog", "background"), [{0, 2}, {0, 2}]),
    ],
)
def test_an_absent_class_alone_points_to_nothing(
    classes: tuple[str, ...], held: list[set[int]]
) -> None:
    (text,) = doubts(masks(classes, *held))
    assert "start at" not in text
    assert "one off" not in text


def test_one_class_is_a_fault_and_a_class_named_void_a_doubt() -> None:
    ((text, fault),) = signs_of_classes(("pet",))
    assert fault
    assert "'pet' is the only class" in text
    ((text, fault),) = signs_of_classes(("Unlabelled", "cat", "dog"))
    assert not fault
    assert "'Unlabelled' is class 0, which is trained and scored as any other" in text
    assert signs_of_classes(CITYSCAPES) == signs_of_classes(TWO) == []


def test_names_are_listed() -> None:
    assert names(["a"]) == "'a'"
    assert names(["a", "b", "c"]) == "'a', 'b' and 'c'"
    assert names(list("abcdefg")) == "'a', 'b', 'c', 'd', 'e' and 2 more"


SMOOTH = Seams(smooth=30, sharp=2, between=frozenset({1, 2}))


def joined(*seams: Seams, classes: tuple[str, ...] = CITYSCAPES) -> MaskSet:
    """Masks of train that hold all classes and have such borders."""
    labels = frozenset(range(len(classes)))
    return MaskSet("of train", classes, [MaskContent(labels, False, one) for one in seams])


def test_seams_in_some_masks_are_told_with_the_classes_in_them() -> None:
    found = joined(SMOOTH, Seams(0, 90), SMOOTH, Seams(1, 40), SMOOTH)
    (text,) = doubts(found)
    assert text.startswith("3 of the 5 masks of train pass from one class to another over a thin")
    assert "between ('sidewalk' and 'building')" in text
    assert "resize masks with nearest neighbour" in text
    assert [sign.text for sign in signs_of_some(found)] == [text]


@pytest.mark.parametrize(
    "found",
    [
        joined(SMOOTH, SMOOTH),  # too few to be a habit
        joined(*[Seams(12, 60, frozenset({5}))] * 9),  # poles, on some borders
        joined(*[Seams(4, 0, frozenset({5}))] * 9),  # too few borders
        joined(*[Seams(40, 0, frozenset({1}))] * 9, classes=("ground", "cell border", "cell")),
    ],
    ids=range(4),
)
def test_thin_objects_and_outlines_are_no_seams(found: MaskSet) -> None:
    assert signs(found) == []


def test_made_scenes_give_nothing_away(tmp_path: Path) -> None:
    sets = [Scenes(tmp_path, subset, train=24, val=12) for subset in ("train", "val")]
    found = verify(sets)
    assert (found.problems, found.warnings, found.notes) == ([], (), ())


def test_real_sets_give_nothing_away_but_classes_that_they_lack(shared_data: Path) -> None:
    camvid = verify([CamVid(shared_data / "camvid_jpg", name) for name in ("train", "val")])
    assert (camvid.problems, camvid.warnings, camvid.notes) == ([], (), ())
    voc = verify([Voc(shared_data / "voc2012", name) for name in ("train", "val")])
    assert voc.ok
    assert all("have no labelled pixel in the 100 masks" in text for text in voc.warnings)
    assert not any("start at" in text or "one off" in text for text in voc.warnings)
