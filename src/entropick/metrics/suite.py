"""The measures by name: one call for all that is asked at once, and how far a value would move with other images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from entropick.arrays import check_count, check_real, some_rows
from entropick.component import Registry, check_known
from entropick.errors import ConfigError, EntropickError, InputError, shown
from entropick.metrics.base import Measure, Roles
from entropick.random_stream import RandomStream

REGISTRY = Registry(
    "entropick.metrics",
    {
        "generalization_score": "entropick.metrics.memorization:GENERALIZATION_SCORE",
        "generalization_score_real": "entropick.metrics.memorization:GENERALIZATION_SCORE_REAL",
        "generalization_score_baseline": "entropick.metrics.memorization:GENERALIZATION_SCORE_BASELINE",
        "generalization_score_ratio": "entropick.metrics.memorization:GENERALIZATION_SCORE_RATIO",
        "spacing_ratio": "entropick.metrics.memorization:SPACING_RATIO",
        "near_copy_rate": "entropick.metrics.memorization:NEAR_COPY_RATE",
        "authpct": "entropick.metrics.memorization:AUTHPCT",
        "knn_entropy": "entropick.metrics.entropy:KNN_ENTROPY",
        "duplicate_share": "entropick.metrics.entropy:DUPLICATE_SHARE",
        "total_variance": "entropick.metrics.diversity:TOTAL_VARIANCE",
        "variance_ratio": "entropick.metrics.diversity:VARIANCE_RATIO",
        "variance_ratio_real": "entropick.metrics.diversity:VARIANCE_RATIO_REAL",
        "vendi_score": "entropick.metrics.diversity:VENDI_SCORE",
        "intrinsic_dimension": "entropick.metrics.entropy:INTRINSIC_DIMENSION",
        "frechet_distance": "entropick.metrics.fidelity:FRECHET_DISTANCE",
        "kernel_distance": "entropick.metrics.fidelity:KERNEL_DISTANCE",
        "precision": "entropick.metrics.manifold:PRECISION",
        "recall": "entropick.metrics.manifold:RECALL",
        "density": "entropick.metrics.manifold:DENSITY",
        "coverage": "entropick.metrics.manifold:COVERAGE",
    },
)


class _Measures(Mapping[str, Measure]):
    """The records of the registry, each imported when it is asked for: the package's own first, in its order."""

    def __iter__(self) -> Iterator[str]:
        return iter({**REGISTRY.built_in, **REGISTRY.names()})

    def __len__(self) -> int:
        return len(REGISTRY.names())

    def __getitem__(self, name: str) -> Measure:
        record = REGISTRY.load(name)
        if not isinstance(record, Measure) or record.name != name:
            got = getattr(record, "name", record)
            raise ConfigError(
                f"metrics: expected that {REGISTRY.names()[name]} is a Measure with the name {name!r}, got "
                f"{shown(got)}. Mend or remove the package that brings it."
            )
        return record


MEASURES: Mapping[str, Measure] = _Measures()
# What a loop measures unless told otherwise. Only of the package's own: to install another changes no run.
LOOP_MEASURES = tuple(name for name in REGISTRY.built_in if not MEASURES[name].on_request)
_SETS = {
    "training": "the images that the generator was trained on",
    "generated": "the images that it made",
    "reference": "held-out real images",
    "real": "the original real images",
}


def check_measures(names: Sequence[str], where: str = "metrics") -> None:
    """Raise InputError, which begins with `where`, if one of `names` is no measure, or is there twice."""
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise InputError(f"{where}: expected each measure once, got {shown(twice[0])} more than once.")
    for name in names:
        if name not in MEASURES:
            check_known(name, tuple(MEASURES), where)


def rows_needed(role: str, names: Sequence[str]) -> tuple[int, str]:
    """How many rows of a role are enough for all of these measures, and which of them needs so many; 0 for none."""
    needed = ((MEASURES[name].least_rows.get(role, 0), name) for name in names)
    return max(needed, key=lambda found: found[0], default=(0, ""))


def check_roles(roles: Roles, names: Sequence[str]) -> None:
    """Raise InputError if one of the measures needs a role that is None."""
    for name in names:
        for role in MEASURES[name].roles:
            if getattr(roles, role) is None:
                raise InputError(
                    f"metrics: {name} needs the role {role} ({_SETS[role]}), which is not there. "
                    f"Give it, or leave {name} out."
                )


def measure(roles: Roles, names: Sequence[str], *, space: str) -> dict[str, float | None]:
    """Compute the named measures; keys are ``name/space``, a value that is not finite becomes None.

    Raises
    ------
    InputError
        For an unknown name, a measure that needs a role which is None, or sets that a measure cannot use.
    """
    check_measures(names)
    check_roles(roles, names)
    foresee(roles, names)
    values = {f"{name}/{space}": _number(MEASURES[name], roles) for name in names}
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def foresee(roles: Roles, names: Sequence[str]) -> None:
    """Let the first search within a set look for as many neighbours as any of the measures will ask for."""
    for record in (MEASURES[name] for name in names):
        for asked, among in record.searches:
            if asked == among:
                roles.within(asked).foresee(record.k)


def _number(measure: Measure, roles: Roles) -> float:
    """The measure's value; what its function raises or returns otherwise is an InputError that names it."""
    try:
        value = measure.function(roles)
    except EntropickError:
        raise
    except Exception as error:
        came = shown(error)
        raise InputError(f"metrics: {measure.name} failed ({came}). Mend its function, or leave it out.") from error
    if not isinstance(value, int | float | np.number) or np.iscomplexobj(value):
        raise InputError(
            f"metrics: expected a number from {measure.name}, got {value!r:.80}. Mend its function, or leave it out."
        )
    return float(value)


def interval(
    name: str, roles: Roles, *, n_resamples: int = 20, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """An interval for the value that the measure has on average over fresh sets *of the same sizes*.

    The sets are split into two halves at random, again and again, and the measure is taken of each half::

        value  -+  t * sqrt( mean over splits of (first - second)^2 / 4 )

    with t the quantile of Student's distribution with `n_resamples` degrees of freedom.

    Two halves without a common row are two independent samples. So the squared difference has the mean of twice the
    variance at half the size, which is four times the variance at the full size where variance falls as 1/n; and what
    the measure is off by at a given size cancels. A bootstrap would not do: it repeats rows, and to a measure of
    nearest neighbours a repeated row is a copy at distance 0. Nor would a smaller part around the value of the whole:
    such measures move with the number of rows.

    The interval tells the scatter, not the bias. It says nothing about sets of another size.

    **What is drawn.** The generated and the reference rows are split. The training set (and the real images beside it)
    stays whole: it is *the* set that may have been copied, and halving it would take the originals of the copies away.
    A measure of the training set alone splits it, as a sample of what it was drawn from.

    Parameters
    ----------
    name
        A measure, see `MEASURES`.
    roles
        The sets; those that are split need twice the rows that the measure needs.
    n_resamples
        How many times to split, at least 2.
    level
        Share of such intervals that hold the value aimed at, between 0 and 1.
    seed
        What the splits depend on.

    Returns
    -------
    tuple of float
        Low and high; NaN where the measure is not finite on the whole or on a half, as of a collapsed set. Of a
        measure with a bound it may reach beyond the bound.

    Raises
    ------
    InputError
        For an unknown name, a missing role, or sets that the measure cannot use in halves.

    References
    ----------
    Half-sampling: McCarthy, "Pseudo-replication: half samples", Rev. Int. Stat. Inst. 37 (1969); delete-d jackknife
    with d = n/2: Shao and Wu, Ann. Stat. 17 (1989).

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(400, 1)).astype(np.float32)
    >>> low, high = interval("knn_entropy", Roles(training=X))
    >>> low < 0.5 * math.log(2 * math.pi * math.e) < high
    True
    """
    from scipy.stats import t

    n_resamples = check_count(n_resamples, name="n_resamples", minimum=2)
    level = check_real(level, name="level", above=0, below=1)
    check_measures([name])
    check_roles(roles, [name])
    measure = MEASURES[name]
    value = _number(measure, roles)
    stream = RandomStream(seed, stage="interval")
    squares = [_difference(measure, roles, stream.rng(i)) ** 2 for i in range(n_resamples)]
    reach = float(t.ppf((1 + level) / 2, n_resamples)) * math.sqrt(math.fsum(squares) / n_resamples / 4)
    return (value - reach, value + reach) if math.isfinite(value) and math.isfinite(reach) else (math.nan, math.nan)


def _difference(measure: Measure, roles: Roles, rng: np.random.Generator) -> float:
    """The measure of one half minus that of the other."""
    drawn = [role for role in measure.roles if role in ("generated", "reference")] or measure.roles
    first, second = {}, {}
    for role in drawn:
        X = getattr(roles, role)
        order = rng.permutation(len(X))
        half = len(X) // 2
        # Ascending, so that a memory map is read in order.
        first[role], second[role] = (some_rows(X, np.sort(part)) for part in (order[:half], order[half : 2 * half]))
    values = [_number(measure, roles.exchanged(**half)) for half in (first, second)]
    return values[0] - values[1]
