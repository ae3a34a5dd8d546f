"""Lists, recipes and results to damage, and the small data sets that they lie in."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from semisup.recipe.load import load_recipe, shipped_recipes

IDS = ("2007_000001", "2007_000002", "b_2", "a-1")
SPACED = "street view"
"""An id that lists of splits may hold and lists of ids may not."""
VOC_LIST = "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"

BASE = """[data]
name = "scenes"
split = "1/4"
crop = [64, 48]
[model]
name = "unet"
width = 4
[method]
name = "supervised"
[optim.segmenter]
kind = "adam"
lr = 1e-3
[train]
steps = 5
"""
CHILD = 'extends = "parent.toml"\n[train]\nsteps = 6\n'


def make_voc(folder: Path) -> None:
    """Four train images in VOC's layout, with their list."""
    voc = folder / "VOCdevkit" / "VOC2012"
    for name in IDS:
        _picture(voc / "JPEGImages" / f"{name}.jpg")
        _mask(voc / "SegmentationClass" / f"{name}.png")
    _text(folder / VOC_LIST, "".join(f"{name}\n" for name in IDS))


def make_folder(folder: Path) -> None:
    """Five images in the layout of the folder data set, four of them listed."""
    for name in (*IDS, SPACED):
        _picture(folder / "images" / f"{name}.jpg")
        _mask(folder / "masks" / f"{name}.png")
    _text(folder / "train.txt", "".join(f"{name}\n" for name in IDS))
    _text(folder / "classes.txt", "background\ntall building 128 0 0\n")


def make_camvid(folder: Path) -> None:
    """SegNet's layout with two frames a subset."""
    for part in ("train", "val", "test"):
        for name in ("a1", "a2"):
            _picture(folder / part / f"{name}.png")
            _mask(folder / f"{part}annot" / f"{name}.png")
        _text(folder / f"{part}.txt", camvid_seeds()[0].decode().replace("train", part))


def make_recipes(folder: Path) -> None:
    """A base, a parent and its child."""
    _text(folder / "base.toml", BASE)
    _text(folder / "parent.toml", BASE)
    _text(folder / "child.toml", CHILD)


def list_seeds() -> list[bytes]:
    """Lists of ids and of paths."""
    paths = "".join(f"JPEGImages/{name}.jpg SegmentationClass/{name}.png\n" for name in IDS[:2])
    return ["".join(f"{name}\n" for name in IDS).encode(), paths.encode(), b"a-1"]


def split_seeds() -> list[bytes]:
    """Lists with and without kinds, with paths, with comments."""
    whole = "".join(f"{name} {'mask' if name[0] == '2' else 'none'}\n" for name in IDS)
    noted = f"# name: 1/2\n# sha256: 0\n{whole}{SPACED} mask\n"
    written = f"# name: 1/2\n# sha256: {'0' * 64}\n" + "".join(f"{name} mask\n" for name in IDS)
    columns = f"images\\{IDS[0]}.jpg,masks/{IDS[0]}.png\n'{IDS[1]}'\n"
    others = [written.encode(), columns.encode(), f"# no\nimages/{SPACED}.jpg\n".encode()]
    return [*list_seeds(), noted.encode(), b"data/img/a-1.jpg\n", SPACED.encode(), *others]


def class_seeds() -> list[bytes]:
    """Class names with and without colours."""
    many = "".join(f"class {number}\n" for number in range(255))
    tools = [
        b"# label:color_rgb:parts:actions\nbackground:0,0,0::\nleaf:128,0,0::\n",
        b"Pixel Value, Class\n0, background\n1, leaf\n255, void\n",
        b"__ignore__ 9 9 9\n0 0 0 background\n128 0 0 leaf\n",
        b'id;name;r;g;b\n0;"background";0;0;0\n1;"leaf";128;0;0\n',
    ]
    plain = [b"background\ntall building 128 0 0\n", b"\xef\xbb\xbfroad\r\nsky\r\n"]
    return [*plain, many.encode(), *tools]


def camvid_seeds() -> list[bytes]:
    """SegNet's lists as they were published, and shorter."""
    lines = [
        f"/SegNet/CamVid/train/{n}.png /SegNet/CamVid/trainannot/{n}.png" for n in ("a1", "a2")
    ]
    return ["\n".join(lines).encode(), b"train/a1.png trainannot/a1.png\n"]


def tag_seeds() -> list[bytes]:
    """Texts of tags, with a head and without, with more images than there are."""
    head = "# classes: background\ttall building\n# sha256: 0\n"
    lines = "".join(f"{name}\ttall building\n" for name in (*IDS[:2], SPACED))
    rest = f"{IDS[2]}\n{IDS[3]}\tbackground\n"
    return [(head + lines + rest).encode(), f"\ufeff{lines}{rest}other\tx\r\n".encode()]


def tag_array_seeds() -> list[bytes]:
    """What `numpy.save` wrote and writes of a dict, with names and with numbers as keys."""
    named = {name: np.ones(1, np.float32) for name in (*IDS, SPACED)}
    numbers = {np.int32(name.replace("_", "")): named[name] for name in IDS[:2]}
    return [npy(rows, n) for n in (0, 2, 4) for rows in (named, {**named, **numbers})]


def npy(value: object, protocol: int) -> bytes:
    """An array without axes that holds `value`, as a .npy file."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + pickle.dumps(np.array(value, dtype=object), protocol)


def box_seeds() -> list[bytes]:
    """Annotations of VOC, one with a declaration and an entity."""
    box = "<bndbox><xmax>8</xmax><xmin>1</xmin><ymax>4.6</ymax><ymin>2</ymin></bndbox>"
    dog = f"<object><name>dog</name><truncated>1</truncated><difficult>0</difficult>{box}</object>"
    plain = f"<annotation><filename>a.jpg</filename>{dog}{dog}</annotation>"
    entity = '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE a [<!ENTITY x "dog">]>'
    return [plain.encode(), (entity + plain.replace(">dog<", ">&x;<")).encode()]


def sbd_seeds() -> list[bytes]:
    """SBD's .mat, packed as it is published and unpacked."""
    labels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    boundaries = np.empty((3, 1), dtype=object)
    boundaries[:, 0] = [labels] * 3
    fields = {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": labels[:1]}
    seeds = []
    for packed in (True, False):
        file = io.BytesIO()
        savemat(file, {"GTcls": fields}, do_compression=packed)
        seeds.append(file.getvalue())
    return seeds


def recipe_seeds() -> list[bytes]:
    """Every shipped recipe, as it lies there and resolved; a small one."""
    files = [path.read_bytes() for path in shipped_recipes().values()]
    resolved = [load_recipe(name).to_toml().encode() for name in shipped_recipes()]
    return [BASE.encode(), *files, *resolved]


def change_seeds() -> list[bytes]:
    """What stands behind --set."""
    changes = (
        *("data.split=1/8", "data.crop=[64, 64]", "train.steps=10", "optim.segmenter.lr=1e-2"),
        *("model.width=8", "eval.every=2", "data.name=voc", "train.ema=0.9"),
        *(
            'model.weights="a.pth"',
            "data.root=/data",
            "eval.scales=[0.5, 1.0]",
            "method.name=supervised",
        ),
        *("data.split=file:list.txt", "train.seed=7", "train.steps=0x10", "data.flip=false"),
    )
    return [change.encode() for change in changes]


SET = {
    "name": "folder",
    "subset": "val",
    "root": "/data",
    "folder": ".",
    "classes": ["a", "b"],
    "images": 2,
    "ids_sha256": "00",
    "masks": 2,
    "files": 4,
    "files_sha256": "11",
}
"""One set of images, as run and result record it."""


def result_seeds() -> list[bytes]:
    """A result file."""
    scores = {
        "miou": 0.5,
        "pixel_accuracy": 0.75,
        "mean_class_accuracy": None,
        "frequency_weighted_iou": 0.5,
        "miou_interval_95": [0.4, 0.6],
        "boundary_f1": None,
    }
    split = {"name": "1/4-s0", "sha256": "00", "labelled": 10, "unlabelled": 30, "held_out": 0}
    result = {
        "recipe": "base",
        "recipe_hash": "0123456789",
        "scores": {"selected": scores, "last": scores},
        "per_class": {"a": {"iou": None}, "b": {"iou": 0.5}},
        "confusion": [[1, 2], [3, 4]],
        "protocol": {"classes": ["a", "b"], "subset": "val", "pretraining": "none"},
        "palette": [[0, 0, 0], [128, 0, 0]],
        "split": split | {"class_counts": {"dog": 3}},
        "seed": 0,
        "checkpoint": {"rule": "last checkpoint", "step": 5, "steps": 5},
        "git": None,
        "versions": {"torch": "2"},
        "device": "cpu",
        "processes": [1],
        "precision": "float32",
        "time": {"train_seconds": 1.5, "score_seconds": 0.5},
        "data": {"reported": SET, "trained": SET},
    }
    return [json.dumps(result, indent=1).encode(), json.dumps(result).encode()]


def files_seeds() -> list[bytes]:
    """The single files of a run's data."""
    files = {"images/a.png": "120 bytes", "masks/a.png": "ab" * 32, "masks/b.png": "missing"}
    return [json.dumps({"trained": files, "reported": files}, indent=0).encode()]


def facts_seeds() -> list[bytes]:
    """How a run began, and one that went on."""
    facts = {
        "command": ["semisup", "run"],
        "git": None,
        "versions": {"torch": "2"},
        "weights": [],
        "data": {"reported": SET, "trained": SET},
    }
    return [
        json.dumps(facts, indent=1).encode(),
        json.dumps({**facts, "resumed": [facts]}).encode(),
    ]


def scalar_seeds() -> list[bytes]:
    """A log of lines, and one that was cut off."""
    lines = [{"step": step, "loss": 1.5 / step} for step in (1, 2, 3)]
    lines += [{"step": 2, "checkup": True, "held_out/miou": 0.5}, {"step": 3, "final": True}]
    log = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return [log, log[:-4]]


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (90, 120, 30)).save(path)


def _mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 6), 1).save(path)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
