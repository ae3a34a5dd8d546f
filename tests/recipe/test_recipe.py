"""Recipes: what they may say, where each value comes from, and what every mistake is answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semisup.errors import RecipeError
from semisup.recipe.json_schema import recipe_schema
from semisup.recipe.load import load_recipe, overlay, shipped_recipes
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import dump_toml, flatten, parse_change, unflatten
from semisup.runs.assemble import build_method
from semisup.training.updates import Updates

BASE = """# A small one.
[data]
name = "scenes"
split = "1/4"
crop = [64, 48]
train = 40

[model]
name = "unet"
width = 4

[method]
name = "supervised"

[optim.segmenter]
kind = "adam"
lr = 1e-3

[train]
steps = 5
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Text -> the path of a recipe file."""

    def write(text: str = BASE, name: str = "base.toml") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def refused(name: str, *changes: str) -> str:
    """The one line that a recipe is refused with."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, changes)
    line = str(caught.value)
    assert "\n" not in line
    return line


# What a recipe says


def test_values_defaults_and_options(write: Write) -> None:
    recipe = load_recipe(write())
    assert recipe.data.crop == (64, 48)
    assert recipe.data.labelled_batch == 8
    assert recipe.data_options["train"] == 40
    assert recipe.data_options["size"] == (96, 128)
    assert recipe.model_options["width"] == 4
    assert recipe.model_options["batch_norm"] is False
    assert recipe.optim["segmenter"].lr == 1e-3
    assert recipe.train.precision == "auto"


def test_every_value_knows_where_it_came_from(write: Write) -> None:
    write()
    child = write('extends = "base.toml"\n[train]\nsteps = 9\n', "child.toml")
    recipe = load_recipe(child, ["model.width=8"], overrides={"train.seed": (3, "--seed")})
    assert recipe.sources.keys() == flatten(recipe.resolved()).keys()
    expected = {
        "data.split": "base.toml",
        "train.steps": "child.toml",
        "model.width": "--set",
        "train.seed": "--seed",
        "data.flip": "default",
        "model.batch_norm": "default",
    }
    assert {key: recipe.sources[key] for key in expected} == expected


def test_a_written_recipe_loads_to_the_same(write: Write) -> None:
    recipe = load_recipe(
        write(), ['data.root="a \\"quoted\\" \\\\ folder, ü"', "eval.scales=[1, 0.5]"]
    )
    again = load_recipe(write(recipe.to_toml(), "again.toml"))
    assert again.resolved() == recipe.resolved()
    assert again.digest() == recipe.digest()
    assert again.data.root == 'a "quoted" \\ folder, ü'


# extends


def test_a_chain_of_parents_and_the_nearest_wins(write: Write) -> None:
    write()
    write('extends = "base.toml"\n[train]\nsteps = 6\nclip = 1.0\n', "middle.toml")
    child = write('extends = "middle.toml"\n[train]\nsteps = 7\n[model]\nwidth = 2\n', "child.toml")
    recipe = load_recipe(child)
    assert (recipe.train.steps, recipe.train.clip) == (7, 1.0)
    assert recipe.model_options["width"] == 2
    assert recipe.data.split == "1/4"
    assert recipe.name == "child"
    # The parents may be changed by the same file alone: the base is as it was.
    assert load_recipe(write()).train.steps == 5


def test_a_list_is_replaced_not_joined(write: Write) -> None:
    write()
    child = write('extends = "base.toml"\n[data]\ncrop = [32, 32]\n', "child.toml")
    assert load_recipe(child).data.crop == (32, 32)


def test_a_shipped_recipe_may_be_a_parent(write: Write) -> None:
    child = write('extends = "quickstart"\n[train]\nsteps = 3\n')
    assert load_recipe(child).train.steps == 3
    assert load_recipe(child).method == load_recipe("quickstart").method


def test_extends_that_leads_nowhere(write: Write) -> None:
    one = write('extends = "two.toml"\n', "one.toml")
    write('extends = "one.toml"\n', "two.toml")
    assert "one.toml -> two.toml -> one.toml" in refused(one)
    assert "goes round in a circle" in refused(write('extends = "self.toml"\n', "self.toml"))
    missing = refused(write('extends = "nowhere.toml"\n'))
    assert "base.toml" in missing
    assert "nowhere.toml, which is not there" in missing
    assert "Did you mean 'quickstart'" in refused(write('extends = "quickstrat"\n'))
    assert "'extends' must be one name" in refused(write('extends = ["a", "b"]\n'))


def test_an_empty_table_changes_nothing(write: Write) -> None:
    write()
    child = write('extends = "base.toml"\n[train]\n[model]\n[optim.segmenter]\n', "child.toml")
    assert load_recipe(child).resolved() == load_recipe(write()).resolved()
    middle = write('extends = "child.toml"\n[train]\nsteps = 9\n', "grandchild.toml")
    assert load_recipe(middle).train.steps == 9
    assert "'optim.other.lr' is missing" in refused(write(BASE + "[optim.other]\n"))


# Another class than the parent's


ADVERSARIAL = """extends = "base.toml"
[method]
name = "adversarial"
discriminator_width = 16
[optim.discriminator]
kind = "adam"
lr = 2e-5
"""


def test_options_that_only_the_old_class_has_are_not_inherited(write: Write) -> None:
    write()
    child = write('extends = "base.toml"\n[model]\nname = "deeplab_v3plus"\n', "child.toml")
    for recipe in (load_recipe(child), load_recipe(write(), ["model.name=deeplab_v3plus"])):
        assert recipe.model_options == {
            "backbone": "mobilenet_v2",
            "output_stride": 16,
            "multi_grid": False,
            "deep_stem": False,
        }
        assert "model.width" not in recipe.sources
        assert recipe.sources.keys() == flatten(recipe.resolved()).keys()
    data = load_recipe(write(), ["data.name=voc"])
    assert "train" not in data.data_options
    assert (data.data.split, data.sources["data.split"]) == ("1/4", "base.toml")


def test_with_another_method_go_its_players_but_not_the_segmenter(write: Write) -> None:
    write()
    recipe = load_recipe(write(ADVERSARIAL, "child.toml"), ["method.name=supervised"])
    assert recipe.optim.keys() == {"segmenter"}
    assert recipe.optim["segmenter"].lr == 1e-3
    assert recipe.sources["optim.segmenter.lr"] == "base.toml"
    assert recipe.digest() == load_recipe(write()).digest()


def test_what_the_layer_states_itself_is_never_dropped(write: Write) -> None:
    write()
    child = write(ADVERSARIAL, "child.toml")
    line = refused(child, "method.discriminator_width=8", "method.name=supervised")
    assert "there is no key 'method.discriminator_width'" in line
    kept = load_recipe(child, ["optim.discriminator.lr=1.0", "method.name=supervised"])
    assert kept.optim["discriminator"].lr == 1.0
    assert kept.optim["discriminator"].kind == "sgd"
    assert kept.sources["optim.discriminator.kind"] == "default"


def test_the_same_name_again_and_a_mistake_keep_everything(write: Write) -> None:
    write()
    child = write(ADVERSARIAL, "child.toml")
    again = load_recipe(child, ["method.name=adversarial", "model.name=unet", "data.name=scenes"])
    assert again.resolved() == load_recipe(child).resolved()
    # A key of nobody is a mistake of the parent: not dropped in silence.
    write(BASE.replace("width = 4", "widht = 4"))
    assert "there is no key 'model.widht'" in refused(child, "model.name=deeplab_v3plus")


def test_an_option_that_both_classes_have_is_inherited() -> None:
    layer = {"model.name": ("fcn16s", "--set")}
    inherited = {
        "model.name": ("fcn32s", "a.toml"),
        "model.width": (4, "a.toml"),
        "model.weights": ("w.pth", "a.toml"),
    }
    before = dict(inherited)
    assert overlay(inherited, layer) == inherited | layer
    assert inherited == before
    backbone = {"model.name": ("deeplab_v3plus", "a.toml"), "model.backbone": ("x", "a.toml")}
    assert overlay(backbone, layer) == layer


# --set


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("train.steps=12", "train.steps", 12),
        ("train.clip=2e-3", "train.clip", 2e-3),
        ("train.clip=1", "train.clip", 1),
        ("data.split=1/8", "data.split", "1/8"),
        ('data.split="1/8"', "data.split", "1/8"),
        ("data.crop=[32, 48]", "data.crop", [32, 48]),
        ("data.crop=whole", "data.crop", "whole"),
        ("data.flip=false", "data.flip", False),
        ("data.split=file:a=b.txt", "data.split", "file:a=b.txt"),
        (" data.root =", "data.root", ""),
        ("data.split=0.125", "data.split", 0.125),
    ],
)
def test_a_change_is_read_as_toml_or_else_as_text(change: str, key: str, value: Any) -> None:
    read_key, read = parse_change(change)
    assert read_key == key
    assert read == value
    assert type(read) is type(value)


def test_changes_reach_the_recipe_and_the_last_one_wins(write: Write) -> None:
    recipe = load_recipe(
        write(),
        ["train.steps=6", "train.steps=7", "data.crop=[32, 48]", "data.flip=false", "train.clip=1"],
    )
    assert recipe.train.steps == 7
    assert recipe.data.crop == (32, 48)
    assert recipe.data.flip is False
    assert recipe.train.clip == 1.0


@pytest.mark.parametrize(
    ("change", "split"), [("0.125", "0.125"), ("1", "1"), ("1.0", "1.0"), ("1/8", "1/8")]
)
def test_a_split_may_be_written_as_a_number(change: str, split: str, write: Write) -> None:
    assert load_recipe(write(), [f"data.split={change}"]).data.split == split


def test_an_inline_table_changes_its_keys_one_by_one(write: Write) -> None:
    recipe = load_recipe(write(), ["optim.segmenter={lr = 0.5, power = 1.0}"])
    assert recipe.optim["segmenter"].kind == "adam"
    keys = ("kind", "lr", "power", "momentum")
    sources = [recipe.sources[f"optim.segmenter.{key}"] for key in keys]
    assert sources == ["base.toml", "--set", "--set", "default"]


@pytest.mark.parametrize("change", ["train.steps", "steps=3", "=3", ""])
def test_a_change_of_another_form_is_refused(change: str, write: Write) -> None:
    assert "is not of the form table.key=value" in refused(write(), change)


# Mistakes


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("train.steps=many", ["'train.steps' = 'many' (str)", "integer"]),
        ("train.steps=2.5", ["'train.steps' = 2.5 (float)"]),
        ("train.steps=true", ["'train.steps' = True (bool)"]),
        ('train.steps="5"', ["'train.steps' = '5' (str)"]),
        ("train.steps=0", ["'train.steps' = 0 (int)", "greater than 0"]),
        ("train.seed=-1", ["'train.seed' = -1 (int)"]),
        ("train.clip=-1.0", ["'train.clip' = -1.0 (float)"]),
        ("train.clip=nan", ["'train.clip' = nan", "finite"]),
        ("train.clip=inf", ["'train.clip' = inf", "finite"]),
        ("optim.segmenter.lr=nan", ["'optim.segmenter.lr' = nan", "finite"]),
        ("optim.segmenter.lr=0.0", ["'optim.segmenter.lr' = 0.0"]),
        ("optim.segmenter.weight_decay=-1e-4", ["'optim.segmenter.weight_decay'"]),
        ("optim.segmenter.kind=sdg", ["'optim.segmenter.kind' = 'sdg'", "'sgd'"]),
        ("data.crop=[32]", ["data.crop"]),
        ("data.crop=[32, -1]", ["data.crop", "-1"]),
        ("data.flip=1", ["'data.flip' = 1 (int)", "bool"]),
        ("data.split=true", ["'data.split' = True (bool)", "string"]),
        ("data.split=[1]", ["'data.split' = [1] (list)", "string"]),
        ("data.root=1", ["'data.root' = 1 (int)", "string"]),
        ("data.train=many", ["'data.train' = 'many' (str)"]),
        ("model.width=wide", ["'model.width' = 'wide' (str)"]),
        ("eval.absent=ignored", ["'eval.absent' = 'ignored'"]),
        ("eval.overlap=1.0", ["'eval.overlap' = 1.0"]),
        ("train.ema=1.0", ["'train.ema' = 1.0"]),
    ],
)
def test_a_wrong_value_is_answered_with_key_value_and_type(
    change: str, parts: list[str], write: Write
) -> None:
    line = refused(write(), change)
    assert line.startswith("recipe base: ")
    for text in parts:
        assert text in line


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ("train.step=3", "there is no key 'train.step'. Did you mean 'steps'?"),
        ("data.labeled_batch=3", "'data.labeled_batch'. Did you mean 'labelled_batch'?"),
        ("data.tarin=3", "there is no key 'data.tarin'. Did you mean 'train'?"),
        ("model.widht=3", "there is no key 'model.widht'. Did you mean 'width'?"),
        ("method.nam=3", "there is no key 'method.nam'. Did you mean 'name'?"),
        ("optim.segmenter.rl=3", "there is no key 'optim.segmenter.rl'. "),
        ("trian.steps=3", "there is no table [trian]. Did you mean 'train'?"),
        ("model.name=unnet", "no model is called 'unnet'. Did you mean 'unet'?"),
        ("method.name=supervise", "no method is called 'supervise'. Did you mean 'supervised'?"),
        ("data.name=scene", "no data set is called 'scene'. Did you mean 'scenes'?"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    change: str, answer: str, write: Write
) -> None:
    assert answer in refused(write(), change)


@pytest.mark.parametrize("table", ["data", "model", "method"])
def test_a_table_without_its_name(table: str, write: Write) -> None:
    name = {"data": "scenes", "model": "unet", "method": "supervised"}[table]
    text = BASE.replace(f'name = "{name}"\n', "")
    assert f"'{table}.name' is missing" in refused(write(text))


def test_tables_that_are_missing(write: Write) -> None:
    assert "'train.steps' is missing" in refused(write(BASE.split("[train]")[0]))
    assert "'optim.segmenter.lr' is missing" in refused(write(BASE.replace("lr = 1e-3", "")))
    without = BASE.replace('[optim.segmenter]\nkind = "adam"\nlr = 1e-3\n', "")
    recipe = load_recipe(write(without))
    method, _ = build_method(recipe, 2)
    with pytest.raises(RecipeError, match=r"\[optim\.segmenter\] is missing.*Add the table"):
        Updates(method.players(), recipe.optim)
    more = load_recipe(write(BASE + "[optim.segmentor]\nlr = 1.0\n"))
    with pytest.raises(RecipeError, match=r"no player 'segmentor'\. Did you mean 'segmenter'"):
        Updates(method.players(), more.optim)


def test_a_value_where_a_table_belongs(write: Write) -> None:
    assert "[train] must be a table, not 5" in refused(write("train = 5\n"))
    assert "[optim.segmenter] must be a table" in refused(write(), "optim.segmenter=1")
    assert "'train' is a value, no table" in refused(write("train = 5\n"), "train.steps=3")
    assert "there is no table [steps]" in refused(write("steps = 5\n"))
    assert "[optim] must be a table" in refused(write("optim = 5\n" + BASE.split("[optim")[0]))


def test_files_that_are_no_recipe(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes('[data]\nname = "Stra\xdfe"\n'.encode("latin-1"))
    assert "is not UTF-8 text" in refused(str(path))
    path.write_text("[data\n")
    line = refused(str(path))
    assert "bad.toml: is not valid TOML" in line
    assert "line 1" in line
    assert "there is no such file" in refused(str(tmp_path / "none.toml"))
    path.unlink()
    path.mkdir()
    assert "no such file" in refused(str(path))
    near = refused("quickstrat")
    assert "no recipe is called 'quickstrat'. Did you mean 'quickstart'?" in near
    assert "must end in .toml" in near


@pytest.mark.parametrize(
    "text",
    [
        f"a = {'[' * 5000}{']' * 5000}\n",
        f"a = {'{b = ' * 5000}1{'}' * 5000}\n",
        f"[{'.'.join(['a'] * 5000)}]\nb = 1\n",
    ],
    ids=["lists", "inline tables", "dotted tables"],
)
def test_a_file_that_is_nested_without_end(text: str, write: Write) -> None:
    line = refused(write(text))
    assert len(line) < 1000


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    assert load_recipe(str(path)).train.steps == 5


# The digest


def digest(name: str, *changes: str) -> str:
    return load_recipe(name, changes).digest()


@pytest.mark.parametrize(
    "change", ["train.seed=7", "data.root=/elsewhere", "data.workers=3", "data.cache=9"]
)
def test_the_digest_does_not_know_seed_folder_and_workers(change: str, write: Write) -> None:
    assert digest(write(), change) == digest(write())


def test_the_digest_knows_every_other_key(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_recipe(write())
    places = ("train.seed", "data.root", "data.workers", "data.cache", "eval.watch")
    places += ("train.regulariser_weight",)  # of a term that is off here
    places += ("train.bootstrap_label_share", "train.symmetric_alpha", "train.symmetric_beta")
    known = {base.digest()}
    resolved = base.resolved()
    for key, value in flatten(resolved).items():
        changed = unflatten(flatten(resolved) | {key: other_value(value)}, "base")
        with monkeypatch.context() as patch:
            patch.setattr(Recipe, "resolved", lambda _, tables=changed: tables)
            found = base.digest()
        assert (found in known) is (key in places), key
        known.add(found)
    assert len(known) > 40


def test_a_term_that_is_off_leaves_the_digest_as_it_was(write: Write) -> None:
    plain = digest(write())
    assert digest(write(), "train.regulariser_weight=0.5") == plain
    on = digest(write(), "train.regulariser=gated_crf")
    heavy = digest(write(), "train.regulariser=gated_crf", "train.regulariser_weight=0.5")
    assert len({plain, on, heavy}) == 3


def test_the_options_of_another_loss_leave_the_digest_as_it_was(write: Write) -> None:
    plain = digest(write())
    assert digest(write(), "train.confidence_weights=false") == plain
    assert digest(write(), "train.confidence_weights=true") != plain
    for key in ("bootstrap_label_share", "symmetric_alpha", "symmetric_beta"):
        assert digest(write(), f"train.{key}=0.5") == plain
        own = f"train.loss={key.split('_')[0]}"
        assert len({plain, digest(write(), own), digest(write(), own, f"train.{key}=0.5")}) == 3


def other_value(value: Any) -> Any:
    """Another value of the same type; nobody checks here whether it makes sense."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    return [other_value(item) for item in value] or ["x"]


def test_the_digest_knows_what_is_meant_not_how_it_is_written(write: Write) -> None:
    base = digest(write())
    assert len(base) == 10
    assert int(base, 16) >= 0
    assert digest(write("# other\n" + BASE.replace("1e-3", "0.001"))) == base
    assert digest(write(), "train.clip=0", "data.flip=true", "eval.scales=[1]") == base
    child = write('extends = "base.toml"\n', "child.toml")
    assert digest(child) == digest(write())


def test_of_initial_weights_the_content_counts(write: Write, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.pth" for name in "abc"]
    for file, content in zip(files, (b"one", b"one", b"two"), strict=True):
        file.write_bytes(content)
    a, b, c = (digest(write(), f"model.weights='{file}'") for file in files)
    assert a == b
    assert len({a, c, digest(write())}) == 3


# The schema for editors


def test_the_schema_knows_the_keys_of_every_shipped_recipe() -> None:
    schema = json.loads(json.dumps(recipe_schema()))
    tables = schema["properties"]
    for name in shipped_recipes():
        resolved = load_recipe(name).resolved()
        for table in ("data", "model", "method"):
            variant = next(
                variant
                for variant in tables[table]["anyOf"]
                if variant["properties"]["name"] == {"const": resolved[table]["name"]}
            )
            assert resolved[table].keys() <= variant["properties"].keys(), (name, table)
            assert variant["additionalProperties"] is False
        for table in ("train", "eval", *(["init"] if "init" in resolved else [])):
            assert resolved[table].keys() == tables[table]["properties"].keys()
        player = tables["optim"]["additionalProperties"]
        for settings in resolved["optim"].values():
            assert settings.keys() == player["properties"].keys()
    assert tables.keys() == {*resolved, "extends", "init", "baseline"}


def test_the_schema_says_types_limits_and_meaning() -> None:
    tables = recipe_schema()["properties"]
    steps = tables["train"]["properties"]["steps"]
    assert steps["type"] == "integer"
    assert steps["exclusiveMinimum"] == 0
    assert steps["description"] == "Optimiser steps of each player."
    for table in (tables["train"], tables["eval"], tables["optim"]["additionalProperties"]):
        for key, value in table["properties"].items():
            assert value.get("description"), key


def test_the_schema_leaves_any_key_to_the_parent() -> None:
    def required(schema: Any) -> bool:
        if isinstance(schema, dict):
            return "required" in schema or any(map(required, schema.values()))
        return isinstance(schema, list) and any(map(required, schema))

    assert not required(recipe_schema())
    for variant in recipe_schema()["properties"]["data"]["anyOf"]:
        types = {entry["type"] for entry in variant["properties"]["split"]["anyOf"]}
        assert types == {"string", "number"}


def references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [found for value in schema.values() for found in references(value)]
    if isinstance(schema, list):
        return [found for value in schema for found in references(value)]
    return []


def test_the_schema_refers_to_nothing_that_is_not_in_it() -> None:
    schema = recipe_schema()
    for reference in references(schema):
        place: Any = schema
        for key in reference.removeprefix("#/").split("/"):
            assert key in place, reference
            place = place[key]


# Text that would break the line, or the recipe that a run keeps


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace('"unet"', '"u\\net"'),
        BASE.replace("steps = 5", '"st\\neps" = 5'),
        BASE.replace("[train]", '["tr\\u2028ain"]'),
        BASE.replace("[data]", 'extends = "a\\nb"\n[data]'),
        BASE.replace("[data]", 'extends = "a\\nb.toml"\n[data]'),
        BASE.replace("steps = 5", f"steps = 0x{'f' * 5000}"),
        BASE.replace("steps = 5", "steps = 9223372036854775808"),
        BASE.replace("width = 4", f"width = [[{'9' * 30}]]"),
    ],
)
def test_what_stands_in_a_recipe_never_breaks_the_line(text: str, write: Write) -> None:
    line = refused(write(text))
    assert line.splitlines() == [line]
    assert "recipe " in line
    assert "base" in line


@pytest.mark.parametrize("change", ["a\nb", "a\n.b=1", "train.\u2028=1", "train.steps\n.a=1"])
def test_what_stands_behind_set_never_breaks_the_line(change: str, write: Write) -> None:
    line = refused(write(), change)
    assert line.splitlines() == [line]


def test_a_change_that_is_not_utf8_is_refused(write: Write) -> None:
    line = refused(write(), b"data.root=/\xff".decode("utf-8", "surrogateescape"))
    assert line == "--set data.root=/\\udcff: is not UTF-8 text."


def test_a_control_character_survives_in_the_recipe_of_a_run(write: Write) -> None:
    text = "a\x7fb\tc"
    recipe = load_recipe(write(), [f"data.root={text}"])
    assert load_recipe(write(recipe.to_toml(), "again.toml")).data.root == recipe.data.root == text


def test_a_mistake_in_what_is_set_of_the_first_stage_names_the_recipe_that_sets_it(
    write: Write,
) -> None:
    stage = '[init]\nfrom = "quickstart"\nset = ["data.tagd=5/class"]\n'
    refusal = refused(write(BASE + stage))
    assert refusal.startswith("recipe base: its first stage ([init]): recipe quickstart: ")
    assert "there is no key 'data.tagd'" in refusal


OWN = """[data]
name = "folder"
values = {0 = "background", 255 = "pet"}
[model]
name = "unet"
[method]
name = "supervised"
[optim.segmenter]
lr = 0.01
[train]
steps = 1
"""


def test_the_data_set_says_who_is_labelled_unless_the_recipe_does(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    recipe = load_recipe(str(path))
    assert recipe.data.split == "masked"
    assert recipe.sources["data.split"] == "default"
    assert recipe.data_options["values"] == {"0": "background", "255": "pet"}
    (tmp_path / "again.toml").write_text(recipe.to_toml())
    assert load_recipe(str(tmp_path / "again.toml")).digest() == recipe.digest()
    assert load_recipe(str(path), ["data.split=all"]).data.split == "all"
    other = load_recipe(str(path), ["data.name=voc"])
    assert other.data.split == "all"
    assert "values" not in other.data_options


@pytest.mark.parametrize("length", [1, 33, 34, 35, 90])
def test_a_comment_stands_apart_from_a_long_value(length: int) -> None:
    text = dump_toml({"data": {"name": "x" * length}}, {"data.name": "default"})
    assert text.splitlines()[1].endswith('x" # default') or length < 34
    assert " # default" in text


def test_tables_within_tables_without_end_are_one_line(write: Write) -> None:
    line = refused(write(), "data.flip" + ".flip" * 1000 + "=1")
    assert len(line.splitlines()) == 1
    assert "flip" in line
