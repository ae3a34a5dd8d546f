"""What a network that unpools would have computed, had rounding fallen otherwise.

SegNet, ENet and DeconvNet put values where the maxima of the encoder's pooling were. Where two
values of a window are equal but for rounding, the place depends on the order of a sum: it is
another one with other threads, on another device and in another runtime, and the values that the
decoder puts there differ by far more than rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

EQUAL = 1e-6
"""Largest difference of two maxima, as a share of the map's largest value, that rounding makes."""


class SecondPlaces(TorchFunctionMode):
    """In the `with` block, poolings remember the second place where two are equal but for rounding.

    Exactly equal values, such as zeros behind a ReLU, have one order everywhere: the first counts.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `function`; change the places of a pooling that returns them."""
        found = function(*args, **(kwargs or {}))
        if function is not F.max_pool2d_with_indices:
            return found
        maps, *how = args
        largest, places = found
        without = maps.flatten(2).scatter(2, places.flatten(2), -torch.inf).view_as(maps)
        second, others = function(without, *how, **(kwargs or {}))
        undecided = (largest - second <= EQUAL * maps.abs().amax()) & (largest != second)
        return largest, torch.where(undecided, others, places)
