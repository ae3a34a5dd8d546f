"""What steadies the game of a segmenter and a judge of class maps, in the methods that have one."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.methods import create
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.adversarial.discriminators import (
    FullyConvolutionalDiscriminator,
    ImageDiscriminator,
)
from semisup.models.adversarial.luc_discriminator import Adversary
from semisup.settings import OptimSettings
from semisup.training.updates import Updates
from semisup.types import IGNORE, Batch, Progress

CLASSES, STEPS, RATE = 3, 2, 0.05
LATE = Progress(90, 100)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

JUDGES = {
    "adversarial": "discriminator",
    "adversarial_luc": "adversary",
    "s4gan": "discriminator",
    "s4gan_multi_label": "discriminator",
}
TUNED: dict[str, dict[str, Any]] = {
    "adversarial": {"confidence_threshold": 0.5},
    "adversarial_luc": {"discriminator_width": 2},
    "s4gan": {"confidence_threshold": 0.4},
    "s4gan_multi_label": {"confidence_threshold": 0.4},
}
"""Thresholds that the toy judges trust some predictions by, and not others; and small networks."""

ON: dict[str, Any] = {
    "spectral_norm": True,
    "label_smoothing": 0.2,
    "r1": 10.0,
    "instance_noise": 0.5,
    "discriminator_updates": 3,
}

every_method = pytest.mark.parametrize("name", JUDGES)

Build = Callable[..., Any]
MakeBatch = Callable[..., Batch]


@pytest.fixture
def build(segmenters: dict[str, Callable[[], Any]]) -> Build:
    def build(name: str, kind: str = "plain", **options: Any) -> Any:
        torch.manual_seed(0)
        given = TUNED[name] | options
        method = create(name, segmenters[kind], CLASSES, (32, 32), **given).train()
        for layer in getattr(method, JUDGES[name]).modules():
            if isinstance(layer, nn.Dropout2d):
                layer.p = 0.0
        return method

    return build


def sgd(method: Any) -> Updates:
    settings = OptimSettings(kind="sgd", lr=RATE, momentum=0.0, schedule="constant")
    return Updates(method.players(), dict.fromkeys(method.players(), settings))


# The whole against the textbook: separate looks, plain networks, the spectral norm written out


class Judge:
    """A plain network whose weights are divided by their singular values from the outside.

    Args:
        network: without a spectral norm.
        bounded: the same with torch's, whose weights and vectors are copied.
    """

    def __init__(self, network: nn.Module, bounded: nn.Module) -> None:
        self.network = network
        state = {key: value.clone() for key, value in bounded.state_dict().items()}
        names = {key: key.replace("weight", "parametrizations.weight") for key in weights(network)}
        self.own = {key: state[f"{name}.original"] for key, name in names.items()}
        self.own |= {key: state[key] for key in network.state_dict() if key not in names}
        self.u = {key: state[f"{name}.0._u"] for key, name in names.items()}
        self.v = {key: state[f"{name}.0._v"] for key, name in names.items()}
        for value in self.own.values():
            value.requires_grad_()

    def look(self, *given: Tensor, as_in: dict[str, Any] | None = None) -> Any:
        """What it says, and by which vectors; with those of an earlier look it repeats that."""
        if as_in is None:
            for key in self.u:
                matrix = self.own[key].detach().flatten(1)
                self.u[key] = F.normalize(matrix @ self.v[key], dim=0)
                self.v[key] = F.normalize(matrix.T @ self.u[key], dim=0)
        vectors = as_in or {"u": dict(self.u), "v": dict(self.v)}
        shown = {
            key: value / (vectors["u"][key] @ value.flatten(1) @ vectors["v"][key])
            if key in self.u
            else value
            for key, value in self.own.items()
        }
        return torch.func.functional_call(self.network, shown, given), vectors


def weights(network: nn.Module) -> list[str]:
    return [key for key in network.state_dict() if key.endswith("weight")]


class Rules:
    """What each side pays, by the papers."""

    def __init__(self, loss: str, options: dict[str, Any]) -> None:
        self.loss = loss
        self.smoothing = options["label_smoothing"]
        self.gamma = options["r1"]
        self.sigma = options["instance_noise"]
        self.times = options["discriminator_updates"]

    def real(self, x: Tensor) -> Tensor:
        s = self.smoothing
        return {
            "cross_entropy": lambda: (1 - s) * F.softplus(-x) + s * F.softplus(x),
            "hinge": lambda: F.relu(1 - s - x),
            "least_squares": lambda: (x - 1 + s) ** 2,
        }[self.loss]()

    def fake(self, x: Tensor) -> Tensor:
        return {
            "cross_entropy": lambda: F.softplus(x),
            "hinge": lambda: F.relu(1 + x),
            "least_squares": lambda: x**2,
        }[self.loss]()

    def fool(self, x: Tensor) -> Tensor:
        return {
            "cross_entropy": lambda: F.softplus(-x),
            "hinge": lambda: -x,
            "least_squares": lambda: (x - 1) ** 2,
        }[self.loss]()

    def belief(self, x: Tensor) -> Tensor:
        return x.detach().clamp(0, 1) if self.loss == "least_squares" else x.detach().sigmoid()

    def noise(self, maps: Tensor, fraction: float) -> Tensor:
        return self.sigma * (1 - fraction) * torch.randn(maps.shape, dtype=maps.dtype)

    def penalty(self, of_each: Tensor, maps: Tensor, known: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(of_each.sum(), maps, create_graph=True)
        slope = slope * known
        return self.gamma * (slope**2).sum(dim=(1, 2, 3)).mean() / 2


Descend = Callable[[str, Tensor], None]


def in_colour(image: Tensor) -> Tensor:
    mean, std = (torch.tensor(v, dtype=image.dtype).view(3, 1, 1) for v in (MEAN, STD))
    return image * std + mean


def one_hot_without_holes(mask: Tensor, said: Tensor) -> Tensor:
    full = torch.where(mask == IGNORE, said.argmax(1), mask)
    return F.one_hot(full, CLASSES).permute(0, 3, 1, 2).double()


def adversarial(
    m: Any, s: nn.Module, d: Judge, rules: Rules, batch: Batch, t: float, descend: Descend
) -> None:
    """Hung et al. 2018, late in the run."""
    image, mask, free = batch.labelled.image, batch.labelled.mask, batch.unlabelled
    known = mask != IGNORE
    logits, others = s(image), s(free.image)
    soft = logits.softmax(1)
    noise = rules.noise(soft, t)
    fake, vectors = d.look(soft + noise)
    other, _ = d.look(others.softmax(1) + rules.noise(soft, t))
    trusted = free.valid & (rules.belief(other[:, 0]) > m.confidence_threshold)
    taught = F.cross_entropy(others, others.argmax(1), reduction="none")[trusted]
    descend(
        "segmenter",
        F.cross_entropy(logits, mask, ignore_index=IGNORE)
        + m.adversarial_weight * rules.fool(fake[:, 0])[known].mean()
        + m.adversarial_weight_unlabelled * rules.fool(other[:, 0])[free.valid].mean()
        + m.self_taught_weight * taught.sum() / max(1, len(taught)),
    )
    soft = soft.detach()
    for number in range(rules.times):
        noise = rules.noise(soft, t) if number else noise
        fake, _ = d.look(soft + noise, as_in=None if number else vectors)
        truth = one_hot_without_holes(mask, soft)
        truth = (truth + rules.noise(truth, t)).requires_grad_()
        real, _ = d.look(truth)
        of_each = (real[:, 0] * known).sum((1, 2)) / known.sum((1, 2))
        halves = rules.real(real[:, 0])[known].mean() + rules.fake(fake[:, 0])[known].mean()
        descend("discriminator", 0.5 * halves + rules.penalty(of_each, truth, known[:, None]))


def adversarial_luc(
    m: Any, s: nn.Module, d: Judge, rules: Rules, batch: Batch, t: float, descend: Descend
) -> None:
    """Luc et al. 2016, at full resolution with the small view of 18 x 18 pixels."""
    image, mask = batch.labelled.image, batch.labelled.mask
    colours = in_colour(image)
    around = F.pad((mask != IGNORE)[:, None].double(), (7, 7, 7, 7))
    share = F.avg_pool2d(around, 18, stride=4)[:, 0]
    logits = s(image)
    soft = logits.softmax(1)
    noise = rules.noise(soft, t)
    fake, vectors = d.look(soft + noise, colours)
    descend(
        "segmenter",
        F.cross_entropy(logits, mask, ignore_index=IGNORE)
        + m.adversarial_weight * (rules.fool(fake) * share).sum() / share.sum(),
    )
    soft = soft.detach()
    for number in range(rules.times):
        noise = rules.noise(soft, t) if number else noise
        fake, _ = d.look(soft + noise, colours, as_in=None if number else vectors)
        truth = one_hot_without_holes(mask, soft)
        truth = (truth + rules.noise(truth, t)).requires_grad_()
        real, _ = d.look(truth, colours)
        of_each = (real * share).sum((1, 2)) / share.sum((1, 2))
        halves = ((rules.real(real) + rules.fake(fake)) * share).sum() / share.sum()
        known = (mask != IGNORE)[:, None]
        descend("adversary", 0.5 * halves + rules.penalty(of_each, truth, known))


def s4gan(
    m: Any, s: nn.Module, d: Judge, rules: Rules, batch: Batch, t: float, descend: Descend
) -> None:
    """Mittal et al. 2019 without its classifier."""
    image, mask, free = batch.labelled.image, batch.labelled.mask, batch.unlabelled
    shown = free.valid[:, None].double()
    logits, others = s(image), s(free.image)
    soft = others.softmax(1)
    noises = [rules.noise(soft, t), rules.noise(soft, t)]
    (score, made), vectors = d.look((soft + noises[0]) * shown, in_colour(free.image) * shown)
    truth = one_hot_without_holes(mask, logits)
    (_, true), of_truth = d.look(truth + noises[1], in_colour(image))
    trusted = free.valid & (rules.belief(score) > m.confidence_threshold)[:, None, None]
    taught = F.cross_entropy(others, others.argmax(1), reduction="none")[trusted]
    descend(
        "segmenter",
        F.cross_entropy(logits, mask, ignore_index=IGNORE)
        + m.feature_matching_weight * (made.mean(0) - true.detach().mean(0)).abs().mean()
        + m.self_taught_weight * taught.sum() / max(1, len(taught)),
    )
    soft = soft.detach()
    for number in range(rules.times):
        if number:
            noises = [rules.noise(soft, t), rules.noise(soft, t)]
        maps = (soft + noises[0]) * shown
        (fake, _), _ = d.look(
            maps, in_colour(free.image) * shown, as_in=None if number else vectors
        )
        maps = (truth + noises[1]).requires_grad_()
        (real, _), _ = d.look(maps, in_colour(image), as_in=None if number else of_truth)
        halves = rules.real(real).mean() + rules.fake(fake).mean()
        descend("discriminator", 0.5 * halves + rules.penalty(real, maps, torch.ones(())))


TEXTBOOK = {"adversarial": adversarial, "adversarial_luc": adversarial_luc, "s4gan": s4gan}
PLAIN: dict[str, Callable[[], nn.Module]] = {
    "adversarial": lambda: FullyConvolutionalDiscriminator(CLASSES, width=8),
    "adversarial_luc": lambda: Adversary(CLASSES, view="small", width=2),
    "s4gan": lambda: ImageDiscriminator(CLASSES, width=8).eval(),  # without dropout
}


def distance_after_some_steps(
    name: str, build: Build, make_batch: MakeBatch, loss: str = "cross_entropy", **other: Any
) -> dict[str, float]:
    """Player -> the largest distance of a weight to the textbook's, where all of them are on.

    Args:
        other: what the method is told in place of that.
    """
    fast = build(name, loss=loss, **(ON | other)).double()
    bounded = build(name, loss=loss, **ON).double()
    s, judge = copy.deepcopy(fast.segmenter), getattr(fast, JUDGES[name])
    d = Judge(PLAIN[name]().double(), getattr(bounded, JUDGES[name]))
    updates = sgd(fast)
    optimisers = {
        "segmenter": torch.optim.SGD(
            [{"params": g.params, "lr": RATE * g.lr_scale} for g in s.parameter_groups()]
        ),
        JUDGES[name]: torch.optim.SGD(d.own.values(), lr=RATE),
    }

    def descend(player: str, loss: Tensor) -> None:
        optimisers[player].zero_grad()
        loss.backward()
        optimisers[player].step()

    for step in range(STEPS):
        batch, progress = make_batch(step, dtype=torch.float64), Progress(60 + step, 100)
        torch.manual_seed(step)
        updates.begin(progress)
        fast.step(batch, progress, updates)
        torch.manual_seed(step)
        TEXTBOOK[name](fast, s, d, Rules(loss, ON), batch, progress.fraction, descend)
    original = ((key.replace("parametrizations.", ""), p) for key, p in judge.named_parameters())
    theirs = [(p, d.own[key.replace("weight.original", "weight")]) for key, p in original]
    own = zip(fast.segmenter.parameters(), s.parameters(), strict=True)
    return {
        player: max(float((a - b).detach().abs().max()) for a, b in both)
        for player, both in (("segmenter", own), ("judge", theirs))
    }


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("adversarial", "cross_entropy"),
        ("adversarial", "hinge"),
        ("adversarial", "least_squares"),
        ("adversarial_luc", "hinge"),
        ("adversarial_luc", "cross_entropy"),
        ("s4gan", "cross_entropy"),
        ("s4gan", "least_squares"),
    ],
)
def test_some_steps_with_all_of_them_on_are_those_of_the_textbook(
    name: str, loss: str, build: Build, make_batch: MakeBatch
) -> None:
    found = distance_after_some_steps(name, build, make_batch, loss)
    assert max(found.values()) < 1e-10


@pytest.mark.parametrize("key", ON)
def test_the_textbook_knows_when_one_of_them_is_off(
    key: str, build: Build, make_batch: MakeBatch
) -> None:
    """The update is one function for all methods: one of them is enough."""
    off = {key: 1 if key == "discriminator_updates" else 0 * ON[key]}
    off = {"spectral_norm": False} if key == "spectral_norm" else off
    assert distance_after_some_steps("adversarial", build, make_batch, **off)["judge"] > 1e-7


# Off and on


@every_method
@pytest.mark.parametrize(
    ("key", "value"), [*ON.items(), ("loss", "hinge"), ("loss", "least_squares")]
)
def test_each_of_them_changes_what_the_judge_learns(
    name: str, key: str, value: Any, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    vectors = []
    for options in ({}, {key: value}):
        method = build(name, **options).double()
        update = gradients(method)
        torch.manual_seed(1)
        method.step(make_batch(dtype=torch.float64), Progress(60, 100), update)
        vectors.append(update.vector(JUDGES[name]))
    assert float((vectors[0] - vectors[1]).norm()) > 1e-6 * float(vectors[0].norm())


@every_method
def test_off_no_number_is_drawn_and_no_slope_asked_for(
    name: str, build: Build, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, before = build(name), torch.get_rng_state()
    slopes: list[Tensor] = []
    monkeypatch.setattr("torch.autograd.grad", lambda *given, **_: slopes.append(given[0]))
    players: list[str] = []
    method.step(make_batch(), LATE, lambda player, loss, keep_graph=False: players.append(player))
    assert torch.equal(before, torch.get_rng_state())
    assert not slopes
    assert players[:2] == ["segmenter", JUDGES[name]]
    assert players[2:] == (["classifier"] if name == "s4gan_multi_label" else [])


@every_method
def test_further_updates_of_the_judge_come_last_and_are_not_what_is_reported(
    name: str, build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    def one_step(times: int) -> tuple[list[str], dict[str, Tensor], list[Tensor]]:
        method = build(name, discriminator_updates=times)
        updates, players = make_updates(method, kind="sgd", lr=0.5), []

        def update(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
            players.append(player)
            updates(player, loss, keep_graph=keep_graph)

        updates.begin(LATE)
        scalars = dict(method.step(make_batch(), LATE, update))
        return players, scalars, [*getattr(method, JUDGES[name]).parameters()]

    (players, once, one), (more, thrice, three) = one_step(1), one_step(3)
    judge = JUDGES[name]
    assert more == [*players[:2], judge, judge, *players[2:]]
    assert players[:2] == ["segmenter", judge]
    assert once.keys() == thrice.keys()
    assert all(torch.equal(once[key], thrice[key]) for key in once)
    assert not any(map(torch.equal, one, three))


@every_method
def test_the_penalty_is_reported_beside_the_loss(
    name: str, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    names = {"adversarial_luc": "loss_adversary"}
    found = []
    for gamma in (0.0, 7.0, 14.0):
        method = build(name, r1=gamma)
        update = gradients(method)
        scalars = method.step(make_batch(), LATE, update)
        paid, penalty = (
            scalars[names.get(name, "loss_discriminator")],
            scalars["loss_gradient_penalty"],
        )
        assert float(update.losses[JUDGES[name]].detach()) == pytest.approx(float(paid + penalty))
        found.append((float(paid), float(penalty)))
    assert found[0][1] == 0.0
    assert found[2][1] == pytest.approx(2 * found[1][1])
    assert found[1][1] > 0
    assert found[0][0] == pytest.approx(found[1][0])


@every_method
@pytest.mark.parametrize("void", [False, True])
def test_with_all_of_them_on_nothing_breaks_in_half_precision(
    name: str, void: bool, build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    """A look at ground truth whose slope is penalised is not in half precision."""
    method = build(name, "full", **ON)
    looks: list[torch.dtype] = []
    getattr(method, JUDGES[name]).register_forward_hook(
        lambda _m, _i, said: looks.append((said if isinstance(said, Tensor) else said[1]).dtype)
    )
    first = next(m for m in getattr(method, JUDGES[name]).modules() if isinstance(m, nn.Conv2d))
    types: list[torch.dtype] = []
    first.register_forward_hook(lambda _m, _i, maps: types.append(maps.dtype))
    updates = make_updates(method)
    for progress in (Progress(0, 100), LATE):
        updates.begin(progress)
        with torch.autocast("cpu", torch.bfloat16):
            scalars = method.step(make_batch(void=void), progress, updates)
        assert [key for key, value in scalars.items() if not torch.isfinite(value)] == []
    updates.check_finite()
    updates.check_weights(1)
    assert types.count(torch.float32) == 2 * ON["discriminator_updates"]
    assert types.count(torch.bfloat16) >= 2 * ON["discriminator_updates"]


@pytest.mark.parametrize("name", TEXTBOOK)
def test_void_pixels_have_no_say_in_the_slope(
    name: str, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    """An image that is void everywhere is as if it were not there."""
    batch = make_batch(dtype=torch.float64)
    batch.labelled.mask[1] = IGNORE
    found = []
    for image in (batch.labelled.image[1], 3 * batch.labelled.image[0]):
        batch.labelled.image[1] = image
        method = build(name, r1=100.0).double()
        update = gradients(method)
        method.step(batch, LATE, update)
        found.append(update.vector(JUDGES[name]))
    assert torch.allclose(*found, rtol=1e-10, atol=1e-13)


@every_method
def test_the_slope_at_ground_truth_is_made_smaller(
    name: str, build: Build, make_batch: MakeBatch
) -> None:
    """One update of the judge by next to nothing but the penalty."""
    method = build(name, r1=1e8)
    judge = getattr(method, JUDGES[name])
    found: list[Tensor] = []

    def update(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        if player == JUDGES[name]:
            found.append(loss)

    for _ in range(2):
        method.step(make_batch(), LATE, update)
        if len(found) == 1:
            held = list(judge.parameters())
            slopes = torch.autograd.grad(found[0], held, allow_unused=True)
            moves = [torch.zeros_like(p) if g is None else g for p, g in zip(held, slopes)]  # noqa: B905
            norm = nn.utils.get_total_norm(moves)
            with torch.no_grad():
                for p, move in zip(held, moves, strict=True):
                    p.sub_(1e-3 * move / norm)
    before, after = (float(loss.detach()) for loss in found)
    assert before > 100, "the penalty is not most of the loss"
    assert after < before


@every_method
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loss", "wasserstein"),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("r1", -1.0),
        ("instance_noise", -0.1),
        ("discriminator_updates", 0),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(
    name: str, key: str, value: Any, build: Build
) -> None:
    with pytest.raises(RecipeError, match=f"{name}.*{key}.*{value}"):
        build(name, **{key: value})


@pytest.mark.parametrize("name", ["adversarial", "s4gan"])
def test_with_all_of_them_on_a_saved_method_goes_on_bit_for_bit(
    name: str, build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    def steps(method: Any, updates: Updates, some: range) -> None:
        for step in some:
            updates.begin(Progress(step, 4))
            method.step(make_batch(step), Progress(step, 4), updates)

    method = build(name, **ON)
    updates = make_updates(method)
    steps(method, updates, range(2))
    file = io.BytesIO()
    torch.save([method.state_dict(), updates.state_dict(), torch.get_rng_state()], file)
    file.seek(0)
    steps(method, updates, range(2, 4))
    other = build(name, **ON)
    other_updates = make_updates(other)
    of_method, of_updates, random = torch.load(file, weights_only=True)
    other.load_state_dict(of_method)
    other_updates.load_state_dict(of_updates)
    torch.set_rng_state(random)
    steps(other, other_updates, range(2, 4))
    expected = method.state_dict()
    assert all(torch.equal(expected[key], value) for key, value in other.state_dict().items())


# Trust

SELF_TAUGHT = ("adversarial", "s4gan", "s4gan_multi_label")


@contextmanager
def looking(method: Any) -> Iterator[None]:
    """As the engine asks: in eval mode and without gradient."""
    method.eval()
    with torch.no_grad():
        yield
    method.train()


@pytest.mark.parametrize("name", SELF_TAUGHT)
@pytest.mark.parametrize("loss", ["cross_entropy", "least_squares"])
def test_trusted_are_the_predictions_that_the_judge_believes(
    name: str, loss: str, build: Build, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    method = build(name, loss=loss, spectral_norm=True, instance_noise=0.3)
    seen: list[Tensor] = []
    hook = method.discriminator.register_forward_hook(
        lambda _m, _i, said: seen.append(said[0] if isinstance(said, tuple) else said[:, 0])
    )
    with looking(method):
        logits = method.segmenter(batch.unlabelled.image)
        method.confidence_threshold = 0.0
        assert method.pseudo_labels(batch.unlabelled.image) is not None
    hook.remove()
    (said,) = seen
    if loss == "least_squares":  # as it begins, near 0, what it says is no probability
        last = method.discriminator.get_submodule("layers.8" if name == "adversarial" else "score")
        shift = 0.5 - said.mean()
        with torch.no_grad():
            last.bias += shift
        said = said + shift
    believed = said.clamp(0, 1) if loss == "least_squares" else said.sigmoid()
    method.confidence_threshold = float(believed.mean())
    expected = believed > method.confidence_threshold
    if name != "adversarial":
        expected = expected[:, None, None].expand(2, 32, 32)
    state, random = copy.deepcopy(method.state_dict()), torch.get_rng_state()
    with looking(method):
        labels = method.pseudo_labels(batch.unlabelled.image)
    trusted = labels != IGNORE
    assert torch.equal(labels[trusted], logits.argmax(1)[trusted])
    assert 0 < int(trusted.sum()) < trusted.numel() == 2 * 32 * 32
    assert torch.equal(trusted, expected)
    assert all(torch.equal(state[key], value) for key, value in method.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("name", SELF_TAUGHT)
def test_nothing_is_trusted_where_nothing_is_self_taught(
    name: str, build: Build, make_batch: MakeBatch
) -> None:
    method, image = build(name, self_taught_weight=0.0), make_batch().unlabelled.image
    with looking(method):
        assert method.pseudo_labels(image) is None


def test_a_method_that_teaches_itself_nothing_trusts_nothing(
    build: Build, make_batch: MakeBatch
) -> None:
    image = make_batch().labelled.image
    method = build("adversarial_luc")
    assert method.pseudo_labels(image) is None


@pytest.mark.parametrize("name", ["adversarial", "s4gan"])
def test_the_trust_of_least_squares_is_what_the_judge_says(
    name: str, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    """A judge that says 0.6 everywhere, whose sigmoid is 0.65."""
    image = make_batch().unlabelled.image
    for threshold, loss, share in (
        (0.55, "least_squares", 1.0),
        (0.62, "least_squares", 0.0),
        (0.62, "cross_entropy", 1.0),
        (0.66, "cross_entropy", 0.0),
        (0.62, "hinge", 1.0),
    ):
        method = build(name, loss=loss, confidence_threshold=threshold)
        last = method.discriminator.get_submodule("layers.8" if name == "adversarial" else "score")
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, 0.6)
        scalars = method.step(make_batch(), LATE, gradients(method))
        assert float(scalars["self_taught_share"]) == share, (threshold, loss)
        with looking(method):
            trusted = method.pseudo_labels(image) != IGNORE
        assert float(trusted.float().mean()) == share, (threshold, loss)


@every_method
def test_pictures_of_least_squares_are_what_the_judge_says_in_0_1(
    name: str, build: Build, make_batch: MakeBatch
) -> None:
    method, batch = build(name, loss="least_squares"), make_batch()
    judge = getattr(method, JUDGES[name])
    last = judge.score if hasattr(judge, "score") else judge.layers[-1]
    nn.init.zeros_(last.weight)
    for said, shown in ((0.3, 0.3), (1.7, 1.0), (-0.2, 0.0)):
        nn.init.constant_(last.bias, said)
        with looking(method):
            (picture,) = method.pictures(batch, method.segmenter(batch.labelled.image)).values()
        assert torch.allclose(picture, torch.full((2, 1, 32, 32), shown))
