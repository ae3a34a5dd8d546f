"""The file beside weak labels that says what they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from semisup.data.base import SegmentationData
from semisup.data.formats.trees import read_tree
from semisup.data.labels.known_lists.known import sha256_of
from semisup.errors import DataError
from semisup.system.files import write_text

MANIFEST = "weak_labels.json"


def manifest(
    data: SegmentationData,
    kind: str,
    options: Mapping[str, Any],
    seed: int,
    sources: Sequence[Path] | None = None,
) -> dict[str, Any]:
    """What some labels of `data` are: all that they depend on, but the pixels of the masks.

    Args:
        data: images and classes.
        kind: of label.
        options: all of the kind, the defaults too.
        seed: of what is drawn.
        sources: of labels that people have made; None: they are made of masks.
    """
    made_of: Any = "masks"
    if sources is not None:
        made_of = [{"name": path.name, "sha256": _sum_of(path)} for path in sources]
    return {
        "kind": kind,
        "options": dict(options),
        "source": made_of or "annotations",
        "seed": seed,
        "data": data.name,
        "facts": json.loads(json.dumps(data.facts(), default=str)),
        "subset": data.subset,
        "images": len(data),
        "images_sha256": sha256_of(data.ids),
        "classes": list(data.classes),
    }


def _sum_of(path: Path) -> str:
    if path.is_dir():
        return read_tree(path, (".xml",), "name the folder of the labels").sha256_of_contents()
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def claimed(out: Path, labels: dict[str, Any]) -> Iterator[None]:
    """Make the folder of some labels, or find it made for the same ones.

    It is given up again where nothing was written into it.

    Raises:
        DataError: it holds something else.
        RunError: the file cannot be written.
    """
    _claim(out, labels)
    try:
        yield
    except BaseException:
        if [path.name for path in out.iterdir()] == [MANIFEST]:
            (out / MANIFEST).unlink()
            out.rmdir()
        raise


def _claim(out: Path, labels: dict[str, Any]) -> None:
    path = out / MANIFEST
    if path.is_file():
        before = read_manifest(path)
        for key in sorted(before.keys() | labels.keys()):
            if before.get(key) != labels.get(key):
                raise DataError(
                    f"{path} has {key} = {before.get(key)!r}, and not {labels.get(key)!r}: give "
                    "these labels a folder of their own"
                )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not empty: give the labels a folder of their own")
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(labels, indent=1) + "\n")


def check_written_for(folder: Path, data: SegmentationData) -> None:
    """Refuse weak labels of other classes, whose numbers would be wrong, or of other pictures.

    Raises:
        DataError: the folder's manifest is damaged, or states other classes, another data set, or
            other pictures of it (made scenes of another seed, another year of COCO) than `data` is.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return
    content = read_manifest(path)
    stated = {"data": content.get("data"), **_pictures(content.get("facts"))}
    for key, own in {"data": data.name, **_pictures(data.facts())}.items():
        if key in stated and stated[key] != own:
            raise DataError(
                f"{path} says that these labels are of {key} = {stated[key]!r}, but here it is "
                f"{own!r}: write them anew with 'semisup data weaken'; if the pictures are the "
                "same, remove that file"
            )
    classes = content.get("classes")
    if classes != list(data.classes):
        raise DataError(
            f"{path} says that these labels are of {_listed(classes)}, but {data.name} has "
            f"{_listed(list(data.classes))} here; write them anew with 'semisup data weaken', with "
            "the same classes"
        )


def _pictures(facts: object) -> dict[str, Any]:
    """What the facts of a data set say of which pictures it has."""
    known = facts if isinstance(facts, Mapping) else {}
    return {key: known[key] for key in ("year", "seed", "digest") if key in known}


def read_manifest(path: Path) -> dict[str, Any]:
    """What the file beside some labels states of them.

    Raises:
        DataError: it is damaged.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); write the labels anew") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} says nothing of the labels; write them anew")
    return content


def _listed(classes: object) -> str:
    names = classes if isinstance(classes, list) else []
    return f"{len(names)} classes, {', '.join(map(str, names[:3]))}, ..."
