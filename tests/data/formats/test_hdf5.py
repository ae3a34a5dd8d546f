"""Arrays of MATLAB 7.3 files, which h5py writes as MATLAB does."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.indoor import write_v73

from semisup.data.formats.matlab import hdf5
from semisup.data.formats.matlab.hdf5 import MatlabArrays
from semisup.errors import DataError

h5py = pytest.importorskip("h5py")

VALUES = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # as MATLAB shows it


@pytest.fixture
def arrays(tmp_path: Path) -> MatlabArrays:
    def fill(file: Any) -> None:
        file["values"] = VALUES.T
        cells = [file.create_dataset(f"#refs#/{n}", data=VALUES[:, :, 0, n].T) for n in range(3)]
        file["group/cells"] = np.array([one.ref for one in cells], h5py.ref_dtype).reshape(3, 1)

    return MatlabArrays(write_v73(tmp_path / "a.mat", fill), "get it again")


def test_axes_are_in_the_order_of_matlab(arrays: MatlabArrays) -> None:
    assert arrays.shape("values") == (2, 3, 4, 5)
    for index in range(5):
        assert np.array_equal(arrays.part("values", index), VALUES[..., index])
    assert arrays.shape("group/cells") == (1, 3)
    for index in range(3):
        assert np.array_equal(arrays.cell("group/cells", index), VALUES[:, :, 0, index])
    assert arrays.has("group/cells")
    assert not arrays.has("other")


def test_what_is_not_there_is_refused(arrays: MatlabArrays) -> None:
    for ask, says in (
        (lambda: arrays.shape("other"), "does not hold 'other'; get it again"),
        (lambda: arrays.part("values", 5), "'values' has no part 6"),
        (lambda: arrays.part("group", 0), "'group' is no array"),
        (lambda: arrays.cell("group/cells", 3), "'group/cells' has no cell 4"),
        (lambda: arrays.cell("values", 0), "'values' has no cell 1"),
    ):
        with pytest.raises(DataError) as caught:
            ask()
        assert str(caught.value).startswith(str(arrays.path))
        assert says in str(caught.value)


def test_sizes_that_no_image_has_are_refused_before_memory_is_taken(
    arrays: MatlabArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(arrays.path, "r+") as file:
        file.create_dataset("large", shape=(1, 1 << 20, 1 << 20), dtype="u1", chunks=(1, 64, 64))
    line = "'large' is said to have 1 x 1048576 x 1048576 values"
    with pytest.raises(DataError, match=line):
        arrays.part("large", 0)
    monkeypatch.setattr(hdf5, "_LARGEST", 24)
    assert arrays.part("values", 0).size == 24


def open_files() -> int:
    """Of this process; 0 where the system does not list them."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_nothing_is_left_open(arrays: MatlabArrays) -> None:
    before = open_files()
    for _ in range(3):
        arrays.part("values", 0)
    assert open_files() == before
    copy = pickle.loads(pickle.dumps(arrays))
    assert np.array_equal(copy.part("values", 1), VALUES[..., 1])
    arrays.path.unlink()
    with pytest.raises(DataError, match=r"a\.mat is missing; get it again"):
        arrays.part("values", 0)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mat")
    with pytest.raises(DataError, match="is a pipe; get it again"):
        MatlabArrays(tmp_path / "a.mat", "get it again").shape("values")
    with pytest.raises(DataError, match=r"is no readable MATLAB 7\.3 file"):
        MatlabArrays(tmp_path, "get it again").shape("values")
