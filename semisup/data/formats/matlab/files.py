"""What goes wrong with a MATLAB file, in one line that names it."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

from semisup.errors import DataError

_VERSIONS = {b"MATLAB 5.0": "MATLAB 5", b"MATLAB 7.3": "MATLAB 7.3"}
"""How a file begins -> its version."""


@contextlib.contextmanager
def reading(path: Path, version: str, remedy: str) -> Iterator[None]:
    """Read a file of MATLAB in here; whatever goes wrong is told of the file.

    Args:
        path: of the file.
        version: that is read: "MATLAB 5" or "MATLAB 7.3".
        remedy: the end of the sentence.

    Raises:
        DataError: the file is missing, of another version or of another kind, it is damaged, or it
            lacks what is looked for.
    """
    if path.is_fifo():  # to open one is to wait for whoever writes into it
        raise DataError(f"{path} is a pipe; {remedy}")
    try:
        with path.open("rb") as file:
            found = _VERSIONS.get(file.read(10))
        if found not in (version, None):
            raise DataError(f"{path} is a file of {found}, where {version} is expected; {remedy}")
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; {remedy}") from error
    except LookupError as error:
        name = str(error.args[0]) if error.args else "what is looked for"
        raise DataError(f"{path} does not hold {_line(name)}; {remedy}") from error
    except (OSError, ValueError, RuntimeError, TypeError, OverflowError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{path} is no readable {version} file ({_line(why)}); {remedy}") from error


def _line(text: str) -> str:
    return " ".join(text.split())
