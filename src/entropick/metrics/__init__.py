"""Measures of a set, of a generated set against the training set, and of one against a reference.

Pure functions: features ``(n, d)`` in, keyword arguments named by role (`generated`, `training`, `reference`), a float
out, computed in float64. Nothing is drawn, nothing kept.

============  =======================================================  ==========================================
asks          functions                                                compare only at equal
============  =======================================================  ==========================================
copied?       `generalization_score`                                   training size, features
varied?       `knn_entropy` with `duplicate_share`, `total_variance`   n and k (entropy), features
like real?    `frechet_distance`, `precision`, `density`               sizes, k, features
all of it?    `recall`, `coverage`                                     sizes, k, features
from where?   `source_shares`                                          -
============  =======================================================  ==========================================
"""

from entropick.metrics.diversity import source_shares, total_variance
from entropick.metrics.entropy import duplicate_share, knn_entropy
from entropick.metrics.fidelity import GaussianStatistics, frechet_distance
from entropick.metrics.manifold import coverage, density, precision, recall
from entropick.metrics.memorization import generalization_score

__all__ = [
    "GaussianStatistics",
    "coverage",
    "density",
    "duplicate_share",
    "frechet_distance",
    "generalization_score",
    "knn_entropy",
    "precision",
    "recall",
    "source_shares",
    "total_variance",
]
