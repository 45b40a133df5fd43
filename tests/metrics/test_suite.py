"""The measures by name: what they say when something is not there, and that they are the functions; interval: that it
holds the value aimed at as often as it says, and what is split."""

import math

import numpy as np
import pytest

from entropick import metrics
from entropick.errors import InputError
from entropick.metrics import MEASURES, Roles, interval, measure
from entropick.metrics.suite import LOOP_MEASURES

ROLES = ("training", "generated", "reference", "real")


def cloud(seed, n=60, d=4, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=(n, d))).astype(np.float32)


def everything(**changes):
    sets = {"training": cloud(0), "generated": cloud(1, 50, scale=0.7), "reference": cloud(2, 40), "real": cloud(3)}
    return Roles(**(sets | changes))


def test_every_name_is_there():
    assert set(MEASURES) == {
        *("generalization_score", "generalization_score_real", "generalization_score_baseline"),
        *("generalization_score_ratio", "spacing_ratio", "near_copy_rate", "authpct"),
        *("variance_ratio", "variance_ratio_real"),
        *("knn_entropy", "duplicate_share", "total_variance", "vendi_score", "intrinsic_dimension"),
        *("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"),
    }
    assert set(LOOP_MEASURES) < set(MEASURES)


@pytest.mark.parametrize(("name", "role"), [(name, role) for name in MEASURES for role in MEASURES[name].roles])
def test_a_missing_role_is_named(name, role):
    with pytest.raises(InputError, match=f"metrics: {name} needs the role {role} \\(.*leave {name} out"):
        measure(everything(**{role: None}), [name], space="toy")


def test_all_is_checked_before_anything_is_computed():
    # float64 would be refused by nothing here: the set is unusable, and must not be looked at.
    broken = everything(training=np.full((5, 4), np.nan, np.float32), reference=None)
    with pytest.raises(InputError, match="recall needs the role reference"):
        measure(broken, ["knn_entropy", "recall"], space="toy")


def test_an_unknown_measure():
    with pytest.raises(InputError, match=r"no 'knn_entropi'; known are generalization_score, .*mean 'knn_entropy'\?"):
        measure(everything(), ["knn_entropi"], space="toy")
    with pytest.raises(InputError, match=r"no 'beauty'; known are .*coverage\.$"):
        measure(everything(), ["beauty"], space="toy")


def test_values_are_those_of_the_functions():
    roles = everything()
    T, G, R, real = roles.training, roles.generated, roles.reference, roles.real
    found = metrics.copying(generated=G, training=T, reference=R, real=real)
    fidelity = ("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage")
    of_training = ("knn_entropy", "duplicate_share", "total_variance", "vendi_score", "intrinsic_dimension")
    expected = {
        "generalization_score": metrics.generalization_score(generated=G, training=T),
        "generalization_score_real": metrics.generalization_score(generated=G, training=real),
        "generalization_score_baseline": found.baseline,
        "generalization_score_ratio": found.ratio,
        "near_copy_rate": found.near_copy_rate,
        "spacing_ratio": metrics.spacing_ratio(generated=G, training=T),
        "authpct": metrics.authpct(generated=G, training=T),
        "variance_ratio": metrics.variance_ratio(generated=G, training=T),
        "variance_ratio_real": metrics.variance_ratio(generated=G, training=real),
        **{name: getattr(metrics, name)(T) for name in of_training},
        **{name: getattr(metrics, name)(generated=G, reference=R) for name in fidelity},
    }
    assert measure(roles, list(MEASURES), space="toy") == {f"{name}/toy": value for name, value in expected.items()}


def test_without_real_images_the_training_set_is_real():
    roles = everything(real=None)
    expected = metrics.generalization_score(generated=roles.reference, training=roles.training)
    names = ["generalization_score_baseline", "generalization_score", "generalization_score_ratio"]
    baseline, score, ratio = measure(roles, names, space="toy").values()
    assert baseline == expected and ratio == score / baseline


def test_a_model_that_emits_its_training_set_is_a_result():
    T = cloud(0)
    values = measure(everything(generated=T.copy()), ["generalization_score", "near_copy_rate", "authpct"], space="toy")
    assert list(values.values()) == [0, 1, 0]


def test_values_that_are_not_finite_become_none():
    constant = np.ones((20, 4), np.float32)
    assert measure(Roles(training=constant), ["knn_entropy"], space="toy") == {"knn_entropy/toy": None}


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
        ({"roles": Roles(training=np.eye(3, dtype=np.float32)[:2])}, r"training: expected at least k \+ 1 = 2 rows"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(InputError, match=message):
        interval(**({"name": "knn_entropy", "roles": Roles(training=clouds(0, 20)[0])} | arguments))
