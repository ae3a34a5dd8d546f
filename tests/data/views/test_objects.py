"""Objects in a crop are cut, mirrored and scaled with its picture and its mask."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.coco import HEIGHT, WIDTH, make_coco

from semisup.catalog import create_dataset
from semisup.data.loading.prefetch import Prefetch
from semisup.data.loading.streams import Stream
from semisup.data.views.objects import boxes_around, instances_in
from semisup.data.views.weak import WeakView
from semisup.types import IGNORE, Instances, Labelled


def test_a_box_is_around_its_pixels() -> None:
    covers = torch.zeros(3, 6, 9, dtype=torch.bool)
    covers[0, 2, 4] = True
    covers[1, 1:5, 3:8] = True
    covers[2] = True
    boxes = boxes_around(covers)
    assert boxes.tolist() == [[4, 2, 5, 3], [3, 1, 8, 5], [0, 0, 9, 6]]
    assert boxes.dtype == torch.float32
    assert boxes_around(covers[:0]).shape == (0, 4)


def test_what_is_cut_off_is_no_object_of_a_crop_and_padding_is_of_none() -> None:
    masks = torch.zeros(3, 4, 4, dtype=torch.uint8)
    masks[0, :, 3:] = IGNORE  # padding alone
    masks[1, 1, 1], masks[1, :, 3:] = 1, IGNORE
    found = instances_in(masks, torch.tensor([5, 6, 7]))
    assert found.labels.tolist() == [6]
    assert found.boxes.tolist() == [[1, 1, 2, 2]]
    assert found.masks.sum() == 1


def batch(root: Path, view: WeakView, workers: int = 0, start: int = 0) -> Labelled:
    data = create_dataset("coco", root)
    stream = Stream(
        data,
        data.ids,
        name="labelled",
        seed=0,
        batch_size=4,
        view=view,
        instances=True,
        workers=workers,
        start=start,
    )
    with stream:
        found = next(Prefetch(stream, torch.device("cpu")))
    assert isinstance(found, Labelled)
    return found


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("crop", "scale"), [(None, (1.0, 1.0)), ((32, 40), (0.5, 2.0)), ((80, 80), (0.7, 1.0))]
)
def test_objects_lie_where_the_mask_has_them(
    tmp_path: Path, crop: tuple[int, int] | None, scale: tuple[float, float], flip: bool
) -> None:
    root = make_coco(tmp_path)
    for start in range(3):
        found = batch(root, WeakView(crop, scale, flip), start=start)
        assert found.instances is not None
        assert len(found.instances) == 4
        for one, mask, valid in zip(found.instances, found.mask, found.valid, strict=True):
            drawn = torch.where(valid, 0, IGNORE)
            for object_mask, label in zip(one.masks, one.labels, strict=True):  # as they lie
                drawn = torch.where(object_mask == 1, label, drawn)
            known = mask != IGNORE  # but for the crowd, which is no object
            assert torch.equal(drawn[known], mask[known])
            assert (drawn[~valid] == IGNORE).all()
            assert torch.equal(boxes_around(one.masks == 1), one.boxes)
            assert one.masks.shape[1:] == mask.shape
            assert one.masks.dtype == torch.uint8


def test_a_worker_gives_the_same_objects(tmp_path: Path) -> None:
    root, view = make_coco(tmp_path), WeakView((32, 40), (0.5, 2.0), True)
    own, other = batch(root, view).instances, batch(root, view, workers=1).instances
    assert own is not None
    assert other is not None
    for one, another in zip(own, other, strict=True):
        assert torch.equal(one.boxes, another.boxes)
        assert torch.equal(one.labels, another.labels)
        assert torch.equal(one.masks, another.masks)


def test_no_crowd_is_learnt_from(tmp_path: Path) -> None:
    found = batch(make_coco(tmp_path), WeakView())
    assert found.instances is not None
    assert [one.labels.tolist() for one in found.instances] == [[1, 2, 3]] * 4
    assert found.image.shape[-2:] == (HEIGHT, WIDTH)


def test_objects_are_moved_together() -> None:
    one = Instances(torch.zeros(1, 4), torch.ones(1), torch.zeros(1, 2, 2))
    moved = one.moved(lambda part: part + 1)
    assert (float(moved.boxes.sum()), float(moved.labels), float(moved.masks.sum())) == (4, 2, 4)
