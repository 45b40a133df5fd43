"""frechet_distance against analytic values and a dual formula that needs no covariance; kernel_distance against closed
forms and a brute force over all pairs."""

import tracemalloc

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

from entropick.errors import InputError
from entropick.metrics import GaussianStatistics, frechet_distance, kernel_distance


def gaussian(mean, covariance):
    return GaussianStatistics(10, np.asarray(mean, float), 9 * np.asarray(covariance, float))


def random_covariance(rng, d):
    A = rng.normal(size=(d, d))
    return A @ A.T + 0.1 * np.eye(d)


def oracle(X, Y):
    """Trace of (S1^1/2 S2 S1^1/2)^1/2 is the nuclear norm of Xc Yc^T over the root of the degrees of freedom."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    Xc, Yc = X - X.mean(0), Y - Y.mean(0)
    dual = np.linalg.norm(Xc @ Yc.T, "nuc") / np.sqrt((len(X) - 1) * (len(Y) - 1))
    shift = np.linalg.norm(X.mean(0) - Y.mean(0)) ** 2
    return shift + X.var(0, ddof=1).sum() + Y.var(0, ddof=1).sum() - 2 * dual


def test_commuting_covariances():
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 0.0, 16.0])
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    distance = frechet_distance(
        generated=gaussian([1, 0, 2], rotation @ np.diag(a) @ rotation.T),
        reference=gaussian([0, 2, 0], rotation @ np.diag(b) @ rotation.T),
    )
    assert distance == pytest.approx(9 + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2), rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 5, 12])
def test_other_covariances(d):
    rng = np.random.default_rng(d)
    A, B, shift = random_covariance(rng, d), random_covariance(rng, d), rng.normal(size=d)
    expected = shift @ shift + np.trace(A + B - 2 * np.real(sqrtm(A @ B)))
    distance = frechet_distance(generated=gaussian(shift, A), reference=gaussian(np.zeros(d), B))
    assert distance == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("n_generated", "n_reference", "d"), [(50, 70, 6), (5, 7, 40), (2, 3, 64), (9, 200, 20)])
def test_features_of_any_rank(n_generated, n_reference, d):
    rng = np.random.default_rng(d)
    X = rng.normal(size=(n_generated, d)).astype(np.float32)
    Y = (2 * rng.normal(size=(n_reference, d)) + 1).astype(np.float32)
    assert frechet_distance(generated=X, reference=Y) == pytest.approx(oracle(X, Y), rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(5, 7), (39, 39), (30, 2)])
def test_few_rows_give_what_their_covariances_give(n, m, monkeypatch):
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, 40)).astype(np.float32)
    Y = (2 * rng.normal(size=(m, 40)) + 1).astype(np.float32)
    whole = frechet_distance(generated=GaussianStatistics.of(X), reference=GaussianStatistics.of(Y))
    assert frechet_distance(generated=X, reference=Y) == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr("entropick.metrics.fidelity._TILE_ROWS", 3)
    assert frechet_distance(generated=X, reference=Y) == pytest.approx(whole, rel=1e-12)


def test_few_rows_of_many_columns_need_no_matrix_of_columns():
    X = np.random.default_rng(0).normal(size=(6, 200_000)).astype(np.float32)
    tracemalloc.start()
    distance = frechet_distance(generated=X[:3], reference=X[3:])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20 and distance > 0


@pytest.mark.parametrize("shape", [(200, 8), (10, 300)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 255.0])
def test_identical_sets(shape, scale):
    X = (scale * np.random.default_rng(0).normal(size=shape)).astype(np.float32)
    distance = frechet_distance(generated=X, reference=X[::-1])
    assert 0 <= distance < 1e-11 * scale**2 * shape[1]


def test_constant_set_is_a_point():
    X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    constant = np.ones((5, 4), np.float32)
    expected = np.sum((X.mean(0, dtype=np.float64) - 1) ** 2) + X.astype(np.float64).var(0, ddof=1).sum()
    assert frechet_distance(generated=constant, reference=X) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(generated=constant, reference=constant) == 0


def test_an_offset_changes_nothing():
    rng = np.random.default_rng(0)
    X, Y = rng.integers(0, 256, size=(2, 50, 12)).astype(np.float32)
    assert frechet_distance(generated=X + 2**16, reference=Y + 2**16) == pytest.approx(oracle(X, Y), rel=1e-9)


def test_statistics_are_those_of_numpy():
    X = np.random.default_rng(0).normal(5, 3, size=(30, 4)).astype(np.float32)
    S = GaussianStatistics.of(X)
    assert S.n == 30
    assert S.mean.dtype == S.covariance.dtype == np.float64
    np.testing.assert_allclose(S.mean, X.astype(np.float64).mean(0), rtol=1e-14)
    np.testing.assert_allclose(S.covariance, np.cov(X.astype(np.float64), rowvar=False), rtol=1e-12)


def test_blocks_make_no_difference(monkeypatch):
    X = np.random.default_rng(0).normal(1000, 1, size=(53, 6)).astype(np.float32)
    whole = GaussianStatistics.of(X).covariance
    monkeypatch.setattr("entropick.metrics.diversity._BLOCK_VALUES", 30)
    np.testing.assert_allclose(GaussianStatistics.of(X).covariance, whole, rtol=1e-12)


@pytest.mark.parametrize("cuts", [[1], [13], [1, 2, 3, 40], [59]])
def test_merged_parts_equal_the_whole(cuts):
    X = np.random.default_rng(0).normal(1000, 1, size=(60, 5)).astype(np.float32)
    X[20:] += 50
    first, *rest = [GaussianStatistics.of(part) for part in np.split(X, cuts)]
    merged = sum(rest, first)
    whole = GaussianStatistics.of(X)
    assert merged.n == whole.n
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-14)
    np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-11)
    Y = np.random.default_rng(1).normal(size=(40, 5))
    assert frechet_distance(generated=merged, reference=Y) == pytest.approx(
        frechet_distance(generated=X, reference=GaussianStatistics.of(Y)), rel=1e-12
    )


@pytest.mark.parametrize("role", ["generated", "reference"])
def test_one_row_is_too_few(role):
    sets = {"generated": np.eye(3), "reference": np.eye(3)} | {role: np.ones((1, 3))}
    with pytest.raises(InputError, match=f"{role}: expected at least 2 rows"):
        frechet_distance(**sets)
    with pytest.raises(InputError, match=f"{role}: expected at least 2 rows"):
        frechet_distance(**(sets | {role: GaussianStatistics.of(np.ones((1, 3)))}))


def test_covariance_of_one_row():
    with pytest.raises(InputError, match="at least 2 rows"):
        _ = GaussianStatistics.of([[1.0, 2.0]]).covariance


def test_statistics_of_another_width():
    with pytest.raises(InputError, match="generated has 3, reference has 4"):
        frechet_distance(generated=np.eye(3), reference=GaussianStatistics.of(np.eye(4)))
    with pytest.raises(InputError, match="same number of feature columns"):
        GaussianStatistics.of(np.eye(3)) + GaussianStatistics.of(np.eye(4))


def kernel_oracle(G, R):
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
    assert kernel_distance(generated=G, reference=R) == pytest.approx(kernel_oracle(G, R), rel=1e-11)


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
    with pytest.raises(InputError, match=f"{role}: expected at least 2 rows, got 1"):
        kernel_distance(**({"generated": np.eye(3), "reference": np.eye(3)} | {role: np.ones((1, 3))}))
