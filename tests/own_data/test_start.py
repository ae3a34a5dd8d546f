"""From a folder of pictures to lists, classes and recipes."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.own_data import SIZE, coloured, labels, mask, pets_in, photo

from semisup.cli.main import cli
from semisup.data.sets.folder import Folder
from semisup.errors import DataError, RecipeError
from semisup.own_data import look
from semisup.own_data.look import look_at, places_of_images
from semisup.own_data.similar import alike, hash_pictures
from semisup.own_data.start import Started, start
from semisup.recipe.load import load_recipe


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return pets_in(tmp_path / "pets")


def opened(done: Started, subset: str = "train") -> Folder:
    """The folder as its recipe reads it."""
    options = dict(option.split("=", 1) for option in done.options)
    return Folder(done.root, subset, **options)  # type: ignore[arg-type]


def notes(root: Path) -> str:
    return "\n".join(start(root).notes)


def state(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).digest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_masks_in_a_tree_of_their_own_are_paired_and_read(pets: Path) -> None:
    before = state(pets)
    done = start(pets)
    assert done.classes == ("background", "object")
    train, val = opened(done), opened(done, "val")
    assert len(train.ids) + len(val.ids) == 12
    assert all(val.has_mask(index) for index in range(len(val.ids)))
    assert sum(train.has_mask(index) for index in range(len(train.ids))) == 6 - len(val.ids)
    assert (val.mask(0).numpy() == labels(0, 1)).all()
    assert before.items() <= state(pets).items()  # no picture was moved or changed


def test_what_is_written_is_the_same_again_and_whatever_the_order_of_files(
    pets: Path, tmp_path: Path
) -> None:
    start(pets, seed=3)
    first = state(pets)
    start(pets, seed=3)
    assert state(pets) == first
    other = pets_in(tmp_path / "elsewhere" / "pets")
    start(other, seed=3)
    assert (other / "val.txt").read_bytes() == (pets / "val.txt").read_bytes()
    draws = {(start(pets, seed=seed).root / "val.txt").read_text() for seed in range(4)}
    assert len(draws) > 1


def test_the_recipes_load_and_the_method_follows_from_what_is_unlabelled(pets: Path) -> None:
    done = start(pets, weights="")
    assert load_recipe(str(done.recipe)).method.name == "fixmatch"
    assert done.baseline is not None
    recipe = load_recipe(str(done.baseline))
    assert (recipe.method.name, recipe.data.root) == ("supervised", str(pets))
    assert max(recipe.data.crop) <= 64  # pictures of 24 x 32
    assert recipe.model.weights == ""
    shutil.rmtree(pets)
    for number in range(4):
        photo(pets / "images" / f"{number}.png", number)
        mask(pets / "masks" / f"{number}.png", 0, 1)
    done = start(pets)
    assert done.baseline is None
    assert load_recipe(str(done.recipe)).method.name == "supervised"


def test_weights_are_stated_where_they_are_there(pets: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    with pytest.raises(RecipeError, match=r"--weights .*weights\.pth is no file"):
        start(pets, weights=str(weights))
    weights.write_bytes(b"")
    done = start(pets, weights=str(weights))
    assert done.baseline is not None
    assert load_recipe(str(done.baseline)).model.weights == str(weights)


def test_an_edited_file_is_kept_without_overwrite(pets: Path) -> None:
    start(pets)
    classes = pets / "classes.txt"
    edited = classes.read_text().replace("object", "pet")
    classes.write_text(edited)
    done = start(pets, seed=1)
    assert (done.kept, done.classes) == (("classes.txt",), ("background", "pet"))
    assert classes.read_text() == edited
    assert start(pets, overwrite=True).classes == ("background", "object")


def test_a_list_of_the_users_own_leaves_the_others_to_the_other_list(pets: Path) -> None:
    (pets / "val.txt").write_text("photos/cats/00\n")
    done = start(pets)
    assert done.kept == ("val.txt",)
    assert len(opened(done).ids) == 11
    (pets / "train.txt").write_text("photos/cats/00\nphotos/cats/02\n")
    with pytest.raises(DataError, match=r"cats/00\.jpg is in train\.txt and in val\.txt"):
        start(pets)
    (pets / "train.txt").write_text("photos/cats/77\n")
    with pytest.raises(DataError, match=r"train\.txt lists 'photos/cats/77', which is no image"):
        start(pets)


def test_an_image_without_a_mask_that_the_user_lists_in_val_is_told_and_not_trained_on(
    pets: Path,
) -> None:
    (pets / "val.txt").write_text("photos/cats/00\nphotos/cats/10\n")
    assert re.search(
        r"val\.txt is kept as it is, and lists photos/cats/10\.jpg, which", notes(pets)
    )
    assert "photos/cats/10" not in (pets / "train.txt").read_text().split()


def test_classes_that_lack_a_value_of_the_masks_are_told(pets: Path) -> None:
    (pets / "classes.txt").write_text("background\npet\n")
    said = r"classes\.txt is kept, but has no class for the value 255"
    assert re.search(said, notes(pets))


def test_where_the_sheet_cannot_be_drawn_the_notes_say_why(pets: Path) -> None:
    for path in (pets / "masks").rglob("*.png"):
        mask(path, 0, 2)
    (pets / "classes.txt").write_text("0: background\n1: pet\n")
    done = CliRunner().invoke(cli, ["init", str(pets)])
    assert done.exit_code == 1
    assert "note: classes.txt is kept, but has no class for the value 2 of" in done.output


@pytest.mark.parametrize(
    ("image", "its_mask"),
    [
        ("x{}.jpg", "x{}_mask.png"),
        ("x{}.png", "x{}-label.png"),
        ("x{}.jpg", "mask_x{}.png"),
        ("x{}.jpg", "x{}.png"),
        ("images/x{}.jpg", "masks/x{}.png"),
        ("images/x{}.jpg", "masks/x{}_mask.png"),
        ("images/x{}.jpg", "labels/x{}.jpg.png"),
        ("a/images/x{}.jpg", "a/masks/x{}.png"),
        ("JPEGImages/x{}.jpg", "SegmentationClass/x{}.png"),
        ("set/train/x{}.png", "set/trainannot/x{}.png"),
        ("photographs/x{}.png", "painted/x{}.png"),
    ],
)
def test_common_layouts_are_found(tmp_path: Path, image: str, its_mask: str) -> None:
    for number in range(4):
        photo(tmp_path / image.format(number), number)
        if number < 3:
            mask(tmp_path / its_mask.format(number), 0, 255)
    found = look_at(tmp_path)
    assert found.masks == {image.format(n): its_mask.format(n) for n in range(3)}
    assert len(found.images) == 4
    assert found.notes == []
    done = start(tmp_path)
    assert len(opened(done).ids) + len(opened(done, "val").ids) == 4
    assert done.found.native == (image.startswith("images/") and its_mask.startswith("masks/"))


def test_equal_names_in_several_folders_are_told_apart_by_the_folders(tmp_path: Path) -> None:
    for kind in ("cats", "dogs"):
        photo(tmp_path / kind / "images" / "1.jpg", len(kind))
        mask(tmp_path / kind / "masks" / "1.png", 0, 1)
    photo(tmp_path / "more" / "1.jpg", 9)
    found = look_at(tmp_path)
    assert found.masks == {
        "cats/images/1.jpg": "cats/masks/1.png",
        "dogs/images/1.jpg": "dogs/masks/1.png",
    }
    mask(tmp_path / "masks" / "1.png", 0, 1)
    assert "fits several images of one name" in "\n".join(look_at(tmp_path).notes)


def test_folders_called_train_and_val_are_the_lists(tmp_path: Path) -> None:
    for subset, count in {"train": 4, "valid": 2, "test": 1}.items():
        for number in range(count):
            photo(tmp_path / subset / "images" / f"{subset}{number}.jpg", number + len(subset) * 9)
            mask(tmp_path / subset / "masks" / f"{subset}{number}.png", 0, 1)
    done = start(tmp_path)
    assert [len(opened(done, name).ids) for name in ("train", "val", "test")] == [4, 2, 1]
    assert opened(done, "val").ids[0].startswith("valid/")


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ((0, 1), ["0: background", "1: object"]),
        ((0, 255), ["0: background", "255: object"]),
        ((1, 2, 3), ["1: class_1", "2: class_2", "3: class_3"]),
        ((0, 128, 255), ["0: background", "128: class_128", "255: class_255"]),
        ((0, 1, 2, 255), ["0: background", "1: class_1", "2: class_2"]),
    ],
)
def test_values_become_classes(tmp_path: Path, values: tuple[int, ...], lines: list[str]) -> None:
    for number in range(4):
        photo(tmp_path / f"{number}.jpg", number)
        mask(tmp_path / f"{number}_mask.png", *values)
    done = start(tmp_path)
    text = (tmp_path / "classes.txt").read_text().splitlines()
    assert [line for line in text if not line.startswith("#")] == lines
    read = opened(done, "val").mask(0).unique().tolist()
    assert read == [*range(len(lines)), *[255] * (len(values) > len(lines))]
    assert ("255 is void" in "\n".join(done.notes)) == (len(values) > len(lines))


def test_colours_become_classes_and_black_is_the_background(tmp_path: Path) -> None:
    for number in range(4):
        photo(tmp_path / f"{number}.jpg", number)
        coloured(tmp_path / f"{number}_mask.png", (0, 128, 0), (0, 0, 0), (0, 128, 0))
    done = start(tmp_path)
    lines = (tmp_path / "classes.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "background 0 0 0",
        "object 0 128 0",
    ]
    assert (opened(done, "val").mask(0).numpy() == labels(1, 0, 1)).all()


def test_palettes_give_the_colours_and_their_numbers_are_kept(tmp_path: Path) -> None:
    for number in range(4):
        photo(tmp_path / f"{number}.jpg", number)
        picture = Image.fromarray(labels(0, 3))
        picture.putpalette([9, 9, 90, 0, 0, 0, 0, 0, 0, 200, 0, 0])
        picture.save(tmp_path / f"{number}_mask.png")
    done = start(tmp_path)
    assert "3, object, 200, 0, 0" in (tmp_path / "classes.txt").read_text()
    data = opened(done, "val")
    assert (data.mask(0).numpy() == labels(0, 1)).all()
    assert data.palette == ((9, 9, 90), (200, 0, 0))


def test_turned_photographs_are_read_as_the_sizes_of_their_masks_prove(tmp_path: Path) -> None:
    for number in range(4):
        photo(tmp_path / f"{number}.jpg", number, orientation=6)
        mask(tmp_path / f"{number}_mask.png", 0, 1, size=(32, 24))
    done = start(tmp_path)
    assert done.notes == ()
    assert opened(done, "val").image(0).shape == (3, 32, 24)
    photo(tmp_path / "4.jpg", 4, orientation=3)
    mask(tmp_path / "4_mask.png", 0, 1)
    done = start(tmp_path)
    assert 'exif = "apply" is written, as those of the others' in "\n".join(done.notes)
    assert load_recipe(str(done.recipe)).data_options["exif"] == "apply"


def spoil_size(root: Path) -> None:
    mask(root / "masks" / "cats" / "00.png", 0, 255, size=(9, 9))


def spoil_double(root: Path) -> None:
    mask(root / "masks" / "cats" / "00_mask.png", 0, 255)


def spoil_jpeg(root: Path) -> None:
    (root / "masks" / "cats" / "00.png").unlink()
    Image.fromarray(labels(0, 255)).save(root / "masks" / "cats" / "00.jpg")


def spoil_orphan(root: Path) -> None:
    mask(root / "masks" / "cats" / "other.png", 0, 255)


def spoil_smooth(root: Path) -> None:
    mask(root / "masks" / "cats" / "00.png", *range(0, 256, 2), size=(24, 256))
    photo(root / "photos" / "cats" / "00.jpg", 0, (24, 256))


def spoil_kind(root: Path) -> None:
    coloured(root / "masks" / "cats" / "00.png", (0, 0, 0), (255, 0, 0))


def spoil_damage(root: Path) -> None:
    (root / "photos" / "cats" / "00.jpg").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_size, r"masks/cats/00\.png is 9x9, but photos/cats/00\.jpg is 24x32 "),
        (spoil_double, r"cats/00\.jpg has 2 masks, .*none of them is used"),
        (spoil_jpeg, r"1 mask such as masks/cats/00\.jpg cannot be used, since JPEG"),
        (spoil_orphan, r"1 mask \(masks/cats/other\.png\) belongs to no image"),
        (spoil_smooth, r"masks/cats/00\.png holds 128 values: it was smoothed"),
        (spoil_kind, r"1 mask such as masks/cats/00\.png left out: most masks hold grey"),
        (spoil_damage, r"photos/cats/00\.jpg cannot be read as a picture and is left out"),
    ],
)
def test_what_contradicts_itself_is_told_and_left_out(pets: Path, spoil, said: str) -> None:
    spoil(pets)
    done = start(pets)
    assert re.search(said, "\n".join(done.notes))
    spoilt = {"photos/cats/00"} if spoil is not spoil_orphan else set()
    for subset in ("train", "val"):
        data = opened(done, subset)
        masked = {name for index, name in enumerate(data.ids) if data.has_mask(index)}
        assert not masked & spoilt
        for name in masked:
            assert data.mask(data.ids.index(name)).unique().tolist() == [0, 1]


def spoil_usual_size(root: Path) -> None:
    mask(root / "masks" / "0.png", 0, 1, size=(9, 9))


def spoil_usual_smooth(root: Path) -> None:
    mask(root / "masks" / "0.png", *range(0, 256, 2), size=(24, 256))
    photo(root / "images" / "0.jpg", 0, (24, 256))


def spoil_usual_name(root: Path) -> None:
    photo(root / "images" / "0.png", 9)
    (root / "masks" / "0.png").unlink()


@pytest.mark.parametrize("spoil", [spoil_usual_size, spoil_usual_smooth, spoil_usual_name])
def test_what_is_left_out_of_the_usual_layout_is_left_out_of_the_data_too(
    tmp_path: Path, spoil
) -> None:
    for number in range(4):
        photo(tmp_path / "images" / f"{number}.jpg", number)
        mask(tmp_path / "masks" / f"{number}.png", 0, 1)
    spoil(tmp_path)
    done = start(tmp_path)
    assert done.options == ("pairs=pairs.csv",)
    assert not opened(done, "all").has_mask(0)


def test_the_folder_that_the_user_is_in_is_one_like_any_other(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pets)
    done = CliRunner().invoke(cli, ["init", "."], catch_exceptions=False)
    assert "images     12, 6 with a mask" in done.output
    assert "semisup predict pets photos --to predictions" in done.output


def test_a_folder_whose_name_begins_with_a_dash_is_taken_for_no_option(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pets.parent)
    pets.rename("-pets")
    done = CliRunner().invoke(cli, ["init", "./-pets"], catch_exceptions=False)
    assert "  semisup run ./-pets/pets.toml\n" in done.output
    assert "  semisup predict pets ./-pets/photos --to" in done.output


def test_a_value_of_one_mask_alone_is_told(tmp_path: Path) -> None:
    for number in range(10):
        photo(tmp_path / f"{number}.jpg", number)
        mask(tmp_path / f"{number}_mask.png", 0, 1, *[2] * (number == 4))
    assert "value 2 is in 1 mask of 10 only, 4_mask.png" in notes(tmp_path)


@pytest.mark.parametrize(
    ("count", "values", "said"),
    [
        (0, (), "none of the 3 pictures of .* is a mask"),
        (1, (0, 1), "1 image of .* has a mask that can be used, and two are needed"),
        (3, (0,), "the masks hold nothing but 0"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(
    tmp_path: Path, count: int, values: tuple[int, ...], said: str
) -> None:
    for number in range(3):
        photo(tmp_path / f"{number}.jpg", number)
        if number < count:
            mask(tmp_path / f"{number}_mask.png", *values)
    with pytest.raises(DataError, match=said):
        start(tmp_path)
    assert not (tmp_path / "train.txt").exists()


@pytest.mark.parametrize("make", ["nothing", "missing"])
def test_a_folder_without_a_picture_is_refused(tmp_path: Path, make: str) -> None:
    root = tmp_path if make == "nothing" else tmp_path / "missing"
    with pytest.raises(DataError, match=r"holds no picture|is no folder"):
        start(root)


def test_near_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    for number in range(10):
        photo(tmp_path / f"{number}.png", number, (96, 128))
        mask(tmp_path / f"{number}_mask.png", 0, 1, size=(96, 128))
        with Image.open(tmp_path / f"{number}.png") as picture:
            pixels = np.array(picture)
        again = np.clip(pixels.astype(int) + 3, 0, 255).astype(np.uint8)
        Image.fromarray(again).save(tmp_path / f"again{number}.png")
        if number < 5:
            mask(tmp_path / f"again{number}_mask.png", 0, 1, size=(96, 128))
    for seed in range(3):
        done = start(tmp_path, seed=seed)
        val = {name.removeprefix("again") for name in opened(done, "val").ids}
        train = {name.removeprefix("again") for name in opened(done).ids}
        assert val
        assert not val & train
    assert "near-duplicates, such as" in "\n".join(done.notes)
    assert "in no list: like the images of val" in "\n".join(done.notes)


def test_pictures_of_16_bits_are_compared_over_their_whole_range(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1000, 60000, (2, *SIZE), np.uint16)
    for name, stored in (("a", pixels[0]), ("b", pixels[1]), ("c", pixels[0] + 9)):
        Image.fromarray(stored).save(tmp_path / f"{name}.tif")
    names = ["a.tif", "b.tif", "c.tif"]
    assert alike(hash_pictures(tmp_path, names), ["a.tif"]) == [("a.tif", "c.tif")]


def test_frames_of_one_video_stay_on_one_side_and_numbered_photographs_do_not(
    tmp_path: Path,
) -> None:
    for video in "abcde":
        for number in range(3):
            name = tmp_path / f"{video}_frame_{number:04}.jpg"
            photo(name, ord(video) * 10 + number)
            mask(name.with_name(f"{name.stem}_mask.png"), 0, 1)
    done = start(tmp_path)
    videos = {name[0] for name in opened(done, "val").ids}
    assert len(opened(done, "val").ids) == 3 * len(videos)
    assert "15 frames of 5 videos" in "\n".join(done.notes)
    other = tmp_path / "photographs"
    for number in range(6):
        photo(other / f"IMG_{number:04}.jpg", number)
        mask(other / f"IMG_{number:04}_mask.png", 0, 1)
    assert start(other).notes == ()


def test_what_semisup_has_written_is_no_picture_of_the_users(pets: Path) -> None:
    done = CliRunner().invoke(cli, ["init", str(pets)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    photo(pets / "predictions" / "x.jpg")
    (pets / "predictions" / "predictions.json").write_text("{}")
    assert len(look_at(pets, without=["look.png"]).images) == 12
    again = CliRunner().invoke(cli, ["init", str(pets)], catch_exceptions=False)
    assert again.output == done.output
    assert "images     12, 6 with a mask" in done.output
    (pets / ".semisup_init.json").unlink()  # as a copy of the folder without hidden files
    assert "images     12, 6 with a mask" in CliRunner().invoke(cli, ["init", str(pets)]).output


def test_a_picture_of_the_users_is_never_replaced_by_the_sheet(pets: Path) -> None:
    photo(pets / "look.png", 77)
    before = (pets / "look.png").read_bytes()
    done = CliRunner().invoke(cli, ["init", str(pets)], catch_exceptions=False)
    assert "images     13, 6 with a mask" in done.output
    assert (pets / "look.png").read_bytes() == before


def test_the_commands_that_init_prints_run(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets.parent)
    runner = CliRunner()
    said = runner.invoke(cli, ["init", "pets"], catch_exceptions=False).output
    commands = [line.split("#")[0].split()[1:] for line in said.splitlines() if "  semisup" in line]
    assert [words[0] for words in commands] == ["data", "run", "run", "predict"]
    few = ["--set", "train.steps=2", "--set", "train.log_every=1", "--set", "data.workers=0"]
    few += ["--set", "data.labelled_batch=2", "--set", "data.unlabelled_batch=2"]
    few += ["--set", "eval.every=0", "--set", "eval.pictures=1", "--set", "model.weights="]
    for words in (commands[0], [*commands[1], *few], commands[3]):
        done = runner.invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert len(list(Path("predictions").rglob("*.png"))) == 24  # a label map and an overlay each


@pytest.mark.parametrize(
    ("images", "masks", "places"),
    [
        ("x{}.jpg", "x{}_mask.png", ["*.jpg"]),
        ("images/x{}.jpg", "masks/x{}.png", ["images"]),
        ("photos/{}/x.jpg", "masks/{}/x.png", ["photos"]),
        ("a/{}/images/x{}.jpg", "a/{}/masks/x{}.png", ["a/*/images"]),
        ("x{}.png", "x{}_mask.png", [""]),
    ],
)
def test_the_images_are_named_without_the_masks(
    tmp_path: Path, images: str, masks: str, places: list[str]
) -> None:
    for number in range(5):
        photo(tmp_path / images.format(number, number), number)
        mask(tmp_path / masks.format(number, number), 0, 1)
    assert places_of_images(look_at(tmp_path)) == places


def voc_pets(root: Path, voc: Path) -> None:
    """The folder of docs/own-data.md: 300 real photographs, 30 masks of 0 and 255, three turned."""
    names = (voc / "ImageSets" / "Segmentation" / "train_aug.txt").read_text().split()
    counts = {"cat": 0, "dog": 0}
    for name in names:
        with Image.open(voc / "SegmentationClassAug" / f"{name}.png") as stored:
            drawn = np.array(stored)
        shares = {"cat": (drawn == 8).mean(), "dog": (drawn == 12).mean()}
        kind = max(shares, key=shares.__getitem__)
        if min(shares.values()) > 0 or shares[kind] < 0.05 or counts[kind] == 150:
            continue
        counts[kind] += 1
        target = root / "photos" / f"{kind}s" / f"{kind}_{counts[kind]:03}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if (kind, counts[kind]) in (("cat", 1), ("cat", 41), ("dog", 2)):
            exif = Image.Exif()
            exif[0x0112] = 6
            with Image.open(voc / "JPEGImages" / f"{name}.jpg") as picture:
                picture.transpose(Image.Transpose.ROTATE_90).save(target, exif=exif)
        else:
            shutil.copyfile(voc / "JPEGImages" / f"{name}.jpg", target)
        if counts[kind] <= 15:
            place = root / "masks" / f"{kind}s" / f"{kind}_{counts[kind]:03}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((drawn == {"cat": 8, "dog": 12}[kind]).astype(np.uint8) * 255).save(
                place
            )
    assert counts == {"cat": 150, "dog": 150}


@pytest.mark.slow
def test_the_tutorial_runs_on_real_photographs(
    shared_data: Path, shared_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="extra export")
    page = Path(__file__).resolve().parents[2] / "docs" / "own-data.md"
    text = page.read_text(encoding="utf-8").partition("## What `init` finds")[0]
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    commands = [line.split()[1:] for block in blocks for line in block.splitlines()]
    assert [words[0] for words in commands] == [
        *("init", "data", "run", "run", "predict", "export"),
    ]
    voc_pets(tmp_path / "pets", shared_data / "voc2012_small" / "VOCdevkit" / "VOC2012")
    shutil.copyfile(
        shared_weights / "mobilenet_v2_features.safetensors", tmp_path / "mobilenet_v2.safetensors"
    )
    monkeypatch.chdir(tmp_path)
    for words in commands:
        few = ["--set", "train.steps=10", "--set", "eval.every=0"] * (words[0] == "run")
        done = CliRunner().invoke(cli, [*words, *few], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        if words[0] == "init":
            assert "images     300, 30 with a mask" in done.output
            assert "note:" not in done.output
    assert len(list(Path("predictions").rglob("*_overlay.png"))) == 300
    sizes = [
        look.size_of(tmp_path / name)
        for name in ("predictions/cats/cat_041.png", "pets/photos/cats/cat_041.jpg")
    ]
    assert sizes[0] == sizes[1][::-1]
