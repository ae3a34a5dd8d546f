from __future__ import annotations

import pytest
import torch
from torch import nn

from semisup.losses.gan import DiscriminatorGame, Game, GeneratorGame
from semisup.models.adversarial.discriminators import FullyConvolutionalDiscriminator


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("r1", -1.0),
        ("instance_noise", -0.5),
        ("discriminator_updates", 0),
        ("generator_updates", 0),
    ],
)
def test_what_is_out_of_its_range_is_refused_by_name(key: str, value: float) -> None:
    kind = GeneratorGame if key == "generator_updates" else DiscriminatorGame
    with pytest.raises(ValueError, match=f"{key} must .*, but is {value}"):
        kind(**{key: value})


def test_least_squares_have_no_minimax_game() -> None:
    with pytest.raises(ValueError, match="saturating goes with loss"):
        GeneratorGame(loss="least_squares", saturating=True)


def test_off_maps_are_shown_as_they_are_and_nothing_is_paid_for_slopes() -> None:
    game, maps, random = Game(), torch.rand(2, 3, 4, 4), torch.get_rng_state()
    assert game.noisy(maps, 0.3) is maps
    with game.real_input(maps, 0.3) as shown:
        assert torch.equal(shown, maps)
        assert not shown.requires_grad
        said = shown.sum(dim=1)
    assert game.penalty(said, shown, torch.ones_like(said)).item() == 0.0
    assert torch.equal(random, torch.get_rng_state())


def test_real_and_made_maps_take_the_same_noise() -> None:
    game, maps = Game(instance_noise=0.5), torch.rand(2, 3, 4, 4)
    torch.manual_seed(0)
    made = game.noisy(maps, 0.6)
    torch.manual_seed(0)
    with game.real_input(maps, 0.6) as real:
        assert torch.equal(real, made)
    torch.manual_seed(0)
    assert torch.allclose(made - maps, 0.2 * torch.randn(2, 3, 4, 4), atol=1e-6)


def test_a_penalty_by_hand() -> None:
    """Logit = 3 p_0 at each of 8 valid pixels of 16: slopes of 3/8, of which there are 8."""
    game, maps = Game(r1=4.0), torch.rand(2, 3, 4, 4)
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[:, :2] = True
    with game.real_input(maps, 0.0) as shown:
        said = 3 * shown[:, 0]
    assert game.penalty(said, shown, valid).item() == pytest.approx(4 * 0.5 * 8 * (3 / 8) ** 2)
    assert not maps.requires_grad


def test_what_a_logit_sees_of_padding_counts_where_no_place_is_left_out() -> None:
    """Logit = 3 times the pixel itself + 2 times the one two rows below, which is padding."""
    game, maps = Game(r1=4.0), torch.rand(2, 3, 4, 4)
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[:, :2] = True
    with game.real_input(maps, 0.0) as shown:
        said = 3 * shown[:, 0] + 2 * shown[:, 0].roll(-2, dims=1)
    own, below = 8 * (3 / 8) ** 2, 8 * (2 / 8) ** 2
    everywhere = game.penalty(said, shown, valid)
    assert everywhere.item() == pytest.approx(4 * 0.5 * (own + below))
    assert game.penalty(said, shown, valid, valid[:, None]).item() == pytest.approx(4 * 0.5 * own)


def test_a_look_whose_slope_is_penalised_is_not_in_half_precision() -> None:
    layer, maps = nn.Conv2d(3, 1, 1), torch.rand(2, 3, 4, 4)
    for weight, expected in ((0.0, torch.bfloat16), (1.0, torch.float32)):
        with torch.autocast("cpu", torch.bfloat16):
            with Game(r1=weight).real_input(maps, 0.0) as shown:
                assert layer(shown).dtype == expected
            assert layer(maps).dtype == torch.bfloat16
    with Game(r1=1.0).real_input(maps.bfloat16(), 0.0) as shown:
        assert shown.dtype == torch.float32


@pytest.mark.slow
def test_a_compiled_judge_can_be_penalised() -> None:
    judge = FullyConvolutionalDiscriminator(3, width=2)
    judge.compile(backend="aot_eager")
    game, maps = Game(r1=1.0), torch.rand(2, 3, 32, 32)
    with game.real_input(maps, 0.0) as shown:
        real = judge(shown)
    loss = game.penalty(real, shown, torch.ones_like(real)) + game.fake(judge(maps)).mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in judge.parameters())
