"""The picture sheet of two runs: what each makes of the same images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from semisup.evaluation.evaluate import Evaluation
from semisup.metrics.confusion import label_map
from semisup.monitoring.snapshots import spread
from semisup.ops.pixels import as_shown
from semisup.pictures.sheets import contact_sheet
from semisup.runs.reopen import OpenRun
from semisup.runs.sheets import panels


@torch.no_grad()
def draw_both(path: Path, runs: Sequence[OpenRun], scored: Sequence[Evaluation]) -> None:
    """Write image, ground truth and the prediction of each run, of images spread over the set.

    Args:
        path: PNG to write.
        runs: the baseline, then the run that is compared with it; of one data set.
        scored: their evaluations, for the captions.
    """
    last, data = runs[-1], runs[-1].experiment.reported
    chosen = spread(len(scored[0].ids), last.recipe.eval.pictures)
    if not chosen:
        return
    rows, captions = [], []
    for position in chosen:
        name = scored[0].ids[position]
        index = data.index(name)
        image = as_shown(data.image(index), last.images.kind)
        maps = [data.mask(index), *(_prediction(run, index) for run in runs)]
        rows.append(panels(image, maps, data))
        captions.append(f"{name}    {'; '.join(one.describe_image(position) for one in scored)}")
    legend = list(zip(data.classes, data.palette, strict=True))
    columns = ["image", "ground truth", *(run.recipe.name for run in runs)]
    contact_sheet(path, rows, columns=columns, captions=captions, legend=legend)


def _prediction(run: OpenRun, index: int) -> Tensor:
    data = run.experiment.reported
    logits = run.inference().logits_of(data, index, data.image(index))[None]
    return label_map(logits)[0].cpu()
