"""`semisup monitor`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import click

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

EVERY = 5.0
"""Seconds after which new runs are looked for."""

PATIENCE = 10.0
"""Seconds that TensorBoard has to end by itself."""


@click.command(
    short_help="Start TensorBoard on a folder of runs.",
    epilog="""\b
Examples:
  semisup monitor
  semisup monitor runs/quickstart --port 6007
""",
)
@click.argument("runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--port", type=click.IntRange(0, 65535), default=6006, show_default=True)
@click.option(
    "--host",
    default="localhost",
    show_default=True,
    help="Address to serve on; 0.0.0.0 lets other machines look.",
)
def monitor(runs: Path, port: int, host: str) -> None:
    """Start TensorBoard on RUNS (default: ./runs) and say where to look."""
    from semisup.errors import RunError
    from semisup.system.files import exists

    if not exists(runs) or not runs.is_dir():
        raise RunError(
            f"{runs}: there is no such folder. Run a recipe first, or name the folder given to "
            "run --out."
        )
    click.echo(f"TensorBoard on {runs}: http://{host}:{port} (stop it with Ctrl-C)")
    with tempfile.TemporaryDirectory(prefix="semisup-monitor-") as links:
        folder, refresh = _board(runs, Path(links))
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
        code = run_until_stopped([*command, "--host", host, "--port", str(port)], refresh)
    if code:
        raise RunError(f"TensorBoard ended with code {code}. Is port {port} free? Try --port.")


def _board(runs: Path, links: Path) -> tuple[Path, Callable[[], None]]:
    """The folder that TensorBoard is to look at, and what keeps it up to date."""
    from semisup.cli.display.board import Board

    board = Board(runs, links)
    try:
        board.refresh()
    except OSError:  # a system without links: the runs are shown by their folders
        return runs, lambda: None

    def refresh() -> None:
        with contextlib.suppress(OSError):  # such as a folder that goes while it is read
            board.refresh()

    return links, refresh


def run_until_stopped(command: Sequence[str], meanwhile: Callable[[], None] | None = None) -> int:
    """Run a program until it ends; whatever stops this process ends the program first.

    What the program starts itself ends with it: TensorBoard reads files in a process of its own.

    Args:
        command: of the program.
        meanwhile: called every few seconds.

    Returns:
        Its exit code; 0 after Ctrl-C.

    Raises:
        SystemExit: SIGTERM or SIGHUP came, with 128 and the signal's number.
    """
    held: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if not held:  # it is being started: it must be known before it can be ended
            early.append(number)
            return
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in STOPS}
    try:
        held.append(subprocess.Popen(command, start_new_session=True))
        if early:
            stop(early[0], None)
        while True:
            try:
                return held[0].wait(EVERY)
            except subprocess.TimeoutExpired:
                if meanwhile is not None:
                    meanwhile()
    except KeyboardInterrupt:
        return 0
    finally:
        for process in held:
            _end(process)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, and what it has started, if they live; by force if they do not listen."""
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send it to all processes of the program's session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
