"""One image, two images."""

from __future__ import annotations

import pytest

from semisup.system.words import counted


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 images"),
        (1, "1 image"),
        (2, "2 images"),
        (11, "11 images"),
        (12_031, "12,031 images"),
    ],
)
def test_a_number_and_what_it_counts(count: int, words: str) -> None:
    assert counted(count, "image") == words


def test_a_plural_of_its_own() -> None:
    assert [counted(n, "class", "classes") for n in (1, 3)] == ["1 class", "3 classes"]
    assert counted(1, "held-out labelled image") == "1 held-out labelled image"
