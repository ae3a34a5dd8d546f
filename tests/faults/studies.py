"""Disturb studies in every way there is, and compare them bit by bit with one left alone.

    python tests/faults/studies.py            # 10 kills and all other faults
    python tests/faults/studies.py --short    # 3 kills, without the rest
    python tests/faults/studies.py --kills 100 --seed 7 --only killed --keep /tmp/studies

Real studies of tiny cells, each a process of its own, two at a time: SIGKILL of `ablate`, of a cell
or of all of them at random moments; a cell that raises, and one that gets no memory; two calls of
`ablate` at once; a disk that is full (a small tmpfs, where one may be mounted); a recipe that is
changed meanwhile. Each study must come to its end with every cell done once, or say in a line which
one is not and why, and end well when it is called again. A finished run must never be touched
again. Compared are the runs, as by kills.py, and all files of `semisup report` but for the clock.
Exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT)]

from kills import Moment, files, outcome_of  # noqa: E402

PATIENCE = 900.0
"""Seconds after which a study that should have got somewhere is given up."""

RECIPE = """
[data]
name = "scenes"
split = "1/4"
crop = [32, 32]
labelled_batch = 1
workers = 0
train = 16
val = 6
test = 4
size = [48, 48]
[model]
name = "unet"
width = 2
[method]
name = "supervised"
[optim.segmenter]
lr = 1e-2
[train]
steps = 30
log_every = 2
checkpoint_every = 3
[eval]
pictures = 0
boundary = false
"""

STUDY = """
# Tiny cells, of which some have a first stage.
base = "tiny.toml"
seeds = SEEDS

[axes.arm.plain]

[axes.arm.strong]
"data.strong_labelled" = true

[axes.arm.tuned]
"init.from" = "first.toml"

[axes.arm.tuned_slowly]
"init.from" = "first.toml"
"optim.segmenter.lr" = 1e-3
"""

RUNS = 5
"""For each seed: 4 cells, and a first stage."""


@dataclass
class Trial:
    """A study in a folder of its own.

    Attributes:
        folder: of it.
        data: folder of the data, which all studies share.
        seeds: of each cell.
        seen: result of a run -> what tells whether it was written again.
    """

    folder: Path
    data: Path
    seeds: int
    seen: dict[Path, tuple[int, int]] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def runs(self) -> int:
        """That there are in the end."""
        return RUNS * self.seeds

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def write(self) -> None:
        self.out.mkdir(parents=True)
        (self.folder / "tiny.toml").write_text(RECIPE)
        (self.folder / "first.toml").write_text(RECIPE.replace("lr = 1e-2", "lr = 2e-2"))
        (self.folder / "grid.toml").write_text(STUDY.replace("SEEDS", str(self.seeds)))

    def look(self) -> list[str]:
        """Remember which runs are finished; returns those that were finished before, and changed.

        A result is written once: whoever finds it leaves the run alone.
        """
        touched = []
        for path in files(self.out, "result.json"):
            stat = path.stat()
            now = stat.st_ino, stat.st_mtime_ns
            if self.seen.setdefault(path, now) != now:
                touched.append(path.parent.name)
        return touched + [str(path) for path in self.seen if not path.exists()]


@dataclass
class Laboratory:
    """Where the studies are made, and what went wrong so far."""

    folder: Path
    chance: random.Random
    seeds: int
    whole: Trial = field(init=False)
    report: dict[str, bytes] = field(init=False)
    failures: list[str] = field(default_factory=list)

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.failures.append(what)
            print(f"  DIFFERS: {what}", flush=True)

    def trial(self, name: str) -> Trial:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        trial = Trial(place, self.folder / "data", self.seeds)
        trial.write()
        return trial


@contextlib.contextmanager
def started(trial: Trial, *words: str, planted: str = "") -> Iterator[subprocess.Popen[str]]:
    """`semisup ablate` under way in a session of its own; what it says goes to the log."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    if planted:
        paths.insert(0, str(Path(__file__).resolve().parent / "planted"))
    path = os.pathsep.join(path for path in paths if path)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PLANTED": planted}
    line = [sys.executable, "-m", "semisup", "ablate", "grid.toml", "--out", "out", "--no-probe"]
    line += ["--data-root", str(trial.data), "--device", "cpu", *words]
    with (
        trial.log.open("w") as log,
        subprocess.Popen(
            line,
            stdout=log,
            stderr=log,
            text=True,
            env=environment,
            cwd=trial.folder,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def called(
    lab: Laboratory, trial: Trial, *words: str, status: int = 0, planted: str = ""
) -> list[str]:
    """A call of `semisup ablate` to its end, which must have this status; returns what it said."""
    with started(trial, "--jobs", "2", *words, planted=planted) as process:
        code = process.wait(PATIENCE)
    said = trial.log.read_text()
    lab.check(code == status, f"{trial.folder.name}: ended with {code}: {said[-400:]}")
    lab.check("Traceback" not in said, f"{trial.folder.name}: a traceback: {said[-400:]}")
    touched = trial.look()
    lab.check(not touched, f"{trial.folder.name}: finished runs were touched again: {touched}")
    return said.splitlines()


# ---- What a study came to ----


def reported(lab: Laboratory, trial: Trial) -> dict[str, bytes]:
    """Name -> content of the files of the report, with the clock of the undisturbed study."""
    from click.testing import CliRunner

    from semisup.cli.main import cli

    place = lab.folder / "reported"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(trial.out, place / "out")
    for path in (place / "out").rglob("result.json"):
        content = json.loads(path.read_text())
        same = lab.whole.out / path.relative_to(place / "out")
        clock = json.loads(same.read_text()) if same.exists() else content
        content |= {key: clock[key] for key in ("time", "git")}
        path.write_text(json.dumps(content))
    with contextlib.chdir(place):
        done = CliRunner().invoke(cli, ["report", "out", "--out", "page"], prog_name="semisup")
    lab.check(done.exit_code == 0, f"{trial.folder.name}: no report: {done.output[-400:]}")
    page = place / "page"
    return {p.relative_to(page).as_posix(): p.read_bytes() for p in page.rglob("*") if p.is_file()}


def compare(lab: Laboratory, trial: Trial, *, but: str = "") -> None:
    """Every run is there once and as in the undisturbed study, and so is the report.

    Args:
        lab: where the undisturbed study is.
        trial: the study that was disturbed.
        but: what is left over of it on purpose: part of the names of folders.
    """
    name = trial.folder.name
    folders = {
        whose: {
            path.parent.relative_to(one.out)
            for path in files(one.out, "result.json")
            if not but or but not in str(path)
        }
        for whose, one in (("found", trial), ("expected", lab.whole))
    }
    lab.check(folders["found"] == folders["expected"], f"{name}: other runs: {folders}")
    for run in sorted(folders["found"] & folders["expected"]):
        found, expected = outcome_of(trial.out / run), outcome_of(lab.whole.out / run)
        other = [key for key in sorted(found | expected) if found.get(key) != expected.get(key)]
        lab.check(not other, f"{name}: {run}: {', '.join(other[:6])}")
    claims = files(trial.out / "claims", "*")
    lab.check(not claims, f"{name}: claims are left: {claims}")
    report = reported(lab, trial)
    other = [key for key in sorted(report | lab.report) if report.get(key) != lab.report.get(key)]
    lab.check(not other, f"{name}: the report differs: {', '.join(other[:6])}")


# ---- When to kill ----


def at_time(chance: random.Random) -> Moment:
    """Any time from the start of the interpreter on."""
    end = time.monotonic() + chance.uniform(0.0, 60.0)
    return lambda out: time.monotonic() > end


def at_claim(chance: random.Random) -> Moment:
    """A moment after a cell is claimed: it starts."""
    delay, since = chance.uniform(0.0, 0.3), list[float]()

    def claimed(out: Path) -> bool:
        if not since and files(out / "claims", "*.claim"):
            since.append(time.monotonic())
        return bool(since) and time.monotonic() > since[0] + delay

    return claimed


def at_step(chance: random.Random) -> Moment:
    """While weights move: after so many more logged lines than there are."""
    more, before = chance.randrange(1, 15), list[int]()

    def stepped(out: Path) -> bool:
        count = sum(path.read_bytes().count(b"\n") for path in files(out, "scalars.jsonl"))
        before[:] = before or [count]
        return count >= before[0] + more

    return stepped


def at_save(chance: random.Random) -> Moment:
    """While a checkpoint, a result or a record of an attempt is being written."""
    skip, seen = chance.randrange(6), set[Path]()

    def writing(out: Path) -> bool:
        seen.update(files(out, ".*.tmp"))
        return len(seen) > skip

    return writing


def at_result(chance: random.Random) -> Moment:
    """A moment after a further run has its result: its process ends, and is recorded."""
    delay, before, since = chance.uniform(0.0, 1.0), list[int](), list[float]()

    def resulted(out: Path) -> bool:
        count = len(files(out, "result.json"))
        before[:] = before or [count]
        if not since and count > before[0]:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() > since[0] + delay

    return resulted


MOMENTS = (at_time, at_claim, at_step, at_save, at_result)
VICTIMS = ("ablate", "cell", "both")


def kill(process: subprocess.Popen[str], victim: str, chance: random.Random) -> bool:
    """SIGKILL; returns whether there was anything to kill."""
    if victim == "both":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "ablate":
        process.kill()
    else:
        children = _children(process.pid)
        if not children:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(children), signal.SIGKILL)
    return True


def _children(parent: int) -> list[int]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        return [int(child) for child in text.split()]
    return []


# ---- The trials ----


def killed(lab: Laboratory, kills: int) -> None:
    """SIGKILL at random moments, of the study, of cells, of all; then it is left alone."""
    done = 0
    while done < kills:
        trial, told = lab.trial(f"killed-{done}"), list[str]()
        while done < kills and len(files(trial.out, "result.json")) < trial.runs:
            with started(trial, "--jobs", "2", "--retry") as process:
                while done < kills and process.poll() is None:
                    make = lab.chance.choice(MOMENTS)
                    moment, victim = make(lab.chance), VICTIMS[done % len(VICTIMS)]
                    if not _comes(process, trial, moment):
                        break
                    if kill(process, victim, lab.chance):
                        done += 1
                        told.append(f"{victim} {make.__name__}")
                        print(f"  {done}/{kills} kills: {told[-1]}", flush=True)
                    if victim != "cell":
                        process.wait(PATIENCE)
                if done == kills and process.poll() is None:
                    process.wait(PATIENCE)
            touched = trial.look()
            lab.check(not touched, f"killed {told}: finished runs were touched: {touched}")
        called(lab, trial, "--retry")
        compare(lab, trial)
        print(f"  ended after {len(told)} kills: {', '.join(told)}", flush=True)


def _comes(process: subprocess.Popen[str], trial: Trial, moment: Moment) -> bool:
    """Wait for a moment; False: the study came to its end first."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and not moment(trial.out):
        assert time.monotonic() < end, "the study does not get anywhere"
        time.sleep(0.01)
    return process.poll() is None


def faulty_cells(lab: Laboratory) -> None:
    """A cell that raises, and one that gets no memory: told, and done when it is tried again."""
    for fault, word in (("raises", "a planted fault"), ("memory", "memory")):
        trial = lab.trial(fault)
        planted = f"{fault} data.strong_labelled=true 0"
        said = called(lab, trial, status=1, planted=planted)
        lines = [line for line in said if "arm=strong, seed 0" in line and word in line]
        lab.check(len(lines) >= 1, f"{fault}: is not told: {said[-8:]}")
        found = len(files(trial.out, "result.json"))
        lab.check(
            found == trial.runs - 1, f"{fault}: {found} of {trial.runs - 1} other runs are done"
        )
        said = called(lab, trial, status=1)
        lab.check(any("--retry" in line for line in said), f"{fault}: {said[-8:]}")
        called(lab, trial, "--retry")
        compare(lab, trial)
        print(f"  {fault}: {' '.join(lines[-1:]).strip()}", flush=True)


def two_at_once(lab: Laboratory) -> None:
    """Two calls share the cells: each is trained once, and both end well."""
    trial = lab.trial("two")
    with started(trial, "--jobs", "1") as first, started(trial, "--jobs", "1") as second:
        codes = [first.wait(PATIENCE), second.wait(PATIENCE)]
    lab.check(codes == [0, 0], f"two at once: ended with {codes}: {trial.log.read_text()[-400:]}")
    for path in files(trial.out, "cell.json"):
        attempts = json.loads(path.read_text())["attempts"]
        lab.check(len(attempts) == 1, f"two at once: {path.parent.name}: {len(attempts)} attempts")
    compare(lab, trial)
    print("  two at once", flush=True)


def full_disk(lab: Laboratory) -> None:
    """The disk is full half way: cells fail with a line, and are done when there is room."""
    trial = lab.trial("disk")
    used = sum(path.stat().st_blocks * 512 for path in files(lab.whole.out, "*"))
    size = f"{int(used * lab.chance.uniform(0.1, 0.7)) >> 10}k"
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(trial.out)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        print("  full disk: left out, no tmpfs may be mounted here", flush=True)
        return
    try:
        said = called(lab, trial, status=1)
        found = len(files(trial.out, "result.json"))
        lab.check(found < trial.runs, "the disk was not full")
        told = [line for line in said if "No space left" in line]
        lab.check(bool(told), f"a full disk is not told: {said[-8:]}")
        more = ["mount", "-o", "remount,size=1g", str(trial.out)]
        subprocess.run(more, check=True, capture_output=True)
        called(lab, trial, "--retry")
        compare(lab, trial)
    finally:
        subprocess.run(["umount", str(trial.out)], check=False, capture_output=True)
    print(
        f"  full disk ({size}, {found} of {trial.runs} runs had room): {told[-1].strip()}",
        flush=True,
    )


def changed_recipe(lab: Laboratory) -> None:
    """A recipe is changed while the study runs, and then changed back."""
    trial = lab.trial("changed")
    recipe = trial.folder / "tiny.toml"
    with started(trial, "--jobs", "2") as process:
        _comes(process, trial, lambda out: bool(files(out, "result.json")))
        recipe.write_text(RECIPE.replace("width = 2", "width = 3"))
        code = process.wait(PATIENCE)
    said = trial.log.read_text().splitlines()
    lab.check(code == 1, f"a changed recipe: ended with {code}")
    told = [line for line in said if "was changed after its study was planned" in line]
    lab.check(bool(told), f"a changed recipe is not told: {said[-8:]}")
    trial.look()
    plan = called(lab, trial, "--plan")
    noted = [line for line in plan if "has changed" in line]
    lab.check(bool(noted), f"older runs are not told: {plan[-8:]}")
    recipe.write_text(RECIPE)
    called(lab, trial, "--retry")
    compare(lab, trial)
    print(f"  changed recipe: {' '.join(told[-1:]).strip()}", flush=True)


TRIALS: dict[str, Callable[[Laboratory], None]] = {
    "faulty": faulty_cells,
    "two": two_at_once,
    "disk": full_disk,
    "changed": changed_recipe,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--short", action="store_true", help="3 kills, and nothing else")
    parser.add_argument("--seeds", type=int, default=2, help="of the studies (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    parser.add_argument("--only", default="", help=f"some of killed,{','.join(TRIALS)}")
    parser.add_argument("--keep", type=Path, help="folder for the studies, kept at the end")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else ["killed", *TRIALS]
    if options.short:
        names, options.kills = ["killed"], min(options.kills, 3)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        lab = Laboratory(folder, random.Random(options.seed), options.seeds)
        lab.whole = lab.trial("whole")
        print("undisturbed", flush=True)
        called(lab, lab.whole)
        lab.report = reported(lab, lab.whole)
        for name in names:
            print(name, flush=True)
            if name == "killed":
                killed(lab, options.kills)
            else:
                TRIALS[name](lab)
    print(f"{len(lab.failures)} differences" if lab.failures else "all equal, to the last bit")
    return bool(lab.failures)


if __name__ == "__main__":
    sys.exit(main())
