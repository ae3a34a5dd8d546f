"""Disks that are full, and folders that cannot be written to."""

from __future__ import annotations

import builtins
import errno
import io
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cases import refused
from click.testing import Result
from places import Call, Place

from semisup.training.checkpoint import Checkpoints

FULL = "No space left on device"


class FullDisk(io.FileIO):
    """A file on a disk that has room for `room` bytes more."""

    def __init__(self, path: Any, mode: str, room: int) -> None:
        super().__init__(path, mode)
        self.room = room

    def fileno(self) -> int:
        if self.readable():  # Pillow's encoders would write to the descriptor, past this class
            raise io.UnsupportedOperation("fileno")
        return super().fileno()

    def write(self, content: Any) -> int:
        size = len(memoryview(content).cast("B"))
        if size > self.room:
            super().write(bytes(content)[: self.room])  # what fits is written, as disks do
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= size
        return super().write(content)


def fill_disk(place: Place, names: str, room: int = 100) -> None:
    """From now on the disk is full for files whose name fits the pattern `names`."""
    whole = io.open

    def limited(path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        written = set(mode) & set("wax+") and not isinstance(path, int)
        if not written or not fnmatch(Path(os.fsdecode(path)).name, names):
            return whole(path, mode, *rest, **options)
        raw = FullDisk(path, mode.replace("b", "").replace("t", ""), room)
        # Small files are written when they are flushed or closed: there the disk is full, too.
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw, 1)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding="utf-8")

    place.patch.setattr(io, "open", limited)
    place.patch.setattr(builtins, "open", limited)


def lift(place: Place) -> None:
    """The disk has room again."""
    place.patch.undo()


def then_goes_on(place: Place, arguments: list[object]) -> Call:
    """The command; once there is room the same one ends as if nothing had happened."""
    from places import run_command

    def then(_: Result) -> None:
        lift(place)
        again = run_command(arguments)
        assert again.exit_code == 0, again.output
        (run,) = (place.runs / "tiny").iterdir()
        for name in ("predictor.safetensors", "scalars.jsonl"):
            assert (run / name).read_bytes() == (place.finished.run / name).read_bytes(), name

    return Call(arguments, then)


@refused("disk full while a checkpoint is saved", "step-00000002.pt", FULL, "Free some space")
def full_while_saving(place: Place) -> Call:
    fill_disk(place, ".step-00000002*", room=20_000)
    call = then_goes_on(place, place.train())

    def then(result: Result) -> None:
        (run,) = (place.runs / "tiny").iterdir()
        kept = Checkpoints(run / "checkpoints").latest()
        assert kept is not None
        assert kept["step"] == 1
        call.then(result)

    return Call(call.arguments, then)


@refused("disk full while logging", "scalars.jsonl", FULL, "its last checkpoint")
def full_while_logging(place: Place) -> Call:
    fill_disk(place, "scalars.jsonl", room=40)
    return then_goes_on(place, place.train())


@refused("disk full while TensorBoard's file is written", FULL, "its last checkpoint")
def full_while_writing_events(place: Place) -> Call:
    fill_disk(place, "events.out*", room=500)
    return then_goes_on(place, place.train())


@refused("disk full while the result is written", "result.json", FULL, "Free some space")
def full_while_writing_the_result(place: Place) -> Call:
    fill_disk(place, ".result.json*")
    return then_goes_on(place, place.train())


@refused("disk full while the picture sheet is written", "sheet.png", FULL, "Free some space")
def full_while_writing_the_sheet(place: Place) -> list[object]:
    fill_disk(place, ".sheet.png*")
    return ["data", "show", "folder", "--data-root", place.data, "--to", place.root / "sheet.png"]


@refused("disk full while scenes are made", "cannot write the scenes", FULL, "free space")
def full_while_making_scenes(place: Place) -> list[object]:
    fill_disk(place, "train_00000?.jpg")
    options = ["--option=train=30", "--option=val=1", "--option=test=0", "--option=size=[48, 48]"]
    return ["data", "make", "scenes", *options, "--data-root", place.root / "made"]


@refused("disk full while a split is written", "split.txt", FULL, "Free some space")
def full_while_writing_a_split(place: Place) -> list[object]:
    fill_disk(place, ".split.txt*", room=10)
    return [*place.split("1/2"), "--to", place.root / "split.txt"]


@refused("disk full while predicting", "v1.png", FULL, "Free some space")
def full_while_predicting(place: Place) -> Call:
    arguments = place.predict(place.image("v0"), place.image("v1"))
    fill_disk(place, ".v1.png*", room=10)

    def then(_: Result) -> None:
        assert (place.root / "labels" / "v0.png").is_file()
        assert not (place.root / "labels" / "v1.png").exists()

    return Call(arguments, then)


@refused("file in the path of --out", "cannot be made", "Not a directory", "another --out")
def file_in_the_way_of_out(place: Place) -> list[object]:
    return ["run", place.recipe, "--data-root", place.data, "--out", place.recipe / "runs"]


@refused("file in the path of --to", "cannot be made", "Not a directory", "another --to")
def file_in_the_way_of_to(place: Place) -> list[object]:
    arguments = place.predict(place.image())
    return [*arguments[:-1], place.recipe / "labels"]


def refuse_folders(place: Place, number: int) -> None:
    """From now on no folder can be made, for the reason `number`; root could make them all."""

    def refuse(path: Any, *rest: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    place.patch.setattr(os, "mkdir", refuse)


@refused("read-only folder of runs", "cannot be made", "Read-only file system", "another --out")
def read_only_runs(place: Place) -> list[object]:
    refuse_folders(place, errno.EROFS)
    return place.train()


@refused("folder of runs of somebody else", "cannot be made (Permission denied)", "another --out")
def forbidden_runs(place: Place) -> list[object]:
    refuse_folders(place, errno.EACCES)
    return place.train()


@refused("read-only folder of data", "cannot write the scenes", "Read-only", "--data-root")
def read_only_data(place: Place) -> list[object]:
    arguments = ["data", "make", "scenes", "--data-root", place.root / "made"]
    refuse_folders(place, errno.EROFS)
    return arguments


@refused(
    "split to a folder that is not there",
    "none/split.txt",
    "No such file or directory",
    "another folder",
)
def split_to_nowhere(place: Place) -> list[object]:
    return [*place.split("1/2"), "--to", place.root / "none" / "split.txt"]
