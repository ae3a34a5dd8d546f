"""Keep the results of runs: `python docs/collect.py docs/measurements/NAME.jsonl RUNS ...`.

Adds all finished runs below the folders to the file, or makes it; `--arm NAME=FOLDER` adds those of
a folder under the name that their row in a table will have. Weights, pictures and the paths of the
machine stay behind (semisup/studies/kept.py says what is kept).

A run that is kept already is left as it is, and one that has another result for the same recipe and
seed is refused: nothing that was measured is replaced in silence. To replace it, take its line out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from semisup.errors import RunError, SemisupError
from semisup.studies.kept import (
    SAME,
    SEED_OF_SPLIT,
    Run,
    differences,
    read_arms,
    read_kept,
    write_kept,
)


def add(kept: Sequence[Run], runs: Sequence[Run]) -> list[Run]:
    """The kept runs, and those of `runs` that are new.

    Raises:
        RunError: a run is kept with another result, or under another name.
    """
    known = {(run.digest, run.seed): run for run in kept}
    for run in runs:
        before = known.setdefault((run.digest, run.seed), run)
        same = f"{run.source} is of the recipe and seed of {before.source}"
        changed = [key for key in SAME if before.content.get(key) != run.content.get(key)]
        if changed:
            raise RunError(f"{same}, but differs in {', '.join(changed)}. Keep one of the two.")
        if before.arm != run.arm:
            raise RunError(f"{same}, kept as '{before.arm}' and not as '{run.arm}'. Name one arm.")
        first = next(other for other in known.values() if other.arm == run.arm)
        if run.arm and (wrong := _differing(run, first)):
            raise RunError(
                f"{first.source} and {run.source} are of one arm, '{run.arm}', and differ in "
                f"{', '.join(wrong)}. Give them two names."
            )
    return list(known.values())


def _differing(one: Run, other: Run) -> list[str]:
    """Settings of two runs that differ beyond what their seeds explain."""
    keys = differences(one.settings, other.settings)
    seeds = [run.settings.get(SEED_OF_SPLIT) == run.seed for run in (one, other)]
    return [key for key in keys if key != SEED_OF_SPLIT or not all(seeds)]


def main(arguments: Sequence[str]) -> None:
    """Add the runs and say how many there are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--arm", action="append", default=[], metavar="NAME=FOLDER")
    options = parser.parse_args(arguments)
    try:
        kept = read_kept(options.file) if options.file.exists() else []
        runs = add(kept, read_arms(options.folders, options.arm))
        if not runs:
            raise RunError("no runs: give their folders.")
        write_kept(options.file, runs)
    except SemisupError as error:
        sys.exit(str(error))
    print(f"{options.file}: {len(runs)} runs, {len(runs) - len(kept)} of them new")


if __name__ == "__main__":
    main(sys.argv[1:])
