"""Made pictures: reproducible, annotated rightly, written whole, and no class given away."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

import semisup
from semisup.data.sets.scenes import writing as scenes_writing
from semisup.data.sets.scenes.dataset import Scenes
from semisup.data.sets.scenes.drawing import draw_scene
from semisup.data.sets.scenes.pairs import CLASSES, PAIRS
from semisup.data.sets.scenes.shapes import AREAS, SHAPES, TEXTURES, texture_share
from semisup.data.sets.scenes.things import THINGS
from semisup.data.sets.scenes.writing import DESIGNS, SceneOptions, ensure_scenes
from semisup.errors import DataError, RecipeError

FEW = SceneOptions(train=26, val=3, test=0, size=(64, 80), seed=0)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def scenes(root: Path) -> Scenes:
    return Scenes(root, train=120, val=2, test=0)


def test_is_written_once_and_read_as_a_voc_tree(root: Path, scenes: Scenes) -> None:
    assert scenes.root.parent.parent.name == f"scenes-{scenes.facts()['digest']}"
    assert scenes.root.relative_to(root).parts[1:] == ("VOCdevkit", "VOC2012")
    assert len(scenes) == 120
    assert scenes.ids[7] == "train_000007"
    assert scenes.image(0).shape == (3, 96, 128)
    assert scenes.classes == CLASSES
    assert len(scenes.palette) == scenes.num_classes == 9
    before = (scenes.root / "JPEGImages" / "train_000000.jpg").stat().st_mtime_ns
    again = Scenes(root, "val", train=120, val=2, test=0)
    assert (again.root / "JPEGImages" / "train_000000.jpg").stat().st_mtime_ns == before
    assert len(again) == 2


def test_an_empty_subset_is_unknown(root: Path, scenes: Scenes) -> None:
    with pytest.raises(DataError, match="no subset 'test'"):
        Scenes(root, "test", train=120, val=2, test=0)


def test_files_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    one = hashes(ensure_scenes(tmp_path / "one", FEW, processes=1))
    two = hashes(ensure_scenes(tmp_path / "two", FEW, processes=2))
    assert one == two
    assert len(one) == 29 * 4 + 2


def test_a_picture_depends_on_seed_subset_and_number_alone(tmp_path: Path) -> None:
    def pictures(train: int, seed: int) -> list[torch.Tensor]:
        data = Scenes(tmp_path, train=train, val=1, test=0, size=(64, 80), seed=seed)
        val = Scenes(tmp_path, "val", train=train, val=1, test=0, size=(64, 80), seed=seed)
        return [data.image(0), data.image(1), val.image(0)]

    few, more, other = pictures(2, seed=0), pictures(3, seed=0), pictures(2, seed=1)
    assert all(map(torch.equal, few, more))
    assert not any(map(torch.equal, few, other))
    assert not torch.equal(few[0], few[1])
    assert not torch.equal(few[0], few[2])


def test_every_class_is_there_and_the_background_is_not_all(scenes: Scenes) -> None:
    counts = sum(np.bincount(scenes.mask(i).numpy().ravel(), minlength=256) for i in range(120))
    assert (counts[:9] > 0).all()
    assert 0.6 < counts[0] / counts.sum() < 0.85
    assert counts[9:255].sum() == 0


def test_void_lies_on_the_outlines_of_objects_only(scenes: Scenes) -> None:
    for index in range(20):
        mask, instances = scenes.mask(index).numpy(), scenes.instances(index).numpy()
        assert (instances == 255).any()
        assert np.array_equal(mask == 255, instances == 255)
        assert np.array_equal(mask == 0, instances == 0)
        sides = [
            maximum_filter(np.where(instances == number, 1, 0), size=3)
            for number in np.unique(instances[instances != 255])
        ]
        # no two regions touch without void between them: a dilated one meets no other
        for number, grown in zip(np.unique(instances[instances != 255]), sides, strict=True):
            assert np.isin(instances[grown == 1], (number, 255)).all()


def test_boxes_agree_with_instances_and_mask(scenes: Scenes) -> None:
    for index in range(30):
        mask, instances = scenes.mask(index), scenes.instances(index)
        boxes = scenes.boxes(index)
        assert set(instances.unique().tolist()) - {0, 255} == set(range(1, len(boxes) + 1))
        for number, box in enumerate(boxes, start=1):
            rows, columns = torch.where(instances == number)
            assert mask[rows, columns].unique().tolist() == [scenes.classes.index(box.name)]
            assert box.xmin - 1 <= columns.min()
            assert columns.max() <= box.xmax - 1
            # the outline is void and one pixel wide on the inner side; a sharp corner loses more
            outside = torch.ones_like(mask, dtype=torch.bool)
            outside[box.ymin - 1 : box.ymax, box.xmin - 1 : box.xmax] = False
            assert not (instances[outside] == number).any()
            edges = (rows.min() - box.ymin + 1, box.ymax - 1 - rows.max())
            assert all(0 <= gap <= 8 for gap in edges)


def test_some_objects_are_truncated_and_few_difficult(scenes: Scenes) -> None:
    boxes = [box for index in range(120) for box in scenes.boxes(index)]
    assert 0.3 < sum(box.truncated for box in boxes) / len(boxes) < 0.9
    assert 0.02 < sum(box.difficult for box in boxes) / len(boxes) < 0.4
    assert all(box.truncated for box in boxes if box.difficult)


def test_objects_differ_in_scale_by_three(scenes: Scenes) -> None:
    whole = [b for i in range(120) for b in scenes.boxes(i) if not b.truncated]
    sides = sorted(max(box.xmax - box.xmin, box.ymax - box.ymin) + 1 for box in whole)
    assert sides[-1] >= 3 * sides[0] * 0.8


def mean_colours(scenes: Scenes) -> Iterator[tuple[int, torch.Tensor]]:
    for index in range(len(scenes)):
        image, instances, mask = scenes.image(index), scenes.instances(index), scenes.mask(index)
        for number in range(1, len(scenes.boxes(index)) + 1):
            where = instances == number
            yield int(mask[where][0]), image[:, where].float().mean(dim=1)


def test_colour_does_not_give_a_class_away(scenes: Scenes) -> None:
    """The object nearest in mean colour is mostly one of another class."""
    labels, colours = zip(*mean_colours(scenes), strict=True)
    distances = torch.cdist(torch.stack(colours), torch.stack(colours))
    nearest = distances.fill_diagonal_(torch.inf).argmin(dim=1)
    same = torch.tensor(labels) == torch.tensor(labels)[nearest]
    assert len(labels) > 250
    assert same.float().mean() < 0.45


def test_each_shape_comes_with_each_texture() -> None:
    pairs = {tuple(name.split("_")) for name in CLASSES[1:]}
    textures, shapes = ({pair[side] for pair in pairs} for side in (0, 1))
    assert len(pairs) == len(textures) * len(shapes) == 8
    assert textures < set(TEXTURES)
    assert shapes < set(SHAPES)


def test_every_thing_has_a_shape_and_a_texture_of_its_own() -> None:
    things = [tuple(name.split("_")) for name in THINGS.classes[1:]]
    textures, shapes = (list(side) for side in zip(*things, strict=True))
    assert len(things) == len(set(textures)) == len(set(shapes)) == 8
    assert set(textures) < set(TEXTURES)
    assert set(shapes) < set(SHAPES)
    assert list(THINGS.textures) == textures


def test_things_are_written_under_their_own_names(tmp_path: Path) -> None:
    data = Scenes(tmp_path, train=30, val=0, test=0, size=(48, 64), design="things")
    assert data.classes == THINGS.classes
    assert data.facts()["design"] == "things"
    counts = sum(np.bincount(data.mask(i).numpy().ravel(), minlength=256) for i in range(30))
    assert (counts[:9] > 0).all()
    assert 0.3 < counts[0] / counts.sum() < 0.65
    assert {box.name for i in range(30) for box in data.boxes(i)} == set(THINGS.classes[1:])


def test_no_hue_gives_a_thing_away(tmp_path: Path) -> None:
    """Of eight classes, the object of the nearest shade has the same one by chance alone."""
    data = Scenes(tmp_path, train=60, val=0, test=0, size=(72, 96), design="things")
    labels, colours = zip(*mean_colours(data), strict=True)
    shades = torch.stack(colours)
    shades = shades / shades.sum(dim=1, keepdim=True)
    distances = torch.cdist(shades, shades)
    nearest = distances.fill_diagonal_(torch.inf).argmin(dim=1)
    same = torch.tensor(labels) == torch.tensor(labels)[nearest]
    assert len(labels) > 300
    assert 0.05 < same.float().mean() < 0.2


@pytest.mark.parametrize("design", DESIGNS)
def test_pictures_of_every_design_differ_in_their_light(design: str) -> None:
    pictures = [
        draw_scene((64, 80), np.random.default_rng(seed), DESIGNS[design]).picture
        for seed in range(12)
    ]
    means = np.array([picture.mean() for picture in pictures])
    assert means.std() > 15


@pytest.mark.parametrize("name", SHAPES)
def test_areas_of_the_shapes(name: str) -> None:
    side = np.linspace(-1.6, 1.6, 801, dtype=np.float32)
    inside = SHAPES[name](*np.meshgrid(side, side)) < 0
    assert inside.sum() * (side[1] - side[0]) ** 2 == pytest.approx(AREAS[name], rel=0.01)
    assert not inside[0].any()  # the window of an item, 1.5 radii, holds it


@pytest.mark.parametrize("name", sorted(set(TEXTURES) - {"plain"}))
def test_textures_have_both_colours(name: str) -> None:
    y, x = np.meshgrid(np.linspace(0, 4, 200), np.linspace(0, 4, 200))
    share = texture_share(name, y, x, np.hypot(y, x), period=8.0)
    assert share.min() == 0
    assert share.max() == 1
    assert 0.2 < share.mean() < 0.75


def test_a_large_and_a_narrow_picture_can_be_drawn() -> None:
    for size in ((48, 160), (200, 150)):
        scene = draw_scene(size, np.random.default_rng(0), PAIRS)
        assert scene.picture.shape == (*size, 3)
        assert scene.mask.shape == size


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"train": 0}, "train of scenes is 0; it must be 1 or more"),
        ({"seed": -1}, "seed of scenes is -1"),
        ({"size": (40, 144)}, r"size of scenes is \[40, 144\]; each side must be 48 or more"),
    ],
)
def test_impossible_options(tmp_path: Path, options: dict[str, int], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        Scenes(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_other_options_are_another_folder(tmp_path: Path) -> None:
    digests = {
        SceneOptions(2, 1, 0, (64, 80), 0).digest,
        SceneOptions(2, 1, 0, (80, 64), 0).digest,
        SceneOptions(2, 1, 0, (64, 80), 1).digest,
        SceneOptions(2, 2, 0, (64, 80), 0).digest,
        SceneOptions(2, 1, 0, (64, 80), 0, "things").digest,
    }
    assert len(digests) == 5


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = scenes_writing._write_labels

    def full(path: Path, labels: object) -> None:
        if path.stem.endswith("21"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, labels)

    monkeypatch.setattr(scenes_writing, "_write_labels", full)
    for processes in (1, 2):  # the children are forked, so that they too have the full disk
        with pytest.raises(DataError, match="No space left on device; free space there") as error:
            ensure_scenes(tmp_path, FEW, processes=processes)
        assert "\n" not in str(error.value)
        assert not list(tmp_path.iterdir())


def test_a_root_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write the scenes to .*SEMISUP_DATA"):
        Scenes(tmp_path / "file")


def test_a_killed_worker_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, draw = os.getpid(), scenes_writing.draw_scene

    def die_in_a_child(*args: object) -> object:
        if os.getpid() != parent:
            os._exit(9)
        return draw(*args)

    monkeypatch.setattr(scenes_writing, "draw_scene", die_in_a_child)
    few = SceneOptions(3, 1, 0, (64, 80), 0)
    folder = ensure_scenes(tmp_path, few, processes=2)
    monkeypatch.undo()
    assert hashes(folder) == hashes(ensure_scenes(tmp_path / "other", few, processes=1))


def _write_and_be_killed(root: Path) -> None:
    def kill() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.01)
        (root / "pids").write_text(" ".join(str(child.pid) for child in children))
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill).start()
    ensure_scenes(root, SceneOptions(5000, 0, 0, (64, 80), 0), processes=2)


def test_workers_end_with_a_killed_parent_and_no_tree_is_left(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("fork").Process(
        target=_write_and_be_killed, args=(tmp_path,)
    )
    parent.start()
    parent.join(60)
    assert parent.exitcode == -signal.SIGKILL
    workers = [Path("/proc") / pid for pid in (tmp_path / "pids").read_text().split()]
    assert workers
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))
    assert not list(tmp_path.glob("scenes-*"))


def alive(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(semisup.__file__).parents[1])}


def test_the_slower_of_two_builders_takes_the_tree_of_the_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = SceneOptions(1, 0, 0, (64, 80), 0)
    ready = ensure_scenes(tmp_path / "faster", few, processes=1).parent.parent
    write = scenes_writing._write_tree

    def overtaken(*args: object) -> None:
        write(*args)
        shutil.copytree(ready, tmp_path / ready.name)

    monkeypatch.setattr(scenes_writing, "_write_tree", overtaken)
    folder = ensure_scenes(tmp_path, few, processes=1)
    assert hashes(folder) == hashes(ready / scenes_writing.TREE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faster", ready.name]


def test_remains_of_killed_builds_are_removed_once_old(tmp_path: Path) -> None:
    few = SceneOptions(1, 0, 0, (64, 80), 0)
    old, fresh = (tmp_path / f".scenes-{few.digest}.{name}" for name in ("old", "fresh"))
    for part in (old, fresh):
        (part / "VOCdevkit").mkdir(parents=True)
    os.utime(old, (time.time() - 7200,) * 2)
    ensure_scenes(tmp_path, few, processes=1)
    assert not old.exists()
    assert fresh.exists()  # another process may be writing there


def _build(root: str) -> None:
    ensure_scenes(Path(root), SceneOptions(2, 0, 0, (64, 80), 0), processes=2)


def test_a_daemon_may_not_have_children_and_writes_itself(tmp_path: Path) -> None:
    # such as the worker of a DataLoader
    worker = multiprocessing.get_context("fork").Process(
        target=_build, args=(str(tmp_path),), daemon=True
    )
    worker.start()
    worker.join(30)
    assert worker.exitcode == 0
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


def test_two_scripts_without_main_guard_at_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from semisup.data.sets.scenes.writing import SceneOptions, ensure_scenes\n"
        "other = os.fork()\n"  # twice the same script, and torch is imported once
        "options = SceneOptions(30, 1, 0, (64, 80), 0)\n"
        "print(len(list(ensure_scenes(Path(sys.argv[1]), options, processes=2).rglob('*.jpg'))))\n"
        "if other: sys.exit(os.waitpid(other, 0)[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(tmp_path / "data")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "31\n31\n", "")
    assert len(list((tmp_path / "data").iterdir())) == 1
