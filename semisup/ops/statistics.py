"""Batch normalisation that looks at a batch without remembering it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextlib.contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """In the `with` block, batch norms normalise by the batch but leave running statistics alone.

    For images that are none of the data, such as those of a generator: what is scored and stored
    goes by the statistics of real ones.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
