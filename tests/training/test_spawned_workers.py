"""A script whose worker processes start by spawn, as on macOS, with a main guard and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHANGES = [
    *("data.train=16", "data.val=2", "data.test=1", "data.size=[48, 64]", "data.crop=[32, 32]"),
    *("data.workers=1", "train.steps=2", "train.log_every=1", "eval.every=0", "eval.hold_out=0"),
    *("eval.pictures=0", "eval.boundary=false"),
]
BODY = f"""\
import multiprocessing
import semisup
from semisup.errors import SemisupError

multiprocessing.set_start_method("spawn", force=True)
try:
    semisup.run("scenes/supervised_unet_1-8", changes={CHANGES!r}, progress=False)
except SemisupError as error:
    raise SystemExit(str(error))
"""


def run_script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    script = folder / "mine.py"
    script.write_text(text, encoding="utf-8")
    places = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_without_a_guard_the_line_names_it(tmp_path: Path) -> None:
    done = run_script(tmp_path, BODY)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("a worker process of the labelled stream ended by itself, with code 1.")
    assert "if __name__ == '__main__':" in last


@pytest.mark.slow
def test_with_a_guard_it_trains(tmp_path: Path) -> None:
    guarded = "if __name__ == '__main__':\n" + "".join(
        f"    {line}\n" for line in BODY.splitlines()
    )
    done = run_script(tmp_path, guarded)
    assert (done.returncode, done.stderr) == (0, "")
