"""Speed of the labelled stream against torchvision's data sets and reference transforms.

    python benchmarks/data.py                            # made pictures of VOC's size, 500 x 375
    python benchmarks/data.py --data-root DIR            # the VOC 2012 in DIR
    python benchmarks/data.py --base 520 --crop 480      # torchvision's published setting
    python benchmarks/data.py --set cityscapes --data-root DIR
    python benchmarks/data.py --set camvid --data-root DIR --lookups
    python benchmarks/data.py --coco FILE --rounds 1     # annotations of COCO; "made" makes them

Every way but one delivers the same thing on the CPU: batches of normalised float crops (BCHW) with
int64 masks, from the same JPEG and PNG files, with as many worker processes. What reads the files
on torchvision's side is its own class of the data set, or Pillow where it has none (`data_peers`);
that both give the same images and masks is looked up first. A round starts the
workers, takes `--batches` batches from an endless stream and ends them; all of it is timed.

torchvision, PIL: what references/segmentation/train.py does by default (`presets.
SegmentationPresetTrain`, backend "pil"), written out from public functions because the wheel does
not hold that folder. PIL pictures; short side resized to 0.5 to 2 times `--base`; flip with a
chance of 0.5; pad; random crop; tensor; float; normalise; all of it in the workers, then torch's
default collate, which is faster than the script's own.

torchvision, v2: the same preset with `use_v2` and backend "tv_tensor".

semisup, stream: `Stream` of `WeakView` (scale 0.5 to 2, crop, flip), uint8 in the main process:
all that the CPU has to do in a run on a GPU, which normalises for itself.
semisup: the same, then `to_device`, which normalises in the main process.
semisup, cached: the same from `CachedData`; the cache is empty when a round begins, so one round
holds the first epoch too.

So that all do the same work, `--base` is the median short side of the files unless it is given:
then torchvision's 0.5 to 2 times the base are, as ours, 0.5 to 2 times the picture.

With `--lookups` masks are read, and the classes in them, as for tags: by us without the images, by
torchvision's data sets as they give them, in pairs. These are seconds of the processor.

With `--coco` it is the annotation file that is opened, by pycocotools' `COCO(...)` and by us: for
the first time, and from the index that was kept; then the classes in all images are looked up, and
masks of `--masks` images are drawn. No image is opened. These are seconds of the processor.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import statistics
import tempfile
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_peers import SETS, Pair, check_same, pasted, peer_of, title_of
from made_coco import IMAGES, write_annotations
from PIL import Image
from ratios import CLOCKS, arguments, interleave, machine, show
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Sampler
from torchvision import tv_tensors
from torchvision.transforms import RandomCrop, v2
from torchvision.transforms.v2 import functional as F

from semisup.catalog import create_dataset
from semisup.data.base import SegmentationData
from semisup.data.formats.pictures import full_palette, voc_palette
from semisup.data.labels.classes_in_masks import read_presence
from semisup.data.loading.cache import CachedData
from semisup.data.loading.streams import Stream
from semisup.data.loading.to_device import to_device
from semisup.data.sets.coco import Coco
from semisup.data.sets.coco_cache import read_index
from semisup.data.sets.coco_index import build_index
from semisup.data.sets.scenes.drawing import draw_scene
from semisup.data.sets.scenes.pairs import PAIRS
from semisup.data.sets.voc import Voc
from semisup.data.views.weak import WeakView
from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD
from semisup.types import IGNORE, Labelled

SCALE = (0.5, 2.0)
MADE_SIZE = (375, 500)
BASE = "torchvision, PIL"


class PilPreset:
    """The reference's default: everything on PIL pictures, the tensor last."""

    def __init__(self, base: int, crop: int) -> None:
        self._sides = int(SCALE[0] * base), int(SCALE[1] * base)
        self._crop = crop

    def __call__(self, image: Image.Image, mask: Image.Image) -> Pair:
        side = random.randint(*self._sides)
        image = F.resize(image, [side], antialias=True)
        mask = F.resize(mask, [side], interpolation=v2.InterpolationMode.NEAREST)
        if random.random() < 0.5:
            image, mask = F.hflip(image), F.hflip(mask)
        image, mask = self._pad(image, 0), self._pad(mask, IGNORE)
        window = RandomCrop.get_params(image, (self._crop, self._crop))
        image, mask = F.crop(image, *window), F.crop(mask, *window)
        pixels = F.to_dtype(F.pil_to_tensor(image), torch.float32, scale=True)
        labels = torch.as_tensor(np.array(mask), dtype=torch.int64)
        return F.normalize(pixels, IMAGENET_MEAN, IMAGENET_STD), labels

    def _pad(self, picture: Image.Image, fill: int) -> Image.Image:
        right, down = (max(0, self._crop - side) for side in picture.size)
        return F.pad(picture, [0, 0, right, down], fill=fill) if right or down else picture


class TensorPreset:
    """The reference with `use_v2` and tensors in place of PIL pictures."""

    def __init__(self, base: int, crop: int) -> None:
        fill = {tv_tensors.Mask: IGNORE, "others": 0}
        types = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
        self._change = v2.Compose(
            [
                v2.RandomResize(int(SCALE[0] * base), int(SCALE[1] * base)),
                v2.RandomHorizontalFlip(0.5),
                v2.RandomCrop(crop, pad_if_needed=True, fill=fill),
                v2.ToDtype(types, scale=True),
                v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
                v2.ToPureTensor(),
            ]
        )

    def __call__(self, image: Image.Image, mask: Image.Image) -> Pair:
        return self._change(F.to_image(image), tv_tensors.Mask(np.array(mask)))  # type: ignore[no-any-return]


class Endless(Sampler[int]):
    """One permutation after the other, as a stream has it."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(self._count).tolist()


def contestants(
    data: SegmentationData, args: Namespace, workers: int
) -> dict[str, Callable[[], object]]:
    size, count, base = args.crop, args.batches, args.base or median_side(data)

    def torchvision(preset: type[PilPreset] | type[TensorPreset]) -> None:
        pairs = peer_of(data, preset(base, size))
        sampler = BatchSampler(Endless(len(data)), args.batch, drop_last=True)
        loader = DataLoader(pairs, batch_sampler=sampler, num_workers=workers)
        batches = iter(loader)
        for image, mask in islice(batches, count):
            check(image, mask, args)

    def semisup(source: SegmentationData, *, normalised: bool = True) -> None:
        view = WeakView((size, size), SCALE, flip=True)
        with Stream(
            *(source, data.ids),
            name="labelled", seed=0, batch_size=args.batch, view=view, workers=workers,
        ) as stream:  # fmt: skip
            for raw in islice(stream, count):
                if not normalised:
                    assert raw.images.shape == (args.batch, 3, size, size)
                    continue
                batch = to_device(raw, torch.device("cpu"))
                assert isinstance(batch, Labelled)
                check(batch.image, batch.mask, args)

    return {
        BASE: lambda: torchvision(PilPreset),
        "torchvision, v2": lambda: torchvision(TensorPreset),
        "semisup, stream": lambda: semisup(data, normalised=False),
        "semisup": lambda: semisup(data),
        "semisup, cached": lambda: semisup(CachedData(data, args.cache)),
    }


def check(image: Tensor, mask: Tensor, args: Namespace) -> None:
    """That all deliver the same kind of thing."""
    assert image.shape == (args.batch, 3, args.crop, args.crop)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert mask.shape == (args.batch, args.crop, args.crop)
    assert mask.dtype == torch.int64


def median_side(data: SegmentationData) -> int:
    """Of the short sides of the pictures."""
    sizes = []
    for index in range(len(data)):
        with Image.open(data.image_path(index)) as picture:
            sizes.append(min(picture.size))
    return round(statistics.median(sizes))


def make_voc(root: Path, count: int) -> None:
    """A VOC tree of made pictures of VOC's usual size, as JPEG of quality 95."""
    folder = root / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    names = [f"2007_{number:06d}" for number in range(count)]
    for number, name in enumerate(names):
        scene = draw_scene(MADE_SIZE, np.random.default_rng(number), PAIRS)
        Image.fromarray(scene.picture).save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
        mask = Image.fromarray(scene.mask)
        mask.putpalette(full_palette(voc_palette()))
        mask.save(folder / "SegmentationClass" / f"{name}.png")
    (folder / "ImageSets/Segmentation/train.txt").write_text("\n".join(names) + "\n")


def measure(data: SegmentationData, where: str, args: Namespace) -> None:
    check_same(data)
    base = args.base or median_side(data)
    for workers in args.workers:
        timings = interleave(contestants(data, args, workers), args.rounds, CLOCKS[args.clock])
        title = (
            f"{where}: {len(data)} images by {title_of(peer_of(data))}, {workers} workers, "
            f"{args.batches} batches of {args.batch}, crop {args.crop}, base {base}"
        )
        show(title, timings, base=BASE, work=args.batch * args.batches, unit="images")


def measure_lookups(data: SegmentationData, args: Namespace) -> None:
    """What masks cost, and the classes in them, of those who want no image."""
    check_same(data)
    peer, few = peer_of(data), range(min(args.masks, len(data)))
    theirs, ids = title_of(peer), [data.ids[index] for index in few]
    ways: dict[str, dict[str, Callable[[], object]]] = {
        "masks": {
            theirs: lambda: [np.asarray(peer[index][1]) for index in few],
            "semisup": lambda: [data.mask(index) for index in few],
        },
        "classes": {
            theirs: lambda: [np.unique(peer[index][1]) for index in few],
            "semisup": lambda: read_presence(data, ids),
        },
    }
    if isinstance(data, Coco):
        named = "semisup, of the annotations"
        ways["classes"][named] = lambda: [set(data.object_names(index)) for index in few]
    for title, pair in ways.items():
        timings = interleave(pair, args.rounds, CLOCKS["processor"])
        show(f"{data.name}: {title}", timings, base=theirs, work=len(few), unit="images")


def measure_coco(path: Path, args: Namespace) -> None:
    """What it costs to open annotations, and to look at them once they are open."""
    from pycocotools.coco import COCO

    def theirs() -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return COCO(str(path))

    def timed(title: str, ways: dict[str, Callable[[], object]], work: int, *, warm: bool) -> None:
        timings = interleave(ways, args.rounds, CLOCKS["processor"], warm=warm)
        show(f"{path.name}: {title}", timings, base="pycocotools", work=work, unit="images")

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's about pycocotools
        os.environ["XDG_CACHE_HOME"] = folder
        (Path(folder) / "annotations").mkdir()
        own = Path(folder) / "annotations" / "instances_train2017.json"
        own.symlink_to(path.resolve())
        kept = Coco(folder)  # from here on its index is kept
        ways = {
            "pycocotools": theirs,
            "semisup, the first time": lambda: build_index(path),
            "semisup, from the kept index": lambda: read_index(own),
        }
        timed("opened", ways, len(kept), warm=True)
        coco = theirs()
        numbers = coco.getImgIds()
        classes = {
            "pycocotools": lambda: [
                {one["category_id"] for one in coco.imgToAnns[number]} for number in numbers
            ],
            "semisup": lambda: [set(kept.object_names(n)) for n in range(len(kept))],
        }
        timed("classes of all images", classes, len(kept), warm=False)
        few = range(min(args.masks, len(kept)))

        def drawn(number: int) -> np.ndarray:
            size = coco.imgs[number]["height"], coco.imgs[number]["width"]
            return pasted(coco, coco.imgToAnns[number], size)

        masks = {
            "pycocotools": lambda: [drawn(kept.image_number(n)) for n in few],
            "semisup": lambda: [kept.mask(n) for n in few],
        }
        timed("masks", masks, len(few), warm=False)


def parser() -> ArgumentParser:
    options = arguments(__doc__.splitlines()[0], rounds=7)
    options.add_argument("--set", choices=SETS, default="voc", help="data set (%(default)s)")
    options.add_argument("--data-root", type=Path, help="folder that holds the data set")
    options.add_argument("--subset", default="train", help="list of ids (%(default)s)")
    options.add_argument("--lookups", action="store_true", help="masks and classes, no images")
    options.add_argument("--made", action="store_true", help="made pictures too, with --data-root")
    options.add_argument("--images", type=int, default=64, help="made pictures (%(default)s)")
    options.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="(%(default)s)")
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="(%(default)s)")
    options.add_argument("--batch", type=int, default=8, help="images in a batch (%(default)s)")
    options.add_argument("--batches", type=int, default=48, help="in a round (%(default)s)")
    options.add_argument("--crop", type=int, default=321, help="side in pixels (%(default)s)")
    options.add_argument("--base", type=int, help="torchvision's base size in pixels")
    options.add_argument("--cache", type=int, default=512, help="MiB (%(default)s)")
    options.add_argument("--coco", help='an annotation file of COCO, or "made": no pictures then')
    options.add_argument("--coco-images", type=int, default=IMAGES, help="made (%(default)s)")
    options.add_argument("--masks", type=int, default=200, help="looked up (%(default)s)")
    return options


def main() -> None:
    options = parser()
    args = options.parse_args()
    if args.data_root is None and (args.set != "voc" or args.lookups):
        options.error(f"{args.set} is measured on its own files: give --data-root")
    if args.clock == "processor" and any(args.workers):
        options.error("the clock of the processor does not count workers: give --workers 0")
    torch.set_num_threads(args.threads)
    print(machine())
    if args.coco is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "made.json" if args.coco == "made" else Path(args.coco)
            if args.coco == "made":
                write_annotations(path, args.coco_images)
            measure_coco(path, args)
        return
    if args.data_root is not None:
        data = create_dataset(args.set, args.data_root, args.subset)
        if args.lookups:
            measure_lookups(data, args)
            return
        measure(data, args.set, args)
    if args.made or args.data_root is None:
        with tempfile.TemporaryDirectory() as folder:
            make_voc(Path(folder), args.images)
            measure(Voc(folder), "made pictures", args)


if __name__ == "__main__":
    main()
