"""Optimisers, learning rates, accumulation and clipping: one road from a loss to a weight."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from semisup.errors import RecipeError, RunError
from semisup.models.base import ParameterGroup
from semisup.settings import OptimSettings
from semisup.training.optimisers import make_optimiser
from semisup.training.schedules import rate_factor
from semisup.training.updates import Updates
from semisup.types import Progress

KINDS = ("sgd", "adam", "adamw", "rmsprop")


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


def single(weight: nn.Parameter, optim: OptimSettings, **options: Any) -> Updates:
    return Updates({"player": [ParameterGroup([weight])]}, {"player": optim}, **options)


def constant(lr: float = 0.1, **options: Any) -> OptimSettings:
    return OptimSettings(lr=lr, schedule="constant", **{"momentum": 0.0} | options)


def factors(optim: OptimSettings, steps: int) -> list[float]:
    return [rate_factor(optim, Progress(step, steps)) for step in range(steps)]


# Whose weights move


def test_only_the_players_own_parameters_move() -> None:
    one, two, frozen = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    groups = {k: [ParameterGroup(list(m.parameters()))] for k, m in (("one", one), ("two", two))}
    updates = Updates(groups, {"one": constant(), "two": constant()})
    before = copy.deepcopy((one, two, frozen))
    updates.begin(Progress(0, 2))
    # The loss depends on all three networks.
    updates("one", two(frozen(one(torch.ones(1, 2)))).square().sum())
    assert not torch.equal(one.weight, before[0].weight)
    assert torch.equal(two.weight, before[1].weight)
    assert torch.equal(frozen.weight, before[2].weight)
    assert [p.grad for p in (*one.parameters(), *two.parameters())] == [None] * 4
    moved = one.weight.detach().clone()
    updates("two", two(one(torch.ones(1, 2))).square().sum())
    assert torch.equal(one.weight, moved)
    assert not torch.equal(two.weight, before[1].weight)


def test_the_graph_that_is_kept_serves_the_next_player() -> None:
    """One pass through both: the maker is stepped, the judge behind it has not moved."""
    maker, judge = nn.Linear(2, 2), nn.Linear(2, 1)
    players = {"maker": maker, "judge": judge}
    groups = {k: [ParameterGroup(list(m.parameters()))] for k, m in players.items()}
    updates = Updates(groups, dict.fromkeys(players, constant()))
    made = maker(torch.ones(1, 2))
    look = judge(made)
    expected = judge.weight.detach() - 0.1 * made.detach()
    updates.begin(Progress(0, 1))
    updates("maker", -look.sum(), keep_graph=True)
    updates("judge", look.sum())
    assert torch.allclose(judge.weight, expected)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        updates("judge", look.sum())


def test_several_updates_a_step_are_not_accumulated() -> None:
    weight = parameter(1.0)
    updates = single(weight, constant(), accumulate=2)
    for micro in range(2):
        updates.begin(Progress(0, 1), micro)
        updates("player", weight.sum())
    with pytest.raises(RecipeError, match=r"'player' more than once .*accumulate = 2 .* to 1"):
        updates("player", weight.sum())
    alone = single(weight, constant())
    alone.begin(Progress(0, 1))
    for _ in range(2):
        alone("player", weight.sum())


def test_a_parameter_that_the_loss_does_not_reach_stays_where_it_is() -> None:
    used, unused = parameter(1.0), parameter(1.0)
    groups = {"player": [ParameterGroup([used, unused])]}
    updates = Updates(groups, {"player": constant(weight_decay=0.5)})
    updates.begin(Progress(0, 1))
    updates("player", used.sum())
    assert used.item() == pytest.approx(1 - 0.1 * (1 + 0.5))
    assert unused.item() == 1.0


def test_groups_scale_the_learning_rate_and_the_weight_decay() -> None:
    plain, head, bias = parameter(1.0), parameter(1.0), parameter(1.0)
    groups = [
        ParameterGroup([plain]),
        ParameterGroup([head], lr_scale=10.0),
        ParameterGroup([bias], lr_scale=2.0, decay_scale=0.0),
        ParameterGroup([]),
    ]
    updates = Updates({"player": groups}, {"player": constant(lr=0.01, weight_decay=0.5)})
    updates.begin(Progress(0, 1))
    updates("player", 3 * (plain + head + bias).sum())
    assert plain.item() == pytest.approx(1 - 0.01 * (3 + 0.5))
    assert head.item() == pytest.approx(1 - 0.1 * (3 + 0.5))
    assert bias.item() == pytest.approx(1 - 0.02 * 3)


def test_the_schedule_acts_on_every_group_and_on_each_player_by_its_own_table() -> None:
    weights = {name: [parameter(0.0), parameter(0.0)] for name in ("one", "two")}
    groups = {
        name: [ParameterGroup([a]), ParameterGroup([b], lr_scale=10.0)]
        for name, (a, b) in weights.items()
    }
    optim = {
        "one": OptimSettings(lr=0.1, momentum=0.0, schedule="poly", power=1.0),
        "two": constant(lr=0.2),
    }
    updates = Updates(groups, optim)
    for step in range(4):
        updates.begin(Progress(step, 4))
        for name, (a, b) in weights.items():
            updates(name, -(a + b).sum())
    travelled = 0.1 * (1 + 0.75 + 0.5 + 0.25)
    assert [w.item() for w in weights["one"]] == pytest.approx([travelled, 10 * travelled])
    assert [w.item() for w in weights["two"]] == pytest.approx([0.8, 8.0])
    assert updates.reports()["lr/one"].item() == pytest.approx(0.025)
    assert updates.reports()["lr/two"].item() == pytest.approx(0.2)


# Schedules


def test_poly_falls_as_a_power_of_what_is_left() -> None:
    found = factors(OptimSettings(lr=1.0, schedule="poly", power=0.9), 10)
    assert found == pytest.approx([((10 - step) / 10) ** 0.9 for step in range(10)])
    assert found[0] == 1.0
    assert found[-1] == pytest.approx(0.1**0.9)


def test_cosine_falls_from_one_by_half_a_wave() -> None:
    found = factors(OptimSettings(lr=1.0, schedule="cosine"), 8)
    assert found[0] == 1.0
    assert found[2] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert found[4] == pytest.approx(0.5)
    assert found[7] == pytest.approx((1 + math.cos(7 * math.pi / 8)) / 2)


def test_step_multiplies_at_its_milestones() -> None:
    optim = OptimSettings(lr=1.0, schedule="step", milestones=(0.3, 0.7), gamma=0.1)
    found = factors(optim, 10)
    assert found == pytest.approx([1.0] * 3 + [0.1] * 4 + [0.01] * 3)


def test_exponential_falls_by_one_factor_a_step_down_to_gamma() -> None:
    """x 0.995 an epoch is gamma = 0.995 ** epochs, whatever the length of an epoch."""
    found = factors(OptimSettings(lr=1.0, schedule="exponential", gamma=0.995**750), 3 * 750)
    assert found[0] == 1.0
    assert found[::3] == pytest.approx([0.995**epoch for epoch in range(750)])
    assert factors(OptimSettings(lr=1.0, schedule="exponential", gamma=0.01), 4) == pytest.approx(
        [1.0, 0.1**0.5, 0.1, 0.1**1.5]
    )


def test_constant_stays() -> None:
    assert factors(OptimSettings(lr=1.0, schedule="constant"), 5) == [1.0] * 5


def test_warm_up_rises_linearly_and_multiplies_the_schedule() -> None:
    flat = factors(OptimSettings(lr=1.0, schedule="constant", warmup=0.4), 10)
    assert flat == pytest.approx([0.25, 0.5, 0.75, 1.0] + [1.0] * 6)
    poly = OptimSettings(lr=1.0, schedule="poly", power=1.0)
    warm = poly.model_copy(update={"warmup": 0.4})
    both = [f * p for f, p in zip(flat, factors(poly, 10), strict=True)]
    assert factors(warm, 10) == pytest.approx(both)


@pytest.mark.parametrize("schedule", ["poly", "cosine", "step", "exponential", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_no_step_is_lost_to_a_rate_of_zero(schedule: Any, steps: int) -> None:
    for warmup in (0.0, 0.3, 1.0):
        found = factors(OptimSettings(lr=1.0, schedule=schedule, warmup=warmup), steps)
        assert all(0 < factor <= 1 for factor in found)


# Accumulation and clipping


@pytest.mark.parametrize("kind", KINDS)
def test_equal_batches_accumulated_are_one_batch(kind: Any) -> None:
    ends = []
    for parts in (1, 3):
        weight = parameter(1.0, -2.0)
        updates = single(weight, constant(kind=kind), accumulate=parts)
        for step in range(4):
            for micro in range(parts):
                updates.begin(Progress(step, 4), micro)
                updates("player", weight.square().sum())
        ends.append(weight.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-6, atol=0)


def test_accumulated_gradients_are_averaged_and_the_weights_move_at_the_last_batch() -> None:
    weight = parameter(0.0)
    updates = single(weight, constant(lr=1.0), accumulate=4)
    for micro, slope in enumerate((1.0, 2.0, 3.0, 6.0)):
        assert weight.item() == 0.0
        updates.begin(Progress(0, 1), micro)
        updates("player", slope * weight.sum())
    assert weight.item() == -3.0
    assert weight.grad is None


@pytest.mark.parametrize(("clip", "moved"), [(0.0, [-3.0, -4.0]), (1.0, [-0.6, -0.8]), (9.0, None)])
def test_gradients_are_clipped_by_their_norm_and_only_downwards(
    clip: float, moved: list[float] | None
) -> None:
    weight = parameter(0.0, 0.0)
    updates = single(weight, constant(lr=1.0), clip=clip)
    updates.begin(Progress(0, 1), measure=True)
    updates("player", (weight * torch.tensor([3.0, 4.0])).sum())
    assert weight.tolist() == pytest.approx(moved or [-3.0, -4.0], rel=1e-5)
    assert updates.reports()["gradient_norm/player"].item() == pytest.approx(5.0)


def test_the_norm_is_of_the_averaged_gradient_and_of_one_player_alone() -> None:
    weights = {"one": parameter(0.0), "two": parameter(0.0)}
    groups = {name: [ParameterGroup([weight])] for name, weight in weights.items()}
    tables = {"one": constant(lr=1.0), "two": constant(lr=1.0)}
    updates = Updates(groups, tables, accumulate=2, clip=2.0)
    for micro, slope in enumerate((10.0, 30.0)):
        updates.begin(Progress(0, 1), micro)
        updates("one", slope * weights["one"].sum())
        updates("two", weights["two"].sum())
    assert updates.reports()["gradient_norm/one"].item() == pytest.approx(20.0)
    assert weights["one"].item() == pytest.approx(-2.0)
    assert weights["two"].item() == pytest.approx(-1.0)


def test_measuring_changes_no_weight_and_is_not_done_unasked() -> None:
    ends = []
    for measure in (True, False):
        weight = parameter(1.0, 2.0)
        updates = single(weight, constant(kind="adam"))
        updates.begin(Progress(0, 1), measure=measure)
        updates("player", weight.square().sum())
        for name in ("gradient_norm", "update_ratio", "weight_growth"):
            assert (f"{name}/player" in updates.reports()) is measure
        ends.append(weight.detach())
    assert torch.equal(*ends)


def test_the_ratio_is_of_the_change_to_the_weights_and_of_one_player_alone() -> None:
    weights = {"one": [parameter(3.0), parameter(0.0, 4.0)], "two": [parameter(1.0)]}
    groups = {name: [ParameterGroup(held)] for name, held in weights.items()}
    updates = Updates(groups, {name: constant(lr=0.1) for name in weights})
    updates.begin(Progress(0, 2), measure=True)
    updates("one", weights["one"][0].sum() + 2 * weights["one"][1].sum())
    reports = updates.reports()
    assert reports["update_ratio/one"].item() == pytest.approx(0.1 * 3 / 5)
    # 3 - 0.1, 0 - 0.2 and 4 - 0.2
    growth = math.sqrt(2.9**2 + 0.2**2 + 3.8**2) / 5
    assert reports["weight_growth/one"].item() == pytest.approx(growth)
    assert not any(name.endswith("/two") for name in reports if not name.startswith("lr/"))
    updates.begin(Progress(1, 2), measure=True)
    updates("two", weights["two"][0].sum())
    assert updates.reports()["update_ratio/two"].item() == pytest.approx(0.1)
    assert "update_ratio/one" not in updates.reports()  # it was not updated in this step
    assert "gradient_norm/one" not in updates.reports()


def test_the_ratio_is_of_the_step_that_the_optimiser_took() -> None:
    weight = parameter(2.0)
    updates = single(weight, constant(lr=0.1), accumulate=2, clip=0.5)
    for micro in range(2):
        updates.begin(Progress(0, 1), micro, measure=True)
        updates("player", 10 * weight.sum())
        assert ("update_ratio/player" in updates.reports()) is (micro == 1)
    assert updates.reports()["update_ratio/player"].item() == pytest.approx(0.05 / 2, rel=1e-4)


def test_the_ratios_of_weights_that_stand_still_or_begin_with_0_are_finite() -> None:
    still, zero = parameter(2.0), parameter(0.0)
    groups = {name: [ParameterGroup([w])] for name, w in (("still", still), ("zero", zero))}
    updates = Updates(groups, {name: constant() for name in groups})
    updates.begin(Progress(0, 1), measure=True)
    updates("still", 0.0 * still.sum())
    updates("zero", zero.sum())
    reports = {name: value.item() for name, value in updates.reports().items()}
    assert (reports["update_ratio/still"], reports["weight_growth/still"]) == (0.0, 1.0)
    assert (reports["update_ratio/zero"], reports["weight_growth/zero"]) == (0.0, 0.0)


def test_growth_is_counted_from_the_start_of_the_run_and_not_from_where_it_goes_on() -> None:
    def step(updates: Updates, weight: nn.Parameter, number: int) -> float:
        updates.begin(Progress(number, 9), measure=True)
        updates("player", -weight.sum())
        return updates.reports()["weight_growth/player"].item()

    weight = parameter(1.0)
    first = single(weight, constant(lr=1.0))
    assert [step(first, weight, number) for number in (0, 1)] == [2.0, 3.0]
    state = copy.deepcopy(first.state_dict())
    for known, expected in ((True, 4.0), (False, pytest.approx(4 / 3))):
        moved = parameter(3.0)
        second = single(moved, constant(lr=1.0))
        if not known:
            del state["start"]  # as in older checkpoints
        second.load_state_dict(state)
        assert step(second, moved, 2) == expected


# Optimisers


def by_hand(
    kind: str, weight: float, gradients: Sequence[float], alpha: float = 0.99, eps: float = 1e-8
) -> float:
    """Two steps of each optimiser, from the papers' formulae; lr 0.1, decay 0.01."""
    lr, decay, momentum, (beta, gamma) = 0.1, 0.01, 0.9, (0.8, 0.95)
    m = v = 0.0
    for t, given in enumerate(gradients, start=1):
        g = given if kind == "adamw" else given + decay * weight
        if kind == "sgd":
            m = momentum * m + g
            weight -= lr * m
        elif kind == "rmsprop":
            v = alpha * v + (1 - alpha) * g * g
            m = momentum * m + g / (math.sqrt(v) + eps)
            weight -= lr * m
        else:
            if kind == "adamw":
                weight -= lr * decay * weight
            m, v = beta * m + (1 - beta) * g, gamma * v + (1 - gamma) * g * g
            corrected = math.sqrt(v / (1 - gamma**t)) + eps
            weight -= lr * m / (1 - beta**t) / corrected
    return weight


@pytest.mark.parametrize("more", [{}, {"alpha": 0.9}, {"eps": 0.5}])
@pytest.mark.parametrize("kind", KINDS)
def test_each_optimiser_takes_the_steps_of_its_formula(kind: Any, more: dict[str, float]) -> None:
    weight = parameter(0.5)
    optim = constant(kind=kind, momentum=0.9, betas=[0.8, 0.95], weight_decay=0.01, **more)
    updates = single(weight, optim)
    for step, slope in enumerate((2.0, -1.0, 0.5)):
        updates.begin(Progress(step, 3))
        updates("player", slope * weight.sum())
    expected = by_hand(kind, 0.5, (2.0, -1.0, 0.5), **more)
    assert weight.item() == pytest.approx(expected, rel=1e-5)


def test_an_eps_of_1e_3_is_nearly_one_of_1e_6_under_the_root() -> None:
    """Lasagne adds eps under the root: a recipe of its time asks for the root of its eps."""
    for slope in (1e-5, 1e-4, 1e-3, 1e-2, 1.0):
        weight = parameter(0.0)
        updates = single(weight, constant(kind="rmsprop", alpha=0.0, eps=1e-3))
        updates.begin(Progress(0, 1))
        updates("player", slope * weight.sum())
        under = -0.1 * slope / math.sqrt(slope**2 + 1e-6)
        assert 0.7 <= weight.item() / under <= 1.0


def test_nesterov_looks_ahead() -> None:
    weight = parameter(0.0)
    updates = single(weight, constant(momentum=0.9, nesterov=True))
    updates.begin(Progress(0, 1))
    updates("player", weight.sum())
    assert weight.item() == pytest.approx(-0.1 * (1 + 0.9))


@pytest.mark.parametrize("kind", KINDS)
def test_optimisers_are_fused_where_torch_has_it(kind: Any) -> None:
    made = make_optimiser(constant(kind=kind), [ParameterGroup([parameter(1.0)])])
    assert made.param_groups[0].get("fused", False) is (kind != "rmsprop")


# Tables


def test_a_table_for_no_player_is_refused_with_the_nearest_name() -> None:
    groups = {name: [ParameterGroup([parameter(1.0)])] for name in ("segmenter", "discriminator")}
    optim = {"segmenter": constant(), "discriminater": constant()}
    with pytest.raises(RecipeError, match=r"\[optim.discriminater\].*mean 'discriminator'"):
        Updates(groups, optim)


def test_a_missing_table_is_named_with_the_players() -> None:
    groups = {name: [ParameterGroup([parameter(1.0)])] for name in ("segmenter", "discriminator")}
    with pytest.raises(
        RecipeError, match=r"\[optim.discriminator\] is missing.*discriminator, segmenter"
    ):
        Updates(groups, {"segmenter": constant()})


# What is not finite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_step_with_a_bad_loss_is_named_with_its_player(value: float) -> None:
    good, bad = parameter(1.0), parameter(1.0)
    groups = {"good": [ParameterGroup([good])], "bad": [ParameterGroup([bad])]}
    updates = Updates(groups, {"good": constant(), "bad": constant()})
    for step in range(6):
        updates.begin(Progress(step, 6))
        updates("good", good.sum())
        updates("bad", bad.sum() * (value if step in (3, 5) else 1.0))
        if step == 2:
            updates.check_finite()
    with pytest.raises(RunError, match=r"'bad' is not finite since step 3;.*optim\.bad\.lr"):
        updates.check_finite()


def test_weights_that_overflow_while_the_loss_does_not_are_found() -> None:
    weight = parameter(1.0)
    updates = single(weight, constant(lr=3e38))
    updates.begin(Progress(0, 1))
    updates("player", 10 * weight.sum())
    updates.check_finite()
    with pytest.raises(RunError, match=r"weights of 'player' are not finite after step 1;"):
        updates.check_weights(1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_waits_for_nothing_and_a_check_does(kind: Any, synchronisations: Any) -> None:
    weight = parameter(1.0, 2.0)
    updates = single(weight, constant(kind=kind), clip=1.0, accumulate=2)
    with synchronisations() as waits:
        for step in range(3):
            for micro in range(2):
                updates.begin(Progress(step, 3), micro, measure=True)
                updates("player", weight.square().sum())
        updates.reports()
        assert waits.seen == []
        updates.check_finite()
        assert len(waits.seen) == 1
        updates.check_weights(3)
        assert len(waits.seen) == 2


# Precision and state


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_loss_out_of_autocast_moves_float32_weights(precision: Any) -> None:
    layer = nn.Linear(4, 1)
    groups = {"player": [ParameterGroup(list(layer.parameters()))]}
    updates = Updates(groups, {"player": constant()}, precision=precision, clip=1.0)
    before = layer.weight.detach().clone()
    updates.begin(Progress(0, 1))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        output = layer(torch.ones(2, 4))
        assert output.dtype is (torch.bfloat16 if precision == "bf16" else torch.float32)
        updates("player", output.float().square().sum())
    updates.check_finite()
    assert layer.weight.dtype is torch.float32
    assert not torch.equal(layer.weight, before)


@pytest.mark.gpu
def test_fp16_scales_the_loss_and_skips_a_step_that_overflows() -> None:
    weight = nn.Parameter(torch.tensor([1.0], device="cuda"))
    updates = single(weight, constant(lr=0.1), precision="fp16")
    updates.begin(Progress(0, 2))
    updates("player", weight.sum())
    assert weight.item() == pytest.approx(0.9)
    scale = updates.state_dict()["scalers"]["player"]["scale"]
    assert scale > 1
    updates.begin(Progress(1, 2))
    updates("player", (weight * 3e38).sum())  # finite, but not once it is scaled
    assert weight.item() == pytest.approx(0.9)
    assert updates.state_dict()["scalers"]["player"]["scale"] < scale


TABLES = [{"kind": kind} for kind in KINDS]
AS_LASAGNE = {"kind": "rmsprop", "alpha": 0.9, "eps": 1e-3, "schedule": "exponential"}


@pytest.mark.parametrize(
    "table", [*TABLES, AS_LASAGNE], ids=lambda table: "-".join(map(str, table.values()))
)
def test_the_state_of_the_optimisers_goes_round(table: dict[str, Any]) -> None:
    def steps(updates: Updates, weight: Tensor, first: int, last: int) -> None:
        for step in range(first, last):
            updates.begin(Progress(step, 6))
            updates("player", (weight - 3).square().sum())

    whole = parameter(1.0, 2.0)
    optim = OptimSettings(lr=0.1, warmup=0.5, **table)
    steps(single(whole, optim), whole, 0, 6)
    weight = parameter(1.0, 2.0)
    first = single(weight, optim)
    steps(first, weight, 0, 3)
    state = copy.deepcopy(first.state_dict())
    second = single(weight, optim)
    second.load_state_dict(state)
    steps(second, weight, 3, 6)
    assert torch.equal(weight, whole)
    # Without the state it would be another run: the test can fail.
    other = parameter(1.0, 2.0)
    steps(single(other, optim), other, 0, 3)
    steps(single(other, optim), other, 3, 6)
    assert not torch.equal(other, whole)


def test_a_forward_after_an_update_sees_the_new_weights_under_autocast() -> None:
    torch.manual_seed(0)
    network = nn.Linear(4, 4)
    updates = Updates(
        {"one": [ParameterGroup(list(network.parameters()))]},
        {"one": OptimSettings(lr=1.0, momentum=0.0, schedule="constant")},
    )
    updates.begin(Progress(0, 1))
    x = torch.ones(1, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        updates("one", network(x).float().sum())
        within = network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fresh = network(x)
    assert torch.equal(within, fresh)
