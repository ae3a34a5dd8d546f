"""Writing made pictures as a tree in the layout of Pascal VOC, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from semisup.data.formats.pictures import full_palette, voc_palette
from semisup.data.sets.scenes.drawing import Design, Labels, Scene, SceneObject, draw_scene
from semisup.data.sets.scenes.pairs import PAIRS
from semisup.data.sets.scenes.things import THINGS
from semisup.errors import DataError
from semisup.system.progress import track

TREE = "VOCdevkit/VOC2012"
DESIGNS: dict[str, Design] = {"things": THINGS, "pairs": PAIRS}

_VERSION = 5  # raised whenever the same options give other pictures
_SUBSETS = ("train", "val", "test")
_CHUNK = 20  # pictures: large against the cost of a job, small against the whole
_ABANDONED_AFTER = 3600.0  # seconds; a build takes some ten


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What the pictures depend on: how many of each subset, their size (H, W), seed and design."""

    train: int
    val: int
    test: int
    size: tuple[int, int]
    seed: int
    design: str = "pairs"

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits, equal for equal pictures."""
        text = json.dumps({**asdict(self), "version": _VERSION}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def ids(self, subset: str) -> list[str]:
        """Image ids of a subset."""
        return [f"{subset}_{number:06d}" for number in range(getattr(self, subset))]


@dataclass(frozen=True, slots=True)
class _Job:
    folder: Path
    options: SceneOptions
    subset: str
    numbers: range


def ensure_scenes(root: Path, options: SceneOptions, *, processes: int | None = None) -> Path:
    """The folder of the tree that belongs to `options`, written now if it is not there yet.

    It is written beside and renamed at the end, so that the folder is whole whenever it exists.
    Of two processes that write at once the first to end wins, and the other takes its tree.

    Args:
        root: where the folder `scenes-<digest>` is or will be.
        options: what the pictures depend on.
        processes: how many write; None for what is fastest: one a core, 8 at most, and one for a
            few scenes. The files do not depend on it.

    Raises:
        DataError: the disk is full or `root` cannot be written to.
    """
    folder = root / f"scenes-{options.digest}"
    with _disk_errors(folder):
        if not folder.is_dir():
            root.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
            part = Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=root))
            try:
                _write_tree(part / TREE, options, processes or _useful(options))
                part.chmod(0o755)  # mkdtemp gives 0700, which colleagues could not read
                _rename(part, folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return folder / TREE


def _prefix(folder: Path) -> str:
    return f".{folder.name}."


def _remove_abandoned(folder: Path) -> None:
    """Remove what builds that were killed have left."""
    for part in folder.parent.glob(f"{_prefix(folder)}*"):
        if time.time() - part.stat().st_mtime > _ABANDONED_AFTER:
            shutil.rmtree(part, ignore_errors=True)


def _rename(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster, with the same files
            raise


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write the scenes to {folder}: {error.strerror or error}; "
            "free space there, or set the data root (--data-root or SEMISUP_DATA) to a folder "
            "you may write to"
        ) from error


# ---- The work, in several processes ----


def _write_tree(folder: Path, options: SceneOptions, processes: int) -> None:
    for name in ("JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations"):
        (folder / name).mkdir(parents=True)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for subset in _SUBSETS:
        if ids := options.ids(subset):
            (lists / f"{subset}.txt").write_text("".join(f"{name}\n" for name in ids))
    numbers = {subset: range(getattr(options, subset)) for subset in _SUBSETS}
    jobs = [
        _Job(folder, options, subset, numbers[subset][start : start + _CHUNK])
        for subset in _SUBSETS
        for start in range(0, len(numbers[subset]), _CHUNK)
    ]
    _run(jobs, processes)


def _run(jobs: list[_Job], processes: int) -> None:
    """Do all jobs, with a bar; in this process where no others can be started."""
    pool = _start_pool(processes)
    if pool is not None:
        try:
            with pool:
                with warnings.catch_warnings():
                    # Python warns of a fork beside the idle threads of torch and OpenBLAS.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    done = pool.map(_write_chunk, jobs)  # forks, before the bar starts a thread
                _show(done, len(jobs))
            return
        except BrokenProcessPool:
            pass  # a worker was killed, say for memory: each file is simply written again
    _show(map(_write_chunk, jobs), len(jobs))


def _start_pool(processes: int) -> ProcessPoolExecutor | None:
    """Worker processes, or None where they cannot be had or would be of no use.

    Forked, never spawned: a spawned worker runs the user's script again, which is endless where
    it has no `if __name__ == "__main__"`. The children run numpy, scipy and Pillow alone, no torch,
    whose threads would not be there. macOS's libraries do not survive a fork; a worker of a
    DataLoader may not have children.
    """
    if processes < 2 or sys.platform != "linux" or multiprocessing.current_process().daemon:
        return None
    try:
        return ProcessPoolExecutor(
            processes,
            multiprocessing.get_context("fork"),
            initializer=_start_worker,
            initargs=(os.getpid(),),
        )
    except (OSError, ImportError, NotImplementedError):  # no semaphores, as in some sandboxes
        return None


def _start_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the parent to handle
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker soon after its parent was killed: else it would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _show(done: Iterable[None], total: int) -> None:
    for _ in track(done, "making scenes", total):
        pass


def _useful(options: SceneOptions) -> int:
    """One process a core, 8 at most; one alone for so few scenes that to start others is slower."""
    scenes = sum(getattr(options, subset) for subset in _SUBSETS)
    if scenes <= 2 * _CHUNK or sys.platform != "linux":
        return 1
    return min(8, len(os.sched_getaffinity(0)))


def _write_chunk(job: _Job) -> None:
    for number in job.numbers:
        # Nothing else goes into the seed, so no order and no number of processes can matter.
        entropy = (job.options.seed, _SUBSETS.index(job.subset), number)
        random = np.random.default_rng(np.random.SeedSequence(entropy))
        design = DESIGNS[job.options.design]
        scene = draw_scene(job.options.size, random, design)
        _write_scene(job.folder, f"{job.subset}_{number:06d}", scene, design.classes)


# ---- The files of one picture ----


def _write_scene(folder: Path, name: str, scene: Scene, classes: tuple[str, ...]) -> None:
    picture = Image.fromarray(scene.picture)
    # Colour at full resolution: the textures are only a few pixels wide.
    picture.save(folder / "JPEGImages" / f"{name}.jpg", quality=90, subsampling=0)
    _write_labels(folder / "SegmentationClass" / f"{name}.png", scene.mask)
    _write_labels(folder / "SegmentationObject" / f"{name}.png", scene.instances)
    (folder / "Annotations" / f"{name}.xml").write_text(_annotation(name, scene, classes))


def _write_labels(path: Path, labels: Labels) -> None:
    picture = Image.fromarray(labels)
    picture.putpalette(full_palette(voc_palette()))
    picture.save(path)


def _annotation(name: str, scene: Scene, classes: tuple[str, ...]) -> str:
    height, width, depth = scene.picture.shape
    objects = "".join(_object(entry, classes[entry.label]) for entry in scene.objects)
    return (
        f"<annotation>\n  <folder>VOC2012</folder>\n  <filename>{escape(name)}.jpg</filename>\n"
        "  <source><database>made by semisup</database></source>\n"
        f"  <size><width>{width}</width><height>{height}</height><depth>{depth}</depth></size>\n"
        f"  <segmented>1</segmented>\n{objects}</annotation>\n"
    )


def _object(entry: SceneObject, name: str) -> str:
    corners = {"xmin": entry.xmin, "ymin": entry.ymin, "xmax": entry.xmax, "ymax": entry.ymax}
    box = "".join(f"<{side}>{value + 1}</{side}>" for side, value in corners.items())
    return (
        f"  <object>\n    <name>{name}</name>\n    <pose>Unspecified</pose>\n"
        f"    <truncated>{int(entry.truncated)}</truncated>\n"
        f"    <difficult>{int(entry.difficult)}</difficult>\n"
        f"    <bndbox>{box}</bndbox>\n  </object>\n"
    )
