"""The fuzz script in short: the same readers and the same damage, from a fixed seed.

hypothesis is not needed here; `python tests/faults/fuzz.py` adds its grammars and runs as long as
you like.
"""

from __future__ import annotations

import importlib
import os
import pickle
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from semisup.errors import DataError

FOLDER = Path(__file__).resolve().parent
INPUTS = 10
"""For each reader."""

READERS = (
    *("recipe.file", "recipe.parent", "recipe.set", "list.voc", "list.split", "list.folder"),
    *("list.classes", "list.camvid", "list.boxes", "tags.text", "tags.array"),
    *("png", "jpeg", "tiff", "bmp", "webp"),
    *("channels.tiff", "channels.array", "channels.png", "mask.key", "mask.png", "mask.sbd"),
    *("checkpoint.made", "checkpoint.damaged", "weights.pth", "weights.safetensors"),
    *(
        "weights.vgg",
        "result.result",
        "result.facts",
        "result.files",
        "result.scalars",
        "result.predictions",
    ),
)


@pytest.fixture(scope="module")
def fuzzing() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module that lies beside this file, where no test can be imported from."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture
def attempt(
    fuzzing: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Lets a reader read an input in a fresh folder."""
    monkeypatch.chdir(tmp_path)
    trial = fuzzing("fuzzing.trial")
    return lambda reader, content: trial.try_input(reader, content, tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_valid_input_is_read_or_refused_and_damage_never_fails(
    name: str, fuzzing: Callable[[str], ModuleType], attempt: Callable[..., Any], tmp_path: Path
) -> None:
    reader = fuzzing("fuzzing.readers").reader_called(name)
    reader.prepare(tmp_path)
    kinds = [attempt(reader, content).kind for content in reader.seeds()]
    assert "read" in kinds
    assert "failed" not in kinds
    outcomes = [
        attempt(reader, reader.make(random.Random(f"suite/{name}/{number}")))
        for number in range(INPUTS)
    ]
    assert [outcome.text for outcome in outcomes if outcome.kind == "failed"] == []
    if name != "result.files":  # it only helps to name a file, and damaged it is not there
        assert "refused" in {outcome.kind for outcome in outcomes}


def test_all_readers_are_listed(fuzzing: Callable[[str], ModuleType]) -> None:
    assert tuple(reader.name for reader in fuzzing("fuzzing.readers").READERS) == READERS


def test_the_same_number_makes_the_same_input(fuzzing: Callable[[str], ModuleType]) -> None:
    for reader in fuzzing("fuzzing.readers").READERS:
        first, again = (reader.make(random.Random("suite/7")) for _ in range(2))
        assert first == again, reader.name


def _raise(error: BaseException) -> None:
    raise error


def _burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda folder, path: _raise(ValueError("oops")), "ValueError: oops"),
        (lambda folder, path: _raise(SystemExit(0)), "SystemExit"),
        (lambda folder, path: _raise(DataError("no file is named")), "names no file"),
        (lambda folder, path: _raise(DataError(f"{path}:\nbroken")), "not one line"),
        (lambda folder, path: _raise(DataError(f"{path}: a\u2028b")), "not one line"),
        (lambda folder, path: warnings.warn("look", UserWarning, stacklevel=1), "a warning"),
        (lambda folder, path: pickle.loads(path.read_bytes()), "executed"),
        (lambda folder, path: _burn(60), "takes longer"),
    ],
)
def test_a_reader_that_does_what_it_must_not_is_caught(
    read: Callable[[Path, Path], object],
    reason: str,
    fuzzing: Callable[[str], ModuleType],
    attempt: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fuzzing("fuzzing.trial"), "SECONDS", 0.3)
    reader = fuzzing("fuzzing.readers").Reader("planted", "a.bin", list, (), read)
    payload = fuzzing("fuzzing.archives").payloads()[1]
    outcome = attempt(reader, pickle.dumps(payload))
    assert outcome.kind == "failed"
    assert reason in outcome.text


def test_the_payloads_would_do_harm(
    fuzzing: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archives = fuzzing("fuzzing.archives")
    trap = tmp_path / archives.TRAP
    for payload in archives.payloads():
        content = pickle.dumps(payload)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files and processes that nobody closes
            result = pickle.loads(content)
            if isinstance(result, subprocess.Popen):
                result.wait()
            del result
        assert trap.exists(), payload
        trap.rmdir() if trap.is_dir() else trap.unlink()


PLANTED = """
import fuzz, os, pathlib, sys, time
from fuzzing import readers, worker
def read(folder, path):
    {body}
reader = readers.Reader("planted", "a.bin", lambda: [b"seed"], (lambda chance, seed: b"x",), read)
for module in (fuzz, worker):
    module.READERS = (reader,)
worker.MEMORY = 200 << 20
fuzz.SECONDS, fuzz.GRACE = 0.5, 0.5
sys.exit(fuzz.fuzz([0], 2.5, 0, pathlib.Path(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("if path.read_bytes() == b'x': os.kill(os.getpid(), 11)", "ended with -11"),
        ("if path.read_bytes() == b'x': time.sleep(60)", "did not come back"),
        ("if path.read_bytes() == b'x': bytearray(300 << 20)", "took 0.3 GiB"),
    ],
)
def test_a_crash_an_endless_wait_and_a_glutton_are_kept(
    body: str, reason: str, tmp_path: Path
) -> None:
    pytest.importorskip("hypothesis", reason="the script needs hypothesis")
    done = _run(["-c", PLANTED.format(body=body), str(tmp_path)], tmp_path)
    assert done.returncode == 1, done.stderr
    notes = [path.read_text() for path in tmp_path.glob("planted-*.txt")]
    assert notes
    assert reason in notes[0]
    assert all(path.read_bytes() == b"x" for path in tmp_path.glob("planted-*.bin"))


@pytest.mark.slow
def test_the_script_runs_and_replays(tmp_path: Path) -> None:
    pytest.importorskip("hypothesis", reason="the script needs hypothesis")
    script = str(FOLDER / "fuzz.py")
    done = _run([script, "--minutes", "0.1", "--only", "list.split,result.facts"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "list.split" in done.stdout
    assert "png" not in done.stdout
    kept = tmp_path / "list.split-some-0123.bin"
    kept.write_bytes(b"nowhere\n")
    done = _run([script, "--replay", str(kept)], tmp_path)
    assert done.returncode == 0
    assert "list.split: refused" in done.stdout


def _run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(FOLDER), str(FOLDER.parents[1])])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
