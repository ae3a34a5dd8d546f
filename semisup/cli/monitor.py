"""`semisup monitor`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

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
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs)]
    code = run_until_stopped([*command, "--host", host, "--port", str(port)])
    if code:
        raise RunError(f"TensorBoard ended with code {code}. Is port {port} free? Try --port.")


def run_until_stopped(command: Sequence[str]) -> int:
    """Run a program until it ends; whatever stops this process ends the program first.

    Args:
        command: of the program.

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
        held.append(subprocess.Popen(command))
        if early:
            stop(early[0], None)
        return held[0].wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for process in held:
            _end(process)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it if it lives, by force if it does not listen."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
