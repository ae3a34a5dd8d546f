"""Write what a folder of pictures needs to be trained on."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from semisup.data.formats.class_lists import NAMES, read_class_list
from semisup.data.formats.id_lists import KnownIds, read_id_list, shown
from semisup.data.formats.lists import read_lines
from semisup.errors import DataError, RecipeError
from semisup.models.torchvision_weights import TORCHVISION
from semisup.own_data.look import Pictures, look_at
from semisup.own_data.machine import plan_for, weights_at_hand
from semisup.own_data.recipes import recipe_name, recipes_of
from semisup.own_data.split import Lists, draw_lists
from semisup.own_data.values import ClassGuess, Seen, class_list, guess_classes, read_values
from semisup.pictures.sheets import is_sheet
from semisup.system.files import is_file, write_text

MEMORY = ".semisup_init.json"
"""What was written, by name and SHA-256: what differs from it, the user has edited."""

SHEET = "look.png"
"""The sheet of images and masks, to look at."""


@dataclass(frozen=True)
class Started:
    """What `start` found and wrote.

    Attributes:
        root: the folder.
        recipe: path of the recipe to run.
        baseline: path of the supervised one beside it, where there are unlabelled images.
        found: the images and masks.
        seen: the values in the masks.
        class_list: the list of classes that is read.
        classes: its names, in order.
        lists: train, val and the rest.
        written: names of the files that were written, or are as they would be.
        kept: names of files that were there, edited or the user's own, and were left alone.
        options: of the data set, as `--option` takes them.
        notes: what is left out or contradicts itself, a sentence each.
    """

    root: Path
    recipe: Path
    baseline: Path | None
    found: Pictures
    seen: Seen
    class_list: Path
    classes: tuple[str, ...]
    lists: Lists
    written: tuple[str, ...]
    kept: tuple[str, ...]
    options: tuple[str, ...]
    notes: tuple[str, ...]


def start(
    root: Path, *, seed: int = 0, weights: str | None = None, overwrite: bool = False
) -> Started:
    """Look at a folder of pictures and some masks, and write classes, lists and recipes into it.

    The pictures are left as and where they are. Files that were edited since they were written,
    or that are not of this function, are kept.

    Args:
        root: the folder.
        seed: which images are trained on and which are reported on.
        weights: a file of weights, or "torchvision"; None: torchvision's, if they were fetched
            before, else random ones.
        overwrite: replace files that were edited, too.

    Raises:
        DataError: there is no picture, or there are fewer than two masks that can be used, or the
            masks hold nothing to learn, or a list of the user's names no image.
        RecipeError: the weights are no file.
        RunError: a file cannot be written.
    """
    memory = _read_memory(root)
    if weights not in (None, "", TORCHVISION) and not is_file(Path(weights)):
        raise RecipeError(f"--weights {weights} is no file; name one, or '{TORCHVISION}'")
    drawn = [SHEET] if is_sheet(root / SHEET) else []
    found = look_at(root, without=[*memory, *drawn])
    if not found.masks:
        raise DataError(_no_masks(found))
    paired = len(found.masks)
    seen = read_values(found)
    if len(found.masks) < paired:  # the usual layout would have them again
        found.native, found.mask_suffix = False, ""
    guess = guess_classes(seen, found.notes)
    lists = draw_lists(
        found, seen.holds, seed, {} if overwrite else _own_lists(root, memory, found)
    )
    plan = plan_for(list(found.sizes.values()) or [(256, 256)], len(found.images))
    if plan.large:
        found.notes.append(
            "the pictures are large, and decoding them takes longer than training: a copy of the "
            "folder at a quarter of the size trains much faster"
        )
    chosen = weights_at_hand() if weights is None else weights
    texts: dict[str, str] = {"classes.txt": class_list(seen, guess)}
    if not found.native:
        texts["pairs.csv"] = _pairs(found)
    texts["train.txt"] = _list(lists.train, found)
    texts["val.txt"] = _list(lists.val, found)
    if lists.test:
        texts["test.txt"] = _list(lists.test, found)
    texts |= recipes_of(root, found, lists, plan, chosen)
    listed = next((name for name in NAMES if name != "classes.txt" and is_file(root / name)), None)
    if listed is not None and "classes.txt" not in memory:
        del texts["classes.txt"]  # labelmap.txt, which `folder` reads as it is
    written, kept = _write(root, texts, memory, overwrite=overwrite)
    if listed is not None and "classes.txt" not in texts:
        kept.append(listed)
    path = root / (listed if listed and "classes.txt" not in texts else "classes.txt")
    names = _check_classes(path, guess, seen, found)
    _check_kept(root, kept, found)
    recipe = recipe_name(root)
    baseline = root / f"{recipe}_supervised.toml"
    options = [] if found.native else ["pairs=pairs.csv"]
    options += [f"mask_suffix={found.mask_suffix}"] * bool(found.native and found.mask_suffix)
    options += [f"exif={found.exif}"] * (found.exif in ("apply", "ignore"))
    return Started(
        root=root,
        recipe=root / f"{recipe}.toml",
        baseline=baseline if baseline.name in texts else None,
        found=found,
        seen=seen,
        class_list=path,
        classes=names,
        lists=lists,
        written=tuple(written),
        kept=tuple(kept),
        options=tuple(options),
        notes=(*found.notes, *lists.notes),
    )


def sheet_of(root: Path) -> Path | None:
    """Where the sheet is to be drawn; None where a picture of the user's has its name."""
    path = root / SHEET
    return path if not is_file(path) or SHEET in _read_memory(root) or is_sheet(path) else None


def remember_sheet(root: Path) -> None:
    """Note that the sheet is drawn, and no picture of the user's."""
    memory = _read_memory(root)
    memory[SHEET] = _digest((root / SHEET).read_bytes())
    _remember(root, memory)


def _own_lists(root: Path, memory: Mapping[str, str], found: Pictures) -> dict[str, list[str]]:
    """Subset -> its images, of train.txt and val.txt that the user has written or edited.

    Raises:
        DataError: a line names no image.
    """
    ids = {_id(image, found): image for image in found.images}
    known = KnownIds(ids, lambda name: root / ids[name])
    own: dict[str, list[str]] = {}
    for subset in ("train", "val"):
        path = root / f"{subset}.txt"
        if not is_file(path) or memory.get(path.name) == _digest(path.read_bytes()):
            continue
        own[subset] = []
        for listed in read_id_list(path, known):
            if listed.id is None:
                raise DataError(
                    f"{path} lists '{shown(listed.entry)}', which is no image of {root}; correct "
                    "the line, or let --overwrite draw the lists anew"
                )
            own[subset].append(ids[listed.id])
    return own


def _no_masks(found: Pictures) -> str:
    if found.notes:
        return f"no mask of {found.root} can be used: {found.notes[0]}"
    return (
        f"none of the {len(found.images):,} pictures of {found.root} is a mask; put the mask of "
        "images/x.jpg at masks/x.png, or beside it as x_mask.png"
    )


def _pairs(found: Pictures) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("image", "mask"))
    rows.writerows((image, found.masks.get(image, "")) for image in found.images)
    return text.getvalue()


def _list(images: list[str], found: Pictures) -> str:
    return "".join(f"{_id(image, found)}\n" for image in images)


def _id(image: str, found: Pictures) -> str:
    """The id that `folder` gives an image."""
    return image.rpartition(".")[0].removeprefix("images/" if found.native else "")


def _read_memory(root: Path) -> dict[str, str]:
    """Name -> SHA-256 of what was written before."""
    path = root / MEMORY
    if not is_file(path):
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in stored.items()}
    except (ValueError, AttributeError, OSError):
        raise DataError(f"{path} is damaged; remove it and run 'semisup init' again") from None


def _write(
    root: Path, texts: Mapping[str, str], memory: dict[str, str], *, overwrite: bool
) -> tuple[list[str], list[str]]:
    """The names of files that are now as `texts`, and of those that were kept."""
    written, kept = [], []
    for name, text in texts.items():
        path = root / name
        there = path.read_bytes() if is_file(path) else None
        ours = there is not None and memory.get(name) == _digest(there)
        if there is not None and not ours and not overwrite:
            kept.append(name)
            continue
        if there != text.encode():
            write_text(path, text)
        memory[name] = _digest(text.encode())
        written.append(name)
    _remember(root, memory)
    return written, kept


def _remember(root: Path, memory: Mapping[str, str]) -> None:
    content = json.dumps(memory, indent=1, sort_keys=True) + "\n"
    if not is_file(root / MEMORY) or (root / MEMORY).read_text(encoding="utf-8") != content:
        write_text(root / MEMORY, content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_classes(
    path: Path, guess: list[ClassGuess], seen: Seen, found: Pictures
) -> tuple[str, ...]:
    """The names in the list of classes, which may be the user's; what it lacks is told."""
    listed = read_class_list(path)
    if seen.colours:
        known = {
            r << 16 | g << 8 | b for r, g, b in (*listed.colours.values(), *listed.void_colours)
        }
        lacking = [one.value for one in guess if one.value not in known]
    else:
        values = listed.values or {label: label for label in range(len(listed.names))}
        known = {*values.values(), *listed.void_values, 255}
        if listed.values is None and listed.colours and not seen.palette:
            known |= {one.value for one in guess}  # read by colours, or refused when read
        lacking = [one.value for one in guess if one.value not in known]
        if 255 in seen.masks and len(seen.masks) == 2 and 255 not in values.values():
            lacking.append(255)
    if lacking:
        kind = "colour" if seen.colours else "value"
        first = lacking[0]
        text = f"{first >> 16} {first >> 8 & 255} {first & 255}" if seen.colours else str(first)
        found.notes.append(
            f"{path.name} is kept, but has no class for the {kind} {text} of "
            f"{seen.example[first]}; add it there, or let --overwrite make the list anew"
        )
    return listed.names


def _check_kept(root: Path, kept: list[str], found: Pictures) -> None:
    """Tell of kept lists that name pictures which are not there, or lack some."""
    if "pairs.csv" in kept:
        listed = {line.partition(",")[0].strip('"') for line in read_lines(root / "pairs.csv")}
        new = [image for image in found.images if image not in listed]
        if new:
            found.notes.append(
                f"pairs.csv is kept as you edited it, and lacks {new[0]} and {len(new) - 1} more; "
                "add them, or let --overwrite make it anew"
            )
