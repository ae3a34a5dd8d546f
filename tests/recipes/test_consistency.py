"""Recipes of the consistency methods: what their names and headers say is what they do."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from semisup.data.labels.split_lists import read_kinds
from semisup.data.sets.voc import Voc
from semisup.recipe.load import load_baseline, load_recipe, shipped_recipes
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import flatten

METHODS = ("mean_teacher", "cutmix_seg", "fixmatch", "unimatch", "cps")
SHIPPED = shipped_recipes()
OURS = [name for name in SHIPPED if name.split("/")[-1].startswith(METHODS)]
VOC = [name for name in OURS if name.startswith("voc/")]
PUBLISHED = [n for n in OURS if n.startswith(("voc/", "cityscapes/", "ade20k/", "coco/"))]
LISTS = [name for name in VOC if re.search(r"_\d+$", name)]
"""Of VOC, those whose masks a list of the literature names."""

THINGS = ["quickstart", *(f"scenes/{m}_things_1-64" for m in METHODS if m != "fixmatch")]

AUGMENTED = 10_582
EPOCHS = {"resnet101": 80, "dpt": 60}
"""Of UniMatch and of UniMatch V2 on VOC; CPS has others for each list."""
EPOCHS_OF_CPS = {662: 32, 1323: 34, 2646: 40}


@functools.cache
def loaded(name: str) -> Recipe:
    return load_recipe(name)


def masks(name: str) -> int:
    """The number at the end of the name."""
    return int(name.rsplit("_", 1)[1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", ["voc", "voc_small", "camvid"])
def test_each_method_has_recipes(method: str, data: str) -> None:
    named = [name for name in OURS if name.startswith(f"{data}/{method}_")]
    assert len(named) >= 3
    assert {loaded(name).method.name for name in named} == {method}
    assert {loaded(name).data.name for name in named} == {data.removesuffix("_small")}


TABLES = {
    "voc_small": ("lraspp", ("1-64", "1-32", "1-16", "1-8")),
    "camvid": ("lraspp_half", ("1-16", "1-8", "1-4")),
}
"""Data -> network and shares of the masks of the tables that two cores can fill."""


@pytest.mark.parametrize(
    ("data", "network", "share"),
    [(data, network, share) for data, (network, all_) in TABLES.items() for share in all_],
)
@pytest.mark.parametrize("method", [*METHODS, "supervised_strong"])
def test_arms_of_a_table_differ_from_their_baseline_in_the_method_alone(
    method: str, data: str, network: str, share: str
) -> None:
    names = (f"{data}/{method}_{network}_{share}", f"{data}/supervised_{network}_{share}")
    own, base = (flatten(loaded(name).resolved()) for name in names)
    assert own["data.split"] == share.replace("-", "/")
    assert own["data.split_seed"] == "same"
    for key in own.keys() | base.keys():
        is_own = key.startswith(("method.", "optim.second_segmenter.")) or key == STRONG
        assert is_own or own[key] == base[key], key
    players = loaded(names[0]).optim
    assert all(optim == players["segmenter"] for optim in players.values())


@pytest.mark.parametrize("name", THINGS)
def test_arms_of_the_things_differ_from_their_baseline_in_the_method_alone(name: str) -> None:
    baseline = load_baseline(loaded(name))
    assert baseline is not None
    assert baseline.name == "scenes/supervised_things_1-64"
    own, base = (flatten(recipe.resolved()) for recipe in (loaded(name), baseline))
    for key in own.keys() & base.keys():
        assert own[key] == base[key] or key.startswith(("method.", "baseline.")), key
    players = loaded(name).optim
    assert all(optim == players["segmenter"] for optim in players.values())


STRONG = "data.strong_labelled"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_header_states_the_number_of_the_paper(name: str) -> None:
    first, *others = SHIPPED[name].read_text(encoding="utf-8").splitlines()
    assert re.search(r"(Theirs|run): (\d\d\.\d\d? mIoU|no number was found)\.$", first)
    assert any("Not run by us." in line for line in others)


def test_a_share_in_a_name_is_that_of_the_masks() -> None:
    """Of all recipes: a run is looked up by the name of its recipe."""
    ending = re.compile(r"_(\d+)-(\d+)$")
    shares = {name: found for name in SHIPPED if (found := ending.search(name))}
    assert len(shares) > 50
    for name, found in shares.items():
        assert loaded(name).data.split == f"{found[1]}/{found[2]}", name


@pytest.mark.parametrize("name", LISTS)
def test_a_list_in_a_name_is_the_one_that_is_read(name: str) -> None:
    recipe = loaded(name)
    family = re.search(r"_((?:blended_|u2pl_)?\d+)$", name)
    assert family is not None
    wanted = "train" if family[1] == "1464" else family[1]
    assert recipe.data.split == f"file:{wanted}.txt"
    assert recipe.data.subset == "train_aug"
    header = " ".join(SHIPPED[name].read_text(encoding="utf-8").split("\n")[:20])
    assert f"{masks(name):,} masks" in header


def test_every_budget_of_a_table_is_there() -> None:
    classic, blended = {92, 183, 366, 732, 1464}, {662, 1323, 2646}
    tables = {
        "fixmatch_deeplab_v3plus_resnet101": classic,
        "unimatch_deeplab_v3plus_resnet101": classic,
        "fixmatch_dpt": classic,
        "unimatch_deeplab_v3plus_resnet101_blended": blended,
        "unimatch_deeplab_v3plus_resnet101_u2pl": blended,
        "cps_deeplab_v3plus_resnet101_blended": blended,
        "mean_teacher_deeplab_v3plus_resnet101_blended": blended,
    }
    for head, budgets in tables.items():
        assert {f"voc/{head}_{budget}" for budget in budgets} <= {*LISTS}


@pytest.mark.parametrize("name", LISTS)
def test_steps_are_the_epochs_of_the_authors(name: str) -> None:
    """An epoch is one pass over the unlabelled images, as a loader rounds it."""
    recipe = loaded(name)
    is_cps = recipe.data.crop == (512, 512)
    key = "dpt" if recipe.model.name == "dpt" else "resnet101"
    epochs = EPOCHS_OF_CPS[masks(name)] if is_cps else EPOCHS[key]
    assert recipe.train.steps % epochs == 0
    exact = (AUGMENTED - masks(name)) / recipe.data.unlabelled_batch
    assert abs(recipe.train.steps / epochs - exact) < 1
    assert recipe.data.labelled_batch == recipe.data.unlabelled_batch


IMAGES = {"cityscapes": 2_975, "ade20k": 20_210, "coco": 118_287}
"""Of the training subsets."""

EPOCHS_ELSEWHERE = {
    "cityscapes/fixmatch": dict.fromkeys((186, 372, 744), 240),
    "cityscapes/unimatch": dict.fromkeys((186, 372, 744), 240),
    "cityscapes/cps": {186: 128, 372: 137, 744: 160},
    "cityscapes/mean_teacher": {186: 128, 372: 137, 744: 160},
    "ade20k/fixmatch": dict.fromkeys((316, 631, 1263, 2526), 60),
    "coco/fixmatch": dict.fromkeys((232, 463, 925, 1849), 20),
}
"""Data and method -> masks -> epochs of the authors' code."""


@pytest.mark.parametrize("head", EPOCHS_ELSEWHERE)
def test_recipes_of_other_sets_have_every_budget_and_the_steps_of_the_authors(head: str) -> None:
    named = {masks(name): name for name in OURS if name.startswith(f"{head}_")}
    assert named.keys() == EPOCHS_ELSEWHERE[head].keys()
    for count, name in named.items():
        recipe, header = loaded(name), SHIPPED[name].read_text(encoding="utf-8")
        assert f"{count:,} masks" in header.split("\n")[0]
        assert recipe.data.split == f"file:{count}.txt"
        # CPS's code counts 743 masks where there are 744.
        counted = 743 if count == 744 and "_deeplab" in name and "match" not in name else count
        each = (IMAGES[recipe.data.name] - counted) // recipe.data.unlabelled_batch
        assert recipe.train.steps == EPOCHS_ELSEWHERE[head][count] * each
        assert recipe.data.labelled_batch == recipe.data.unlabelled_batch
        baseline = name.split("/")[0] + "/supervised_"
        assert any(other.startswith(baseline) for other in SHIPPED)


@pytest.mark.parametrize("name", [n for n in LISTS if "match" in n])
def test_rates_are_those_of_the_authors_for_a_sum_of_the_losses(name: str) -> None:
    """With SGD half of the sum at r and decay d is the sum at r / 2 and 2 d; AdamW has no scale."""
    recipe = loaded(name)
    ours = recipe.optim["segmenter"]
    head = "dpt" if recipe.model.name == "dpt" else "deeplab_v3plus_resnet101"
    theirs = loaded(f"voc/supervised_{head}_1464").optim["segmenter"]
    factor = 1 if head == "dpt" else 2
    assert ours.lr * factor == pytest.approx(theirs.lr)
    assert ours.weight_decay == pytest.approx(theirs.weight_decay * factor)
    assert (ours.kind, ours.schedule, ours.power) == (theirs.kind, theirs.schedule, theirs.power)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share", ["1-16", "1-8", "1-4"])
def test_arms_on_camvid_differ_by_the_method_alone(method: str, share: str) -> None:
    ours, baseline = (
        loaded(f"camvid/{name}_lraspp_half_{share}").resolved() for name in (method, "supervised")
    )
    second = ours["optim"].pop("second_segmenter", None)
    assert second in (None, baseline["optim"]["segmenter"])
    assert ours.pop("method") != baseline.pop("method")
    assert ours == baseline


PUBLISHED = {
    "classic": "LiheYoung+UniMatch/splits/pascal/{masks}/labeled.txt",
    "blended": "charlesCXK+TorchSemiSeg/DATA/pascal_voc/subset_train_aug/"
    "train_aug_labeled_1-{share}.txt",
    "u2pl": "Haochen-Wang409+U2PL/data/splits/pascal/{masks}/labeled.txt",
}
"""Family -> where the authors keep its lists."""


@pytest.fixture
def augmented(tmp_path: Path, shared_data: Path) -> Voc:
    """The ids of VOC's augmented set, without its images."""
    root = tmp_path / "VOC2012"
    (root / "JPEGImages").mkdir(parents=True)
    source = shared_data / "lists" / "LiheYoung+UniMatch" / "splits" / "pascal" / "train_aug.txt"
    lines = source.read_text(encoding="utf-8").splitlines()
    target = root / "ImageSets" / "Segmentation" / "train_aug.txt"
    target.parent.mkdir(parents=True)
    target.write_text("".join(f"{Path(line.split()[0]).stem}\n" for line in lines), "utf-8")
    return Voc(root, "train_aug")


@pytest.mark.parametrize("family", PUBLISHED)
def test_the_lists_of_the_authors_are_read_as_they_are(
    family: str, augmented: Voc, shared_data: Path
) -> None:
    found = {name: re.search("blended|u2pl", name) for name in LISTS}
    names = [name for name, other in found.items() if (other[0] if other else "classic") == family]
    for budget in {masks(name) for name in names}:
        share = round(AUGMENTED / budget)
        path = shared_data / "lists" / PUBLISHED[family].format(masks=budget, share=share)
        kinds, _ = read_kinds(augmented, path)
        assert {*kinds.values()} == {"mask"}
        assert len(kinds) == budget
    assert len(augmented.ids) == AUGMENTED
