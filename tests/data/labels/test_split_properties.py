"""What holds for every split, over data sets and lists that hypothesis makes up."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from support.labels_in_memory import Video

from semisup.data.labels.known_lists.explain import explain_list
from semisup.data.labels.splits import Split, make_split, write_split
from semisup.errors import RecipeError

hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis, of the extra dev")
st = hypothesis.strategies

CLASSES = 6


def make_video(names: list[tuple[int, int]], labels: list[list[int]]) -> Video:
    """Frames of sequences, and the labels in the mask of each."""
    frames = zip(names, labels, strict=False)
    return Video({f"s{name}_{frame}": held for (name, frame), held in frames}, CLASSES)


frames = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 30)), min_size=1, max_size=30, unique=True
)
masks = st.lists(st.lists(st.integers(0, CLASSES - 1), max_size=3), min_size=30, max_size=30)
videos = st.builds(make_video, frames, masks)
shares = st.tuples(st.integers(1, 16), st.integers(1, 16)).map(
    lambda two: Fraction(min(two), max(two))
)
seeds = st.integers(0, 5)


def holds_for(**given: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test of drawn values: the same ones on every machine, none of them stored."""
    health = [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow]
    settings = hypothesis.settings(
        database=None,
        derandomize=True,
        deadline=None,
        max_examples=60,
        suppress_health_check=health,
    )
    return lambda test: settings(hypothesis.given(**given)(test))


def split_or_none(data: Video, spec: str, seed: int) -> Split | None:
    """The split; None where no whole sequences come near to it."""
    try:
        return make_split(data, spec, seed)
    except RecipeError:
        assert spec.endswith("-sequences")
        return None


@holds_for(data=videos, two=st.tuples(shares, shares), seed=seeds)
@pytest.mark.parametrize("way", ["", "-balanced", "-sequences"])
def test_smaller_shares_lie_inside_larger_ones(
    way: str, data: Video, two: tuple[Fraction, Fraction], seed: int
) -> None:
    small, large = (split_or_none(data, f"{share}{way}", seed) for share in sorted(two))
    if small and large:
        assert set(small.labelled) <= set(large.labelled)


@holds_for(data=videos, share=shares, seed=seeds)
def test_a_balanced_share_is_as_large_as_a_plain_one(
    data: Video, share: Fraction, seed: int
) -> None:
    split = make_split(data, f"{share}-balanced", seed)
    assert len(split.labelled) == math.ceil(share * len(data.ids))


@holds_for(data=videos, share=shares, seed=seeds)
def test_a_balanced_share_with_room_for_them_holds_every_class_of_the_set(
    data: Video, share: Fraction, seed: int
) -> None:
    split = make_split(data, f"{share}-balanced", seed)
    available = make_split(data, "all", seed).class_counts
    if len(split.labelled) >= sum(count > 0 for count in available.values()):
        for name, count in available.items():
            assert (split.class_counts[name] > 0) == (count > 0)


@holds_for(data=videos, count=st.integers(1, 4), seed=seeds)
def test_a_count_per_class_is_reached_where_the_set_has_it(
    data: Video, count: int, seed: int
) -> None:
    available = make_split(data, "all", seed).class_counts
    if any(available.values()):
        split = make_split(data, f"{count}/class", seed)
        for name, images in split.class_counts.items():
            assert images >= min(count, available[name])


@holds_for(data=videos, share=shares, seed=seeds)
def test_no_sequence_is_on_both_sides(data: Video, share: Fraction, seed: int) -> None:
    split = split_or_none(data, f"{share}-sequences", seed)
    if split is not None:
        sides = (split.labelled, split.unlabelled)
        labelled, unlabelled = ({name.partition("_")[0] for name in side} for side in sides)
        assert labelled
        assert not labelled & unlabelled
        wanted = math.ceil(share * len(data.ids))
        assert wanted / 2 <= len(split.labelled) <= 2 * wanted


@holds_for(data=videos, share=shares, seed=seeds, shuffle=st.randoms(use_true_random=False))
@pytest.mark.parametrize("way", ["", "-balanced", "-sequences"])
def test_a_split_does_not_depend_on_the_order_of_the_images(
    way: str, data: Video, share: Fraction, seed: int, shuffle: object
) -> None:
    names = list(data.ids)
    shuffle.shuffle(names)  # type: ignore[attr-defined]
    other = Video({name: data._labels[name] for name in names}, CLASSES)
    one, two = (split_or_none(each, f"{share}{way}", seed) for each in (data, other))
    assert (one and one.sha256) == (two and two.sha256)


@holds_for(
    data=videos,
    share=shares,
    shuffle=st.randoms(use_true_random=False),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    last=st.booleans(),
    form=st.sampled_from(
        ["{0}", "{0}.jpg", "JPEGImages/{0}.jpg", "a b/{0}", "/x/{0}.jpg /y/{0}.png", "{0} mask"]
    ),
)
def test_the_hash_of_a_list_does_not_depend_on_its_dress(
    tmp_path: Path,
    data: Video,
    share: Fraction,
    shuffle: object,
    ending: str,
    last: bool,
    form: str,
) -> None:
    split = make_split(data, str(share), seed=0)
    names = list(split.labelled)
    shuffle.shuffle(names)  # type: ignore[attr-defined]
    text = ending.join(form.format(name) for name in names) + (ending if last else "")
    path, written = tmp_path / "list.txt", tmp_path / "written.txt"
    path.write_bytes(text.encode())
    write_split(written, split)
    one, other = explain_list(path), explain_list(written)
    assert one.ids == split.labelled
    assert one.contradictions == ()
    assert one.sha256 == other.sha256
    assert make_split(data, f"file:{written}", 0).sha256 == split.sha256
