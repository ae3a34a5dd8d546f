"""`semisup monitor` leaves nothing behind, however it is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    def __init__(self, *given):
        super().__init__(*given)
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
        watcher.terminate()
        assert watcher.wait(20) == 143
        assert not answers(port)
