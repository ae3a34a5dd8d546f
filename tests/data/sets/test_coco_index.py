"""The index of COCO's annotations: read in pieces, kept for the next time, shared by workers."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
from support.coco import annotations, change, make_coco, runs

from semisup.catalog import create_dataset
from semisup.data.sets import coco_cache, coco_index, coco_json
from semisup.data.sets.coco_annotations import _unpacked, filled, mask_tools
from semisup.data.sets.coco_cache import index_path, read_index
from semisup.data.sets.coco_index import ARRAYS, CocoIndex, build_index
from semisup.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_coco(tmp_path / "data")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where indices are kept, of small files too."""
    monkeypatch.setattr(coco_cache, "LEAST", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "semisup"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of which an index was built."""
    built: list[Path] = []

    def build(path: Path) -> CocoIndex:
        built.append(path)
        return build_index(path)

    monkeypatch.setattr(coco_cache, "build_index", build)
    return built


def assert_same(one: CocoIndex, other: CocoIndex) -> None:
    for name in ARRAYS:
        assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert getattr(one, name).dtype == getattr(other, name).dtype, name
    assert one.categories == other.categories
    assert list(one.categories) == list(other.categories)
    assert (one.path, one.sha256, one.description) == (other.path, other.sha256, other.description)


@pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 24])
@pytest.mark.parametrize("form", [{}, {"indent": 1}, {"separators": (",", ":")}])
def test_the_index_does_not_depend_on_how_the_file_is_cut_and_laid_out(
    root: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, form: dict[str, Any]
) -> None:
    monkeypatch.setattr(coco_json, "CHUNK", chunk)
    path = annotations(root)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content, **form))
    index = build_index(path)
    assert index.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert index.numbers.tolist() == [one["id"] for one in content["images"]]
    assert index.files() == [one["file_name"] for one in content["images"]]
    for number, image in enumerate(content["images"]):
        own = [one for one in content["annotations"] if one["image_id"] == image["id"]]
        assert index.file(number) == image["file_name"]
        assert index.size(number) == (image["height"], image["width"])
        kinds = [list(index.categories)[kind] for kind in index.kinds_of(number)]
        assert kinds == [one["category_id"] for one in own]
        found = index.annotations(number)
        assert [one["segmentation"] for one in found] == [one["segmentation"] for one in own]
        assert [one["bbox"] for one in found] == [one["bbox"] for one in own]


def test_the_official_form_and_any_other_come_to_the_same(
    shared_data: Path, tmp_path: Path
) -> None:
    official = shared_data / "coco" / "annotations" / "instances_train2017.json"
    content = json.loads(official.read_bytes())
    content["annotations"] = [dict(sorted(one.items())) for one in content["annotations"]]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    one, two = build_index(official), build_index(other)
    for name in set(ARRAYS) - {"places", "sums"}:
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    for index in range(len(one.numbers)):
        assert one.annotations(index) == two.annotations(index)


def test_most_official_annotations_have_the_form_that_is_read_fast(shared_data: Path) -> None:
    official = shared_data / "coco" / "annotations" / "instances_val2017.json"
    with official.open("rb") as file:
        read = coco_json.JsonFile(file)
        for key in read.members():
            if key == "annotations":
                found = [one for one, _, _ in read.elements(coco_index._USUAL)]
            else:
                read.value()
    slow = [one for one in found if isinstance(one, dict)]
    assert len(found) == 368
    assert all(one["iscrowd"] for one in slow)
    assert len(slow) == 4


def test_letters_of_all_scripts_and_a_byte_order_mark_are_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_json, "CHUNK", 5)
    path = annotations(root)
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "Straße 猫.jpg"
    content["images"][1]["file_name"] = "\u732b.jpg"
    content["categories"][0]["name"] = "Fußgänger"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content, ensure_ascii=False).encode())
    index = build_index(path)
    assert index.files()[:2] == ["Straße 猫.jpg", "猫.jpg"]
    assert index.file(0) == "Straße 猫.jpg"
    assert "Fußgänger" in index.categories.values()
    assert index.kinds_of(1) == [0, 1, 2, 1]
    assert index.annotations(1)[0]["bbox"] == [6, 8, 30, 20]


def test_annotations_of_an_image_may_lie_anywhere(root: Path) -> None:
    index = build_index(annotations(root))
    before = [index.annotations(number) for number in range(4)]
    change(root, lambda c: c["annotations"].sort(key=lambda one: one["id"] % 10))
    after = build_index(annotations(root))
    assert [after.annotations(number) for number in range(4)] == before


def test_a_kept_index_is_used_and_the_same(root: Path, kept: Path, builds: list[Path]) -> None:
    path = annotations(root)
    built = read_index(path)
    assert [one.name for one in kept.iterdir()] == [f"coco-{built.sha256}.index"]
    assert_same(built, read_index(path))
    assert builds == [path]
    first, again = create_dataset("coco", root), create_dataset("coco", root, "val")
    assert torch.equal(first.mask(2), create_dataset("coco", root).mask(2))
    assert len(again) == 2
    assert builds == [path, annotations(root, "val")]


def test_a_small_file_is_read_at_once_and_nothing_is_written(
    root: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_cache, "LEAST", 16 << 20)
    create_dataset("coco", root)
    assert not kept.exists()


def test_changed_annotations_have_another_index_though_size_and_time_are_the_same(
    root: Path, kept: Path, builds: list[Path]
) -> None:
    path = annotations(root)
    read_index(path)
    facts = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"cat"', b'"dog"'))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_size == facts.st_size
    assert 7 in (index := read_index(path)).categories
    assert index.categories[7] == "dog"
    assert len(builds) == 2


def forged(raw: bytes, edit: Callable[[dict[str, Any], dict[str, Any]], object]) -> bytes:
    """An index with other content, whose own checksum is right."""
    arrays = coco_cache.load(raw[32:])
    facts = json.loads(arrays.pop("facts").numpy().tobytes())
    edit(facts, arrays)
    text = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    content = coco_cache.save({"facts": text, **arrays})
    return hashlib.sha256(content).digest() + content


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "cut": lambda raw: raw[:-1],
    "cut in its checksum": lambda raw: raw[:20],
    "longer": lambda raw: raw + b"\0",
    "one bit of its content": lambda raw: raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:],
    "one bit of its checksum": lambda raw: bytes([raw[0] ^ 1]) + raw[1:],
    "a pickle": lambda raw: pickle.dumps({"facts": 1}),
    "no arrays, with a checksum": lambda raw: hashlib.sha256(b"x").digest() + b"x",
    "of another file": lambda raw: forged(raw, lambda facts, _: facts.update(sha256="0" * 64)),
    "of another form": lambda raw: forged(raw, lambda facts, _: facts.update(form=0)),
    "of another version": lambda raw: forged(raw, lambda facts, _: facts.update(semisup="0")),
    "without an array": lambda raw: forged(raw, lambda _, arrays: arrays.pop("sums")),
    "with an array more": lambda raw: forged(raw, lambda _, a: a.update(more=torch.zeros(1))),
    "of other images": lambda raw: forged(raw, lambda _, a: a.update(first=a["first"][:-1])),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_an_index_that_is_damaged_or_foreign_is_built_and_written_anew(
    root: Path, kept: Path, builds: list[Path], spoil: Callable[[bytes], bytes]
) -> None:
    path = annotations(root)
    built = read_index(path)
    place = index_path(built.sha256)
    whole = place.read_bytes()
    place.write_bytes(spoil(whole))
    assert_same(built, read_index(path))
    assert len(builds) == 2
    assert place.read_bytes() == whole
    assert_same(built, read_index(path))
    assert len(builds) == 2


@pytest.mark.parametrize("obstacle", ["a file", "a folder"])
def test_where_no_index_can_be_written_it_is_built_each_time(
    root: Path, kept: Path, builds: list[Path], obstacle: str
) -> None:
    if obstacle == "a file":
        kept.parent.mkdir()
        kept.write_text("in the way")
    else:
        (kept / f"coco-{build_index(annotations(root)).sha256}.index" / "full").mkdir(parents=True)
    for count in (1, 2):
        assert len(create_dataset("coco", root)) == 4
        assert len(builds) == count


def test_annotations_that_change_while_they_are_open_are_not_read(root: Path) -> None:
    data = create_dataset("coco", root)
    path = annotations(root)
    path.write_bytes(path.read_bytes().replace(b"[[4, 8, 34, 8,", b"[[4, 8, 33, 8,"))
    with pytest.raises(DataError, match="has changed since it was opened") as caught:
        data.mask(0)
    assert str(path) in str(caught.value)
    data.mask(1)
    path.unlink()
    with pytest.raises(DataError, match="cannot read"):
        data.mask(1)


def shared_by(data: Any, answers: Any) -> None:
    """In a worker: whether the arrays lie in shared memory; changes one that the parent sees."""
    index = data._data._index
    answers.put([getattr(index, name).is_shared() for name in ARRAYS])
    index.sums[0] = -7


@pytest.mark.slow
def test_a_spawned_worker_has_no_copy_of_the_index(root: Path) -> None:
    data = create_dataset("coco", root)
    context = torch.multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    worker = context.Process(target=shared_by, args=(data, answers))
    worker.start()
    assert answers.get() == [True] * len(ARRAYS)
    worker.join()
    assert int(data._data._index.sums[0]) == -7  # type: ignore[attr-defined]


def test_an_index_is_small_and_flat(root: Path) -> None:
    """The dictionaries of a worker would grow with the file: those of the index do not."""
    index = read_index(annotations(root))
    held = {name: getattr(index, name) for name in CocoIndex.__slots__}
    assert {name for name, value in held.items() if isinstance(value, torch.Tensor)} == set(ARRAYS)
    of_an_object = sum(
        held[name].nbytes / len(index.kinds) for name in ("places", "kinds", "crowds", "sums")
    )
    assert of_an_object <= 32


hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis, of the extra dev")
st = hypothesis.strategies


@hypothesis.given(st.integers(1, 9), st.integers(1, 9), st.data())
@hypothesis.settings(max_examples=60, deadline=None)
def test_runs_go_there_and_back_as_those_of_pycocotools(height: int, width: int, data: Any) -> None:
    pixels = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(pixels, np.uint8).reshape(height, width)
    plain = runs(mask)
    assert np.array_equal(filled(plain["counts"], (height, width)), mask)
    packed = mask_tools().frPyObjects(plain, height, width)["counts"].decode()
    lengths = _unpacked(packed)
    assert lengths == plain["counts"]
    assert np.array_equal(filled(lengths, (height, width)), mask)


@hypothesis.given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=40))
@hypothesis.settings(max_examples=60, deadline=None)
def test_long_runs_are_unpacked_as_pycocotools_packs_them(lengths: list[int]) -> None:
    plain = {"size": [sum(lengths) or 1, 1], "counts": lengths}
    packed = mask_tools().frPyObjects(plain, sum(lengths) or 1, 1)["counts"].decode()
    assert _unpacked(packed) == lengths


@hypothesis.given(st.binary(max_size=60))
@hypothesis.settings(max_examples=100, deadline=None)
def test_what_json_refuses_is_refused(content: bytes) -> None:
    """Within an object: whatever the stream takes, json takes, and the values are the same."""
    text = b'{"a": ' + content + b"}"
    try:
        read = coco_json.JsonFile(io.BytesIO(text))
        found = {key: read.value() for key in read.members()}
    except (ValueError, TypeError, RecursionError):
        return
    assert found == json.loads(text) or "NaN" in text.decode()
