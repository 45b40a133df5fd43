"""What of a pool is held in memory: the fastest vectors that fit, then int8, then nothing; the choice is the same."""

import numpy as np
import pytest

from entropick.arrays import FileRows
from entropick.neighbors.precision import Precision, holdable, resident_bytes
from entropick.processes.hardware import limited_memory, usable_memory
from entropick.selectors import Greedy


@pytest.fixture
def rows(tmp_path):
    np.save(tmp_path / "X.npy", np.random.default_rng(0).standard_normal((400, 60)).astype(np.float16))
    return FileRows([np.load(tmp_path / "X.npy", mmap_mode="r")])


def held(X, n_bytes):
    with limited_memory(n_bytes):
        coarse, hold = holdable(Precision.of(X), X, len(X), "cpu")
    return (None if coarse is None else str(coarse.dtype)), hold


@pytest.mark.parametrize("first", ["none", "bfloat16", "int8"])
def test_what_fits(rows, first, monkeypatch):
    monkeypatch.setattr("entropick.neighbors.precision._forced", first)
    fast = None if first == "none" else f"torch.{first}"
    enough = resident_bytes(*rows.shape)
    assert held(rows, 1 << 30) == (fast, True)
    assert held(rows, enough) == ("torch.int8", True)
    assert held(rows, enough // 2) == (None, False)
    # An array is in memory already, and its vectors come on top.
    X = rows[:]
    assert held(X, enough) == (None, False)
    assert held(X, enough + int(X.nbytes / 0.6)) == ("torch.int8", True)


@pytest.mark.parametrize("n_bytes", [1 << 30, 90_000, 20_000])
def test_the_same_rows_are_chosen(rows, n_bytes):
    expected = Greedy(n_samples=200, random_state=0).fit(rows[:])
    with limited_memory(n_bytes):
        found = Greedy(n_samples=200, random_state=0).fit(rows)
    np.testing.assert_array_equal(found.indices_, expected.indices_)
    np.testing.assert_array_equal(found.distances_, expected.distances_)
    assert found.covering_radius_ == expected.covering_radius_


def test_limits_end_with_their_context():
    before = usable_memory()
    with limited_memory(5 << 20), limited_memory(7 << 20):
        assert usable_memory() == 5 << 20
    with limited_memory(None):
        assert usable_memory() == before
