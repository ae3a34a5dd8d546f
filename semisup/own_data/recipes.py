"""The recipes for a folder of pictures, as text to edit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from semisup.own_data.look import Pictures
from semisup.own_data.machine import MODEL, Plan
from semisup.own_data.split import Lists


def recipe_name(root: Path) -> str:
    """The name of a folder, as a recipe may be called."""
    return re.sub(r"[^\w-]+", "_", root.resolve().name).strip("_-") or "pictures"


def recipes_of(
    root: Path, found: Pictures, lists: Lists, plan: Plan, weights: str
) -> Mapping[str, str]:
    """Name of a file -> its text: the recipe, and its baseline where there are unlabelled images.

    Args:
        root: the folder, as the recipe is to name it.
        found: what lies in it.
        lists: how the images are divided.
        plan: sizes and lengths.
        weights: `model.weights`; empty: from random weights.
    """
    name = recipe_name(root)
    baseline = _supervised(root, found, lists, plan, weights)
    unlabelled = sum(image not in found.masks for image in lists.train)
    if not unlabelled:
        return {f"{name}.toml": baseline}
    return {
        f"{name}.toml": _semi_supervised(name, unlabelled, plan),
        f"{name}_supervised.toml": baseline,
    }


def _supervised(root: Path, found: Pictures, lists: Lists, plan: Plan, weights: str) -> str:
    labelled = sum(image in found.masks for image in lists.train)
    options = [] if found.native else ['pairs = "pairs.csv"  # which mask belongs to which image']
    if found.native and found.mask_suffix:
        options.append(f"mask_suffix = {json.dumps(found.mask_suffix)}")
    if found.exif in ("apply", "ignore"):
        options.append(
            f'exif = "{found.exif}"  # whether masks were drawn on the turned photograph'
        )
    if plan.cache:
        options.append(f"cache = {plan.cache}  # MiB: all pictures fit into memory, decoded")
    factor = plan.factor
    lines = [
        f"# Supervised training on the {labelled} images of train.txt that have a mask.",
        "",
        "[data]",
        'name = "folder"',
        f"root = {json.dumps(str(root), ensure_ascii=False)}  # from where the command is run",
        *options,
        f"crop = [{plan.crop[0]}, {plan.crop[1]}]",
        f"scale = [{_rounded(factor * 0.75)}, {_rounded(factor * 1.5)}]  # crops are cut from "
        "pictures of this size",
        f"labelled_batch = {plan.batch}",
        f"unlabelled_batch = {plan.batch}",
        "",
        "[model]",
        f'name = "{MODEL}"  # small and fast; semisup list models',
        *(
            [f"weights = {json.dumps(weights, ensure_ascii=False)}"]
            if weights
            else ['# weights = "torchvision"  # ImageNet weights: a better start; fetched once']
        ),
        "",
        "[method]",
        'name = "supervised"',
        "",
        "[optim.segmenter]",
        *(
            ["lr = 5e-3", "weight_decay = 1e-4"]
            if weights
            else ['kind = "adamw"', "lr = 1e-3", "weight_decay = 1e-3", "warmup = 0.04"]
        ),
        "",
        "[train]",
        f"steps = {plan.steps}  # "
        + ("more help" if plan.gpu else "minutes on two CPU cores; more help"),
        f"log_every = {max(1, plan.steps // 30)}",
        f"checkpoint_every = {max(1, plan.steps // 3)}",
        "",
        "[eval]",
        f"scales = [{_rounded(factor)}]  # the size that the network is shown",
        f"every = {max(1, plan.steps // 3)}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _semi_supervised(name: str, unlabelled: int, plan: Plan) -> str:
    method = "unimatch" if plan.gpu else "fixmatch"
    decay = 0.996 if plan.gpu else 0.99
    lines = [
        f"# {'UniMatch' if plan.gpu else 'FixMatch'}: learns from the {unlabelled} images of "
        "train.txt without a mask too. All that is not here",
        f"# is in {name}_supervised.toml, the baseline.",
        f'extends = "{name}_supervised.toml"',
        "",
        "[method]",
        f'name = "{method}"',
        "confidence_threshold = 0.8  # pixels that are less sure are not learnt from",
        f"teacher_decay = {decay}",
        "",
        "# [baseline]  # trains the baseline first, and prints the difference",
        f'# recipe = "{name}_supervised.toml"',
    ]
    return "".join(f"{line}\n" for line in lines)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
