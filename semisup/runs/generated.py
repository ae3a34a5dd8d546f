"""The images of a run's generator: pictures of them, and their distance to real ones.

The distance is Frechet's (`metrics.frechet`) between features of a local backbone
(`evaluation.features`). Three numbers are made in one way, of equally many images on each side:

    distance    made images against training images
    floor       other training images against the same ones: no generator can be asked for less
    ceiling     noise, each pixel on its own, against the same ones

Training images are seen as the run's streams cut them (the recipe's crop, scale and mirror), but
from a seed that is always the same. An ideal generator of such crops would lie at the floor; single
crops from the middle of each image would be another distribution than the one that is imitated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semisup.catalog import METHODS
from semisup.data.base import SegmentationData
from semisup.data.views.weak import WeakView
from semisup.errors import DataError, RunError
from semisup.evaluation.features import Features, open_features
from semisup.methods.base import Method
from semisup.metrics.frechet import frechet_distance
from semisup.monitoring.snapshots import spread
from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD, per_channel, to_bytes
from semisup.pictures.grid import image_grid
from semisup.runs.assemble import weights_file
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Paths
from semisup.runs.reopen import OpenCheckpoint, open_checkpoint, run_recipe_of
from semisup.system.device import settle_on
from semisup.system.files import write_text
from semisup.system.progress import track
from semisup.system.torch_errors import translated_errors
from semisup.system.words import counted

SHOWN = 64
"""Images on the grid."""

NOTE = "compares with nothing published, only with the same features and number of images"

_Image = tuple[SegmentationData, str]
"""A data set and the id of an image in it."""

_CHUNK = 64
"""Images that are made at a time. They are seeded by chunk: another number gives other images."""

_REAL_SEED = 0
"""Of the views of training images, and of the noise of the ceiling: they are one yardstick for
whatever a generator is asked for."""


@dataclass(frozen=True)
class Samples:
    """What `sample_run` found and wrote.

    Attributes:
        report: the content of `file`.
        picture: the grid.
        file: the report as JSON.
    """

    report: dict[str, Any]
    picture: Path
    file: Path


def sample_run(
    folder: Path,
    paths: Paths | None,
    device: torch.device,
    *,
    count: int = 512,
    backbone: str = "",
    weights: Path | None = None,
    seed: int = 0,
) -> Samples:
    """Draw and measure what the generator in a run's newest checkpoint makes.

    Writes `pictures/generated.png` and `samples.json` in the run's folder, over earlier ones.

    Args:
        folder: of a run, finished or not.
        paths: where the data lie; None: where they lay when the run last went on.
        device: where to compute.
        count: images on each side of a distance, at least 2; at most half of the training images
            are taken.
        backbone: see `open_features`.
        weights: of the backbone; None: those of the recipe, where they fit it.
        seed: of the noise that the images are made from.

    Raises:
        RunError: no run, no checkpoint, a method that makes no images, or one that has diverged.
        CheckpointError: a checkpoint or weights that cannot be used.
        DataError: there are too few training images.
    """
    recipe = run_recipe_of(folder)
    _check_makes_images(METHODS[recipe.method.name], recipe.method.name)
    settle_on(device)
    features = open_features(device, backbone, weights, otherwise=weights_file(recipe))
    opened = open_checkpoint(folder, paths, device)
    images = _training_images(opened)
    if len(images) < 4:
        data = opened.experiment.data
        raise DataError(
            f"{data.name} {data.subset}: the run trains on {counted(len(images), 'image')}, and a "
            "distance and its floor take 4 at least. Train on more."
        )
    measured = min(count, len(images) // 2)
    made = max(measured, min(count, SHOWN))
    with translated_errors():
        chunks = track(_make(opened, made, seed), "making images", -(-made // _CHUNK))
        shown, first = _look(chunks, features)
        size = (shown.shape[-2], shown.shape[-1])
        pairs = spread(len(images), 2 * measured)
        views = track(_views(opened, [images[i] for i in pairs], size), "real images", len(pairs))
        real = features(view[None] for view in views)
        noise = features(_noise(measured, size))
    # Neighbours in a list are often alike, such as frames of a video: every other one for each set.
    sets = {"distance": first[:measured], "floor": real[1::2], "ceiling": noise}
    distances = {
        name: frechet_distance(other, real[::2])
        for name, other in track(list(sets.items()), "comparing")
    }
    report = {
        "recipe": recipe.name,
        "recipe_hash": opened.recipe_hash,
        "run_seed": recipe.train.seed,
        "step": opened.step,
        "seed": seed,
        **distances,
        "count": measured,
        "training_images": len(images),
        "size": list(size),
        "features": features.describe(),
        "note": NOTE,
    }
    files = RunFolder(folder)
    files.make()
    picture, file = files.pictures / "generated.png", files.path / "samples.json"
    image_grid(picture, shown, _caption(report, len(shown)))
    write_text(file, json.dumps(report, indent=1) + "\n")
    return Samples(report, picture, file)


def _check_makes_images(method: type[Method], name: str) -> None:
    """Refuse a method without a generator before anything is loaded.

    Raises:
        RunError: names the method, and those that make images.
    """
    if method.make_samples is Method.make_samples:
        able = [n for n, cls in METHODS.items() if cls.make_samples is not Method.make_samples]
        raise RunError(f"method '{name}' makes no images; take a run of {' or '.join(able)}.")


def _training_images(opened: OpenCheckpoint) -> list[_Image]:
    """The images that the method's streams read: what its generator imitates.

    Sorted by id; photographs of a folder of their own come last.
    """
    data, labels = opened.experiment.data, opened.experiment.labels
    split, pool = labels.training, labels.pool
    ids = {"labelled": split.labelled, "unlabelled": pool.ids, "weak": split.weak}
    reads = opened.method.reads
    apart = pool.data is not data and reads.unlabelled
    own = {
        name
        for stream in reads.streams
        if not (apart and stream == "unlabelled")
        for name in ids[stream]
    }
    images = [(data, name) for name in sorted(own)]
    return images + [(pool.data, name) for name in pool.ids] if apart else images


@torch.no_grad()
def _make(opened: OpenCheckpoint, count: int, seed: int) -> Iterator[Tensor]:
    """`count` images of the generator, in chunks B3HW uint8.

    The first chunk is `make_samples(64, seed)`, the others have seeds drawn from that.

    Raises:
        RunError: the method makes none as its options stand, or they are not finite.
    """
    for chunk, start in enumerate(range(0, count, _CHUNK)):
        wanted = min(_CHUNK, count - start)
        images = opened.method.make_samples(wanted, _seed_of_chunk(seed, chunk))
        if images is None:
            experiment = opened.experiment
            raise RunError(
                f"{experiment.folder.path}: method '{experiment.recipe.method.name}' makes no "
                "images with the options of this run. Take a run whose generator was trained."
            )
        assert images.ndim == 4, images.shape
        assert images.shape[:2] == (wanted, 3), images.shape
        if not images.isfinite().all():
            raise RunError(
                f"{opened.experiment.folder.path}: what the generator makes is not finite: the "
                "training has diverged. Lower optim.generator.lr and run again."
            )
        yield to_bytes(images)  # as real images are: no set has finer shades


def _seed_of_chunk(seed: int, chunk: int) -> int:
    """Neighbouring seeds must not share chunks, as seed + chunk would."""
    if chunk == 0:
        return seed
    digest = hashlib.blake2b(f"samples/{seed}/{chunk}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _look(chunks: Iterator[Tensor], features: Features) -> tuple[Tensor, Tensor]:
    """The first images B3HW, to be shown, and the features ND of all."""
    shown: list[Tensor] = []

    def passing() -> Iterator[Tensor]:
        for chunk in chunks:
            if not shown:
                shown.append(chunk[:SHOWN].cpu())
            yield chunk

    found = features(passing())
    return shown[0], found


def _views(
    opened: OpenCheckpoint, images: Sequence[_Image], size: tuple[int, int]
) -> Iterator[Tensor]:
    """Training images 3HW uint8 as the streams cut them; a small one is enlarged, never padded.

    Padding takes no part in training, and no generator makes any.
    """
    settings = opened.experiment.recipe.data
    generator = torch.Generator().manual_seed(_REAL_SEED)
    for data, name in images:
        image = data.image(data.index(name))
        covers = max(side / own for side, own in zip(size, image.shape[-2:], strict=True))
        low, high = settings.scale
        view = WeakView(crop=size, scale=(max(low, covers), max(high, covers)), flip=settings.flip)
        yield view(image, None, generator).image


def _noise(count: int, size: tuple[int, int]) -> Iterator[Tensor]:
    """Pixels of independent colours, with the mean and deviation of ImageNet's, in chunks."""
    generator = torch.Generator().manual_seed(_REAL_SEED)
    for start in range(0, count, _CHUNK):
        noise = torch.randn(min(_CHUNK, count - start), 3, *size, generator=generator)
        colours = noise * per_channel(IMAGENET_STD, noise) + per_channel(IMAGENET_MEAN, noise)
        yield to_bytes(colours)


def _caption(report: dict[str, Any], shown: int) -> list[str]:
    return [
        f"{report['recipe']}, run seed {report['run_seed']}, step {report['step']}: images made "
        f"from noise seed {report['seed']}",
        f"the first {shown} of that seed, in order; nobody has picked any",
    ]
