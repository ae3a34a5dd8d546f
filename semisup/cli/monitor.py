"""`semisup monitor`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click


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
    command += ["--host", host, "--port", str(port)]
    try:
        code = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        code = 0
    if code:
        raise RunError(f"TensorBoard ended with code {code}. Is port {port} free? Try --port.")
