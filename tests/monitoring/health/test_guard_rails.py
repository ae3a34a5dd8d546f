"""Planted failures, as real trainings: each is told within 200 steps, and healthy ones in silence.

The runs are the first 200 steps of 2,000. What is planted is a learning rate a hundred times too
high, of each player in turn; a generator that stands still; a judge that is told one answer only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from semisup.catalog import create_method, create_model
from semisup.data.loading.streams import Stream
from semisup.data.views.weak import WeakView
from semisup.errors import RecipeError, RunError
from semisup.methods.base import Method, Task
from semisup.models.base import Segmenter
from semisup.monitoring.health.checks_of_games import GRACE
from semisup.monitoring.tracker import Tracker
from semisup.monitoring.view import Record, Silent
from semisup.recipe.load import load_recipe
from semisup.runs.folder import RunFolder
from semisup.settings import OptimSettings, TrainSettings
from semisup.system.device import seed_rank
from semisup.training.checkpoint import Checkpoints
from semisup.training.loop import train
from semisup.training.state import TrainingState
from semisup.training.updates import Updates

CPU = torch.device("cpu")
CLASSES = 3
SIDE = 32
Patches = Callable[..., Any]
Plant = Callable[[Method], None]

WINDOW = 200
"""Steps within which a failure is to be told, the grace included."""


class Tiny(Segmenter):
    """Two convolutions, the first at half the resolution, with or without batch norm."""

    stride = 2

    def __init__(self, extra: int = 0, *, batch_norm: bool = True) -> None:
        super().__init__(CLASSES + extra)
        norm = nn.BatchNorm2d(8) if batch_norm else nn.Identity()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2), norm, nn.ReLU())
        self.head = nn.Conv2d(8, self.num_classes, 1)

    def encode(self, image: Tensor) -> list[Tensor]:
        return [self.body(image)]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.head(features[0])


def tiny_unet(extra: int = 0, *, batch_norm: bool = True) -> Segmenter:
    return create_model("unet", CLASSES + extra, width=4, batch_norm=batch_norm)


def plain_unet() -> Segmenter:
    return tiny_unet(batch_norm=False)


ADAM = {
    "segmenter": OptimSettings(kind="adamw", lr=3e-3),
    "discriminator": OptimSettings(kind="adam", lr=1e-3, betas=(0.9, 0.99)),
    "generator": OptimSettings(kind="adam", lr=2e-4, betas=(0.5, 0.999)),
}
DESCENT = {
    "segmenter": OptimSettings(lr=2e-2),
    "discriminator": OptimSettings(lr=3e-2),
    "generator": OptimSettings(lr=2e-2),
}
OPTIMISERS = {"adam": ADAM, "sgd": DESCENT}


def optimisers(name: str, kind: str) -> dict[str, OptimSettings]:
    """What suits the networks of a method."""
    if (name, kind) == ("gan_segmentation", "sgd"):  # a U-Net learns best at this rate
        return DESCENT | {"segmenter": OptimSettings(lr=5e-2)}
    return OPTIMISERS[kind]


METHODS: dict[str, tuple[Callable[..., Segmenter], dict[str, Any]]] = {
    "supervised": (Tiny, {}),
    "adversarial": (Tiny, {"discriminator_width": 8}),
    "s4gan": (Tiny, {"discriminator_width": 8}),
    "gan_segmentation": (tiny_unet, {"generator_width": 24}),
}


class Enough(Exception):  # noqa: N818  # nothing is wrong: the window is over
    pass


class Watcher(Silent):
    """Keeps what was logged and told, and ends the run behind the window."""

    def __init__(self, window: int) -> None:
        self._window = window
        self.told: list[tuple[int, str]] = []
        self.logged_at: dict[int, dict[str, float]] = {}
        self._done = 0
        self.folder = Path()

    def stepped(self, done: int, steps: int) -> None:
        self._done = done
        if done > self._window:
            raise Enough

    def logged(self, record: Record) -> None:
        self.logged_at[record.step] = dict(record.scalars)

    def warned(self, text: str) -> None:
        self.told.append((self._done, text))

    @property
    def texts(self) -> str:
        return "\n".join(text for _, text in self.told)


Play = Callable[..., Watcher]


@pytest.fixture
def play(patches: Patches, tmp_path: Path) -> Play:
    """Train the first steps of a run of ten times `WINDOW`."""
    data = patches([(36, 40), (40, 36), (44, 44), (33, 48), (36, 36), (40, 40)] * 2)
    parts = {"labelled": data.ids[:4], "unlabelled": data.ids[4:]}

    def train_it(
        name: str,
        optim: dict[str, OptimSettings],
        plant: Plant = lambda method: None,
        build: Callable[..., Segmenter] | None = None,
        window: int = WINDOW,
    ) -> Watcher:
        known, options = METHODS[name]
        torch.manual_seed(0)
        method = create_method(name, Task(build or known, CLASSES, (SIDE, SIDE)), **options)
        plant(method)
        seed_rank(0)
        folder = RunFolder(tmp_path / str(len(list(tmp_path.iterdir()))))
        folder.make()

        def streams(step: int) -> dict[str, Stream]:
            view = WeakView(crop=(SIDE, SIDE), scale=(0.9, 1.2), flip=True)
            return {
                stream: Stream(
                    data, parts[stream], name=stream, seed=0, batch_size=4, view=view, start=step
                )
                for stream in method.reads.streams
            }

        run = TrainingState(
            method=method,
            updates=Updates(method.players(), {p: optim[p] for p in method.players()}),
            streams=streams,
            settings=TrainSettings(steps=10 * WINDOW, checkpoint_every=10 * WINDOW),
            device=CPU,
            precision="float32",
            checkpoints=Checkpoints(folder.checkpoints),
            tracker=lambda step, checked: Tracker(folder.path, step, checked),
            fingerprint="recipe",
            view=(watcher := Watcher(window)),
        )
        with pytest.raises(Enough):
            train(run)
        watcher.folder = folder.path
        return watcher

    return train_it


def changed(
    optim: dict[str, OptimSettings], player: str, factor: float
) -> dict[str, OptimSettings]:
    """The settings with another learning rate for one player."""
    own = optim[player]
    return optim | {player: own.model_copy(update={"lr": factor * own.lr})}


# Healthy

one_kind_often = pytest.mark.parametrize(
    "kind", ["sgd", pytest.param("adam", marks=pytest.mark.slow)]
)


@one_kind_often
def test_a_healthy_supervised_run_is_silent(kind: str, play: Play) -> None:
    watcher = play("supervised", OPTIMISERS[kind])
    assert watcher.told == []
    assert not (watcher.folder / "warnings.jsonl").exists()
    tags = EventAccumulator(str(watcher.folder)).Reload().Tags()
    assert "loss/segmentation" in tags["scalars"]
    assert "warnings/text_summary" not in tags["tensors"]
    assert watcher.logged_at[WINDOW]["loss_segmentation"] < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIMISERS)
@pytest.mark.parametrize("name", ["adversarial", "s4gan", "gan_segmentation"])
def test_a_healthy_game_is_silent(name: str, kind: str, play: Play) -> None:
    watcher = play(name, optimisers(name, kind))
    assert watcher.told == []
    assert watcher.logged_at[WINDOW]["loss_segmentation"] < 0.8


# A learning rate a hundred times too high


@one_kind_often
def test_a_rate_a_hundred_times_too_high_is_told(kind: str, play: Play) -> None:
    watcher = play("supervised", changed(OPTIMISERS[kind], "segmenter", 100))
    [(step, text)] = watcher.told
    assert step <= WINDOW
    assert "'segmenter' runs away since the start" in text
    assert "divide optim.segmenter.lr" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIMISERS)
@pytest.mark.parametrize(
    ("name", "player"),
    [
        *(("adversarial", "segmenter"), ("adversarial", "discriminator")),
        *(("s4gan", "segmenter"), ("s4gan", "discriminator")),
        *(("gan_segmentation", "segmenter"), ("gan_segmentation", "generator")),
    ],
)
def test_a_rate_a_hundred_times_too_high_of_one_player_is_told(
    name: str, player: str, kind: str, play: Play
) -> None:
    optim = changed(optimisers(name, kind), player, 100)
    if player == "discriminator" and kind == "sgd":  # its weights overflow within a few steps
        with pytest.raises(RunError, match=rf"not finite since step \d+;.*optim\.{player}\.lr"):
            play(name, optim)
        return
    watcher = play(name, optim)
    assert f"'{player}' runs away since the start" in watcher.texts


@pytest.mark.slow
def test_descent_that_kills_a_network_without_batch_norm_is_told(play: Play) -> None:
    """The weights jump once and then stand; the loss stays where it was."""
    settings = {"segmenter": OptimSettings(lr=5e-3)}
    healthy = play("supervised", settings, build=plain_unet)
    assert healthy.told == []
    watcher = play("supervised", changed(settings, "segmenter", 100), build=plain_unet)
    [(step, text)] = watcher.told
    assert step <= WINDOW
    assert "'segmenter' runs away since the start" in text
    assert "loss_segmentation 1.0" in text


@pytest.mark.slow
def test_descent_at_a_hundred_times_a_careful_rate_does_a_batch_norm_network_no_harm(
    play: Play,
) -> None:
    """So nothing is told: the scale of weights before a batch norm does not matter, and they grow
    until a step is small again."""
    settings = {"segmenter": OptimSettings(lr=5e-3)}
    careful = play("supervised", settings, build=tiny_unet)
    fast = play("supervised", changed(settings, "segmenter", 100), build=tiny_unet)
    assert careful.told == fast.told == []
    losses = [run.logged_at[WINDOW]["loss_segmentation"] for run in (careful, fast)]
    assert losses[1] < losses[0]


# A generator that stands still


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"optim\.generator\.lr") as caught:
        load_recipe("scenes/gan_segmentation_unet_1-8", ["optim.generator.lr=0"])
    assert "\n" not in str(caught.value)


def test_weights_that_are_frozen_are_refused() -> None:
    name = "gan_segmentation"
    build, options = METHODS[name]
    method = create_method(name, Task(build, CLASSES, (SIDE, SIDE)), **options)
    method.get_submodule("generator").requires_grad_(False)
    with pytest.raises(RecipeError, match=r"'generator' holds weights that are frozen") as caught:
        Updates(method.players(), {p: ADAM[p] for p in method.players()})
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIMISERS)
def test_a_generator_whose_rate_is_next_to_nothing_is_told(kind: str, play: Play) -> None:
    watcher = play("gan_segmentation", changed(OPTIMISERS[kind], "generator", 1e-9))
    assert "'generator' stands still since the start" in watcher.texts
    assert "optim.generator.lr" in watcher.texts


# A judge that is told one answer


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["real", "fake"])
@pytest.mark.parametrize("name", ["adversarial", "s4gan", "gan_segmentation"])
def test_a_judge_whose_labels_are_constant_is_told(
    name: str, answer: str, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has to learn its one answer first: what is told is less than 200 steps old by then."""

    def lie(method: Method) -> None:
        game = type(method.game)
        always = getattr(game, answer)
        for told in ("real", "fake"):
            monkeypatch.setattr(game, told, always)

    optim = ADAM | {"segmenter": OptimSettings(kind="adamw", lr=1e-2)}
    watcher = play(name, optim, lie, build=Tiny, window=WINDOW + 100)
    words = ("gives real and generated input one answer", "is blind")
    [(step, text)] = [(s, t) for s, t in watcher.told if any(w in t for w in words)]
    begun = text.split(" since ")[1].split()
    since = int(begun[1]) if begun[0] == "step" else 0
    assert step <= max(GRACE, since + WINDOW - 1)


# A stream without images


def test_an_unlabelled_stream_without_images_is_refused(patches: Patches) -> None:
    data = patches([(36, 40)])
    with pytest.raises(RecipeError, match="the unlabelled stream has no images") as caught:
        Stream(data, (), name="unlabelled", seed=0, batch_size=2, view=WeakView(crop=(SIDE, SIDE)))
    assert "\n" not in str(caught.value)
