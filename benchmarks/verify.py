"""Speed of `verify`: all its checks against decoding the same files and nothing else.

    python benchmarks/verify.py                  # made pictures of VOC's size, 500 x 375
    python benchmarks/verify.py --data-root DIR  # the VOC 2012 in DIR

One set of images with masks as people save them, a `folder` each:

palette: indices with the colours of classes.txt; grey: label ids; values: other numbers, mapped by
`values`; re-indexed: grey that a lossless optimiser made a palette picture; RGB: the colours of
classes.txt; and "voc", the palettes in the layout of VOC.

The base opens each image and its mask with Pillow and makes arrays of both. So does `verify`, which
checks sizes, labels, orientation, palettes, borders between classes, and what all masks hold. Both
have `--threads` threads, on as many cores. The rate of one core is by the processor's seconds.
"""

from __future__ import annotations

import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from data import make_voc
from PIL import Image
from ratios import arguments, interleave, machine, show

from semisup.data.base import SegmentationData
from semisup.data.formats.pictures import voc_palette
from semisup.data.sets.folder import Folder
from semisup.data.sets.voc import CLASSES, Voc
from semisup.data.verify import verify
from semisup.system.progress import quiet
from semisup.types import IGNORE

ORDER = np.random.default_rng(0).permutation(IGNORE + 1).astype(np.uint8)
Save = Callable[[Path, np.ndarray], None]


def save_palette(path: Path, labels: np.ndarray) -> None:
    indexed(labels, np.array(voc_palette(), np.uint8)).save(path)


def save_grey(path: Path, labels: np.ndarray) -> None:
    Image.fromarray(labels).save(path)


def save_values(path: Path, labels: np.ndarray) -> None:
    Image.fromarray(np.where(labels == IGNORE, 0, labels + 1).astype(np.uint8)).save(path)


def save_reindexed(path: Path, labels: np.ndarray) -> None:
    indices = np.argsort(ORDER).astype(np.uint8)[labels]
    indexed(indices, ORDER[:, None].repeat(3, 1)).save(path)


def save_colours(path: Path, labels: np.ndarray) -> None:
    indexed(labels, np.array(voc_palette(), np.uint8)).convert("RGB").save(path)


def indexed(indices: np.ndarray, palette: np.ndarray) -> Image.Image:
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes())
    return picture


KINDS: dict[str, Save] = {
    "palette": save_palette,
    "grey": save_grey,
    "values": save_values,
    "re-indexed": save_reindexed,
    "RGB": save_colours,
}
IN_COLOURS = ("palette", "RGB")


def make_folder(root: Path, kind: str, voc: Voc) -> Folder:
    """The images of `voc`, and its masks as KINDS[kind] saves them."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for index, name in enumerate(voc.ids):
        (root / "images" / f"{name}.jpg").symlink_to(voc.image_path(index).resolve())
        KINDS[kind](root / "masks" / f"{name}.png", voc.mask(index).numpy())
    colours = [" ".join(map(str, colour)) for colour in voc_palette(len(CLASSES))]
    lines = zip(CLASSES, colours if kind in IN_COLOURS else [""] * len(CLASSES), strict=True)
    (root / "classes.txt").write_text("".join(f"{' '.join(line).strip()}\n" for line in lines))
    if kind == "values":
        values = {str(label + 1): name for label, name in enumerate(CLASSES)}
        return Folder(root, "all", values=values, void=0)
    return Folder(root, "all")


def decode(data: SegmentationData, index: int) -> None:
    with Image.open(data.image_path(index)) as picture:
        np.array(picture.convert("RGB"))
    with Image.open(data.mask_path(index)) as picture:
        np.array(picture)


def decode_all(data: SegmentationData, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda index: decode(data, index), range(len(data))))


def verify_all(data: SegmentationData) -> None:
    with quiet():
        found = verify([data])
    assert not [problem for problem in found.problems if "no class" in problem.reason], found


def processor_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(name: str, data: SegmentationData, args: Namespace) -> None:
    ways: dict[str, Callable[[], object]] = {
        "decoding alone": lambda: decode_all(data, args.threads),
        "verify": lambda: verify_all(data),
    }
    files = 2 * len(data)
    title = f"{name}: {len(data)} images and as many masks"
    show(title, interleave(ways, args.rounds), base="decoding alone", work=files, unit="files")
    seconds = [processor_seconds(ways["verify"]) for _ in range(args.rounds)]
    print(f"verify: {files / min(seconds):,.0f} files a second of one core\n")


def measure_all(voc: Voc, kinds: Sequence[str], args: Namespace) -> None:
    if "voc" in kinds:
        measure("voc", voc, args)
    for kind in (kind for kind in KINDS if kind in kinds):
        with tempfile.TemporaryDirectory() as folder:
            measure(f"folder, {kind}", make_folder(Path(folder) / "data", kind, voc), args)


def parse() -> Namespace:
    parser = arguments(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--data-root", type=Path, help="folder that holds VOC 2012")
    parser.add_argument("--subset", default="train", help="list of ids (%(default)s)")
    parser.add_argument("--images", type=int, default=100, help="made pictures (%(default)s)")
    everything = ["voc", *KINDS]
    parser.add_argument("--kinds", nargs="+", choices=everything, default=everything)
    return parser.parse_args()


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    print(machine())
    if args.data_root is not None:
        measure_all(Voc(args.data_root, args.subset), args.kinds, args)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_voc(Path(folder), args.images)
        measure_all(Voc(folder), args.kinds, args)


if __name__ == "__main__":
    main()
