"""Measures of a set, of a generated set against the training set, and of one against a reference.

Pure functions: features ``(n, d)`` in, keyword arguments named by role (`generated`, `training`, `reference`), a float
out, computed in float64. Nothing is drawn, nothing kept.

============  ===============================================================
asks          functions
============  ===============================================================
copied?       `copying`, `generalization_score`, `spacing_ratio`
..            `authpct`
contracted?   `variance_ratio`
varied?       `knn_entropy` with `duplicate_share`, `intrinsic_dimension`
..            `vendi_score`, `total_variance`
like real?    `frechet_distance`, `kernel_distance`, `precision`, `density`
all of it?    `recall`, `coverage`
from where?   `source_shares`
by name       `measure`, with the sets as `Roles`
how sure?     `interval`
where to?     `early_warning`, from the ledger of a loop
============  ===============================================================

`MEASURES` has a record of each measure that has a name, other packages' too: its words, and what may be compared.
"""

from entropick.metrics.base import Measure, Roles
from entropick.metrics.diversity import source_shares, total_variance, variance_ratio, vendi_score
from entropick.metrics.early_warning import Arrival, EarlyWarning, Trend, early_warning
from entropick.metrics.entropy import duplicate_share, intrinsic_dimension, knn_entropy
from entropick.metrics.fidelity import GaussianStatistics, frechet_distance, kernel_distance
from entropick.metrics.manifold import coverage, density, precision, recall
from entropick.metrics.memorization import authpct, generalization_score, spacing_ratio
from entropick.metrics.near_copies import Copying, copying
from entropick.metrics.suite import MEASURES, interval, measure

__all__ = [
    "MEASURES",
    "Arrival",
    "Copying",
    "EarlyWarning",
    "GaussianStatistics",
    "Measure",
    "Roles",
    "Trend",
    "authpct",
    "copying",
    "coverage",
    "density",
    "duplicate_share",
    "early_warning",
    "frechet_distance",
    "generalization_score",
    "interval",
    "intrinsic_dimension",
    "kernel_distance",
    "knn_entropy",
    "measure",
    "precision",
    "recall",
    "source_shares",
    "spacing_ratio",
    "total_variance",
    "variance_ratio",
    "vendi_score",
]
