"""How long a score will take and how much memory, before it starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from entropick.neighbors import seconds_per_pair
from entropick.scoring.measuring import N_SPLITS
from entropick.sources.cost import PER_ROW, RECHECKS, WORKING_BYTES, Forecast, seconds_per_spectrum

# Which sets are searched in which, by the first letters of training, generated and reference.
_SEARCHES = {
    "generalization_score": ("gt",),
    "generalization_score_baseline": ("rt",),
    "generalization_score_ratio": ("gt", "rt"),
    "near_copy_rate": ("gt", "rt"),
    "authpct": ("gt", "tt"),
    "knn_entropy": ("tt",),
    "intrinsic_dimension": ("tt",),
    "precision": ("rr", "rg"),
    "recall": ("gg", "gr"),
    "density": ("rr", "rg"),
    "coverage": ("rr", "rg"),
}
# Once for all measures that ask for them.
_SHARED = ("gt", "rt")
# Products in float64 cost twice, and a cube on top.
_KERNEL_PRODUCTS = 3
# Decompositions of a square matrix as wide as the features, for the Frechet distance or the Vendi score.
_SPECTRA = 2


def forecast(
    sizes: Mapping[str, int], width: int, metrics: Collection[str], *, with_intervals: bool = False
) -> Forecast:
    """Forecast one space from sizes and from the speed of a tile of distances on this machine, now.

    Parameters
    ----------
    sizes
        Rows of training, generated and reference, as far as they are there.
    width
        Columns.
    metrics
        What is measured.
    with_intervals
        Whether halves are measured as well.
    """
    product, pair = seconds_per_pair(width)
    n = {name[0]: size for name, size in sizes.items()}
    # For the gallery, in any case.
    wanted = ["gt", *(pair for name in metrics for pair in _SEARCHES.get(name, ()))]
    searched = [pair for pair in wanted if pair not in _SHARED] + [pair for pair in _SHARED if pair in wanted]
    seconds = sum(RECHECKS * pair * n[names[0]] * n[names[1]] for names in searched)
    seconds += PER_ROW * sum(n[name] for names in searched for name in names)
    if "kernel_distance" in metrics:
        seconds += _KERNEL_PRODUCTS * product * (n["g"] + n["r"]) ** 2
    if with_intervals:
        # Two halves each time: as many queries, and half as many points where these are split, too.
        seconds *= 1 + N_SPLITS
    seconds += _SPECTRA * seconds_per_spectrum(width) * len({"frechet_distance", "vendi_score"} & set(metrics))
    squares = 8 * width * width * 3 if {"frechet_distance", "vendi_score"} & set(metrics) else 0
    # The features, and the frame in which the largest set is searched.
    held = 4 * width * (sum(n.values()) + max(n.values()))
    return Forecast(seconds, held + squares + WORKING_BYTES)
