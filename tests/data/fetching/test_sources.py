"""Addresses and checksums are those that others have published."""

from __future__ import annotations

import re

import pytest
from torchvision.datasets import SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT

from semisup.catalog import DATASETS
from semisup.data.fetching.sources import SOURCES, source_of
from semisup.data.sets.voc import _PLACES, _SBD_PLACES
from semisup.errors import RecipeError


def test_every_data_set_has_one_entry() -> None:
    assert SOURCES.keys() == DATASETS.keys()
    for source in SOURCES.values():
        assert sum(map(bool, (source.archives, source.steps, source.instead))) == 1
        assert bool(source.terms) != bool(source.instead)


def test_the_archives_of_voc_are_torchvisions() -> None:
    voc, sbd = SOURCES["voc"].archives
    assert (voc.url, voc.md5) == (
        DATASET_YEAR_DICT["2012"]["url"],
        DATASET_YEAR_DICT["2012"]["md5"],
    )
    assert (voc.file, voc.makes) == (
        DATASET_YEAR_DICT["2012"]["filename"],
        DATASET_YEAR_DICT["2012"]["base_dir"],
    )
    assert (sbd.url, sbd.md5, sbd.file) == (SBDataset.url, SBDataset.md5, SBDataset.filename)


def test_archives_are_taken_from_where_the_data_set_reads_them() -> None:
    voc, sbd = SOURCES["voc"].archives
    assert voc.makes == _PLACES[0]
    assert [place.rpartition("/")[0] or "." for place in voc.places] == list(_PLACES)
    assert [place.removesuffix("/cls") for place in sbd.places] == list(_SBD_PLACES)


@pytest.mark.parametrize("name", SOURCES)
def test_archives_lie_in_plain_names_and_are_fetched_encrypted(name: str) -> None:
    for archive in SOURCES[name].archives:
        assert archive.url.startswith("https://")
        assert re.fullmatch(r"[\w.-]+", archive.file)
        assert archive.places[0].startswith(f"{archive.makes}/")
        assert re.fullmatch(r"[0-9a-f]{32}|", archive.md5)
        assert re.fullmatch(r"[0-9a-f]{64}|", archive.sha256)


def test_steps_say_where_to_put_the_files() -> None:
    for name, source in SOURCES.items():
        if source.steps:
            assert any("http" in step for step in source.steps), name
            assert any("{root}/" in step for step in source.steps), name


def test_a_name_that_is_not_known_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"'vox' comes from is not known\. Did you mean 'voc'\?"):
        source_of("vox")


@pytest.mark.parametrize("name", ["folder", "scenes", "stack"])
def test_what_is_not_public_says_what_to_do(name: str) -> None:
    with pytest.raises(RecipeError, match=name):
        source_of(name)
