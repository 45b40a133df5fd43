"""total_variance and source_shares."""

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.metrics import source_shares, total_variance


@pytest.mark.parametrize("shape", [(2, 1), (50, 3), (10, 200)])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_is_the_trace_of_the_covariance(shape, offset):
    X = (np.random.default_rng(0).normal(size=shape) + offset).astype(np.float32)
    covariance = np.atleast_2d(np.cov(X.astype(np.float64), rowvar=False))
    assert total_variance(X) == pytest.approx(np.trace(covariance), rel=1e-12)


def test_blocks_make_no_difference(monkeypatch):
    X = np.random.default_rng(0).normal(100, 1, size=(53, 6)).astype(np.float32)
    whole = total_variance(X)
    monkeypatch.setattr("entropick.metrics.moments._BLOCK_VALUES", 25)
    assert total_variance(X) == pytest.approx(whole, rel=1e-13)


def test_grey_levels_far_from_zero_are_exact():
    X = np.array([[16_777_214.0], [16_777_216.0]])
    assert total_variance(X) == 2


def test_constant_set_has_none():
    assert total_variance(np.full((5, 4), 0.1)) == 0


def test_one_row_has_no_variance():
    with pytest.raises(InputError, match="X: expected at least 2 rows"):
        total_variance([[1.0, 2.0]])


def test_shares():
    assert source_shares([3, 0, 0, 3, 0]) == {0: 0.6, 3: 0.4}
    assert list(source_shares([3, 0, 1])) == [0, 1, 3]
    assert source_shares(np.array([1, 1], np.uint8), n_sources=3) == {0: 0.0, 1: 1.0, 2: 0.0}
    assert list(source_shares([2, 1], n_sources=4)) == [0, 1, 2, 3]


def test_shares_are_plain_numbers_and_sum_to_one():
    shares = source_shares(np.random.default_rng(0).integers(0, 7, size=1000), n_sources=7)
    assert all(type(key) is int and type(value) is float for key, value in shares.items())
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("source", [[], [-1, 0], [0.5], [[0, 1]], [0, 3], np.zeros((0,), np.int64)])
def test_bad_sources(source):
    with pytest.raises(InputError, match="source: expected"):
        source_shares(source, n_sources=3)


def test_bad_n_sources():
    with pytest.raises(InputError, match="n_sources: expected"):
        source_shares([0], n_sources=0)
    with pytest.raises(InputError, match=r"source: expected values 0 or more, got -2\.\.0"):
        source_shares([0, -2])
