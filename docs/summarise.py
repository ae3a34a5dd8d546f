"""Tables of docs/results.md from finished runs: `python docs/summarise.py runs/scenes/*`.

One row for each recipe folder: seeds, mean, standard deviation and 95 % interval of the mIoU over
seeds (Student's t: training is repeated, the images stay the same), training time. Runs of
different protocols are refused: their numbers must not stand in one table.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from semisup.evaluation.protocol import protocol_line


def read_results(folders: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Recipe -> the results of its seeds, in their order."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for folder in folders:
        for path in Path(folder).rglob("result.json"):
            result = json.loads(path.read_text(encoding="utf-8"))
            found[result["recipe"]].append(result)
    return {name: sorted(found[name], key=lambda r: int(r["seed"])) for name in sorted(found)}


def interval(values: Sequence[float]) -> str:
    """95 % interval of the mean by Student's t, or a dash for one value."""
    if len(values) < 2:
        return "-"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values) - half:.3f} to {np.mean(values) + half:.3f}"


def row(name: str, results: Sequence[dict[str, Any]]) -> str:
    """One recipe."""
    scores = [result["scores"]["last"]["miou"] for result in results]
    deviation = f"{np.std(scores, ddof=1):.3f}" if len(scores) > 1 else "-"
    seconds = np.mean([result["time"]["train_seconds"] for result in results])
    labelled = results[0]["split"]["labelled"]
    each = " ".join(f"{score:.3f}" for score in scores)
    cells = [f"`{name}`", labelled, each, f"**{np.mean(scores):.3f}**", deviation]
    return " | ".join(map(str, ["", *cells, interval(scores), f"{seconds:.0f}", ""])).strip()


def main(folders: Sequence[str]) -> None:
    """Print the table and the protocol."""
    results = read_results(folders)
    if not results:
        sys.exit("no result.json below " + " ".join(folders))
    protocols = {json.dumps(r["protocol"], sort_keys=True) for rs in results.values() for r in rs}
    if len(protocols) > 1:
        sys.exit("these runs were scored by different protocols; give those of one")
    print("| recipe | masks | seeds | mean mIoU | sd | 95 % interval | train s |")
    print("|---|--:|---|--:|--:|--:|--:|")
    for name, rows in results.items():
        print(row(name, rows))
    print(f"\nProtocol: {protocol_line(json.loads(protocols.pop()))}.")
    devices = sorted({result["device"] for rows in results.values() for result in rows})
    print(f"Device: {', '.join(devices)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
