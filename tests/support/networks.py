"""Networks as tests want them."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def shuffled(model: Network) -> Network:
    """`model` in eval mode with norms, slopes and biases that are not those of the start."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point() and value.dim() == 1:
                value.add_(0.3 * torch.randn_like(value))
    return model.eval()
