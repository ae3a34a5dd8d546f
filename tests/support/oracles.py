"""Values and gradients of the authors' own code, on inputs that a formula makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Form = Callable[[Mapping[str, Tensor], Mapping[str, Any]], Tensor]


@dataclass(frozen=True)
class Oracle:
    """One entry of the table of values.

    Attributes:
        entry: with `inputs`, `options`, `loss`, `gradient_norm` and `gradient_samples`.
    """

    entry: Mapping[str, Any]

    def compare(self, form: Form) -> None:
        """The value of `form` and its gradients equal the authors', in double precision."""
        given = {name: built(rule) for name, rule in self.entry["inputs"].items()}
        norms: Mapping[str, float] = self.entry["gradient_norm"]
        for name in norms:
            given[name].requires_grad_()
        loss = form(given, self.entry["options"])
        assert abs(loss.item() - self.entry["loss"]) <= 1e-9 * abs(self.entry["loss"])
        gradients = torch.autograd.grad(loss, [given[name] for name in norms])
        for (name, norm), gradient in zip(norms.items(), gradients, strict=True):
            assert abs(gradient.norm().item() - norm) <= 1e-9 * norm, name
            for place, value in self.entry["gradient_samples"][name]:
                assert abs(gradient.flatten()[place].item() - value) <= 1e-9 * norm, (name, place)


def built(rule: Mapping[str, Any]) -> Tensor:
    """An input by its formula: real tensors in double precision, class maps as int64."""
    count = int(np.prod(rule["shape"]))
    places = np.arange(1, count + 1, dtype=np.float64)
    if "sin" in rule:
        values = rule.get("scale", 1.0) * np.sin(rule["sin"] * places)
    elif "bytes" in rule:
        values = np.floor(np.abs(np.sin(rule["bytes"] * places)) * 256)
    elif "list" in rule:
        values = np.array(rule["list"])
    elif "classes" in rule:
        values = np.floor(np.abs(np.sin(rule["classes"] * places)) * rule["K"]).astype(np.int64)
        values[rule.get("void", [])] = 255
    else:
        values = np.full(count, rule.get("base", 0))
    values = values.reshape(rule["shape"])
    for image, top, bottom, left, right, value in rule.get("boxes", []):
        values[image, top:bottom, left:right] = value
    return torch.from_numpy(values.copy())
