"""What TensorBoard calls the scalars of scalars.jsonl."""

from __future__ import annotations

import pytest

from semisup.catalog import METHODS
from semisup.contracts.methods import documented_scalars
from semisup.monitoring.tags import GROUPS, OF_PLAYERS, tag_of

WANTED = {"score", "score_by_class", "loss", "discriminator", "optimiser", "pseudo_labels", "speed"}


@pytest.mark.parametrize("method", METHODS)
def test_every_scalar_of_every_method_is_in_a_group(method: str) -> None:
    names = documented_scalars(METHODS[method])
    assert names
    tags = {name: tag_of(name) for name in names}
    assert {tag.partition("/")[0] for tag in tags.values()} <= WANTED, tags
    assert len(set(tags.values())) == len(tags)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("loss", "loss/loss"),
        ("loss_segmentation", "loss/segmentation"),
        ("d_accuracy", "discriminator/d_accuracy"),
        ("lr/segmenter", "optimiser/lr/segmenter"),
        ("self_taught_ece", "pseudo_labels/self_taught_ece"),
        ("images_per_second", "speed/images_per_second"),
        ("score/miou", "score/miou"),
        ("score/pixel_accuracy", "score/pixel_accuracy"),
        ("score_iou/cat", "score_by_class/cat"),
        ("held_out/miou", "score/miou on held_out"),
        ("val_iou/a/b", "score_by_class/a/b on val"),
        ("my_own_number", "other/my_own_number"),
    ],
)
def test_names_and_tags(name: str, tag: str) -> None:
    assert tag_of(name) == tag


def test_no_name_is_in_two_groups() -> None:
    names = [name for group in GROUPS.values() for name in group]
    assert len(set(names)) == len(names)
    assert GROUPS.keys() <= WANTED
    assert all(tag_of(f"{name}/player").startswith("optimiser/") for name in OF_PLAYERS)
