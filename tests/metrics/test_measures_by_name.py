"""The measures by name: what they need, what they say when it is not there, and that they are the functions."""

import numpy as np
import pytest

from entropick import metrics
from entropick.errors import InputError
from entropick.metrics import MEASURES, Roles, measure
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
        *("generalization_score_ratio", "near_copy_rate", "authpct"),
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
        "authpct": metrics.authpct(generated=G, training=T),
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
