"""GAN losses, given the discriminator's logits.

A logit is high where the judge holds its input for real. Three forms of the game, each as a map of
losses of the shape of the logits, so that void and padding can be left out before the mean:

    cross_entropy   Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, non-saturating
    hinge           Lim and Ye 2017, https://arxiv.org/abs/1705.02894
    least_squares   Mao et al. 2017, https://arxiv.org/abs/1611.04076

Stabilisers, all of them off by default:

    label smoothing   Salimans et al. 2016, https://arxiv.org/abs/1606.03498
    gradient penalty  Mescheder et al. 2018, https://arxiv.org/abs/1801.04406: R1, at real input
    instance noise    Sønderby et al. 2017, https://arxiv.org/abs/1610.04490; Arjovsky and Bottou
                      2017, https://arxiv.org/abs/1701.04862: two distributions of images or class
                      maps hardly overlap, so that a discriminator parts them without fail and
                      teaches nothing; noise on both makes them overlap
    more updates      Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661: k steps of the judge
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.segmentation import masked_mean
from semisup.system.distributed import mean_over_ranks

Form = Literal["cross_entropy", "hinge", "least_squares"]


def real_loss(logits: Tensor, form: Form = "cross_entropy", smoothing: float = 0.0) -> Tensor:
    """What the judge pays for real input: least where it calls it real.

    Args:
        logits: any shape.
        form: of the game.
        smoothing: s in [0, 1): the answer that is asked for is 1 - s, of real input alone
            (Salimans et al. 2016, https://arxiv.org/abs/1606.03498). A hinge has no answer to
            smooth: there the margin becomes 1 - s.
    """
    target = 1.0 - smoothing
    if form == "cross_entropy":
        return F.binary_cross_entropy_with_logits(
            logits, torch.full_like(logits, target), reduction="none"
        )
    return F.relu(target - logits) if form == "hinge" else (logits - target).square()


def fake_loss(logits: Tensor, form: Form = "cross_entropy") -> Tensor:
    """What the judge pays for made input: least where it calls it made."""
    if form == "cross_entropy":
        return F.softplus(logits)
    return F.relu(1.0 + logits) if form == "hinge" else logits.square()


def fooling_loss(logits: Tensor, form: Form = "cross_entropy", saturating: bool = False) -> Tensor:
    """What the maker pays for its own input: least where the judge calls it real.

    Args:
        logits: any shape.
        form: of the game.
        saturating: minus what the judge pays, the minimax game of the 2014 paper, whose gradient
            fades as the judge wins. Least squares have none: the judge's loss is least at 0, so
            that below it the maker would be paid to look still more like made input.
    """
    assert not (saturating and form == "least_squares"), "least squares have no minimax game"
    if saturating:
        return -fake_loss(logits, form)
    if form == "cross_entropy":
        return F.softplus(-logits)
    return -logits if form == "hinge" else (logits - 1.0).square()


def feature_distance(made: Tensor, real: Tensor) -> Tensor:
    """Feature matching (Salimans et al. 2016): L1 distance of the batches' mean features.

    Where several processes share a batch, the means are those of the whole batch: a mean of
    distances is not the distance of the means.

    Args:
        made: B x anything, features of the judge; pooled over places if they have any.
        real: B' x the same; no gradient passes.

    Returns:
        0-d: the mean over features. Zero for equal batches.
    """
    return (_mean_of_batch(made) - _mean_of_batch(real.detach())).abs().mean()


def _mean_of_batch(rows: Tensor) -> Tensor:
    """The mean over all processes' rows, whose gradients stay with the own ones."""
    own = rows.mean(dim=0)
    return mean_over_ranks(own.detach()) + (own - own.detach())


def gradient_penalty(
    logits: Tensor,
    real: Tensor,
    weights: Tensor | None = None,
    places: Tensor | None = None,
) -> Tensor:
    """R1 (Mescheder et al. 2018, https://arxiv.org/abs/1801.04406): E |d D / d real|^2 / 2.

    Where inputs have a say in one another's logits, as in a judge with batch norm in train mode, it
    is the slope of the batch's sum in each input, and so goes with the size of the batch.

    Args:
        logits: the judge's, any shape with B first; averaged over all but B.
        real: B x anything, what they were computed from; must require a gradient.
        weights: of the shape of `logits` but for sides of 1, bool or >= 0: what each logit counts
            in that average; None counts all alike. An input without any weight is left out.
        places: bool, of the shape of `real` but for sides of 1: where slopes count, so that padding
            has no say, near which a logit may lie that has a weight; None counts all.

    Returns:
        0-d, with a graph: it is to be minimised in the judge. Multiply by gamma.
    """
    weights = torch.ones_like(logits) if weights is None else weights.to(logits)
    weights = weights.reshape(len(logits), -1)
    total = weights.sum(dim=1)
    # A backward pass under autocast would take products of the judge's weights in half precision.
    with torch.autocast(logits.device.type, enabled=False):
        per_input = (logits.reshape(weights.shape) * weights).sum(dim=1) / total.clamp(min=1e-12)
        (gradient,) = torch.autograd.grad(per_input.sum(), real, create_graph=True)
    if places is not None:
        gradient = gradient.masked_fill(~places, 0.0)
    return 0.5 * masked_mean(gradient.square().flatten(1).sum(dim=1), total > 0)


def belief(logits: Tensor, form: Form = "cross_entropy") -> Tensor:
    """How probable the judge holds "real"; where least squares ask for 1 or 0, what it says.

    Args:
        logits: any shape.
        form: of the game.

    Returns:
        The same shape, in [0, 1].
    """
    return logits.clamp(0, 1) if form == "least_squares" else logits.sigmoid()


def standing(
    real: Tensor,
    fake: Tensor,
    valid_real: Tensor | None = None,
    valid_fake: Tensor | None = None,
    form: Form = "cross_entropy",
) -> dict[str, Tensor]:
    """How the judge stands, to be reported; the names are those that the engine watches.

    Args:
        real: logits on real input, any shape.
        fake: logits on made input, any shape.
        valid_real: bool of the shape of `real`, False where there is nothing to judge.
        valid_fake: likewise.
        form: of the game: least squares asks for 1 and 0, the others for a sign.

    Returns:
        `d_real` and `d_fake`, the mean probability of "real" of each (least squares: what is said
        of it, between 0 and 1), and `d_accuracy`, the mean of the shares of both that are judged
        rightly: 0.5 where the judge is blind, 1 where it has won. 0-d and detached.
    """
    real, fake = (belief(logits.detach().float(), form) for logits in (real, fake))
    valid_real = torch.ones_like(real, dtype=torch.bool) if valid_real is None else valid_real
    valid_fake = torch.ones_like(fake, dtype=torch.bool) if valid_fake is None else valid_fake
    right = masked_mean((real > 0.5).float(), valid_real)
    right = right + masked_mean((fake <= 0.5).float(), valid_fake)
    return {
        "d_real": masked_mean(real, valid_real),
        "d_fake": masked_mean(fake, valid_fake),
        "d_accuracy": 0.5 * right,
    }


@dataclass(frozen=True)
class Game:
    """Options of an adversarial game: its loss and its stabilisers.

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
        """How the judge stands: see `semisup.losses.gan.standing`."""
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


def with_noise(tensor: Tensor, sigma: float, fraction: float) -> Tensor:
    """`tensor` and Gaussian noise that fades in a straight line over the run; gradients pass.

    Args:
        tensor: any shape, floating point.
        sigma: deviation of the noise at the start of the run; with 0 the tensor itself is given
            back and no random number drawn.
        fraction: share of the run that is behind, in [0, 1].
    """
    if sigma == 0:
        return tensor
    return tensor + sigma * (1.0 - fraction) * torch.randn_like(tensor)
