"""kernel_distance against closed forms and a brute force over all pairs."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from entropick.errors import InputError
from entropick.metrics import kernel_distance


def oracle(G, R):
    G, R = G.astype(np.float64), R.astype(np.float64)
    KG, KR, K = (polynomial_kernel(X, Y, degree=3, coef0=1) for X, Y in ((G, G), (R, R), (G, R)))
    pairs = [(K.sum() - np.trace(K)) / (len(K) * (len(K) - 1)) for K in (KG, KR)]
    return sum(pairs) - 2 * K.mean()


@pytest.mark.parametrize(("n_generated", "n_reference", "d"), [(40, 40, 3), (30, 75, 20), (2, 9, 300)])
@pytest.mark.parametrize("tile", [2048, 7])
def test_equals_brute_force(monkeypatch, n_generated, n_reference, d, tile):
    monkeypatch.setattr("entropick.metrics.fidelity._TILE_ROWS", tile)
    rng = np.random.default_rng(d)
    G = rng.normal(size=(n_generated, d)).astype(np.float32)
    R = (rng.normal(size=(n_reference, d)) + 0.3).astype(np.float32)
    assert kernel_distance(generated=G, reference=R) == pytest.approx(oracle(G, R), rel=1e-11)


def test_two_points_against_two():
    # (1 * 1 + 1)^3 between the ones, 1 elsewhere: 8 + 1 - 2.
    assert kernel_distance(generated=[[1.0], [1.0]], reference=[[0.0], [0.0]]) == 7


def test_it_is_unbiased_at_any_size():
    rng = np.random.default_rng(0)
    for n in (5, 20):
        values = [
            kernel_distance(generated=rng.normal(size=(n, 4)), reference=rng.normal(size=(9, 4))) for _ in range(400)
        ]
        assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / 20)
        assert min(values) < 0 < max(values)


def test_expected_value_of_a_shift():
    # One column: E (xy + 1)^3 = E[x^3] E[y^3] + 3 E[x^2] E[y^2] + 3 E[x] E[y] + 1, with the moments of a normal.
    def expected(*means):
        moments = np.array([(1, m, m**2 + 1, m**3 + 3 * m) for m in means])
        return moments.prod(axis=0) @ (1, 3, 3, 1)

    rng = np.random.default_rng(0)
    truth = expected(1, 1) + expected(0, 0) - 2 * expected(1, 0)
    values = [
        kernel_distance(generated=rng.normal(1, 1, size=(300, 1)), reference=rng.normal(size=(300, 1)))
        for _ in range(100)
    ]
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / 10)


@pytest.mark.parametrize("role", ["generated", "reference"])
def test_one_row_has_no_pair(role):
    with pytest.raises(InputError, match=f"{role}: expected at least 2 rows for a pair, got 1"):
        kernel_distance(**({"generated": np.eye(3), "reference": np.eye(3)} | {role: np.ones((1, 3))}))
