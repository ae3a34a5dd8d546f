"""What an exported file states of itself beside the network."""

from __future__ import annotations

import json
from typing import Any

from semisup.models.base import Segmenter
from semisup.runs.reopen import OpenRun
from semisup.settings import EvalSettings
from semisup.version import __version__

FACTS_FILE = "semisup.json"
"""Name of the facts inside a file of torch.export."""


def facts_of(run: OpenRun, size: tuple[int, int] | None, *, volumes: bool) -> dict[str, Any]:
    """What is known of an exported network: where it comes from, what it takes and returns.

    Args:
        run: whose predictor is exported.
        size: H and W of the images; None: any.
        volumes: whether it takes volumes.
    """
    kind, images, settings = run.images.kind, run.images, run.recipe.eval
    space = "DHW" if volumes else "HW"
    shape = f"B{kind.channels}{space}"
    smallest = max((m.stride for m in run.network.modules() if isinstance(m, Segmenter)), default=1)
    return {
        "semisup": __version__,
        "recipe": run.recipe.name,
        "recipe_hash": run.run.recipe_hash,
        "seed": run.run.seed,
        "step": run.run.checkpoint.step,
        "weights_sha256": run.weights,
        "method": run.recipe.method.name,
        "model": run.recipe.model.name,
        "classes": list(run.classes),
        "palette": [list(colour) for colour in run.palette],
        "input": f"image: {kind.dtype} {shape}, {kind}, 0..{2**kind.bits - 1}".replace(
            "torch.", ""
        ),
        "outputs": f"logits: float32 BK{space}; labels: uint8 B{space}, class ids",
        "size": "any" if size is None else list(size),
        "smallest_side": smallest,
        "normalisation": {
            "mean": list(images.mean),
            "std": list(images.std),
            "of": f"value / {2**images.bits - 1}",
            "inside": True,
        },
        "scale": scale_of(settings),
        "left_out": left_out(settings.model_dump(mode="json")),
    }


def scale_of(settings: EvalSettings) -> float:
    """At which an exported network sees an image: the run's, or 1 where it has several."""
    return settings.scales[0] if len(settings.scales) == 1 else 1.0


def left_out(settings: dict[str, Any]) -> list[str]:
    """What of a run's protocol is not in one forward pass over the whole image."""
    parts = {
        f"sliding windows of {' x '.join(map(str, settings['window']))}": (
            settings["mode"] == "slide"
        ),
        f"scales {', '.join(f'{scale:g}' for scale in settings['scales'])}": len(settings["scales"])
        > 1,
        "the mirrored view": settings["flip"],
        f"the mean of {settings['samples']} passes with dropout": settings["samples"],
        "the dense CRF": settings["crf"],
    }
    return [part for part, applies in parts.items() if applies]


def as_strings(facts: dict[str, Any]) -> dict[str, str]:
    """Facts as ONNX keeps them: texts as they are, all else as JSON."""
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
