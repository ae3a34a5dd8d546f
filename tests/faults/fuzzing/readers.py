"""What is fuzzed: each reader with its valid inputs, its damage and what a sound value is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from fuzzing import archives, images, trees
from fuzzing.mutation import Mutator, any_change, splice, text_change
from torch import Tensor, nn

from semisup.data.fingerprint import changed_files, is_size
from semisup.data.formats.channels import kind_of, read_image
from semisup.data.formats.class_lists import read_class_list
from semisup.data.formats.mask_keys import LabelKey
from semisup.data.formats.orientation import stored_orientation, upright
from semisup.data.formats.pictures import read_labels, read_rgb
from semisup.data.formats.voc_annotations import read_boxes, read_sbd_mask
from semisup.data.labels.splits import make_split
from semisup.data.labels.tags import read_tags, write_tags
from semisup.data.sets.camvid import CamVid
from semisup.data.sets.folder import Folder
from semisup.data.sets.voc import Voc
from semisup.errors import CheckpointError
from semisup.evaluation.folders.prediction_folder import PredictionFolder
from semisup.models.fcn import FCN32s
from semisup.models.weights import load_weights
from semisup.monitoring.tracker import _reopen  # a Tracker would write TensorBoard's files as well
from semisup.ops.pixels import ImageKind
from semisup.recipe.load import load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.data.identity import read_files
from semisup.runs.record import read_facts, recorded_data
from semisup.runs.result import read_result
from semisup.training.checkpoint import Checkpoints, load_state, save_state


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: family and kind, such as "list.split".
        file: where the input lies in the scratch folder.
        seeds: makes valid inputs.
        changes: one of these damages a seed.
        read: reads the input in the scratch folder; asserts that the value is sound.
        prepare: makes what must lie around the input.
        rare: an input that costs much, made once in 500.
        names: one of these is in every refusal; empty: the scratch folder.
    """

    name: str
    file: str
    seeds: Callable[[], list[bytes]]
    changes: tuple[Mutator, ...]
    read: Callable[[Path, Path], object]
    prepare: Callable[[Path], object] = lambda folder: None
    rare: Callable[[Random], bytes] | None = None
    names: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """What --only takes."""
        return self.name.split(".")[0]

    def make(self, chance: Random) -> bytes:
        """A damaged input; the same for the same state of `chance`."""
        if self.rare is not None and chance.random() < 0.002:
            return self.rare(chance)
        seeds = _seeds(self.seeds)
        if chance.random() < 0.05:
            return splice(chance, seeds)
        return chance.choice(self.changes)(chance, chance.choice(seeds))


@cache
def _seeds(make: Callable[[], list[bytes]]) -> list[bytes]:
    return make()


def _read_recipe(folder: Path, path: Path) -> None:
    _check_recipe(load_recipe(str(path)), folder)


def _read_change(folder: Path, path: Path) -> None:
    # As Python hands over an argument of the command line that is not UTF-8.
    argument = path.read_bytes()[:10_000].replace(b"\0", b"")
    change = argument.decode("utf-8", "surrogateescape")
    _check_recipe(load_recipe(str(folder / "base.toml"), [change]), folder)


def _check_recipe(recipe: Recipe, folder: Path) -> None:
    """What is read can be written down and comes to the same when it is read again."""
    again = folder / "again.toml"
    again.write_text(recipe.to_toml(), encoding="utf-8")
    assert load_recipe(str(again)).digest() == recipe.digest()


def _read_voc(folder: Path, path: Path) -> None:
    data = Voc(folder, "train")
    data.facts()
    for index in range(min(3, len(data))):
        data.image_path(index), data.mask_path(index)
    data.mask(0)
    data.image(0)


def _read_split(folder: Path, path: Path) -> None:
    split = make_split(Folder(folder, "all"), f"file:{path}", 0)
    assert set(split.labels) <= {*trees.IDS, trees.SPACED}
    assert split.labelled
    assert len(split.sha256) == 64


def _read_tags(folder: Path, path: Path) -> None:
    data = Folder(folder, "all")
    tags = read_tags(data, f"file:{path}")
    assert list(tags.of) == sorted(data.ids)
    assert all(labels <= {1} for labels in tags.of.values())
    write_tags(folder / "again.txt", tags)
    assert read_tags(data, f"file:{folder / 'again.txt'}").sha256 == tags.sha256


def _read_folder(folder: Path, path: Path) -> None:
    data = Folder(folder, "train")
    assert data.ids
    assert len(data.classes) == len(data.palette) == len(set(data.classes))
    assert all(0 <= channel <= 255 for colour in data.palette for channel in colour)
    data.facts()
    data.mask(0)
    data.image(0)


def _read_camvid(folder: Path, path: Path) -> None:
    data = CamVid(folder, "train")
    data.facts()
    data.mask(0)
    data.image(0)


def _read_boxes(folder: Path, path: Path) -> None:
    for box in read_boxes(path):
        assert box.name
        assert box.xmin <= box.xmax
        assert box.ymin <= box.ymax


def _read_rgb(folder: Path, path: Path) -> None:
    picture = upright(read_rgb(path), stored_orientation(path))
    assert picture.dtype is torch.uint8
    assert picture.dim() == 3
    assert picture.shape[0] == 3
    assert picture.numel()
    int(picture[:, -1, -1].sum())


def _read_own_kind(folder: Path, path: Path) -> None:
    """Whatever its channels and bits are; of others it is refused."""
    kind = kind_of(path) or ImageKind(4, 16)
    image = read_image(path, kind)
    assert image.dtype is kind.dtype
    assert image.dim() == 3
    assert image.shape[0] == kind.channels
    assert image.numel()
    image[:, -1, -1].float().sum().item()


def _read_labels(folder: Path, path: Path) -> None:
    _check_labels(read_labels(path))


def _read_mask(folder: Path, path: Path) -> None:
    labels = LabelKey(read_class_list(folder / "classes.txt")).read(path)
    _check_labels(labels)
    assert set(labels.unique().tolist()) <= {0, 1, 255}


def _read_sbd(folder: Path, path: Path) -> None:
    _check_labels(read_sbd_mask(path))


def _check_labels(labels: Tensor) -> None:
    assert labels.dtype is torch.uint8
    assert labels.dim() == 2
    labels[-1:, -1:].sum()


def _prepare_checkpoints(folder: Path) -> None:
    save_state(folder / "step-00000001.pt", {"step": 1})


def _read_checkpoint(folder: Path, path: Path) -> None:
    """A refused one is passed over: the run goes on from the one before."""
    checkpoints = Checkpoints(folder)
    try:
        state = load_state(path)
    except CheckpointError:
        assert checkpoints.latest() == {"format": 1, "step": 1}
        raise
    assert state["format"] == 1
    assert checkpoints.latest() is not None


def _read_damaged_checkpoint(folder: Path, path: Path) -> None:
    """Damage that nobody meant is found, or hits nothing that is read."""
    state = load_state(path)
    assert _plain(state) in [_plain(torch.load(seed)) for seed in _whole(folder)]


def _prepare_whole(folder: Path) -> None:
    for number, content in enumerate(archives.checkpoint_seeds()):
        (folder / f"whole{number}.pt").write_bytes(content)


def _whole(folder: Path) -> list[Path]:
    return sorted(folder.glob("whole*.pt"))


def _plain(value: Any) -> Any:
    """Tensors as dtype, shape and numbers, so that == compares."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _load_into(make: Callable[[], nn.Module], path: Path) -> None:
    module = _network(make)
    before = {key: (value.shape, value.dtype) for key, value in module.state_dict().items()}
    report = load_weights(module, path)
    after = {key: (value.shape, value.dtype) for key, value in module.state_dict().items()}
    assert after == before
    assert report.loaded
    assert set(report.loaded) | set(report.missing) | set(report.misfits) <= set(before)
    assert "\n" not in str(report)


@cache
def _network(make: Callable[[], nn.Module]) -> nn.Module:
    return make()


def _layers() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def _fcn() -> nn.Module:
    return FCN32s(2, width=2)


def _read_result(folder: Path, path: Path) -> None:
    result = read_result(path)
    assert result is not None
    assert result.classes
    assert result.content()["recipe"] == result.recipe


def _read_facts(folder: Path, path: Path) -> None:
    facts = read_facts(path)
    assert isinstance(facts, dict)
    data = recorded_data(facts)
    assert data is None or data.reported.classes is not None
    assert data is None or len(data.images.mean) == len(data.images.std)


def _read_files(folder: Path, path: Path) -> None:
    """What is left of the list names the files that have changed, whatever it says."""
    for files in read_files(path).values():
        names = changed_files(files, {"images/a.png": "120 bytes"})
        assert all(is_size(files.get(name, "")) in (True, False) for name in names)


def _read_scalars(folder: Path, path: Path) -> None:
    """The log stays in step with the checkpoint: what stands in it is whole and not beyond it."""
    _reopen(path, 2, 2).close()
    for line in path.read_bytes().splitlines():
        assert json.loads(line)["step"] <= 2


def _read_predictions(folder: Path, path: Path) -> None:
    PredictionFolder(folder, {"recipe": "base", "seed": 0}, ["a"])


def _predictions_seeds() -> list[bytes]:
    return [b'{\n "recipe": "base",\n "seed": 0\n}\n']


PICTURE = (any_change, images.change_png, images.change_png)
TEXT = (text_change,)
ARCHIVE = (any_change, *(archives.change_archive,) * 3)
SAFETENSORS = (any_change, *(archives.change_safetensors,) * 2)

READERS: tuple[Reader, ...] = (
    Reader(
        "recipe.file",
        "bad.toml",
        trees.recipe_seeds,
        TEXT,
        _read_recipe,
        trees.make_recipes,
        names=("recipe bad", "bad.toml", "--set"),
    ),
    Reader(
        "recipe.parent",
        "parent.toml",
        trees.recipe_seeds,
        TEXT,
        lambda folder, path: _read_recipe(folder, folder / "child.toml"),
        trees.make_recipes,
        names=("recipe child", "parent.toml"),
    ),
    Reader(
        "recipe.set",
        "change.txt",
        trees.change_seeds,
        TEXT,
        _read_change,
        trees.make_recipes,
        names=("--set", "recipe base"),
    ),
    Reader("list.voc", trees.VOC_LIST, trees.list_seeds, TEXT, _read_voc, trees.make_voc),
    Reader("list.split", "split.txt", trees.split_seeds, TEXT, _read_split, trees.make_folder),
    Reader("list.folder", "train.txt", trees.list_seeds, TEXT, _read_folder, trees.make_folder),
    Reader("list.classes", "classes.txt", trees.class_seeds, TEXT, _read_folder, trees.make_folder),
    Reader("list.camvid", "train.txt", trees.camvid_seeds, TEXT, _read_camvid, trees.make_camvid),
    Reader("list.boxes", "boxes.xml", trees.box_seeds, TEXT, _read_boxes),
    Reader("tags.text", "tags.txt", trees.tag_seeds, TEXT, _read_tags, trees.make_folder),
    Reader(
        "tags.array",
        "cls_labels.npy",
        trees.tag_array_seeds,
        (any_change, *(archives.change_npy,) * 3),
        _read_tags,
        trees.make_folder,
    ),
    Reader("png", "a.png", images.png_seeds, PICTURE, _read_rgb, rare=images.large_png),
    Reader(
        "jpeg",
        "a.jpg",
        images.jpeg_seeds,
        (any_change, images.change_jpeg, images.change_jpeg),
        _read_rgb,
        rare=images.large_jpeg,
    ),
    Reader("tiff", "a.tif", images.tiff_seeds, (any_change,), _read_rgb),
    Reader("bmp", "a.bmp", images.bmp_seeds, (any_change,), _read_rgb),
    Reader("webp", "a.webp", images.webp_seeds, (any_change,), _read_rgb),
    Reader("channels.tiff", "a.tif", images.deep_tiff_seeds, (any_change,), _read_own_kind),
    Reader("channels.array", "a.npy", images.array_seeds, (any_change,), _read_own_kind),
    Reader("channels.png", "a.png", images.deep_png_seeds, PICTURE, _read_own_kind),
    Reader("mask.key", "a.png", images.mask_seeds, PICTURE, _read_mask, trees.make_folder),
    Reader("mask.png", "a.png", images.png_seeds, PICTURE, _read_labels, rare=images.large_png),
    Reader("mask.sbd", "a.mat", trees.sbd_seeds, (any_change,), _read_sbd),
    Reader(
        "checkpoint.made",
        "step-00000002.pt",
        archives.checkpoint_seeds,
        ARCHIVE,
        _read_checkpoint,
        _prepare_checkpoints,
    ),
    Reader(
        "checkpoint.damaged",
        "step-00000002.pt",
        archives.checkpoint_seeds,
        (any_change,),
        _read_damaged_checkpoint,
        _prepare_whole,
    ),
    Reader(
        "weights.pth",
        "a.pth",
        archives.weight_seeds,
        ARCHIVE,
        lambda folder, path: _load_into(_layers, path),
    ),
    Reader(
        "weights.safetensors",
        "a.safetensors",
        archives.safetensors_seeds,
        SAFETENSORS,
        lambda folder, path: _load_into(_layers, path),
    ),
    Reader(
        "weights.vgg",
        "a.pth",
        archives.vgg_seeds,
        ARCHIVE,
        lambda folder, path: _load_into(_fcn, path),
    ),
    Reader("result.result", "result.json", trees.result_seeds, TEXT, _read_result),
    Reader("result.facts", "run.json", trees.facts_seeds, TEXT, _read_facts),
    Reader("result.files", "files.json", trees.files_seeds, TEXT, _read_files),
    Reader("result.scalars", "scalars.jsonl", trees.scalar_seeds, TEXT, _read_scalars),
    Reader("result.predictions", "predictions.json", _predictions_seeds, TEXT, _read_predictions),
)
"""In the order in which they take turns."""

FAMILIES = tuple(dict.fromkeys(reader.family for reader in READERS))


def reader_called(name: str) -> Reader:
    """The reader of that name."""
    return next(reader for reader in READERS if reader.name == name)
