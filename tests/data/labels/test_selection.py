"""Choices beyond a plain share: balanced by class, and by whole sequences."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from support.labels_in_memory import Video

from semisup.data.base import SegmentationData
from semisup.data.labels.splits import Split, make_split
from semisup.data.labels.tags import Tags
from semisup.data.sets.camvid import CamVid
from semisup.data.sets.cityscapes import Cityscapes
from semisup.data.without_classes import without_classes
from semisup.errors import RecipeError


def rare(images: int = 64) -> Video:
    """Background everywhere, a common class, and three that one image each holds."""
    labels = {f"a_{number:03d}": [0, 1] if number % 2 else [0] for number in range(images)}
    for label, number in ((2, 3), (3, 30), (4, 61)):
        labels[f"a_{number:03d}"] = [0, label]
    return Video(labels, classes=5)


def recordings(*sizes: int) -> Video:
    return Video(
        {f"s{name}_{frame}": [0] for name, size in enumerate(sizes) for frame in range(size)}
    )


def sequences(split: Split, kind: str) -> set[str]:
    return {name.partition("_")[0] for name, one in split.labels.items() if one == kind}


def test_a_balanced_share_holds_every_class_that_a_plain_one_misses() -> None:
    data = rare()
    for seed in range(5):
        plain, balanced = (make_split(data, spec, seed) for spec in ("1/8", "1/8-balanced"))
        assert min(plain.class_counts.values()) == 0
        assert min(balanced.class_counts.values()) == 1
        assert len(balanced.labelled) == len(plain.labelled) == 8
        assert balanced.name == f"1/8-balanced-s{seed}"


def test_a_balanced_share_begins_as_a_count_per_class_does() -> None:
    data = rare()
    for seed in range(3):
        counts = [set(make_split(data, f"{count}/class", seed).labelled) for count in (1, 2, 5)]
        shares = [
            set(make_split(data, f"{share}-balanced", seed).labelled)
            for share in ("1/64", "1/16", "1/8", "1/2", "63/64")
        ]
        for small, large in pairwise(sorted((*counts, *shares), key=len)):
            assert small <= large


def test_too_small_a_share_takes_the_rarest_and_counts_say_what_is_missing() -> None:
    split = make_split(rare(), "1/32-balanced", seed=0)
    assert [name for name, count in split.class_counts.items() if count] == [
        "class0",
        "class2",
        "class3",
    ]


def test_a_balanced_share_of_all_is_all() -> None:
    data = rare()
    assert make_split(data, "1-balanced", 0) == make_split(data, "all", 0)
    # An image of nothing but void is in the last place, and in it.
    void = Video({"a_0": [], "a_1": [0], "a_2": [0], "a_3": [0]})
    assert "a_0" not in make_split(void, "3/4-balanced", 0).labelled


def test_a_balanced_share_goes_by_the_tags_where_there_are_some() -> None:
    data = rare()
    of = {name: frozenset(data._labels[name]) - {0} for name in sorted(data.ids)}
    split = make_split(data, "1/8-balanced", 0, tags=Tags(data.classes, of, "xml"))
    assert sorted(data.opened) == list(split.labelled)
    assert all(count for name, count in split.class_counts.items() if name != "class0")


def test_sequences_are_labelled_whole() -> None:
    data = recordings(*[3] * 20)
    for seed in range(5):
        split = make_split(data, "1/4-sequences", seed)
        assert split.name == f"1/4-sequences-s{seed}"
        assert len(split.labelled) == 15
        assert not sequences(split, "mask") & sequences(split, "none")
        assert sorted(data.opened) == list(split.labelled)
        data.opened.clear()


def test_sequences_come_as_near_to_the_share_as_they_can_from_either_side() -> None:
    data = recordings(10, 10, 10)
    for share, size in (("1/6", 10), ("7/15", 10), ("8/15", 20), ("19/20", 30)):
        assert len(make_split(data, f"{share}-sequences", 0).labelled) == size


def test_sequences_too_long_for_the_share_are_said() -> None:
    data = recordings(40, 40)
    with pytest.raises(RecipeError) as error:
        make_split(data, "1/8-sequences", 0)
    assert str(error.value) == (
        "split '1/8-sequences' of video train is to label 10 of 80 images, and whole sequences of "
        'seed 0 come to 40 at best: take another seed, a share near 40/80, or "1/8", which parts '
        "sequences"
    )
    assert len(make_split(data, "1/4-sequences", 0).labelled) == 40


def test_seeds_choose_other_sequences() -> None:
    data = recordings(*[2] * 12)
    assert len({make_split(data, "1/4-sequences", seed).labelled for seed in range(5)}) == 5


def test_a_set_of_photographs_has_no_sequences(voc_root: Path) -> None:
    from semisup.data.sets.voc import Voc

    with pytest.raises(
        RecipeError, match="voc does not say which images are of one video"
    ) as error:
        make_split(Voc(voc_root), "1/2-sequences", seed=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("all-balanced", "cannot be understood"),
        ("5/class-balanced", "cannot be understood"),
        ("1/8-balanced-sequences", "cannot be understood"),
        ("-balanced", "cannot be understood"),
        ("9/8-balanced", "'9/8-balanced' is no share above 0"),
        ("0-sequences", "'0-sequences' is no share above 0"),
        ("1/8-ballanced", 'or "file:PATH", or "1/8-balanced" or "1/8-sequences"$'),
    ],
)
def test_a_choice_that_makes_no_sense(spec: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as error:
        make_split(recordings(2, 2), spec, seed=0)
    assert "\n" not in str(error.value)


def test_camvid_knows_its_recordings(shared_data: Path) -> None:
    data = CamVid(shared_data / "camvid_jpg")
    names = [data.sequence(index) for index in range(len(data))]
    assert {name: names.count(name) for name in names} == {
        "0001TP": 62,
        "0006R0": 101,
        "0016E5": 204,
    }
    split = make_split(without_classes(data, ["sky"]), "1/4-sequences", seed=2)
    assert len(split.labelled) == 101
    assert sequences(split, "mask") == {"0006R0"}


def test_cityscapes_knows_its_recordings(cityscapes_root: Path) -> None:
    data = Cityscapes(cityscapes_root)
    assert [data.sequence(index) for index in range(2)] == ["aachen_000000", "bochum_000000"]


@pytest.mark.slow
def test_all_masks_of_voc_are_chosen_from_within_a_minute(
    voc_masks: SegmentationData,
) -> None:
    start = time.process_time()
    split = make_split(voc_masks, "1/8-balanced", seed=0)
    assert time.process_time() - start < 60
    assert len(split.labelled) == 1504
    assert min(split.class_counts.values()) >= 98
    per_class = make_split(voc_masks, "5/class", seed=0)
    assert set(per_class.labelled) < set(split.labelled)
