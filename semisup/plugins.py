"""Code of others: the modules, files and entry points that a user names or has installed.

Importing is running code. So nothing is imported here but what the command line, the environment or
an installed distribution names: no recipe, checkpoint or run's folder can.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from semisup.errors import RecipeError

GROUP = "semisup"
"""Of the entry points: `mean_teacher = "my_package.methods:MeanTeacher"`."""

VARIABLE = "SEMISUP_PLUGINS"
"""Environment variable that names plug-ins as --plugin does, separated as the entries of PATH."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a class from outside the package comes from.

    Attributes:
        plugin: the name of its file where one was given with --plugin, else its module.
        sha256: of its source file; empty where there is none, as in a notebook.
    """

    plugin: str
    sha256: str


def origin_of(cls: type) -> Origin:
    """Where a class comes from, and the hash of its source file as it is now."""
    source = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if source is None or not Path(source).is_file():
        return Origin(cls.__module__, "")
    path = Path(source).resolve()
    by_file = path in _files() or cls.__module__ == "__main__"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Origin(path.name if by_file else cls.__module__, digest)


def named_in_environment() -> list[str]:
    """What `SEMISUP_PLUGINS` names."""
    return [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name.strip()]


def import_plugin(name: str) -> bool:
    """Import a plug-in, unless it has been.

    A file is imported as the module of its name, with its folder at the end of `sys.path`: it may
    import what lies beside it, and worker processes find its classes.

    Args:
        name: a module, such as "my_package.methods", or a path that ends in .py.

    Returns:
        Whether it had not been imported before.

    Raises:
        RecipeError: there is no such file or module, or it fails; in one line.
    """
    module = _module_of_file(Path(name)) if _is_path(name) else name
    if module in sys.modules:
        return False
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise RecipeError(f"plug-in {name}: {_why(error, name)}") from None
    return True


def _is_path(name: str) -> bool:
    return name.endswith(".py") or os.sep in name


def _module_of_file(path: Path) -> str:
    path = path.expanduser().resolve()
    if not path.is_file() or path.suffix != ".py":
        raise RecipeError(f"plug-in {path}: is no .py file. Check the path, or name a module.")
    module, folder = path.stem, str(path.parent)
    if not module.isidentifier():
        raise RecipeError(
            f"plug-in {path}: '{module}' is no name of a module. Rename the file to letters, "
            "digits and _."
        )
    if folder not in sys.path:
        sys.path.append(folder)
        importlib.invalidate_caches()
    found = importlib.util.find_spec(module)
    origin = None if found is None else found.origin
    if origin is None or Path(origin).resolve() != path:
        raise RecipeError(
            f"plug-in {path}: a module '{module}' is there already ({origin}). Rename the file."
        )
    _files().add(path)
    return module


@functools.cache
def _files() -> set[Path]:
    """Files that were named as plug-ins in this process."""
    return set()


def _why(error: BaseException, name: str) -> str:
    """An error of a plug-in in one line, with the last line of its own files that led to it."""
    if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
        return f"there is no such module. Install it, or name its file, as --plugin {name}.py."
    text = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_machinery(frame.filename)]
    folder = Path(theirs[0].filename).parent if theirs else None
    own = [frame for frame in theirs if folder in Path(frame.filename).parents]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"cannot be imported: {type(error).__name__}: {text}{place}. Mend it, or leave it out."


def _is_machinery(file: str) -> bool:
    """Whether a frame is the import system's or this package's."""
    inside = Path(__file__).resolve().parent
    return file.startswith("<frozen") or inside in Path(file).parents or "importlib" in file


@dataclass(frozen=True, slots=True)
class Installed:
    """An entry point of an installed distribution.

    Attributes:
        name: that the class shall have in the catalogue.
        where: the distribution and what it names, for errors.
    """

    name: str
    where: str
    entry: EntryPoint

    def load(self) -> type:
        """Import the class.

        Raises:
            RecipeError: it cannot be imported; one line that names the distribution.
        """
        try:
            loaded: type = self.entry.load()
        except (Exception, SystemExit) as error:
            raise RecipeError(f"{self.where}: {_why(error, '')}") from None
        return loaded


def installed() -> Iterator[Installed]:
    """The entry points of group `semisup`, in the order of their names; imports none."""
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown"
        where = f"plug-in '{entry.name}' of distribution {distribution} ({entry.value})"
        yield Installed(entry.name, where, entry)
