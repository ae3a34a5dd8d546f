"""The surface that scripts lean on: names are a promise, so a change here is a decision."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
import torch
from click.testing import CliRunner
from support.commands import is_understood

import semisup
from semisup.catalog import DATASETS, METHODS, MODELS, create_dataset
from semisup.cli.main import cli
from semisup.errors import RecipeError
from semisup.methods.base import Task
from semisup.recipe.load import shipped_recipes

RECIPE = {"--set", "--device", "--out", "--data-root"}

COMMANDS: dict[str, tuple[list[str], set[str]]] = {
    "": ([], {"--version"}),
    "run": (
        ["RECIPE"],
        RECIPE | {"--seed", "--seeds", "--split", "--weights", "--json", "--plugin", "--digest"},
    ),
    "ablate": (
        ["STUDY"],
        RECIPE
        | {"--plan", "--jobs", "--retry", "--no-probe", "--executor", "--json", "--plugin"}
        | {"--slurm", "--detach"},
    ),
    "runs": (["WORDS"], {"--sort", "--where", "--mlflow", "--json", "--out"}),
    "compare": (
        ["RUNS"],
        {"--baseline", "--score", "--to", "--sheet", "--out", "--data-root"},
    ),
    "report": (
        ["RUNS"],
        {"--out", "--baseline", "--score", "--title", "--confusion", "--pictures"}
        | {"--runs", "--data-root"},
    ),
    "evaluate": (
        ["RUN"],
        RECIPE | {"--subset", "--data", "--step", "--seed", "--crf", "--json", "--plugin"},
    ),
    "predict": (
        ["RUN", "IMAGES"],
        RECIPE
        | {"--to", "--overlay", "--soft", "--submission", "--competition", "--seed", "--step"}
        | {"--explain", "--classes", "--crf", "--samples", "--plugin", "--overwrite", "--coco"}
        | {"--json"},
    ),
    "label": (
        ["RUN"],
        {"--out", "--threshold", "--subset", "--only", "--tags", "--runs", "--count", "--step"}
        | {"--seed", "--crf", "--set", "--device", "--data-root", "--plugin", "--json"},
    ),
    "samples": (
        ["RUN"],
        {
            "--count",
            "--backbone",
            "--weights",
            "--seed",
            "--device",
            "--out",
            "--data-root",
            "--plugin",
        },
    ),
    "export": (
        ["RUN"],
        {"--format", "--to", "--size", "--overwrite", "--step", "--seed", "--out", "--data-root"}
        | {"--plugin"},
    ),
    "show": (["RECIPE"], {"--set", "--changed", "--json", "--plugin"}),
    "list": (["KIND", "WORDS"], {"--json", "--plugin"}),
    "init": (["FOLDER"], {"--seed", "--weights", "--overwrite"}),
    "data": ([], set()),
    "data fetch": (["NAME"], {"--data-root"}),
    "data verify": (
        ["NAME"],
        {"--subset", "--json", "--unlabelled", "--masks", "--option", "--data-root", "--plugin"},
    ),
    "data import": (["SOURCE"], {"--to", "--format", "--empty"}),
    "data make": (["NAME"], {"--option", "--data-root"}),
    "data split": (
        ["NAME", "SPEC"],
        {"--seed", "--subset", "--tags", "--tagged", "--to", "--masks", "--option", "--data-root"}
        | {"--plugin", "--explain", "--lists", "--json"},
    ),
    "data stats": (["NAME"], {"--subset", "--json", "--option", "--data-root", "--plugin"}),
    "data tags": (["NAME"], {"--from", "--to", "--subset", "--option", "--data-root", "--plugin"}),
    "data weaken": (
        ["NAME"],
        {"--kind", "--with", "--from", "--seed", "--out", "--costs", "--count", "--subset"}
        | {"--option", "--data-root", "--plugin"},
    ),
    "data show": (
        ["NAME"],
        {"--subset", "--count", "--to", "--unlabelled", "--masks", "--option", "--data-root"}
        | {"--plugin"},
    ),
    "check": (["NAME"], {"--kind", "--option", "--data-root", "--plugin"}),
    "monitor": (["RUNS"], {"--port", "--host"}),
    "doctor": ([], {"--data-root", "--json", "--plugin"}),
    "schema": ([], {"--plugin"}),
}
"""Command -> its arguments in order, and its options (all have --help too)."""


def walk(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for key, inner in command.commands.items():
            yield from walk(inner, f"{name} {key}".strip())


FOUND = dict(walk(cli))


def help_of(name: str) -> str:
    done = CliRunner().invoke(cli, [*name.split(), "--help"], prog_name="semisup")
    assert done.exit_code == 0, done.output
    return done.output


def test_commands() -> None:
    assert FOUND.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", FOUND)
def test_arguments_and_options(name: str) -> None:
    arguments = [p.human_readable_name for p in FOUND[name].params if isinstance(p, click.Argument)]
    options = {opt for p in FOUND[name].params if isinstance(p, click.Option) for opt in p.opts}
    known_arguments, known_options = COMMANDS[name]
    assert [argument.upper() for argument in arguments] == known_arguments
    assert options == known_options


@pytest.mark.parametrize("name", FOUND)
def test_help_says_what_it_does_and_shows_an_example(name: str) -> None:
    text = help_of(name)
    assert FOUND[name].help
    examples = re.findall(rf"^ +(semisup {name}.*)$", text, flags=re.MULTILINE)
    assert examples, f"'semisup {name} --help' shows no example"
    for example in examples:
        assert is_understood(example.split(" > ")[0].split()[1:]), example


@pytest.mark.parametrize("name", ["run", "evaluate", "predict", "label", "samples", "show"])
def test_help_names_recipes_that_exist(name: str) -> None:
    named = re.findall(rf"^ +semisup {name} (\S+)", help_of(name), flags=re.MULTILINE)
    others = ("runs/", "studies/")
    recipes = {word for word in named if not word.startswith(others) and ".toml" not in word}
    assert recipes
    assert recipes <= shipped_recipes().keys()


@pytest.mark.parametrize("name", [name for name in FOUND if FOUND[name].params])
def test_every_option_but_a_plain_seed_has_a_help_text(name: str) -> None:
    for parameter in FOUND[name].params:
        if isinstance(parameter, click.Option) and parameter.name not in ("seed", "count", "port"):
            assert parameter.help, f"semisup {name} {parameter.opts[0]} has no help"


@pytest.mark.parametrize("name", [name for name in FOUND if isinstance(FOUND[name], click.Group)])
def test_help_of_a_group_fits_80_columns_uncut(name: str) -> None:
    done = CliRunner().invoke(cli, [*name.split(), "--help"], terminal_width=80)
    listed = done.output.partition("Commands:")[2].partition("Examples:")[0].splitlines()
    lines = [line for line in listed if line.strip()]
    assert len(lines) == len(FOUND[name].commands), "a description takes more than its line"
    for line in lines:
        assert len(line) <= 80, line
        assert not line.endswith("..."), line


def test_version() -> None:
    done = CliRunner().invoke(cli, ["--version"])
    assert done.output.strip() == f"semisup, version {semisup.__version__}"


def test_a_misspelt_command_is_suggested() -> None:
    done = CliRunner().invoke(cli, ["evalute", "quickstart"])
    assert done.exit_code == 2
    assert "No such command 'evalute'. Did you mean 'evaluate'?" in done.output


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (
            MODELS,
            {"fcn32s", "fcn16s", "fcn8s", "fcn8s_at_once", "unet", "deeplab_v3plus"}
            | {"deconvnet", "decouplednet", "fcn8s_mobilenet_v2"}
            | {"deeplab_v2", "dpt", "pspnet"}
            | {"enet", "linknet", "segnet", "segnet_basic", "bayesian_segnet"}
            | {"mask_rcnn", "unet3d", "gfrnet", "lraspp", "refinenet"}
            | {"fc_densenet56", "fc_densenet67", "fc_densenet103"},
        ),
        (
            METHODS,
            {"supervised", "adversarial", "adversarial_luc"}
            | {"decouplednet", "decouplednet_classifier", "decouplednet_joint"}
            | {"gan_segmentation", "gan_segmentation_weak"}
            | {"mask_rcnn", "partial_cross_entropy", "s4gan", "s4gan_multi_label"}
            | {"cps", "cutmix_seg", "fixmatch", "mean_teacher", "unimatch"}
            | {"cam", "wssl", "wssl_tags"},
        ),
        (
            DATASETS,
            {"ade20k", "camvid", "cityscapes", "coco", "folder", "isbi2012", "nyudv2"}
            | {"scenes", "stack", "sunrgbd", "voc"},
        ),
    ],
    ids=["models", "methods", "datasets"],
)
def test_names_of_the_catalogue(table: dict[str, type], names: set[str]) -> None:
    assert set(table) == names
    assert list(table) == sorted(table)
    for cls in table.values():
        assert (cls.__doc__ or "").strip(), f"{cls.__name__}: `semisup list` has nothing to say"


@pytest.mark.parametrize("name", MODELS)
def test_models_from_the_top_level_package(name: str) -> None:
    with torch.device("meta"):
        model = semisup.create_model(name, num_classes=5).eval()
        image = torch.empty(1, 3, 64, 64)
        assert type(model) is MODELS[name]
        if model.static_part is not model:  # values decide the sizes of the rest
            assert model.encode(image)
            return
        logits = model(image)
    assert logits.shape == (1, 5, 64, 64)


@pytest.mark.parametrize("name", METHODS)
def test_methods_from_the_top_level_package(name: str) -> None:
    with torch.device("meta"):
        own = [model for model, cls in MODELS.items() if name in cls.trained_by]
        network, width = (own[0], 64) if own else ("unet", 4)
        task = Task(
            lambda extra=0: semisup.create_model(network, num_classes=5 + extra, width=width),
            num_classes=5,
            crop=(64, 64),
        )
        method = semisup.create_method(name, task)
    assert type(method) is METHODS[name]
    assert method.predictor() is not None


def test_options_from_python() -> None:
    model = semisup.create_model("unet", num_classes=2, width=4, batch_norm=True)
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules())
    with pytest.raises(RecipeError, match=r"unet: there is no key 'widht'\. Did you mean 'width'"):
        semisup.create_model("unet", num_classes=2, widht=4)
    with pytest.raises(RecipeError, match=r"unet: 'width' = '4' \(str\)"):
        semisup.create_model("unet", num_classes=2, width="4")


@pytest.mark.parametrize(
    ("create", "name", "line"),
    [
        ("create_model", "fcn8", "no model is called 'fcn8'. Did you mean 'fcn8s'?"),
        ("create_method", "advesarial", "no method is called 'advesarial'. Did you mean 'adv"),
        ("create_dataset", "camvit", "no data set is called 'camvit'. Did you mean 'camvid'?"),
        ("create_dataset", "qqqq", f"no data set is called 'qqqq'. Known: {', '.join(DATASETS)}."),
    ],
)
def test_a_misspelt_name_is_suggested(create: str, name: str, line: str) -> None:
    arguments = {
        "create_model": (3,),
        "create_method": (Task(semisup.create_model, 3),),
        "create_dataset": (),
    }[create]
    with pytest.raises(RecipeError, match=re.escape(line)):
        getattr(semisup, create)(name, *arguments)


def test_the_top_level_package_has_what_it_says_and_no_more() -> None:
    assert set(semisup.__all__) == {
        *("__version__", "create_dataset", "create_method", "create_model"),
        *("evaluate", "load_recipe", "open_run", "predict", "predict_files", "run"),
        *("ablate", "compare", "export", "label", "read_run", "report"),
        *("Task", "register"),
    }
    assert set(semisup.__all__) <= set(dir(semisup))
    for name in semisup.__all__:
        assert getattr(semisup, name) is not None
    assert semisup.create_dataset is create_dataset
    with pytest.raises(AttributeError, match="no attribute 'create_modle'"):
        semisup.create_modle  # noqa: B018
