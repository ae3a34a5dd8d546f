from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from support.channels import make_set, write_array, write_png, write_tiff

from semisup.catalog import create_dataset
from semisup.data import image_formats
from semisup.data.base import SegmentationData
from semisup.data.image_formats import (
    GreyAsRGB,
    constant_channels,
    fitted,
    format_of,
    measure_images,
)
from semisup.data.loading.cache import CachedData
from semisup.errors import DataError
from semisup.ops.pixels import GREY, RGB, RGB_FORMAT, ImageKind, normalise

FOUR = ImageKind(4, 16)


@pytest.fixture
def four(tmp_path: Path) -> SegmentationData:
    return create_dataset("folder", make_set(tmp_path / "four", 4, 16, write_tiff))


@pytest.fixture
def grey(tmp_path: Path) -> SegmentationData:
    return create_dataset("folder", make_set(tmp_path / "grey", 1, 8, write_png))


def test_the_kind_is_that_of_the_files(four: SegmentationData, grey: SegmentationData) -> None:
    assert (four.image_kind, grey.image_kind) == (FOUR, GREY)
    assert (four.image(0).dtype, tuple(four.image(0).shape)) == (torch.uint16, (4, 36, 40))
    assert (grey.image(0).dtype, tuple(grey.image(0).shape)) == (torch.uint8, (1, 36, 40))


def test_measured_values_are_those_of_all_pixels(four: SegmentationData) -> None:
    """Against numpy over all pixels at once."""
    found = measure_images(four)
    pixels = np.concatenate([four.image(i).flatten(1).numpy() for i in range(len(four))], axis=1)
    shares = pixels.astype(np.float64) / 65535
    assert (found.kind, found.images) == (FOUR, 6)
    assert np.allclose(found.mean, shares.mean(1), rtol=1e-12)
    assert np.allclose(found.std, shares.std(1), rtol=1e-9)
    assert found.lowest == tuple(pixels.min(1).tolist())
    assert found.highest == tuple(pixels.max(1).tolist())
    assert found.constant == []


def test_normalised_images_have_mean_0_and_deviation_1(four: SegmentationData) -> None:
    images = format_of(four)
    normalised = torch.cat([normalise(four.image(i), images).flatten(1) for i in range(6)], dim=1)
    assert normalised.mean(1).abs().max() < 1e-4
    assert (normalised.std(1) - 1).abs().max() < 1e-3


def test_measuring_opens_no_mask_and_not_too_many_images(
    four: SegmentationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_formats, "MOST_IMAGES", 3)
    opened = []
    read = four.image
    monkeypatch.setattr(four, "mask", None)
    monkeypatch.setattr(four, "image", lambda i: opened.append(i) or read(i))
    assert measure_images(four).images == 3
    assert opened == [0, 2, 4]


def test_a_constant_channel_becomes_0(tmp_path: Path) -> None:
    def write(path: Path, values: np.ndarray) -> None:
        write_array(path, np.dstack([values, np.full_like(values, 7)]))

    data = create_dataset("folder", make_set(tmp_path / "data", 1, 16, write))
    found = measure_images(data)
    assert found.constant == [2]
    images = found.format()
    assert constant_channels(images) == [2]
    assert (normalise(data.image(0), images)[1] == 0).all()


def test_rgb_of_8_bits_is_normalised_as_imagenet(tmp_path: Path) -> None:
    data = create_dataset("folder", make_set(tmp_path / "data", 3, 8, write_array))
    assert data.image_kind == RGB
    assert format_of(data) is RGB_FORMAT
    assert constant_channels(RGB_FORMAT) == []
    assert measure_images(data).mean != RGB_FORMAT.mean


def test_grey_as_rgb(grey: SegmentationData) -> None:
    as_rgb = fitted(grey, RGB)
    assert isinstance(as_rgb, GreyAsRGB)
    assert as_rgb.image_kind == RGB
    assert torch.equal(as_rgb.image(1), grey.image(1).expand(3, -1, -1))
    assert torch.equal(as_rgb.mask(1), grey.mask(1))
    stated = create_dataset("folder", grey.root, channels=3)
    assert stated.image_kind == RGB
    assert torch.equal(stated.image(1), as_rgb.image(1))


@pytest.mark.parametrize("kind", [GREY, RGB, ImageKind(4, 8), ImageKind(3, 16)])
def test_images_of_another_kind_are_refused(four: SegmentationData, kind: ImageKind) -> None:
    line = rf"^folder train in .* images of another kind: {FOUR} \(expected: {kind}\)$"
    with pytest.raises(DataError, match=line):
        fitted(four, kind)
    assert fitted(four, FOUR) is four


def test_a_cache_and_a_worker_give_the_same(four: SegmentationData) -> None:
    cached = CachedData(four, 1)
    copy = pickle.loads(pickle.dumps(four))
    for _ in range(2):
        for index in range(len(four)):
            assert torch.equal(cached.mask(index), four.mask(index))
            assert torch.equal(cached.image(index), four.image(index))
            assert torch.equal(copy.image(index), four.image(index))


def test_a_set_without_images_cannot_be_measured(four: SegmentationData) -> None:
    four.ids = ()
    with pytest.raises(DataError, match="folder train: there is no image to measure"):
        measure_images(four)
