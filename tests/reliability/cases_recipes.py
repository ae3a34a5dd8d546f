"""Recipes, and the changes that --set makes to them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from cases import read, refused
from click.testing import Result
from places import Call, Place


def added(place: Place, text: str) -> list[object]:
    """`show` of the recipe with `text` behind it."""
    place.recipe.write_text(place.recipe.read_text() + text)
    return ["show", place.recipe]


def written(place: Place, content: str | bytes) -> list[object]:
    """`run` of a recipe with `content`."""
    place.recipe.write_bytes(content.encode() if isinstance(content, str) else content)
    return place.train()


@refused("recipe that is not there", "recipe none.toml: there is no such file", "Check the path")
def no_recipe(place: Place) -> list[object]:
    return ["run", "none.toml"]


@refused("recipe name with a slip", "no recipe is called 'quickstrat'", "'quickstart'?")
def slip_in_the_name(place: Place) -> list[object]:
    return ["run", "quickstrat"]


@refused("recipe name of 300 letters", "aaa.toml: there is no such file", "Check the path")
def long_name(place: Place) -> list[object]:
    return ["run", "a" * 300 + ".toml"]


@refused("folder named like a recipe", "folder.toml: there is no such file", "Check the path")
def folder_as_recipe(place: Place) -> list[object]:
    (place.root / "folder.toml").mkdir()
    return ["run", "folder.toml"]


@refused("empty recipe", "recipe tiny: 'data.name' is missing", "Known: ade20k, camvid")
def empty_recipe(place: Place) -> list[object]:
    return written(place, "")


@refused("recipe that is no TOML", "tiny.toml: is not valid TOML", "line 1")
def no_toml(place: Place) -> list[object]:
    return written(place, "data: name: folder\n")


@refused("key twice", "tiny.toml: is not valid TOML", "line 3")
def key_twice(place: Place) -> list[object]:
    return written(place, '[data]\nname = "folder"\nname = "voc"\n')


@refused("recipe that is not UTF-8", "tiny.toml: is not UTF-8 text", "Save it as UTF-8")
def recipe_in_latin_1(place: Place) -> list[object]:
    return written(place, b'[data]\nname = "stra\xdfe"\n')


@refused("recipe that is a picture", "tiny.toml: is not UTF-8 text", "Save it as UTF-8")
def picture_as_recipe(place: Place) -> list[object]:
    return written(place, place.image().read_bytes())


@refused("90 kB of nested lists", "tiny.toml: is nested too deeply", "Write it flat")
def nested_lists(place: Place) -> list[object]:
    return written(place, "x = " + "[" * 45_000 + "]" * 45_000)


@refused("40 kB of nested tables", "tiny.toml: is nested too deeply", "Write it flat")
def nested_tables(place: Place) -> list[object]:
    return written(place, "[" + ".".join("a" * 20_000) + "]\nx = 1\n")


@refused("1 MB of nesting", "tiny.toml: has 1,000,004 bytes", "Check the path")
def megabyte_of_nesting(place: Place) -> list[object]:
    return written(place, "x = " + "[" * 500_000 + "]" * 500_000)


@refused("integer of 10,000 digits", "tiny.toml: is not valid TOML")
def endless_integer(place: Place) -> list[object]:
    return written(place, "[train]\nsteps = " + "9" * 10_000 + "\n")


@refused("unknown table", "there is no table [trian]", "Did you mean 'train'?")
def unknown_table(place: Place) -> list[object]:
    return added(place, "\n[trian]\nsteps = 1\n")


@refused("table that is a value", "recipe tiny: [train] must be a table, not 1")
def table_is_a_value(place: Place) -> list[object]:
    return written(place, 'train = 1\n[data]\nname = "folder"\n')


@refused("extends in a circle", "'extends' goes round in a circle: tiny.toml -> b.toml -> tiny")
def circle(place: Place) -> list[object]:
    place.write("b.toml", 'extends = "tiny.toml"\n')
    return written(place, 'extends = "b.toml"\n')


@refused("extends what is not there", "tiny.toml: extends none.toml, which is not there")
def no_parent(place: Place) -> list[object]:
    return written(place, 'extends = "none.toml"\n')


@refused("extends two", "'extends' must be one name, not ['a.toml', 'b.toml']")
def two_parents(place: Place) -> list[object]:
    return written(place, 'extends = ["a.toml", "b.toml"]\n')


@refused("chain of 2,000 parents", "'extends' is 20 recipes deep", "Copy what it says")
def chain(place: Place) -> list[object]:
    for number in range(2000):
        place.write(f"{number}.toml", f'extends = "{number + 1}.toml"\n')
    return ["show", place.root / "0.toml"]


@refused("unknown key", "there is no key 'train.step'", "Did you mean 'steps'?")
def unknown_key(place: Place) -> list[object]:
    return place.train("train.step=1")


@refused("text for a number", "'train.steps' = 'many' (str)", "valid integer")
def text_for_a_number(place: Place) -> list[object]:
    return place.train("train.steps=many")


@refused("truth value for a number", "'data.labelled_batch' = True (bool)", "valid integer")
def truth_for_a_number(place: Place) -> list[object]:
    return place.train("data.labelled_batch=true")


@refused("date for a number", "'train.steps' = datetime.date(2024, 1, 1) (date)", "valid integer")
def date_for_a_number(place: Place) -> list[object]:
    return place.train("train.steps=2024-01-01")


@refused("NaN", "'optim.segmenter.lr' = nan (float)", "finite number")
def not_a_number(place: Place) -> list[object]:
    return place.train("optim.segmenter.lr=nan")


@refused("infinity", "'optim.segmenter.lr' = inf (float)", "finite number")
def infinity(place: Place) -> list[object]:
    return place.train("optim.segmenter.lr=inf")


@refused("negative steps", "'train.steps' = -5 (int)", "greater than 0")
def negative_steps(place: Place) -> list[object]:
    return place.train("train.steps=-5")


@refused("negative deformation", "'data.elastic' = -1.0 (float)", "greater than or equal to 0")
def negative_deformation(place: Place) -> list[object]:
    return place.train("data.elastic=-1.0")


@refused("deformation in words", "'data.elastic' = 'yes' (str)", "valid number")
def deformation_in_words(place: Place) -> list[object]:
    return place.train("data.elastic=yes")


@refused("negative border weight", "'train.border_weight' = -10.0 (float)", "greater than or equal")
def negative_border_weight(place: Place) -> list[object]:
    return place.train("train.border_weight=-10.0")


@refused("border weight without width", "'train.border_sigma' = 0.0 (float)", "0.1")
def border_weight_without_width(place: Place) -> list[object]:
    return place.train("train.border_weight=10.0", "train.border_sigma=0.0")


@refused("all values dropped", "model unet: dropout must be at least 0 and below 1, not 1")
def all_values_dropped(place: Place) -> list[object]:
    return place.train("model.dropout=1.0")


@refused("negative rate", "'optim.segmenter.lr' = -0.1 (float)", "greater than 0")
def negative_rate(place: Place) -> list[object]:
    return place.train("optim.segmenter.lr=-0.1")


@refused("running mean that forgets nothing", "'optim.segmenter.alpha' = 1.0", "less than 1")
def mean_of_everything(place: Place) -> list[object]:
    return place.train("optim.segmenter.kind=rmsprop", "optim.segmenter.alpha=1.0")


@refused("root with nothing added", "'optim.segmenter.eps' = 0.0 (float)", "greater than 0")
def no_eps(place: Place) -> list[object]:
    return place.train("optim.segmenter.kind=rmsprop", "optim.segmenter.eps=0.0")


@refused(
    "root with next to nothing added", "'optim.segmenter.eps' = 1e-46 (float)", "take 1e-30 or more"
)
def hardly_any_eps(place: Place) -> list[object]:
    return place.train("optim.segmenter.kind=adam", "optim.segmenter.eps=1e-46")


@refused("schedule that rises", "'optim.segmenter.gamma' = 1e+200 (float)", "less than or equal")
def schedule_that_rises(place: Place) -> list[object]:
    return place.train("optim.segmenter.schedule=step", "optim.segmenter.gamma=1e200")


@refused("deformation beyond all pictures", "'data.elastic' = 1e+20 (float)", "less than or equal")
def deformation_beyond_pictures(place: Place) -> list[object]:
    return place.train("data.elastic=1e20")


@refused("border weight beyond all numbers", "'train.border_weight' = 1e+300", "less than or equal")
def border_weight_beyond_numbers(place: Place) -> list[object]:
    return place.train("train.border_weight=1e300")


@refused("schedule with a slip", "'optim.segmenter.schedule' = 'exponentail'", "'exponential'")
def slip_in_the_schedule(place: Place) -> list[object]:
    return place.train("optim.segmenter.schedule=exponentail")


@refused("crop of no size", "'data.crop.0' = 0 (int)", "greater than 0")
def crop_of_nothing(place: Place) -> list[object]:
    return place.train("data.crop=[0, 32]")


@refused("crop with one side", "'data.crop.1' is missing", "'data.crop' = [32] (list)")
def crop_with_one_side(place: Place) -> list[object]:
    return place.train("data.crop=[32]")


@refused("batch of none", "'data.labelled_batch' = 0 (int)", "greater than 0")
def batch_of_none(place: Place) -> list[object]:
    return place.train("data.labelled_batch=0")


@refused("seed of 100 bits", "'train.seed' = ", "1267650600228229401496703205376")
def seed_too_large(place: Place) -> list[object]:
    return place.train(f"train.seed={2**100}")


@refused("scale from large to small", "scale (2.0, 0.5)", "smallest and the largest", "in order")
def scale_backwards(place: Place) -> list[object]:
    return place.train("data.scale=[2.0, 0.5]")


@refused("unknown data set", "no data set is called 'foldr'", "Did you mean 'folder'?")
def unknown_data_set(place: Place) -> list[object]:
    return place.train("data.name=foldr")


@refused("unknown model", "no model is called 'unett'", "Did you mean 'unet'?")
def unknown_model(place: Place) -> list[object]:
    return place.train("model.name=unett")


@refused("unknown encoder of timm", "no backbone 'timm:resnet188'", "Did you mean 'timm:resnet18")
def unknown_encoder(place: Place) -> list[object]:
    pytest.importorskip("timm")
    return place.train("model.backbone=timm:resnet188")


@refused("encoder of timm with a tag", "names weights", "Write 'timm:resnet18'")
def encoder_with_a_tag(place: Place) -> list[object]:
    pytest.importorskip("timm")
    return place.train("model.backbone=timm:resnet18.a1_in1k")


@refused("encoder of timm for one size alone", "reads images of any size", "Choose another")
def encoder_of_one_size(place: Place) -> list[object]:
    pytest.importorskip("timm")
    return place.train("model.backbone=timm:test_maxvit")


@refused("encoder of timm without timm", "needs timm", "pip install 'semisup[timm]'")
def encoder_without_timm(place: Place) -> list[object]:
    place.patch.setitem(sys.modules, "timm", None)
    return place.train("model.backbone=timm:resnet18")


@refused("unknown method", "no method is called 'supervized'", "Did you mean 'supervised'?")
def unknown_method(place: Place) -> list[object]:
    return place.train("method.name=supervized")


@refused("unknown option of a model", "there is no key 'model.widht'", "Did you mean 'width'?")
def unknown_option(place: Place) -> list[object]:
    return place.train("model.widht=2")


@refused("option of a model out of range", "model unet: width must be at least 1, not 0")
def option_out_of_range(place: Place) -> list[object]:
    return place.train("model.width=0")


@refused("player that the method has not", "no player 'segmentr'", "Did you mean 'segmenter'?")
def unknown_player(place: Place) -> list[object]:
    return place.train("optim.segmentr.lr=1.0")


@refused("player without a table", "[optim.discriminator] is missing", "Add the table")
def missing_player(place: Place) -> list[object]:
    return place.train("method.name=adversarial")


@refused("nesterov without momentum", "[optim]", "Nesterov momentum requires a momentum")
def nesterov_without_momentum(place: Place) -> list[object]:
    return place.train("optim.segmenter.nesterov=true", "optim.segmenter.momentum=0.0")


@refused("reported subset that is not there", "no subset 'tets'", "Known: all, train, val.")
def unknown_reported_subset(place: Place) -> list[object]:
    return place.train("eval.subset=tets")


@refused("half precision on a CPU", "train.precision = fp16 needs a GPU", "Use auto")
def half_precision(place: Place) -> list[object]:
    return place.train("train.precision=fp16", extra=["--device", "cpu"])


@refused("change without a value", "--set train.steps: is not of the form", "data.split=1/4")
def change_without_a_value(place: Place) -> list[object]:
    return place.train("train.steps")


@refused("change without a table", "--set steps=1: is not of the form", "data.split=1/4")
def change_without_a_table(place: Place) -> list[object]:
    return place.train("steps=1")


@refused("change of a key below a value", "'train.steps.x': 'steps' is a value, no table")
def change_below_a_value(place: Place) -> list[object]:
    return place.train("train.steps.x=1")


@refused("change with an empty key", "--set train.=1: is not of the form", "data.split=1/4")
def change_with_an_empty_key(place: Place) -> list[object]:
    return place.train("train.=1")


def ignoring(place: Place, names: str, classes: str = "ground sky sea") -> list[object]:
    """`run` with `data.ignore_classes`, on masks of the first two classes of the list."""
    (place.data / "classes.txt").write_text("\n".join(classes.split()))
    return place.train(f"data.ignore_classes={names}")


@refused("ignored class with a slip", "'grund' in ignore_classes is no class", "'ground'?")
def ignored_class_with_a_slip(place: Place) -> list[object]:
    return ignoring(place, '["grund"]')


@refused("ignored class in other letters", "'Sky' in ignore_classes is no class", "'sky'?")
def ignored_class_in_other_letters(place: Place) -> list[object]:
    return ignoring(place, '["Sky"]')


@refused("ignored class named twice", "'sky' stands twice in ignore_classes", "once")
def ignored_class_twice(place: Place) -> list[object]:
    return ignoring(place, '["sky", "sky"]')


@refused("all classes ignored", "ignore_classes leaves no class", "ignore fewer")
def all_classes_ignored(place: Place) -> list[object]:
    return ignoring(place, '["sea", "sky", "ground"]')


@refused("all classes but one ignored", "ignore_classes leaves 'sky' alone", "ignore fewer")
def all_classes_but_one_ignored(place: Place) -> list[object]:
    return ignoring(place, '["ground"]', "ground sky")


@refused("ignored class in no list", "'data.ignore_classes' = 'sky'", 'write a list, such as ["sky')
def ignored_class_in_no_list(place: Place) -> list[object]:
    return ignoring(place, "sky")


@refused("ignored class by its number", "'data.ignore_classes.0' = 0 (int)", "valid string")
def ignored_class_by_number(place: Place) -> list[object]:
    return ignoring(place, "[0]")


@refused("ignored class by its number, for a command", "ignore_classes = [0] is no list", "such as")
def ignored_class_by_number_of_a_command(place: Place) -> list[object]:
    return [*place.verify(), "--option", "ignore_classes=[0]"]


@refused("ignored class that a finished run's other data lack", "'sea' in ignore_classes", "Known:")
def ignored_class_of_other_data(place: Place) -> list[object]:
    run = ["evaluate", place.finished_run(), "--set", 'data.ignore_classes=["sea"]']
    return [*run, *place.where()]


@refused("ignored background of a method that needs it", "takes class 0 for the background", "Keep")
def ignored_background(place: Place) -> list[object]:
    method = ["--set", "method.name=s4gan_multi_label", "--set", "optim.discriminator.lr=0.01"]
    return [*ignoring(place, '["ground"]'), *method, "--set", "optim.classifier.lr=0.01"]


@refused("masks of nothing but ignored classes", "is void (255) or of 'ground'", "nothing to learn")
def nothing_but_ignored_classes(place: Place) -> list[object]:
    place.map_masks(lambda labels: labels * 0)
    return ignoring(place, '["ground"]')


@read("ignored class", "void in training and in scoring; the protocol names it")
def ignored_class(place: Place) -> Call:
    place.map_masks(lambda labels: labels + (labels == 1) * np.arange(50) % 2)

    def then(result: Result) -> None:
        assert "'ground' made void" in result.stdout
        assert " 2 classes, " in result.stdout
        assert "warning" not in result.stderr

    return Call(ignoring(place, '["ground"]'), then)


@read("classes ignored in a verification", "counted without them, with a note")
def ignored_classes_verified(place: Place) -> Call:
    (place.data / "classes.txt").write_text("ground\nsky\nsea\n")

    def then(result: Result) -> None:
        assert "pixels of 'sea' count as void" in result.stdout + result.stderr
        assert "sky" in result.stdout

    return Call([*place.verify(), "--option", 'ignore_classes=["sea"]'], then)


def compared_with(place: Place, baseline: str, *changes: str) -> list[object]:
    """`run` of the recipe beside a baseline."""
    content = place.recipe.read_text()
    (place.recipe.parent / "base.toml").write_text(content)
    place.recipe.write_text(f'{content}\n[baseline]\nrecipe = "{baseline}"\n')
    return [*place.train(), *changes]


@refused("baseline that is no recipe", "its baseline ([baseline]): no recipe", "'quickstart'?")
def no_such_baseline(place: Place) -> list[object]:
    return compared_with(place, "quickstrat")


@refused("baseline whose file is not there", "its baseline ([baseline]): recipe", "no such file")
def no_file_of_the_baseline(place: Place) -> list[object]:
    return compared_with(place, "gone.toml")


@refused("baseline on another data set", "has another data.name", "'scenes'", "not be comparable")
def baseline_on_other_data(place: Place) -> list[object]:
    return compared_with(place, "scenes/supervised_unet_all")


@refused("baseline scored in another way", "has another eval.flip: True", "not be comparable")
def baseline_of_another_protocol(place: Place) -> list[object]:
    arguments = compared_with(place, "base.toml")
    base = place.recipe.parent / "base.toml"
    base.write_text(
        f'extends = "{place.recipe.name}"\n[baseline]\nrecipe = ""\n[eval]\nflip = true\n'
    )
    return arguments


@refused("key of [baseline] with a slip", "no key 'baseline.recip'", "Did you mean 'recipe'?")
def slip_in_the_baseline(place: Place) -> list[object]:
    return [*place.train(), "--set", "baseline.recip=quickstart"]
