"""What the differences of a comparison say, in words that claim no more than the tests do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semisup.studies.comparison import Comparison, Difference
from semisup.studies.output.tables import interval, p_text, signed
from semisup.studies.statistics import LEVEL


@dataclass(frozen=True)
class Verdict:
    """What is said of one difference.

    Attributes:
        kind: "above", "below", "open" (tested, and not significant) or "untested".
        text: in words.
    """

    kind: str
    text: str


def is_significant(one: Difference) -> bool:
    """Whether p after Holm's correction is at most `LEVEL`, 0.05."""
    return one.p_holm is not None and one.p_holm <= LEVEL


def verdicts(comparison: Comparison, named: Mapping[str, str]) -> list[Verdict]:
    """A verdict for each difference, significant ones first.

    Args:
        comparison: with or without a baseline.
        named: name of an arm -> what it is called in sentences.
    """
    if not comparison.differences:
        return [Verdict("untested", _no_baseline(comparison))]
    least = [one.paired.smallest_p for one in comparison.differences if one.paired is not None]
    floor = len(least) * min(least, default=0.0)
    found = [_verdict(one, named, len(least), floor) for one in comparison.differences]
    order = ("above", "below", "open", "untested")
    return sorted(found, key=lambda one: order.index(one.kind))


def _no_baseline(comparison: Comparison) -> str:
    if len(comparison.arms) == 1:
        return "There is one arm, and nothing to compare it with."
    if comparison.notes:
        return "No arm has the labelled images and a seed of a baseline: nothing was tested."
    return (
        "No baseline was named, so nothing was tested and no arm is called higher than another. "
        "--baseline NAME names one."
    )


def _verdict(one: Difference, named: Mapping[str, str], tested: int, floor: float) -> Verdict:
    arm, base = named[one.arm], named[one.baseline]
    if one.paired is None:
        text = f"{arm} and {base} share one seed ({signed(one.mean)} mIoU): too few to test."
        return Verdict("untested", text)
    assert one.p_holm is not None, "what is paired is tested"
    found, seeds = one.paired, len(one.seeds)
    measured = f"{signed(one.mean)} mIoU (95 % interval {interval(found.interval, sign=True)})"
    if is_significant(one):
        word = "higher" if one.mean > 0 else "lower"
        family = "" if tested == 1 else f" after Holm's correction for {tested} comparisons"
        text = (
            f"{arm} scores {word} than {base}: {measured}, paired over {seeds} seeds, "
            f"p = {p_text(one.p_holm)}{family}."
        )
        return Verdict("above" if one.mean > 0 else "below", text.replace("= <", "<"))
    return Verdict("open", f"{_open(one, arm, base, tested, floor)} Measured: {measured}.")


def _open(one: Difference, arm: str, base: str, tested: int, floor: float) -> str:
    """Why nothing is claimed; `floor` is below every corrected p of the family."""
    assert one.paired is not None
    found, seeds = one.paired, len(one.seeds)
    least = found.smallest_p
    if least > LEVEL:
        return (
            f"{arm} and {base}: {seeds} seeds cannot tell. The test over {seeds} pairs never gives "
            f"p below {least:g}; 6 pairs are the least."
        )
    if floor > LEVEL:
        return (
            f"{arm} and {base}: {seeds} seeds cannot tell. Among {tested} comparisons no corrected "
            f"p is below {min(1.0, floor):.2g}: more seeds, or fewer arms."
        )
    if found.p <= LEVEL:
        return (
            f"{arm} and {base}: not significant among {tested} comparisons (p = "
            f"{p_text(found.p)} alone, {p_text(one.p_holm or 1.0)} after Holm's correction)."
        )
    return (
        f"{arm} and {base}: {seeds} seeds show no significant difference. A paired t-test at "
        f"{LEVEL}, not corrected, finds one of {found.detectable:.3f} mIoU in four of five "
        "studies; a smaller one may be there."
    )
