"""precision, recall, density and coverage against a brute force over all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from entropick.errors import InputError
from entropick.metrics import coverage, density, precision, recall

METRICS = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def radii(X, k):
    D = cdist(X, X)
    np.fill_diagonal(D, np.inf)
    return np.sort(D, axis=1)[:, k - 1]


def oracle(G, R, k):
    G, R = np.asarray(G, np.float64), np.asarray(R, np.float64)
    D = cdist(R, G)
    reach_reference, reach_generated = radii(R, k)[:, None], radii(G, k)[None, :]
    in_reference, in_generated = reach_reference >= D, reach_generated >= D
    return {
        "precision": in_reference.any(axis=0).mean(),
        "recall": in_generated.any(axis=1).mean(),
        "density": in_reference.sum() / (k * len(G)),
        "coverage": in_reference.any(axis=1).mean(),
    }


def measured(G, R, k):
    return {name: metric(generated=G, reference=R, k=k) for name, metric in METRICS.items()}


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize(("shift", "spread", "d"), [(0.0, 1.0, 2), (1.0, 0.5, 3), (0.2, 2.0, 10), (9.0, 0.1, 4)])
def test_equals_brute_force(shift, spread, d, k):
    rng = np.random.default_rng(d)
    G = (shift + spread * rng.normal(size=(90, d))).astype(np.float32)
    R = rng.normal(size=(120, d)).astype(np.float32)
    assert measured(G, R, k) == pytest.approx(oracle(G, R, k), rel=1e-12)


def test_precision_with_radii_of_scikit_learn():
    rng = np.random.default_rng(0)
    G, R = rng.normal(0.5, 1, size=(60, 5)).astype(np.float32), rng.normal(size=(80, 5)).astype(np.float32)
    reach = NearestNeighbors(n_neighbors=3, algorithm="kd_tree").fit(R.astype(float)).kneighbors()[0][:, 2]
    inside = [any(np.linalg.norm(g.astype(float) - r) <= e for r, e in zip(R, reach, strict=True)) for g in G]
    assert 0 < np.mean(inside) < 1
    assert precision(generated=G, reference=R) == np.mean(inside)


grid = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=25)


@given(grid, grid, st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_copies_and_ties(generated, reference, k):
    # On a grid nearly every distance is tied and many rows are copies: closed balls must be closed.
    assert measured(generated, reference, k) == pytest.approx(oracle(generated, reference, k), rel=1e-12)


def test_ball_that_holds_everything(monkeypatch):
    # Collapse to the centre: each reference ball holds all generated rows, far more than are looked at first.
    monkeypatch.setattr("entropick.metrics.manifold._CENTER_ROWS", 16)
    monkeypatch.setattr("entropick.metrics.manifold._POINT_ROWS", 32)
    rng = np.random.default_rng(0)
    R = rng.normal(size=(40, 30)).astype(np.float32)
    G = rng.normal(scale=1e-3, size=(150, 30)).astype(np.float32)
    expected = oracle(G, R, 5)
    assert expected["density"] > 3
    assert measured(G, R, 5) == pytest.approx(expected, rel=1e-12)


def test_copies_of_the_reference_are_perfect():
    X = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    values = measured(X.copy(), X, 3)
    assert values["precision"] == values["recall"] == values["coverage"] == 1
    assert values["density"] == (3 + 1) / 3  # k neighbours on the border of each ball, and its centre


def test_two_samples_of_one_distribution():
    X = np.random.default_rng(0).normal(size=(1200, 6)).astype(np.float32)
    G, R = X[:600], X[600:]
    assert coverage(generated=G, reference=R, k=5) == pytest.approx(1 - 2**-5, abs=0.03)
    assert density(generated=G, reference=R, k=5) == pytest.approx(1, abs=0.1)


def test_dropped_mode_and_garbage_are_told_apart():
    rng = np.random.default_rng(0)
    R = np.concatenate([rng.normal(0, 1, size=(100, 2)), rng.normal(50, 1, size=(100, 2))])
    dropped = rng.normal(0, 1, size=(200, 2))
    garbage = np.concatenate([R[::2] + 0.01, rng.normal(-50, 1, size=(100, 2))])
    one, other = measured(dropped, R, 3), measured(garbage, R, 3)
    assert one["precision"] > 0.9 and one["recall"] < 0.55 and one["coverage"] < 0.55
    assert other["precision"] < 0.55 and other["density"] < 0.7 and other["recall"] > 0.9


def test_defaults_are_those_of_the_papers():
    rng = np.random.default_rng(0)
    G, R = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
    for name, k in {"precision": 3, "recall": 3, "density": 5, "coverage": 5}.items():
        assert METRICS[name](generated=G, reference=R) == METRICS[name](generated=G, reference=R, k=k)
        assert METRICS[name](generated=G, reference=R) != METRICS[name](generated=G, reference=R, k=8 - k)


@pytest.mark.parametrize("name", METRICS)
def test_too_few_centers(name):
    few, many = np.eye(4)[:3], np.eye(4)
    role = "generated" if name == "recall" else "reference"
    other = "reference" if name == "recall" else "generated"
    with pytest.raises(InputError, match=f"{role}: expected at least k \\+ 1 = 4 rows .* got 3"):
        METRICS[name](**{role: few, other: many}, k=3)
    assert METRICS[name](**{role: many, other: few[:1]}, k=3) >= 0


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [0, 2.0, True])
def test_bad_k(name, k):
    with pytest.raises(InputError, match="k: expected"):
        METRICS[name](generated=np.eye(4), reference=np.eye(4), k=k)
