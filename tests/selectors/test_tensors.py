"""Tensors: on the processor they are not copied, on a GPU they are read in blocks; the rows are the same."""

import clouds
import numpy as np
import pytest
import torch
from registered import makers

from entropick.arrays import TensorRows, check_features
from entropick.errors import InputError
from entropick.selectors import Greedy, OutlierGuard, Random, Selector

SELECTORS = makers(
    "selector",
    {"density-greedy": {"k": 2}, "latent-space-filter": {"n_classes": 3}, "threshold-decay": {"threshold": 2.0}},
)


@pytest.fixture(scope="module")
def X():  # noqa: N802 - a matrix
    return clouds.cloud("normal", 300, 24)


@pytest.fixture
def blocks(monkeypatch):
    """Counts the rows that are taken of tensors at once, all of which stand for some on a GPU here."""
    taken = []
    whole = TensorRows.__getitem__

    def counting(self, rows):
        found = whole(self, rows)
        taken.append(len(np.atleast_1d(found)))
        return found

    monkeypatch.setattr(TensorRows, "__getitem__", counting)
    monkeypatch.setattr("entropick.arrays.checks._is_on_device", lambda value: isinstance(value, torch.Tensor))
    monkeypatch.setattr("entropick.neighbors.precision.BLOCK_ELEMENTS", 24 * 64)
    return taken


@pytest.mark.parametrize("name", SELECTORS)
def test_the_same_rows_whatever_the_tensor_lies_on(name, X, blocks, monkeypatch):
    selector = SELECTORS[name](n_samples=40, random_state=0)
    from_tensor = SELECTORS[name](n_samples=40, random_state=0).fit(torch.from_numpy(X))
    assert blocks or not selector.reads_blocks
    selector.fit(X)
    np.testing.assert_array_equal(from_tensor.indices_, selector.indices_)
    np.testing.assert_array_equal(from_tensor.distances_, selector.distances_)


def test_never_all_rows_at_once(blocks):
    X = clouds.cloud("normal", 6000, 24)
    Greedy(n_samples=40, random_state=0).fit(torch.from_numpy(X))
    assert blocks and max(blocks) < len(X) / 2


def test_a_selector_of_somebody_else_gets_an_array(X, blocks):
    class Own(Random):
        reads_blocks = False

        def _select(self, X, sources, initial, work):
            assert isinstance(X, np.ndarray)
            return super()._select(X, sources, initial, work)

    assert not Selector.reads_blocks
    Own(n_samples=3, random_state=0).fit(torch.from_numpy(X))


def test_rows_on_a_device_are_what_an_array_has(X):
    rows = TensorRows(torch.from_numpy(X.copy()))
    assert rows.shape == X.shape and len(rows) == len(X) and rows.nbytes == X.nbytes
    for part in (slice(3, 9), slice(0, 300, 7), np.array([5, 2]), 4):
        np.testing.assert_array_equal(rows[part], X[part])
    np.testing.assert_array_equal(np.stack(list(rows)), X)
    np.testing.assert_array_equal(rows.take(np.array([1, 1]), axis=0), X[[1, 1]])
    handed = rows[0:1]
    handed[:] = 0
    np.testing.assert_array_equal(rows[0], X[0])


def test_values_that_are_not_finite_are_located_on_the_device(X, blocks):
    tensor = torch.from_numpy(X.copy())
    tensor[7, 3] = float("nan")
    with pytest.raises(InputError, match=r"X: expected finite float32 values, got nan in row 7, column 3 of shape"):
        Greedy(n_samples=3).fit(tensor)
    with pytest.raises(InputError, match="at least one row"):
        Greedy(n_samples=3).fit(torch.empty((0, 3)))


def test_on_the_processor_nothing_is_copied(X):
    assert np.shares_memory(check_features(torch.from_numpy(X), on_device=True), X)


def test_guards_take_tensors(X):
    y = np.arange(300) % 2
    expected = OutlierGuard().fit(X, y)
    np.testing.assert_array_equal(OutlierGuard().fit(torch.from_numpy(X), torch.from_numpy(y)).kept_, expected.kept_)


@pytest.mark.cuda
def test_a_tensor_on_a_gpu_is_not_copied_to_the_processor(X):
    tensor = torch.from_numpy(X).cuda()
    assert isinstance(check_features(tensor, on_device=True), TensorRows)
    for make in SELECTORS.values():
        expected = make(n_samples=40, random_state=0).fit(X)
        found = make(n_samples=40, random_state=0).fit(tensor)
        np.testing.assert_array_equal(found.indices_, expected.indices_)
