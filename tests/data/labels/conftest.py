"""The real masks that tests of labels share."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from semisup.data.sets.voc import Voc


@pytest.fixture(scope="session")
def voc_mask_archive(shared_data: Path) -> Path:
    """The 12,031 masks of VOC's train_aug and val, SBD's among them."""
    return shared_data / "voc2012_masks_12031.tar.xz"


@pytest.fixture(scope="session")
def voc_masks(voc_mask_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Voc:
    """The masks of that archive, unpacked; there are no images."""
    folder = tmp_path_factory.mktemp("voc_masks")
    with tarfile.open(voc_mask_archive) as archive:
        archive.extractall(folder, filter="data")
    names = sorted(path.stem for path in (folder / "SegmentationClassAug").iterdir())
    (folder / "JPEGImages").mkdir()
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "both.txt").write_text("\n".join(names))
    return Voc(folder, "both")
