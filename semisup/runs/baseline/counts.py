"""What was counted of each image, so that runs can be compared on the same images later."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from semisup.evaluation.evaluate import Evaluation
from semisup.evaluation.protocol import ids_sha256
from semisup.system.files import write_atomically


def write_counts(path: Path, scored: Evaluation, weights: str) -> None:
    """Write the counts of each image: NK3 int64, the images in the order of their sorted ids.

    Args:
        path: `counts.safetensors` in the folder of the run.
        scored: of the reported predictor by the run's own protocol.
        weights: hash of that predictor.
    """
    order = sorted(range(len(scored.ids)), key=lambda place: scored.ids[place])
    facts = json.dumps({"weights": weights, "ids_sha256": ids_sha256(scored.ids)})
    counts = scored.counts[order].contiguous()
    content = save({"counts": counts}, metadata={"semisup": facts})
    write_atomically(path, lambda file: file.write(content))
