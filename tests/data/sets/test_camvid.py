"""CamVid in both layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semisup.data.sets.camvid import CamVid
from semisup.data.sets.camvid_classes import CLASSES, COLOURS, GROUPS, PALETTE, frames
from semisup.errors import DataError

TRAIN_HISTOGRAM = {
    "sky": 10_682_767,
    "building": 14_750_079,
    "pole": 623_349,
    "road": 20_076_880,
    "pavement": 2_845_085,
    "tree": 6_166_762,
    "sign": 743_859,
    "fence": 714_595,
    "car": 3_719_877,
    "pedestrian": 405_385,
    "bicyclist": 184_967,
}
TRAIN_VOID = 2_503_995
ALL_701 = {
    "sky": 19_155_369,
    "building": 29_187_991,
    "pole": 1_195_743,
    "road": 35_520_717,
    "pavement": 8_098_693,
    "tree": 13_548_782,
    "sign": 1_306_195,
    "fence": 1_728_599,
    "car": 5_623_717,
    "pedestrian": 774_148,
    "bicyclist": 648_197,
}
ALL_701_VOID = 4_344_649
IMAGES_WITH = [366, 365, 366, 367, 349, 319, 351, 173, 360, 317, 201]


def test_segnet_layout(segnet_root: Path) -> None:
    data = CamVid(segnet_root)
    assert data.root == segnet_root / "CamVid"
    assert data.facts() == {"layout": "segnet"}
    assert data.ids == ("a1", "a2")
    assert data.classes == CLASSES
    assert data.image_path(1) == segnet_root / "CamVid" / "train" / "a2.png"
    assert data.image(0).shape == (3, 6, 8)
    mask = data.mask(1)
    assert mask[0].unique().tolist() == [255]  # stored as 11
    assert mask[1:].unique().tolist() == [1]
    assert CamVid(segnet_root / "CamVid", "trainval").ids == ("a1", "a2", "b1")
    assert CamVid(segnet_root, "test").ids == ("c1",)


def test_segnet_lists_may_have_relative_paths_and_jpegs(
    segnet_root: Path, picture: Callable[..., Path]
) -> None:
    folder = segnet_root / "CamVid"
    picture(folder / "val" / "b2.jpg")
    (folder / "val.txt").write_text("val/b2.jpg valannot/b1.png")
    data = CamVid(segnet_root, "val")
    assert data.ids == ("b2",)
    assert data.image(0).shape[1:] == data.mask(0).shape


@pytest.mark.parametrize("line", ["train/a1.png", "a1.png a1.png", "x y z"])
def test_damaged_segnet_lines_are_refused(segnet_root: Path, line: str) -> None:
    (segnet_root / "CamVid" / "train.txt").write_text(line)
    with pytest.raises(DataError, match=rf"train\.txt has the line '{line}'"):
        CamVid(segnet_root)


def test_an_id_twice_is_refused(segnet_root: Path) -> None:
    path = segnet_root / "CamVid" / "train.txt"
    path.write_text(path.read_text() * 2)
    with pytest.raises(DataError, match=r"train\.txt lists 'a1' 2 times"):
        CamVid(segnet_root)


def test_a_segnet_label_that_is_no_class_is_named(segnet_root: Path) -> None:
    path = segnet_root / "CamVid" / "trainannot" / "a1.png"
    Image.fromarray(np.full((6, 8), 12, np.uint8)).save(path)
    with pytest.raises(DataError, match=r"a1\.png holds label 12, but the classes are 0\.\.10"):
        CamVid(segnet_root).mask(0)


def test_unknown_subset(segnet_root: Path) -> None:
    with pytest.raises(DataError, match=r"no subset 'tests' .*Did you mean 'test'\?"):
        CamVid(segnet_root, "tests")


def test_missing_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"CamVid is not there: .*SEMISUP_DATA") as caught:
        CamVid(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["valannot", "test.txt", "train.txt"])
def test_what_is_missing_of_the_nearer_layout_is_said(segnet_root: Path, missing: str) -> None:
    (segnet_root / "CamVid" / missing).rename(segnet_root / "elsewhere")
    with pytest.raises(DataError, match=f"CamVid is not there: {missing} is missing in "):
        CamVid(segnet_root)


@pytest.mark.parametrize(
    "text", ["0 0 0 background\n64 128 64 cat\n", "road\ncar\n", "# names\nsky\nbuilding\nroad\n"]
)
def test_a_tree_with_classes_of_its_own_is_refused(segnet_root: Path, text: str) -> None:
    (segnet_root / "CamVid" / "label_colors.txt").write_text(text)
    with pytest.raises(DataError, match=r"label_colors\.txt names other classes than CamVid's"):
        CamVid(segnet_root)


def test_a_list_of_camvids_classes_in_another_order_is_refused(segnet_root: Path) -> None:
    names = [CLASSES[1], CLASSES[0], *CLASSES[2:], "void"]
    (segnet_root / "CamVid" / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    with pytest.raises(DataError, match=r"or in another order \(building, sky, pole, \.\.\.\)"):
        CamVid(segnet_root)


def test_a_list_of_camvids_classes_does_no_harm(segnet_root: Path) -> None:
    names = "".join(f"{name}\n" for name in CLASSES)
    (segnet_root / "CamVid" / "label_colors.txt").write_text(names)
    assert len(CamVid(segnet_root)) == 2


def test_original_layout(original_root: Path) -> None:
    data = CamVid(original_root, "val")
    assert data.facts() == {"layout": "original", "grouping": "mathworks"}
    assert len(data) == 101
    assert data.ids[0] == "0016E5_07959"
    assert data.image(0).shape == (3, 4, 8)
    label = dict(zip(COLOURS, data.mask(0).flatten().tolist(), strict=True))
    assert label.pop("Void") == 255
    assert {name: CLASSES[number] for name, number in label.items()} == {
        **dict.fromkeys(["Sky"], "sky"),
        **dict.fromkeys(["Building", "Bridge", "Wall", "Tunnel", "Archway"], "building"),
        **dict.fromkeys(["Column_Pole", "TrafficCone"], "pole"),
        **dict.fromkeys(["Road", "LaneMkgsDriv", "LaneMkgsNonDriv"], "road"),
        **dict.fromkeys(["Sidewalk", "ParkingBlock", "RoadShoulder"], "pavement"),
        **dict.fromkeys(["Tree", "VegetationMisc"], "tree"),
        **dict.fromkeys(["SignSymbol", "Misc_Text", "TrafficLight"], "sign"),
        **dict.fromkeys(["Fence"], "fence"),
        **dict.fromkeys(["Car", "SUVPickupTruck", "Truck_Bus", "Train", "OtherMoving"], "car"),
        **dict.fromkeys(["Pedestrian", "Child", "CartLuggagePram", "Animal"], "pedestrian"),
        **dict.fromkeys(["Bicyclist", "MotorcycleScooter"], "bicyclist"),
    }


@pytest.mark.parametrize("colour", [(1, 2, 3), (129, 128, 128), (192, 192, 192)])
def test_an_unknown_colour_is_named(original_root: Path, colour: tuple[int, int, int]) -> None:
    path = original_root / "LabeledApproved_full" / "0016E5_07959_L.png"
    image = Image.open(path).convert("RGB")
    image.putpixel((3, 2), colour)
    image.save(path)
    reason = rf"0016E5_07959_L\.png holds the colour \({', '.join(map(str, colour))}\)"
    with pytest.raises(DataError, match=reason):
        CamVid(original_root, "val").mask(0)


def test_published_subsets_have_their_sizes_and_sequences() -> None:
    def sequences(subset: str) -> dict[str, int]:
        names = [name.split("_")[0] for name in frames(subset)]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    assert sequences("train") == {"0001TP": 62, "0006R0": 101, "0016E5": 204}
    assert sequences("val") == {"0016E5": 101}
    assert sequences("test") == {"0001TP": 62, "Seq05VD": 171}
    assert len({name for part in ("train", "val", "test") for name in frames(part)}) == 701


def test_tables_agree() -> None:
    assert len(CLASSES) == len(PALETTE) == len(GROUPS) == 11
    assert len(set(COLOURS.values())) == 32
    assert sorted([name for group in GROUPS for name in group] + ["Void"]) == sorted(COLOURS)
    assert [COLOURS[group[0]] for group in GROUPS] == list(PALETTE)


def test_real_lists_are_the_published_frames(shared_data: Path) -> None:
    for subset, count in {"train": 367, "val": 101, "test": 233}.items():
        data = CamVid(shared_data / "camvid_jpg", subset)
        assert len(data) == count
        assert data.ids == frames(subset)


def test_real_train_histogram(shared_data: Path) -> None:
    data = CamVid(shared_data / "camvid_jpg")
    counts = torch.zeros(256, dtype=torch.int64)
    images_with = torch.zeros(256, dtype=torch.int64)
    for index in range(len(data)):
        labels = torch.from_numpy(np.bincount(data.mask(index).numpy().ravel(), minlength=256))
        counts += labels
        images_with += labels > 0
    assert dict(zip(data.classes, counts[:11].tolist(), strict=True)) == TRAIN_HISTOGRAM
    assert counts[255] == TRAIN_VOID
    assert counts.sum() == 367 * 360 * 480
    assert images_with[:11].tolist() == IMAGES_WITH


@pytest.mark.slow
def test_all_701_masks_have_the_pixels_that_are_stated_of_them(shared_data: Path) -> None:
    """Class by class, as `CamVid` reads them and as PIL and numpy alone do."""
    ours, stored = np.zeros(256, np.int64), np.zeros(256, np.int64)
    masks = 0
    for subset in ("train", "val", "test"):
        data = CamVid(shared_data / "camvid_jpg", subset)
        masks += len(data)
        for index in range(len(data)):
            ours += np.bincount(data.mask(index).numpy().ravel(), minlength=256)
            with Image.open(data.mask_path(index)) as picture:
                stored += np.bincount(np.asarray(picture).ravel(), minlength=256)
    assert masks == 701
    assert dict(zip(CLASSES, ours[:11].tolist(), strict=True)) == ALL_701
    assert ours[255] == ALL_701_VOID
    assert ours[11:255].sum() == 0
    assert stored[:12].tolist() == [*ALL_701.values(), ALL_701_VOID]
    assert stored.sum() == ours.sum() == 701 * 360 * 480


@pytest.mark.parametrize("line", ["/a1.png trainannot/a1.png", "train/a1.png ../a1.png"])
def test_a_list_leads_nowhere_but_to_its_own_folder(segnet_root: Path, line: str) -> None:
    (segnet_root / "CamVid" / "train.txt").write_text(line)
    with pytest.raises(DataError, match=r"train\.txt has the line"):
        CamVid(segnet_root)
