"""What the scores of several seeds say: intervals, tests, effect sizes, and what stays unseen.

Numbers and arrays of numpy in, plain dataclasses out. docs/statistics.md says what each number
answers, and how often intervals and tests are right on simulated studies.
"""

from semisup.studies.statistics.effects import (
    Superiority,
    cohens_dz,
    hedges_g,
    paired_superiority,
    superiority,
)
from semisup.studies.statistics.images import OverBoth, over_both, over_images
from semisup.studies.statistics.paired import (
    PairedDifference,
    paired_difference,
    what_could_be_seen,
)
from semisup.studies.statistics.power import LEVEL, POWER, pairs_needed, smallest_detectable
from semisup.studies.statistics.seeds import Interval, OverSeeds, mean_interval, over_seeds
from semisup.studies.statistics.significance import (
    MOST_PAIRS,
    holm,
    sign_flip_p,
    smallest_sign_flip_p,
    wilcoxon_p,
)
from semisup.studies.statistics.variance import VarianceParts, variance_parts

__all__ = [
    "LEVEL",
    "MOST_PAIRS",
    "POWER",
    "Interval",
    "OverBoth",
    "OverSeeds",
    "PairedDifference",
    "Superiority",
    "VarianceParts",
    "cohens_dz",
    "hedges_g",
    "holm",
    "mean_interval",
    "over_both",
    "over_images",
    "over_seeds",
    "paired_difference",
    "paired_superiority",
    "pairs_needed",
    "sign_flip_p",
    "smallest_detectable",
    "smallest_sign_flip_p",
    "superiority",
    "variance_parts",
    "what_could_be_seen",
    "wilcoxon_p",
]
