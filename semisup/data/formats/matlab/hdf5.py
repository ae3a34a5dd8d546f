"""Arrays out of a MATLAB 7.3 file, which is HDF5, one image at a time.

MATLAB stores arrays by columns and HDF5 by rows, so that a file has the axes in reverse order: an
array of rows x columns x images is stored as images x columns x rows. Here the order is MATLAB's.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semisup.data.formats.matlab.files import reading
from semisup.errors import DataError

EXTRA = "pip install 'semisup[hdf5]'"
"""What brings h5py."""

_LARGEST = 1 << 28
"""Values that are read at once; a damaged file may claim any number."""


def hdf5_tools() -> Any:
    """The module h5py.

    Raises:
        DataError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            f"MATLAB 7.3 files are read with h5py, which is not installed: {EXTRA}"
        ) from error
    return h5py


@dataclass(frozen=True, slots=True)
class MatlabArrays:
    """The variables of a MATLAB 7.3 file.

    The file is open only while something is read from it, so that no two processes share a handle
    and copies for worker processes are light.

    Args:
        path: of the file.
        remedy: the end of an error, such as "get it again".

    Raises:
        DataError: (each method) the file is missing, no MATLAB 7.3 file, damaged, or lacks the
            variable; h5py is not installed.
    """

    path: Path
    remedy: str

    def has(self, name: str) -> bool:
        """Whether there is such a variable."""
        with self._open() as file:
            return name in file

    def shape(self, name: str) -> tuple[int, ...]:
        """The sizes of a variable, or of a field of a struct such as "struct/field"."""
        with self._open() as file:
            return tuple(reversed(_array(file, name).shape))

    def part(self, name: str, index: int) -> NDArray[np.generic]:
        """What a numeric variable holds at `index` of its last axis."""
        with self._open() as file:
            found = _array(file, name)
            if not 0 <= index < found.shape[0]:
                raise ValueError(f"'{name}' has no part {index + 1}")
            return _numbers(found, name, index)

    def cell(self, name: str, index: int) -> NDArray[np.generic]:
        """The matrix in cell `index` of a variable, in MATLAB's order of cells."""
        with self._open() as file:
            cells = _array(file, name)
            flat = np.unravel_index(index, cells.shape) if index < cells.size else None
            if flat is None or cells.dtype.kind != "O":
                raise ValueError(f"'{name}' has no cell {index + 1}")
            reference = cells[flat]
            found = file[reference] if reference else None
            if found is None or "MATLAB_empty" in found.attrs or not _is_array(found):
                raise ValueError(f"cell {index + 1} of '{name}' is empty")
            return _numbers(found, f"{name}{{{index + 1}}}")

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        tools = hdf5_tools()
        with reading(self.path, "MATLAB 7.3", self.remedy):
            if not tools.is_hdf5(self.path):
                raise ValueError("not the format of HDF5")
            with tools.File(self.path, "r", locking=False) as file:
                try:
                    yield file
                except KeyError as error:  # of what is there, and cannot be opened
                    raise ValueError(*error.args) from error


def _array(file: Any, name: str) -> Any:
    if name not in file:
        raise LookupError(f"'{name}'")
    if not _is_array(file[name]):
        raise ValueError(f"'{name}' is no array")
    return file[name]


def _is_array(found: Any) -> bool:
    return hasattr(found, "shape") and bool(found.shape)


def _numbers(found: Any, name: str, index: int | None = None) -> NDArray[np.generic]:
    """The whole of an array of numbers, or one part of it, with its axes reversed."""
    if found.dtype.kind not in "iuf":
        raise ValueError(f"'{name}' holds no numbers")
    if math.prod(found.shape[0 if index is None else 1 :]) > _LARGEST:
        raise ValueError(f"'{name}' is said to have {' x '.join(map(str, found.shape))} values")
    values: NDArray[np.generic] = found[()] if index is None else found[index]
    return values.transpose()
