"""interval: that it holds the value aimed at as often as it says, and what is split."""

import math

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.metrics import Roles, interval, measure

REPEATS = 100


def clouds(seed, *sizes, d=3, scale=1.0):
    rng = np.random.default_rng(seed)
    return [(scale * rng.normal(size=(n, d))).astype(np.float32) for n in sizes]


def hits(name, roles_of, truth):
    """In how many of the repeats the interval holds `truth`."""
    intervals = [interval(name, roles_of(seed), n_resamples=5, seed=seed) for seed in range(REPEATS)]
    return sum(low <= truth <= high for low, high in intervals)


# Of 100 intervals at 95 %, between 87 and 100 hold the truth with a probability of 99.9 %.
ENOUGH = 87


@pytest.mark.parametrize("d", [1, 3])
def test_entropy_of_a_gaussian(d):
    # n is large enough that the bias is small beside the scatter.
    truth = d / 2 * math.log(2 * math.pi * math.e)
    assert hits("knn_entropy", lambda seed: Roles(training=clouds(seed, 250, d=d)[0]), truth) >= ENOUGH


def test_variance_of_a_gaussian():
    assert hits("total_variance", lambda seed: Roles(training=clouds(seed, 100)[0]), 3.0) >= ENOUGH


@pytest.mark.parametrize("name", ["generalization_score_ratio", "frechet_distance", "kernel_distance", "recall"])
def test_the_mean_over_fresh_sets_of_the_same_size(name):
    training = clouds(999, 100)[0]

    def roles(seed):
        generated, reference = clouds(seed, 100, 80)
        return Roles(training=training, generated=generated * np.float32(0.8), reference=reference)

    values = [measure(roles(seed), [name], space="x")[f"{name}/x"] for seed in range(1000, 1300)]
    assert hits(name, roles, np.mean(values)) >= ENOUGH


def test_it_is_not_needlessly_wide():
    X = clouds(0, 400)[0]
    truth = np.std(
        [measure(Roles(training=clouds(s, 400)[0]), ["knn_entropy"], space="x")["knn_entropy/x"] for s in range(100)]
    )
    low, high = interval("knn_entropy", Roles(training=X), n_resamples=50)
    assert (high - low) / 2 / 2.0 == pytest.approx(truth, rel=0.4)


def test_the_training_set_stays_whole():
    # Half of the copies' originals would be gone, and the score of the halves 0.5 instead of 0.
    T = 100 * np.eye(40, dtype=np.float32)
    assert interval("generalization_score", Roles(training=T, generated=T.copy())) == (0, 0)


def test_level_seed_and_centre():
    roles = Roles(training=clouds(0, 100)[0])
    narrow, wide = (interval("knn_entropy", roles, level=level) for level in (0.5, 0.99))
    value = measure(roles, ["knn_entropy"], space="x")["knn_entropy/x"]
    assert np.mean(narrow) == pytest.approx(value) and np.mean(wide) == pytest.approx(value)
    assert np.ptp(narrow) < np.ptp(wide) / 2
    assert (
        interval("knn_entropy", roles, seed=1)
        == interval("knn_entropy", roles, seed=1)
        != interval("knn_entropy", roles)
    )


def test_a_collapsed_set_has_no_interval():
    assert np.isnan(interval("knn_entropy", Roles(training=np.ones((20, 3), np.float32)))).all()
    # Finite on the whole, and collapsed in halves of a row and its copies.
    assert np.isnan(interval("knn_entropy", Roles(training=np.eye(2, dtype=np.float32).repeat([1, 9], axis=0)))).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "beauty"}, "no 'beauty'"),
        ({"name": "recall"}, "recall needs the role generated"),
        ({"n_resamples": 1}, "n_resamples: expected"),
        ({"level": 1}, "level: expected"),
        ({"level": 95}, "level: expected"),
        ({"roles": Roles(training=np.eye(3, dtype=np.float32)[:2])}, r"X: expected at least k \+ 1 = 2 rows"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(InputError, match=message):
        interval(**({"name": "knn_entropy", "roles": Roles(training=clouds(0, 20)[0])} | arguments))
