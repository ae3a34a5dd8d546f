"""How often intervals and tests are right on simulated studies: `python docs/statistics_check.py`.

Each study is drawn from a population whose true score is known. `--page docs/statistics.md` writes
the tables of that page between `<!-- checked: NAME -->` and `<!-- end -->`; `--studies` takes fewer
than 10,000 studies a row. The tests call the same functions.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from semisup.metrics.bootstrap import miou_of, resampled_miou
from semisup.studies.statistics import (
    holm,
    mean_interval,
    paired_superiority,
    sign_flip_p,
    smallest_detectable,
    smallest_sign_flip_p,
    superiority,
    variance_parts,
    wilcoxon_p,
)
from semisup.studies.statistics.images import over_both_of

STUDIES = 10_000
"""For each row of a table: a share of 0.95 is then known to within 0.004."""

AT_ONCE = 50
"""Studies that are drawn together."""

PART = re.compile(r"(<!-- checked: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

LAWS: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "normal": lambda generator, shape: generator.normal(0, 1, shape),
    "heavy tails (t, 3 degrees)": lambda generator, shape: generator.standard_t(3, shape),
    "skewed (exponential)": lambda generator, shape: 1 - generator.exponential(1, shape),
    "one run of ten fails, by 5 sd": lambda generator, shape: (
        generator.normal(0.5, 1, shape) - 5 * (generator.random(shape) < 0.1)
    ),
}
"""Name -> draws with a mean of 0: how scores lie around their mean over seeds."""


def over_seeds_covers(law: str, seeds: int, studies: int = STUDIES) -> float:
    """Share of studies whose 95 % interval over seeds has the true mean inside."""
    drawn = LAWS[law](np.random.default_rng(seeds), (studies, seeds))
    return float(np.mean([low <= 0 <= high for low, high in map(mean_interval, drawn)]))


@dataclass(frozen=True)
class Population:
    """Images and seeds of training, whose counts can be drawn and whose true mIoU is known.

    The share of the true pixels of a class that is right in an image is Phi(a + b u + c v + d w): a
    of the class and the seed, u of the image, which all seeds and arms share, v of the image and
    the seed alone, w of the image and the arm. What is wrong goes to the other classes in equal
    parts.

    Attributes:
        seed_sd: how far a differs from seed to seed.
        gain: added to a of the second arm.
        images: of a study.
        b: weight of the image.
        c: weight of what image and seed have alone.
        d: weight of what image and arm have alone.
    """

    seed_sd: float
    gain: float = 0.15
    images: int = 80
    b: float = 0.8
    c: float = 0.4
    d: float = 0.6

    accuracy = np.array([1.8, 1.0, 0.5, 0.0])
    """a of each class."""

    there = np.array([1.0, 0.6, 0.5, 0.4])
    """Share of the images that have a class."""

    def seeds(self, generator: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
        """A of studies, arms, seeds and classes; arms share a half of what a seed does."""
        studies, arms, count = shape
        classes = len(self.accuracy)

        def drawn(arms: int) -> Floats:
            whole = generator.normal(0, 1, (studies, arms, count, 1))
            return whole + generator.normal(0, 1, (studies, arms, count, classes))

        a: Floats = self.accuracy + self.seed_sd * (drawn(1) + drawn(arms)) / 2
        return a + self.gain * np.arange(arms)[:, None, None]

    def studies(self, generator: np.random.Generator, shape: tuple[int, int, int]) -> Counts:
        """Counts of studies, arms, seeds, images, classes and the three numbers."""
        studies, arms, _ = shape
        a = self.seeds(generator, shape)[..., None, :]
        size = (self.images, len(self.accuracy))
        there = generator.random((studies, 1, 1, *size)) < self.there
        true = np.where(there, generator.lognormal(7, 0.6, there.shape), 0).round()
        u = generator.normal(0, 1, (studies, 1, 1, *size))
        v = generator.normal(0, 1, (*shape, *size))
        w = generator.normal(0, 1, (studies, arms, 1, *size))
        right = special.ndtr(a + self.b * u + self.c * v + self.d * w)
        inside = (right * true).round()
        wrong = true - inside
        taken = ((wrong.sum(-1, keepdims=True) - wrong) / (size[-1] - 1)).round()
        return np.stack(np.broadcast_arrays(inside, inside + taken, true), -1).astype(np.int64)

    def truth(self, arms: int) -> float:
        """Mean over all seeds of the mIoU over all images, or its gain where there are two arms."""
        a = self.seeds(np.random.default_rng(99), (1, arms, 200_000))[0]
        right = special.ndtr(a / np.sqrt(1 + self.b**2 + self.c**2 + self.d**2)) * self.there
        wrong = self.there - right
        taken = (wrong.sum(-1, keepdims=True) - wrong) / (len(self.there) - 1)
        miou = (right / (self.there + taken)).mean((1, 2))
        return float(miou[-1] - miou[0] if arms == 2 else miou[0])


FORMS = ("over both", "seeds alone", "images alone", "percentiles of both", "the same, widened")
"""Intervals that are compared.

"Percentiles of both" resamples images and seeds. "Widened" multiplies the deviations of the seeds
from their mean by sqrt(S / (S - 1)) and by Student's quantile over that of the normal distribution.
"""


def over_both_covers(
    population: Population, seeds: int, arms: int, studies: int = STUDIES, resamples: int = 400
) -> dict[str, float]:
    """Form -> share of studies whose interval has the true score, or the true gain, inside.

    Also "ratio", the median of the seeds' standard error over that of the images.
    """
    generator = np.random.default_rng(seeds)
    truth = population.truth(arms)
    times = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    factor = np.sqrt(seeds / (seeds - 1)) * stats.t.ppf(0.975, seeds - 1) / stats.norm.ppf(0.975)
    inside = dict.fromkeys(FORMS, 0)
    ratios: list[float] = []
    for start in range(0, studies, AT_ONCE):
        some = (min(AT_ONCE, studies - start), arms, seeds)
        scores, drawn = _scored(population.studies(generator, some), resamples)
        found = [
            over_both_of(own, each, population.images)
            for own, each in zip(scores, drawn, strict=True)
        ]
        ratios += [one.seeds_error / one.images_error for one in found if one.images_error]
        means = drawn.mean(2)
        both = (times * drawn).sum(2)  # the same draws of seeds for all studies
        intervals = (
            np.array([one.interval for one in found]),
            np.array([mean_interval(own) for own in scores]),
            *(
                np.quantile(resampled, (0.025, 0.975), axis=1).T
                for resampled in (means, both, means + (both - means) * factor)
            ),
        )
        for form, (low, high) in zip(FORMS, (one.T for one in intervals), strict=True):
            inside[form] += int(np.count_nonzero((low <= truth) & (truth <= high)))
    shares = {form: count / studies for form, count in inside.items()}
    return {**shares, "ratio": float(np.median(ratios))}


def _scored(counts: Counts, resamples: int) -> tuple[Floats, Floats]:
    """Scores or gains, studies x seeds, and the same of each resample, studies x R x seeds.

    All studies have the same draws of positions, as `over_both` draws them with this seed.
    """
    studies, arms, seeds = counts.shape[:3]
    flat = counts.reshape(-1, *counts.shape[3:])
    drawn = resampled_miou(flat, seed=0, resamples=resamples)
    drawn = drawn.reshape(resamples, studies, arms, seeds).transpose(1, 2, 0, 3)
    scores = miou_of(flat.sum(1)).reshape(studies, arms, seeds)
    if arms == 1:
        return scores[:, 0], drawn[:, 0]
    return scores[:, 1] - scores[:, 0], drawn[:, 1] - drawn[:, 0]


def false_positives(law: str, pairs: int, studies: int = STUDIES) -> dict[str, float]:
    """Test -> share of studies without a difference in which p is at most 0.05.

    Both arms have scores of this law; "t" is the paired t-test.
    """
    generator = np.random.default_rng(pairs)
    own, others = (LAWS[law](generator, (studies, pairs)) for _ in range(2))
    apart = own - others
    t = np.abs(apart.mean(1)) / apart.std(1, ddof=1) * np.sqrt(pairs)
    return {
        "sign-flip": float(np.mean([sign_flip_p(one) <= 0.05 for one in apart])),
        "Wilcoxon": float(np.mean([wilcoxon_p(one) <= 0.05 for one in apart])),
        "t": float(np.mean(t >= special.stdtrit(pairs - 1, 0.975))),
    }


def attainable(pairs: int) -> float:
    """The largest p at or below 0.05 that the sign-flip test can give without ties."""
    return int(0.05 / smallest_sign_flip_p(pairs)) * smallest_sign_flip_p(pairs)


def family_wise(pairs: int, arms: int, better: int, studies: int = STUDIES) -> dict[str, float]:
    """Share of studies that call an arm better or worse which is neither.

    Args:
        pairs: seeds of each arm.
        arms: compared with one baseline, whose scores all differences share.
        better: how many of them are better, by two sd of a score.
        studies: that are simulated.
    """
    generator = np.random.default_rng(arms)
    lift = 2.0 * (np.arange(arms) < better)
    wrong = {"uncorrected": 0, "Holm": 0}
    for _ in range(studies):
        scores = generator.normal(0, 1, (arms + 1, pairs))
        p = [sign_flip_p(one) for one in scores[1:] + lift[:, None] - scores[0]]
        wrong["uncorrected"] += min(p[better:]) <= 0.05
        wrong["Holm"] += min(holm(p)[better:]) <= 0.05
    return {name: count / studies for name, count in wrong.items()}


def superiority_covers(
    gain: float, seeds: int, *, paired: bool, studies: int = STUDIES
) -> tuple[float, float]:
    """The true P(A > B) of two normal arms, and the share of studies whose interval has it inside.

    Args:
        gain: of the one arm, in sd of a score.
        seeds: of each arm.
        paired: whether a run is compared with that of its seed alone.
        studies: that are simulated.
    """
    truth = float(special.ndtr(gain / np.sqrt(2)))
    drawn = np.random.default_rng(seeds).normal(0, 1, (2, studies, seeds))
    own, others = drawn[0] + gain, drawn[1]
    found = (
        paired_superiority(one - other) if paired else superiority(one.tolist(), other.tolist())
        for one, other in zip(own, others, strict=True)
    )
    inside = [one.interval[0] <= truth <= one.interval[1] for one in found]
    return truth, float(np.mean(inside))


def power(pairs: int, studies: int = STUDIES) -> dict[str, float]:
    """Test -> share of studies that find a difference as large as `smallest_detectable` says."""
    drawn = np.random.default_rng(pairs).normal(0, 1, (studies, pairs))
    drawn += smallest_detectable(1.0, pairs)
    t = np.abs(drawn.mean(1)) / drawn.std(1, ddof=1) * np.sqrt(pairs)
    return {
        "t": float(np.mean(t >= special.stdtrit(pairs - 1, 0.975))),
        "sign-flip": float(np.mean([sign_flip_p(one) <= 0.05 for one in drawn])),
    }


def variance_found(
    splits: int, seeds: int, *, nested: bool, studies: int = STUDIES
) -> dict[str, float]:
    """Part -> mean estimate, of true variances 4 (split), 1 (seed) and, crossed, 2 (rest).

    Also "truncated": share of the studies in which a part came out negative, and was set to 0.
    """
    generator = np.random.default_rng(splits)
    shape = (studies, splits, seeds)
    grid = 2 * generator.normal(0, 1, (studies, splits, 1))
    if nested:
        grid = grid + generator.normal(0, 1, shape)
    else:
        grid = grid + generator.normal(0, 1, (studies, 1, seeds))
        grid = grid + np.sqrt(2) * generator.normal(0, 1, shape)
    found = [variance_parts(one.tolist(), nested=nested) for one in grid]
    return {
        "split": float(np.mean([one.split for one in found])),
        "seed": float(np.mean([one.seed for one in found])),
        "rest": float(np.mean([one.rest for one in found])),
        "truncated": float(np.mean([bool(one.truncated) for one in found])),
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|".join("---" if place == 0 else "--:" for place in range(len(head)))
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:], ""])


def table_seeds(studies: int) -> str:
    """Coverage of Student's t."""
    sizes = (3, 5, 10, 20)
    rows = [
        [law, *(_percent(over_seeds_covers(law, seeds, studies)) for seeds in sizes)]
        for law in LAWS
    ]
    return _table(["scores over seeds", *(f"{seeds} seeds" for seeds in sizes)], rows)


BOTH = ((5, 0.1), (5, 0.3), (5, 0.6), (10, 0.3))
"""Seeds and how far they differ, of the gain of one arm over another."""


def table_both(studies: int) -> str:
    """Coverage over seeds and images, of a gain."""
    rows = []
    for seeds, sd in BOTH:
        found = over_both_covers(Population(sd), seeds, 2, studies)
        cells = [_percent(found[form]) for form in FORMS]
        rows.append([str(seeds), f"{found['ratio']:.1f}", *cells])
    return _table(["seeds", "error of seeds / of images", *FORMS], rows)


def table_tests(studies: int) -> str:
    """False positives of the paired tests."""
    rows = []
    for law in LAWS:
        for pairs in (5, 6, 8, 10):
            found = false_positives(law, pairs, studies)
            shares = [_percent(share) for share in (attainable(pairs), *found.values())]
            rows.append([law, str(pairs), *shares])
    head = ["scores over seeds", "pairs", "can be", "sign-flip", "Wilcoxon", "t"]
    return _table(head, rows)


def table_holm(studies: int) -> str:
    """False positives of a table of arms."""
    rows = []
    for arms, better in ((3, 0), (7, 0), (7, 3)):
        found = family_wise(10, arms, better, studies)
        rows.append([f"{arms}, {better} of them better", *map(_percent, found.values())])
    return _table(["arms", "some p at most 0.05", "the same by Holm"], rows)


def table_superiority(studies: int) -> str:
    """Coverage of P(A > B)."""
    rows = []
    for gain in (0.0, 1.0, 2.0):
        cells = []
        for seeds in (5, 10):
            for paired in (True, False):
                truth, share = superiority_covers(gain, seeds, paired=paired, studies=studies)
                cells.append(_percent(share))
        rows.append([f"{truth:.2f}", *cells])
    head = ["P(A > B)", "5 pairs", "5 and 5, unpaired", "10 pairs", "10 and 10, unpaired"]
    return _table(head, rows)


def table_power(studies: int) -> str:
    """What is found of differences as large as the smallest detectable one."""
    rows = []
    for pairs in (3, 5, 6, 8, 10, 20):
        found = power(pairs, studies)
        critical = special.stdtrit(pairs - 1, 0.975) / np.sqrt(pairs)
        shares = [f"{100 * share:.0f}" for share in found.values()]
        cells = (f"{critical:.2f}", f"{smallest_detectable(1.0, pairs):.2f}", *shares)
        rows.append([str(pairs), *cells, f"{smallest_sign_flip_p(pairs):.2g}"])
    head = ["pairs", "p of t = 0.05 at", "detectable", "found by t", "by sign-flip", "smallest p"]
    return _table(head, rows)


def table_variance(studies: int) -> str:
    """What the analysis of variance finds."""
    rows = []
    for splits, seeds, nested in ((3, 3, False), (5, 5, False), (10, 3, False), (5, 5, True)):
        found = variance_found(splits, seeds, nested=nested, studies=studies)
        parts = [f"{found[name]:.2f}" for name in ("split", "seed", "rest")]
        grid = f"{splits} x {seeds}{', nested' if nested else ''}"
        rows.append([grid, *parts, _percent(found["truncated"])])
    head = ["splits x seeds", "split (4)", "seed (1)", "rest (2, nested 0)", "% truncated"]
    return _table(head, rows)


TABLES: Mapping[str, Callable[[int], str]] = {
    "seeds": table_seeds,
    "both": table_both,
    "tests": table_tests,
    "holm": table_holm,
    "superiority": table_superiority,
    "power": table_power,
    "variance": table_variance,
}
"""Name in a page -> what makes the table."""


def main() -> None:
    """Print the tables, or write those of a page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--studies", type=int, default=STUDIES, help="a row; default %(default)s")
    parser.add_argument("--only", choices=TABLES, help="one table")
    parser.add_argument("--page", type=Path, help="write the marked tables of this page anew")
    options = parser.parse_args()
    chosen = [options.only] if options.only else list(TABLES)
    if options.page is None:
        for name in chosen:
            print(TABLES[name](options.studies), flush=True)
        return
    text = options.page.read_text(encoding="utf-8")

    def part(found: re.Match[str]) -> str:
        if found[2] not in chosen:
            return found[0]
        return f"{found[1]}{TABLES[found[2]](options.studies)}{found[4]}"

    options.page.write_text(PART.sub(part, text), encoding="utf-8")


if __name__ == "__main__":
    main()
