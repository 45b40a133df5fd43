"""Measures of a set, of a generated set against the training set, and of one against a reference.

Pure functions: features ``(n, d)`` in, keyword arguments named by role (`generated`, `training`, `reference`), a float
out, computed in float64. Nothing is drawn, nothing kept.

============  ===============================================================  ========================
asks          functions                                                        compare only at equal
============  ===============================================================  ========================
copied?       `copying`, `generalization_score`, `authpct`                     training size, features
varied?       `knn_entropy` with `duplicate_share`, `intrinsic_dimension`      n, k, features
..            `vendi_score`, `total_variance`                                  n (Vendi), features
like real?    `frechet_distance`, `kernel_distance`, `precision`, `density`    sizes, k, features
all of it?    `recall`, `coverage`                                             sizes, k, features
from where?   `source_shares`                                                  -
by name       `measure`, with the sets as `Roles`; `MEASURES` lists them
how sure?     `interval`
where to?     `early_warning`, from the ledger of a loop
============  ===============================================================  ========================
"""

from entropick.metrics.dimension import intrinsic_dimension
from entropick.metrics.diversity import source_shares, total_variance, vendi_score
from entropick.metrics.entropy import duplicate_share, knn_entropy
from entropick.metrics.fidelity import GaussianStatistics, frechet_distance
from entropick.metrics.forecast import EarlyWarning, Forecast, Trend, early_warning
from entropick.metrics.intervals import interval
from entropick.metrics.kernel import kernel_distance
from entropick.metrics.manifold import coverage, density, precision, recall
from entropick.metrics.memorization import Copying, authpct, copying, generalization_score
from entropick.metrics.suite import MEASURES, Measure, Roles, measure

__all__ = [
    "MEASURES",
    "Copying",
    "EarlyWarning",
    "Forecast",
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
    "total_variance",
    "vendi_score",
]
