"""Splits: nested, reproducible, and opening no mask that they do not label."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from support.labels_in_memory import Memory
from torch import Tensor

from semisup.data.labels.splits import Split, hold_out, make_split, write_split
from semisup.data.labels.tags import Tags
from semisup.errors import DataError, RecipeError, RunError


def numbered(count: int) -> Memory:
    return Memory({f"img_{number:03d}": [0, number % 4] for number in range(count)})


def long_tailed(seed: int) -> Memory:
    """60 images of 8 classes, from one in all images to one in a few."""
    generator = torch.Generator().manual_seed(seed)
    chances = torch.tensor([1.0, 0.8, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03])
    held = torch.rand(60, 8, generator=generator) < chances
    rows = enumerate(held)
    return Memory({f"i{number}": row.nonzero()[:, 0].tolist() for number, row in rows}, classes=8)


@pytest.mark.parametrize("spec", ["all", "1", "1.0", "4/4", " all "])
def test_all_labels_every_image(spec: str) -> None:
    split = make_split(numbered(10), spec, seed=3)
    assert split.name == "all"
    assert len(split.labelled) == 10
    assert split.unlabelled == ()


def test_labelled_and_unlabelled_part_the_subset() -> None:
    data = numbered(37)
    split = make_split(data, "1/4", seed=0)
    assert set(split.labelled) | set(split.unlabelled) == set(data.ids)
    assert not set(split.labelled) & set(split.unlabelled)
    assert list(split.labelled) == sorted(split.labelled)


@pytest.mark.parametrize(
    ("images", "share", "expected"),
    [
        (1464, "1/16", 92),
        (1464, "1/2", 732),
        (10582, "1/16", 662),
        (10582, "1/8", 1323),
        (2975, "1/30", 100),
        (2975, "1/8", 372),
        (20210, "1/64", 316),
    ],
)
def test_sizes_are_those_of_the_published_lists(images: int, share: str, expected: int) -> None:
    assert len(make_split(numbered(images), share, seed=0).labelled) == expected


def test_shares_are_nested_for_one_seed_and_differ_between_seeds() -> None:
    data = numbered(100)
    for seed in range(5):
        shares = ["1/100", "1/16", "0.1", "1/8", "1/4", "1/3", "1/2", "0.9", "1"]
        chosen = [set(make_split(data, share, seed).labelled) for share in shares]
        assert all(small < large for small, large in pairwise(chosen))
    halves = {make_split(data, "1/2", seed).labelled for seed in range(5)}
    assert len(halves) == 5


def test_the_choice_is_even() -> None:
    data = numbered(20)
    times = dict.fromkeys(data.ids, 0)
    for seed in range(400):
        for key in make_split(data, "1/4", seed).labelled:
            times[key] += 1
    # Binomial(400, 1/4): mean 100, deviation 8.7.
    assert all(60 < count < 140 for count in times.values()), times


def test_the_order_of_the_list_does_not_matter() -> None:
    data = numbered(50)
    back = Memory({key: data._labels[key] for key in reversed(data.ids)})
    for spec in ("1/8", "3/class"):
        one, other = make_split(data, spec, seed=1), make_split(back, spec, seed=1)
        assert one == other
        assert one.sha256 == other.sha256
        assert list(one.labels) == list(other.labels)


def test_equal_splits_have_one_name() -> None:
    data = numbered(16)
    assert make_split(data, "0.125", 0) == make_split(data, "1/8", 0)
    assert make_split(data, "0.125", 0).name == "1/8-s0"


def test_the_hash_is_stable() -> None:
    split = make_split(numbered(16), "1/8", seed=0)
    assert split.labelled == ("img_003", "img_006")
    assert split.sha256 == "b740b52c5471f879f1f5a7010e0093d9b42255e80a2155af70648d51e611c9ee"


def test_the_hash_is_that_of_the_sorted_lines() -> None:
    split = Split("x", {"b": "none", "a": "mask"}, ("c",), {"a": frozenset({0})})
    # printf 'a mask\nb none\n' | sha256sum
    assert split.sha256 == "142c6608d0f27329ac76901e034d3cea7ff19989e026c3e1d5bbaad3059fbaee"


def test_class_counts_open_the_labelled_masks_only() -> None:
    data = Memory({"a": [0, 1], "b": [0], "c": [0, 1, 2], "d": [3]})
    split = make_split(data, "1/2", seed=0)
    assert sorted(data.opened) == list(split.labelled)
    expected = {f"class{label}": 0 for label in range(4)}
    for key in split.labelled:
        for label in data._labels[key]:
            expected[f"class{label}"] += 1
    assert split.class_counts == expected
    everything = make_split(data, "all", seed=0)
    assert everything.class_counts == {"class0": 3, "class1": 2, "class2": 1, "class3": 1}


def test_count_per_class_reaches_the_count_where_the_data_has_it() -> None:
    for seed in range(6):
        data = long_tailed(seed)
        available = make_split(data, "all", seed).class_counts
        for count in (1, 2, 5, 10):
            split = make_split(data, f"{count}/class", seed)
            assert split.name == f"{count}-per-class-s{seed}"
            for name, images in split.class_counts.items():
                assert images >= min(count, available[name])
            assert len(split.labelled) <= count * 8


def test_count_per_class_is_nested_and_takes_no_needless_image() -> None:
    for seed in range(6):
        data = long_tailed(seed)
        chosen = [set(make_split(data, f"{count}/class", seed).labelled) for count in range(1, 11)]
        assert all(small <= large for small, large in pairwise(chosen))
    # One image holds everything that the others hold: rare first finds it and stops.
    data = Memory({"a": [0], "b": [0, 1, 2, 3], "c": [0, 1], "d": [0, 1]})
    assert make_split(data, "1/class", seed=0).labelled == ("b",)


def test_a_list_of_ids_in_every_dress(tmp_path: Path) -> None:
    data = Memory({"2007_000033": [0], "2007_000042": [1], "city/a.b": [2], "with space": [3]})
    bare = "2007_000033\n2007_000042\ncity/a.b\n"
    dresses = {
        "bare": bare.encode(),
        "no_newline": bare.rstrip().encode(),
        "crlf": bare.replace("\n", "\r\n").encode(),
        "bom": b"\xef\xbb\xbf" + bare.encode(),
        "blank_and_comment": b"# a comment\n\n" + bare.encode() + b"\n\n",
        "columns": b"JPEGImages/2007_000033.jpg SegmentationClass/2007_000033.png\n"
        b"/JPEGImages/2007_000042.jpg /SegmentationClass/2007_000042.png\n"
        b"images/city/a.b.jpg masks/city/a.b.png",
    }
    for name, content in dresses.items():
        path = tmp_path / f"{name}.txt"
        path.write_bytes(content)
        split = make_split(data, f"file:{path}", seed=0)
        assert split.labelled == ("2007_000033", "2007_000042", "city/a.b"), name
        assert split.unlabelled == ("with space",)
        assert split.name == f"file:{name}.txt"


@pytest.mark.parametrize("spec", ["all", "1/4", "2/class"])
def test_a_written_split_reads_back_the_same(tmp_path: Path, spec: str) -> None:
    data = Memory({f"with space {number}": [number % 4] for number in range(12)})
    split = make_split(data, spec, seed=7)
    write_split(tmp_path / "split.txt", split)
    again = make_split(data, f"file:{tmp_path / 'split.txt'}", seed=0)
    assert again.labels == split.labels
    assert again.sha256 == split.sha256
    assert again.class_counts == split.class_counts
    head = (tmp_path / "split.txt").read_text().splitlines()[:2]
    assert head == [f"# name: {split.name}", f"# sha256: {split.sha256}"]
    assert [path.name for path in tmp_path.iterdir()] == ["split.txt"]


def test_writing_replaces_whole_files_or_fails_in_one_line(tmp_path: Path) -> None:
    split = make_split(numbered(4), "1/2", seed=0)
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        RunError, match=r"folder: cannot be written \(.+\)\. Free some space or choose"
    ):
        write_split(tmp_path / "folder", split)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(RunError, match=r"no/split.txt: cannot be written"):
        write_split(tmp_path / "no" / "split.txt", split)


def test_numbers_without_end_are_no_endless_work() -> None:
    data = numbered(8)
    for spec in ("1e-999999999", "1e999999999", "1/" + "9" * 50, "0." + "0" * 99 + "1"):
        with pytest.raises(RecipeError, match="cannot be understood"):
            make_split(data, spec, seed=0)
    everyone = make_split(data, "999999999999/class", seed=0)
    assert everyone.labelled == make_split(data, "8/class", seed=0).labelled == tuple(data.ids)


def test_held_out_images_leave_the_split(tmp_path: Path) -> None:
    data = numbered(40)
    split = make_split(data, "1/2", seed=0)
    rest, held = hold_out(split, 5, seed=1)
    assert len(held) == 5
    assert set(held) | set(rest.labelled) == set(split.labelled)
    assert not set(held) & set(rest.labels)
    assert rest.unlabelled == split.unlabelled
    assert hold_out(split, 5, seed=1) == (rest, held)
    assert hold_out(split, 5, seed=2)[1] != held
    assert sum(rest.class_counts.values()) < sum(split.class_counts.values())
    assert rest.class_counts["class0"] == 15
    assert rest.name == "1/2-s0-without-5-s1"
    # They do not come back as unlabelled images when the split is read from its file.
    write_split(tmp_path / "rest.txt", rest)
    assert make_split(data, f"file:{tmp_path / 'rest.txt'}", 0).sha256 == rest.sha256


def test_holding_out_leaves_at_least_one_labelled_image() -> None:
    split = make_split(numbered(8), "1/2", seed=0)
    assert hold_out(split, 0, seed=0) == (split, ())
    assert len(hold_out(split, 3, seed=0)[0].labelled) == 1
    for count in (4, 5, -1):
        with pytest.raises(RecipeError, match="choose a number from 0 to 3"):
            hold_out(split, count, seed=0)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "cannot be understood"),
        ("eighth", "cannot be understood"),
        ("1/0", "cannot be understood"),
        ("5/classes", "cannot be understood"),
        ("nan", "cannot be understood"),
        ("0", "above 0 and up to 1"),
        ("-1/8", "above 0 and up to 1"),
        ("5", "above 0 and up to 1"),
        ("0/class", "labels no image"),
    ],
)
def test_a_spec_that_makes_no_sense(spec: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as error:
        make_split(numbered(8), spec, seed=0)
    assert "5/class" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"img_000\nimg_0O1\n", r"list.txt, line 2: 'img_0O1' .* did you mean 'img_001'\?"),
        (b"a/zzzzzz.jpg\n", r"line 1: 'a/zzzzzz.jpg' is no image .* look like 'img_000'"),
        (b"/\n", r"line 1: '/' is no image"),
        (b"img_000\n\nimages/img_000.jpg\n", r"line 3: 'img_000' was named on line 1 already"),
        (b"img_001\nx/img_000.jpg\n", r"line 2: 'x/img_000.jpg' is in the folder 'x'"),
        (b"", "labels no image"),
        (b"# only this\n", "labels no image"),
        (b"img_000 none\n", "labels no image"),
        (b"\xff\xfe\x00", "no UTF-8 text"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        make_split(numbered(8), f"file:{path}", seed=0)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_list_that_is_not_there_and_an_empty_subset(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match="cannot read the split list"):
            make_split(numbered(8), f"file:{path}", seed=0)
    with pytest.raises(DataError, match="subset 'train' has no images"):
        make_split(Memory({}), "all", seed=0)


def test_a_published_list_is_read(shared_data: Path) -> None:
    lists = shared_data / "lists"
    pool = (lists / "hfslyc+AdvSemiSeg/dataset/voc_list/train_aug.txt").read_text().split()
    data = Memory({key: [0] for key in pool})
    folder = lists / "LiheYoung+ST-PlusPlus/dataset/splits/pascal"
    for name, size in (("92/split_0", 92), ("1_8/split_0", 1323)):
        split = make_split(data, f"file:{folder / name / 'labeled.txt'}", seed=0)
        assert len(split.labelled) == size
        assert len(split.unlabelled) == 10582 - size


def test_a_line_of_a_list_ends_with_a_line_feed_or_a_carriage_return(tmp_path: Path) -> None:
    data = numbered(8)
    path = tmp_path / "list.txt"
    path.write_bytes(f"{data.ids[0]}\r{data.ids[1]}\r\n".encode())
    assert make_split(data, f"file:{path}", seed=0).labelled == tuple(data.ids[:2])


def test_a_path_of_a_list_may_be_of_any_length(tmp_path: Path) -> None:
    data = numbered(8)
    path = tmp_path / "list.txt"
    path.write_text("a/" * 100_000 + f"images/{data.ids[0]}.jpg")
    assert make_split(data, f"file:{path}", seed=0).labelled == tuple(data.ids[:1])


# Tags


def tagged(data: Memory, **more: list[int]) -> Tags:
    """Tags as the masks have them, with some changed."""
    labels = {**data._labels, **more}
    of = {key: frozenset(labels[key]) - {0} for key in sorted(data.ids)}
    return Tags(data.classes, of, "xml")


def test_with_tags_all_others_are_tagged() -> None:
    data = numbered(16)
    tags = tagged(data)
    plain = make_split(data, "1/8", seed=0)
    split = make_split(data, "1/8", seed=0, tags=tags)
    assert split.name == "1/8-s0+tags"
    assert split.labelled == plain.labelled
    assert split.class_counts == plain.class_counts
    assert set(split.labels.values()) == {"mask", "tags"}
    assert split.weak == tuple(sorted(data.ids))
    assert split.unlabelled == ()
    assert split.tags is tags
    assert plain.tags is None
    assert plain.weak == ()


def test_nobody_needs_a_mask_where_there_are_tags() -> None:
    data = numbered(8)
    split = make_split(data, "none", seed=0, tags=tagged(data))
    assert (split.name, split.labelled, split.weak) == ("none+tags", (), data.ids)
    assert set(split.class_counts.values()) == {0}
    assert data.opened == []
    assert hold_out(split, 0, seed=0) == (split, ())
    with pytest.raises(RecipeError, match=r"hold out 1 of the 0 .* a number from 0 to 0"):
        hold_out(split, 1, seed=0)


@pytest.mark.parametrize(
    ("spec", "who", "name"),
    [
        ("none", "1/2", "none+tags-1/2-s3"),
        ("none", "2/class", "none+tags-2-per-class-s3"),
        ("1/class", "2/class", "1-per-class-s3+tags-2-per-class-s3"),
        ("all", "1/4", "all+tags-1/4-s3"),
        (" 1/4 ", " all ", "1/4-s3+tags"),
    ],
)
def test_some_have_tags(spec: str, who: str, name: str) -> None:
    data = long_tailed(0)
    split = make_split(data, spec, 3, tags=tagged(data), tagged=who)
    assert split.name == name
    masks = () if spec == "none" else make_split(data, spec, 3, tags=tagged(data)).labelled
    assert split.labelled == masks
    # In the same words, both choose the same images.
    named = make_split(data, who, 3, tags=tagged(data)).labelled
    assert set(split.weak) == {*masks, *named}
    assert set(split.unlabelled) == {*data.ids} - {*split.weak}


def test_count_per_class_goes_by_tags_and_opens_what_it_labels() -> None:
    for seed in range(6):
        data = long_tailed(seed)
        # Tags count what a mask leaves out, such as an object in a void region.
        tags = tagged(data, i0=[1, 7], i1=[7], i2=[])
        chosen = []
        for count in range(1, 11):
            data.opened.clear()
            split = make_split(data, f"{count}/class", seed, tags=tags)
            assert sorted(data.opened) == list(split.labelled)
            chosen.append(set(split.labelled))
            for label, images in enumerate(tags.class_counts.values(), start=1):
                having = {key for key in split.labelled if label in tags.of[key]}
                assert len(having) >= min(count, images)
            assert split.presence == {key: frozenset(data._labels[key]) for key in split.labelled}
        assert all(small <= large for small, large in pairwise(chosen))


def test_background_and_images_without_tags_are_not_chosen_by_class() -> None:
    data = Memory({"a": [0], "b": [0, 1], "c": [0], "d": [0, 1]})
    assert make_split(data, "9/class", 0, tags=tagged(data)).labelled == ("b", "d")
    with pytest.raises(RecipeError, match="labels no image at all"):
        make_split(data, "9/class", 0, tags=tagged(data, b=[], d=[]))


def test_held_out_images_leave_the_weak_ones_too() -> None:
    data = numbered(40)
    split = make_split(data, "1/2", seed=0, tags=tagged(data), tagged="3/4")
    rest, held = hold_out(split, 5, seed=1)
    assert len(held) == 5
    assert set(rest.weak) == set(split.weak) - set(held)
    assert not set(held) & set(rest.labels)
    assert rest.unlabelled == split.unlabelled
    assert rest.tags is split.tags


@pytest.mark.parametrize(
    ("spec", "who"), [("1/4", "all"), ("1/4", "1/2"), ("1/4", "1/4"), ("none", "1/2")]
)
def test_a_written_split_with_tags_reads_back_the_same(tmp_path: Path, spec: str, who: str) -> None:
    data = Memory({f"with space {number}": [number % 4] for number in range(12)})
    tags = tagged(data)
    split = make_split(data, spec, 7, tags=tags, tagged=who)
    write_split(tmp_path / "split.txt", split)
    again = make_split(data, f"file:{tmp_path / 'split.txt'}", 0, tags=tags)
    assert again.name == "file:split.txt+tags"
    assert (again.sha256, again.labels, again.weak) == (split.sha256, split.labels, split.weak)
    assert again.class_counts == split.class_counts
    assert f"# tags: xml, sha256 {tags.sha256}\n" in (tmp_path / "split.txt").read_text()
    with pytest.raises(RecipeError, match="states who has tags, and tagged = '1/8' does so too"):
        make_split(data, f"file:{tmp_path / 'split.txt'}", 0, tags=tags, tagged="1/8")


def test_lists_say_who_has_tags(tmp_path: Path) -> None:
    data = numbered(4)
    one, two, three, four = data.ids
    tags = tagged(data)
    path = tmp_path / "list.txt"
    path.write_text(f"{one} mask\n{two} tags\n{three} none\n")
    split = make_split(data, f"file:{path}", 0, tags=tags)
    assert (split.labelled, split.weak, split.unlabelled) == ((one,), (one, two), (three,))
    with pytest.raises(DataError, match=rf"list\.txt' states that '{two}' has tags.* data\.tags ="):
        make_split(data, f"file:{path}", 0)
    # As `tagged`, it says who has tags, and no more.
    split = make_split(data, "none", 0, tags=tags, tagged=f"file:{path}")
    assert (split.name, split.weak) == ("none+tags-file:list.txt", (one, two))
    path.write_text(f"{four}\n")
    split = make_split(data, f"file:{path}", 0, tags=tags, tagged="1/2")
    assert split.labelled == (four,)
    assert {four, *make_split(data, "1/2", 0).labelled} == set(split.weak)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spec": "none"}, "split 'none' labels no image at all: name the tags"),
        ({"spec": "1/8", "tagged": "1/2"}, "tagged = '1/2' says who has tags, but there are none"),
        ({"spec": "1/8", "tags": True, "tagged": "none"}, "tagged = 'none' leaves all tags out"),
        ({"spec": "1/8", "tags": True, "tagged": "9/8"}, "'9/8' is no share above 0 and up to 1"),
        ({"spec": "1/8", "tags": True, "tagged": "0/class"}, "labels no image at all"),
    ],
)
def test_tags_that_make_no_sense(options: dict[str, object], words: str) -> None:
    data = numbered(8)
    tags = tagged(data) if options.pop("tags", False) else None
    with pytest.raises(RecipeError, match=words) as error:
        make_split(data, seed=0, tags=tags, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_written_split_reads_back_for_every_name(tmp_path: Path) -> None:
    names = ["a", "a mask", "#5", "# tags: a", '"quoted"', "line\nbreak", "return\rhere", " x "]
    names += ["x.jpg", "folder/a", "images/a", "e\u0301", "\u00e9", "\u2028", "tags", "a,b", "a\\b"]
    data = Memory({name: [number % 4] for number, name in enumerate(names)})
    for spec in ("all", "1/2", "1/5"):
        split = make_split(data, spec, seed=1)
        write_split(tmp_path / "split.txt", split)
        again = make_split(data, f"file:{tmp_path / 'split.txt'}", seed=0)
        assert again.labels == split.labels
        assert again.sha256 == split.sha256


def test_a_list_whose_name_has_a_line_break_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines.txt"
    path.write_text("img_001\n")
    split = make_split(numbered(4), f"file:{path}", 0)
    write_split(tmp_path / "split.txt", split)
    assert make_split(numbered(4), f"file:{tmp_path / 'split.txt'}", 0).sha256 == split.sha256


class HalfMasked(Memory):
    """Every other image has no mask."""

    def has_mask(self, index: int) -> bool:
        return index % 2 == 0

    def mask(self, index: int) -> Tensor:
        if not self.has_mask(index):
            raise DataError(f"{self.mask_path(index)} is missing")
        return super().mask(index)


def test_who_has_a_mask_is_labelled() -> None:
    data = HalfMasked({f"i{number}": [0, number % 4] for number in range(10)})
    split = make_split(data, "masked", seed=0)
    assert split.labelled == ("i0", "i2", "i4", "i6", "i8")
    assert split.unlabelled == ("i1", "i3", "i5", "i7", "i9")
    assert split.name == "masked"
    assert split.sha256 == make_split(data, "all", seed=0).sha256
    assert len(make_split(data, "2/5", seed=0).labelled) == 2
    assert make_split(numbered(4), "masked", 0).labelled == tuple(numbered(4).ids)


def test_no_image_with_a_mask_is_said_as_the_data_set_does() -> None:
    class Unmasked(HalfMasked):
        def has_mask(self, index: int) -> bool:
            return False

    with pytest.raises(DataError, match=r"memory/a\.png is missing"):
        make_split(Unmasked({"a": [0]}), "masked", seed=0)
