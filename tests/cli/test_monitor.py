"""`semisup monitor` leaves nothing behind, however it is stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semisup.cli import monitor
from semisup.cli.display.board import Board

SLEEPER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
STUB = """
import sys
from semisup.cli import monitor
monitor.PATIENCE = 0.3
print("code", monitor.run_until_stopped([sys.executable, "-c", sys.argv[1]]), flush=True)
"""


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def lives_on(process: int) -> bool:
    """Whether it works on after some time; not one that is dead, and nobody has asked after."""
    deadline = time.monotonic() + 5
    state = Path(f"/proc/{process}/stat")
    while is_alive(process) and time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # it is gone by now, or the system has no /proc
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        time.sleep(0.05)
    return is_alive(process)


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(
    ("number", "program", "code"),
    [
        (signal.SIGTERM, SLEEPER, 143),
        (signal.SIGHUP, SLEEPER, 129),
        (signal.SIGINT, SLEEPER, 0),
        (signal.SIGTERM, DEAF, 143),
    ],
)
def test_a_signal_ends_what_was_started(number: signal.Signals, program: str, code: int) -> None:
    """The signal is sent to the one process alone, as a scheduler does."""
    with start(sys.executable, "-c", STUB, program) as watcher:
        assert watcher.stdout is not None
        child = int(watcher.stdout.readline())
        assert is_alive(child)
        watcher.send_signal(number)
        assert watcher.wait(20) == code
        assert not is_alive(child)


def test_a_signal_that_comes_while_it_is_started_ends_it() -> None:
    """Before the program is known, a signal can only be noted."""
    early = STUB.replace(
        "print",
        """
import os, signal, subprocess
class Popen(subprocess.Popen):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
subprocess.Popen = Popen
print""",
        1,
    )
    with start(sys.executable, "-c", early, "import time; time.sleep(60)") as watcher:
        child = int(watcher.communicate(timeout=20)[0])
        assert watcher.returncode == 143
        assert not is_alive(child)


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_is_the_programs(code: int) -> None:
    watcher = start(sys.executable, "-c", STUB, f"raise SystemExit({code})")
    assert watcher.communicate(timeout=20)[0] == f"code {code}\n"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


def test_no_tensorboard_is_left_behind(tmp_path: Path) -> None:
    port = free_port()
    command = ("-m", "semisup", "monitor", str(tmp_path), "--port", str(port))
    with start(sys.executable, *command) as watcher:
        deadline = time.monotonic() + 60
        while not answers(port) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert answers(port)
        started = descendants(watcher.pid)
        assert started
        watcher.terminate()
        assert watcher.wait(20) == 143
        assert not answers(port)
        assert not any(lives_on(process) for process in started)


def descendants(process: int) -> list[int]:
    """All processes that it has started, and they in turn."""
    children = Path(f"/proc/{process}/task/{process}/children")
    if not children.is_file():
        pytest.skip("needs a system that lists the children of a process")
    found = [int(child) for child in children.read_text().split()]
    return found + [below for child in found for below in descendants(child)]


def test_what_the_program_has_started_ends_with_it(tmp_path: Path) -> None:
    """A program that dies of the signal at once, and leaves a child of its own behind."""
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPER!r}])"
    with start(sys.executable, "-c", STUB, parent) as watcher:
        assert watcher.stdout is not None
        grandchild = int(watcher.stdout.readline())
        watcher.terminate()
        assert watcher.wait(20) == 143
        assert not lives_on(grandchild)


def test_something_is_done_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[None] = []
    monkeypatch.setattr(monitor, "EVERY", 0.05)
    command = [sys.executable, "-c", "import time; time.sleep(0.5)"]
    assert monitor.run_until_stopped(command, lambda: done.append(None)) == 0
    assert len(done) > 1


# Names of runs


def recipe_text(method: str = "adversarial", split: str = "1/8", seed: int = 0, **more: str) -> str:
    lines = {"data": "scenes", **more}
    return (
        f'[data]\nname = "{lines["data"]}"\nsplit = "{split}"\n[model]\nname = "unet"\n'
        f'[method]\nname = "{method}"\n[train]\nseed = {seed}\nsteps = {lines.get("steps", 700)}\n'
        f"[eval]\nevery = {lines.get('every', 0)}\npictures = {lines.get('pictures', 8)}\n"
    )


def add_run(runs: Path, name: str, text: str | None) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1.host.1.0").write_bytes(b"")
    (folder / "checkpoints").mkdir()
    if text is not None:
        (folder / "recipe.toml").write_text(text)
    return folder


def linked(links: Path) -> dict[str, str]:
    """Names as TensorBoard has them -> the folder's name."""
    return {
        path.relative_to(links).as_posix(): path.resolve().name
        for path in sorted(links.rglob("*"))
        if path.is_symlink()
    }


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "links"
    folder.mkdir()
    return folder


def test_runs_are_named_by_what_they_are(tmp_path: Path, links: Path) -> None:
    runs = tmp_path / "runs"
    add_run(runs, "a/aa-s0", recipe_text())
    add_run(runs, "a/aa-s1", recipe_text(seed=1))
    add_run(runs, "b/bb-s0", recipe_text("supervised", split="file:/some/where/mine.txt"))
    add_run(runs, "others/x", None)
    add_run(runs, "others/y", "no TOML")
    Board(runs, links).refresh()
    assert linked(links) == {
        "adversarial unet 1/8 s0": "aa-s0",
        "adversarial unet 1/8 s1": "aa-s1",
        "supervised unet mine.txt s0": "bb-s0",
        "others/x": "x",
        "others/y": "y",
    }


def test_runs_of_one_name_say_what_differs(tmp_path: Path, links: Path) -> None:
    runs = tmp_path / "runs"
    add_run(runs, "a/aa-s0", recipe_text())
    add_run(runs, "a/bb-s0", recipe_text(steps="90"))
    add_run(runs, "a/cc-s0", recipe_text(steps="90", pictures="0"))
    add_run(runs, "b/dd-s0", recipe_text("supervised", data="voc"))
    Board(runs, links).refresh()
    assert linked(links) == {
        "scenes adversarial unet 1/8 s0 steps=700": "aa-s0",
        "scenes adversarial unet 1/8 s0 steps=90 bb": "bb-s0",
        "scenes adversarial unet 1/8 s0 steps=90 cc": "cc-s0",
        "voc supervised unet 1/8 s0": "dd-s0",
    }


def test_a_name_stays_when_runs_come_and_goes_with_its_run(tmp_path: Path, links: Path) -> None:
    runs = tmp_path / "runs"
    first = add_run(runs, "a/aa-s0", recipe_text())
    board = Board(runs, links)
    board.refresh()
    add_run(runs, "a/bb-s0", recipe_text(steps="90"))
    add_run(runs, "again/bb-s0", recipe_text(steps="90"))
    board.refresh()
    board.refresh()
    assert linked(links)["adversarial unet 1/8 s0"] == "aa-s0"
    assert sorted(linked(links).values()) == ["aa-s0", "bb-s0", "bb-s0"]
    shutil.rmtree(first)
    board.refresh()
    assert sorted(linked(links).values()) == ["bb-s0", "bb-s0"]


def test_a_run_alone_is_shown_by_its_name(tmp_path: Path, links: Path) -> None:
    Board(add_run(tmp_path, "aa-s0", recipe_text()), links).refresh()
    assert linked(links) == {"adversarial unet 1/8 s0": "aa-s0"}
    add_run(tmp_path, "x", None)
    Board(tmp_path / "x", links).refresh()
    assert linked(links)["x"] == "x"


def test_a_system_without_links_shows_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("a privilege is not held")

    add_run(tmp_path, "aa-s0", recipe_text())
    monkeypatch.setattr(Path, "symlink_to", refused)
    assert monitor._board(tmp_path, tmp_path / "links")[0] == tmp_path
