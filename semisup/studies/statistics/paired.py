"""Whether one arm of an experiment scores higher than another: differences over paired seeds.

Two arms that were run with the same seeds share splits and draws, so that each seed gives one
difference, and the differences vary less than the scores. What is said of them speaks of training
repeated with other seeds; the images that are scored stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from semisup.errors import RunError
from semisup.studies.statistics.effects import Superiority, cohens_dz, paired_superiority
from semisup.studies.statistics.power import LEVEL, smallest_detectable
from semisup.studies.statistics.seeds import Floats, Interval, equal, mean_interval
from semisup.studies.statistics.significance import (
    sign_flip_p,
    smallest_sign_flip_p,
    wilcoxon_p,
)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How far an arm is above its baseline.

    Attributes:
        pairs: n, number of seeds.
        mean: of the differences, arm less baseline.
        sd: of the differences, with n - 1.
        interval: 95 % interval of the mean by Student's t.
        p: two-sided sign-flip p of the mean; exact up to `MOST_PAIRS` pairs.
        smallest_p: the smallest p that n pairs can give, whatever the differences.
        detectable: the smallest mean difference that a paired t-test at 0.05 finds with a power of
            0.8, at this n and this sd.
        wilcoxon_p: two-sided p of Wilcoxon's signed ranks.
        effect: Cohen's d_z, the mean in units of the sd; None where all differences are equal.
        superiority: P(A > B) over the pairs.
        correlation: of the two arms over the seeds, Pearson's; None where one does not vary. The
            higher it is, the more the pairing has helped.
    """

    pairs: int
    mean: float
    sd: float
    interval: Interval
    p: float
    smallest_p: float
    detectable: float
    wilcoxon_p: float
    effect: float | None
    superiority: Superiority
    correlation: float | None


def paired_difference(
    scores: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    name: str = "the arm",
    baseline_name: str = "the baseline",
) -> PairedDifference:
    """Compare an arm with its baseline, seed by seed.

    Args:
        scores: seed -> score of the arm.
        baseline: seed -> score of the baseline, for the same seeds.
        name: of the arm, for errors.
        baseline_name: of the baseline, for errors.

    Raises:
        RunError: a seed is of one of them alone, there are fewer than 2, or a score is not finite.
    """
    _require_pairs(scores, baseline, name, baseline_name)
    seeds = sorted(scores)
    own, others = (np.array([arm[seed] for seed in seeds]) for arm in (scores, baseline))
    differences = own - others
    sd = float(np.std(differences, ddof=1))
    return PairedDifference(
        pairs=len(seeds),
        mean=float(np.mean(differences)),
        sd=sd,
        interval=mean_interval(differences),
        p=sign_flip_p(differences),
        smallest_p=smallest_sign_flip_p(len(seeds)),
        detectable=smallest_detectable(sd, len(seeds)),
        wilcoxon_p=wilcoxon_p(differences),
        effect=cohens_dz(differences),
        superiority=paired_superiority(differences),
        correlation=_correlation(own, others),
    )


def _require_pairs(
    scores: Mapping[int, float], baseline: Mapping[int, float], name: str, baseline_name: str
) -> None:
    alone = {name: scores.keys() - baseline.keys(), baseline_name: baseline.keys() - scores.keys()}
    parts = [f"{_seeds(seeds)} of {arm} alone" for arm, seeds in alone.items() if seeds]
    if parts:
        raise RunError(f"unpaired: {' and '.join(parts)}. Compare runs of the same seeds.")
    for arm, values in ((name, scores), (baseline_name, baseline)):
        wrong = {seed for seed, value in values.items() if not math.isfinite(value)}
        if wrong:
            raise RunError(f"{_seeds(wrong)} of {arm}: the score is not finite. Leave it out.")
    if len(scores) < 2:
        raise RunError(
            f"{name} and {baseline_name} have {len(scores)} paired seeds. A comparison needs 2 or "
            "more."
        )


def _correlation(own: Floats, others: Floats) -> float | None:
    if equal(own) or equal(others):
        return None
    return float(np.corrcoef(own, others)[0, 1])


def _seeds(seeds: set[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"


def what_could_be_seen(found: PairedDifference, family: int = 1) -> str:
    """One sentence: the smallest difference that the study could have found.

    Args:
        found: of the arm and its baseline.
        family: number of comparisons that Holm's rule corrects for: the level of the test is
            0.05 divided by it, as it is for the smallest p.
    """
    least = min(1.0, family * found.smallest_p)
    if least > LEVEL:
        among = f" corrected for {family} comparisons" if family > 1 else ""
        return (
            f"{found.pairs} pairs cannot give a p below {least:.3g}{among}: no difference could "
            f"have been significant, and a t-test would have needed {found.detectable:.3f}."
        )
    level = LEVEL / family
    seen = smallest_detectable(found.sd, found.pairs, level=level)
    return (
        f"{found.pairs} pairs find a difference of {seen:.3f} or more in four of five studies by a "
        f"paired t-test at {level:.2g}; a smaller one may be there unseen."
    )
