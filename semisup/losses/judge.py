"""The terms on which a maker and a judge of what it makes play: a form, and what steadies it.

What is made are class maps, by a segmenter, or images.

All of it is off by default. Where each part is from:

    label smoothing   Salimans et al. 2016, https://arxiv.org/abs/1606.03498
    gradient penalty  Mescheder et al. 2018, https://arxiv.org/abs/1801.04406: R1, at real input
    instance noise    Sønderby et al. 2017, https://arxiv.org/abs/1610.04490
    more updates      Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661: k steps of the judge
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from semisup.losses.game import (
    Form,
    belief,
    fake_loss,
    fooling_loss,
    gradient_penalty,
    real_loss,
    standing,
)
from semisup.ops.noise import with_noise


@dataclass(frozen=True)
class Game:
    """What a method's options say of its game.

    Logits are high where the judge holds its input for real. Losses have the shape of the logits,
    so that void and padding can be left out before the mean.

    Attributes:
        form: "cross_entropy", "hinge" or "least_squares".
        label_smoothing: s in [0, 1): the judge is asked for 1 - s on real input.
        gradient_penalty_weight: gamma >= 0, of R1 in the judge's loss.
        instance_noise: deviation >= 0, at the start of the run, of the noise on all that the judge
            is shown in training.
        discriminator_updates: of the judge for each of the maker, at least 1.
        saturating: whether the maker plays the minimax game; least squares have none.

    Raises:
        ValueError: an attribute is out of its range; names it and its value.
    """

    form: Form = "cross_entropy"
    label_smoothing: float = 0.0
    gradient_penalty_weight: float = 0.0
    instance_noise: float = 0.0
    discriminator_updates: int = 1
    saturating: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), but is {self.label_smoothing}")
        for name in ("gradient_penalty_weight", "instance_noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.discriminator_updates < 1:
            raise ValueError(
                f"discriminator_updates must be at least 1, but is {self.discriminator_updates}"
            )
        if self.saturating and self.form == "least_squares":
            raise ValueError(
                'saturating goes with form "cross_entropy" or "hinge": in least squares the judge '
                "asks made input for 0, and the maker would be paid to look still more like it"
            )

    def real(self, logits: Tensor) -> Tensor:
        """What the judge pays for real input."""
        return real_loss(logits, self.form, self.label_smoothing)

    def fake(self, logits: Tensor) -> Tensor:
        """What the judge pays for made input."""
        return fake_loss(logits, self.form)

    def fool(self, logits: Tensor) -> Tensor:
        """What the maker pays for its own input."""
        return fooling_loss(logits, self.form, self.saturating)

    def belief(self, logits: Tensor) -> Tensor:
        """How probable the judge holds "real", in [0, 1]."""
        return belief(logits, self.form)

    def standing(
        self, real: Tensor, fake: Tensor, valid_real: Tensor, valid_fake: Tensor
    ) -> dict[str, Tensor]:
        """How the judge stands: see `semisup.losses.game.standing`."""
        return standing(real, fake, valid_real, valid_fake, self.form)

    def shown(self, maps: Tensor, fraction: float) -> Tensor:
        """Class maps or images as the judge sees them at this share of the run."""
        return with_noise(maps, self.instance_noise, fraction)

    @contextmanager
    def real_shown(self, maps: Tensor, fraction: float) -> Iterator[Tensor]:
        """Real maps or images as the judge sees them, for a look inside of the `with` block.

        A look whose slope is penalised is taken in single precision at least, for the squares of
        slopes in half precision are mostly 0, and without torch.compile, which knows no gradient
        of a gradient.

        Args:
            maps: BChw; no gradient passes.
            fraction: share of the run that is behind.
        """
        maps = self.shown(maps.detach(), fraction)
        if self.gradient_penalty_weight == 0:
            yield maps
            return
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        with (
            torch.autocast(maps.device.type, enabled=False),
            torch.compiler.set_stance("force_eager"),
        ):
            yield maps.detach().requires_grad_()

    def penalty(
        self, logits: Tensor, maps: Tensor, weights: Tensor, places: Tensor | None = None
    ) -> Tensor:
        """What the judge pays for its slope at real input, weighted; 0 where that is off.

        Args:
            logits: of its look, B first.
            maps: what `real_shown` gave for it.
            weights: what each logit counts, of their shape but for sides of 1.
            places: bool, of the shape of `maps` but for sides of 1: where slopes count; None: all.

        Returns:
            0-d.
        """
        if self.gradient_penalty_weight == 0:
            return logits.new_zeros(())
        return self.gradient_penalty_weight * gradient_penalty(logits, maps, weights, places)
