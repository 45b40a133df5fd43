"""A choice that was stopped at any checkpoint goes on from its picks to the same result."""

from __future__ import annotations

import clouds
import numpy as np
import pytest

from entropick.errors import InputError
from entropick.selectors import DensityGreedy, Greedy, ThresholdDecay
from entropick.selectors import greedy as greedy_module
from entropick.selectors import threshold_decay as threshold_decay_module
from entropick.work import Work

MAKE = {
    "greedy": lambda **more: Greedy(n_samples=70, random_state=0, **more),
    "density greedy": lambda **more: DensityGreedy(n_samples=70, k=9, random_state=0, **more),
    "threshold decay": lambda **more: ThresholdDecay(n_samples=70, threshold="auto", decay=0.7, random_state=0, **more),
}
pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")


class StoppedError(Exception):
    pass


class Stopping(Work):
    """Keeps every checkpoint, and stops after `patience` of them."""

    def __init__(self, patience):
        self.patience, self.kept, self.started_with = patience, {}, []

    def due(self):
        return True

    def save(self, name, arrays, state):
        self.kept[name] = ({key: array.copy() for key, array in arrays.items()}, dict(state))
        self.patience -= 1
        if self.patience == 0:
            raise StoppedError

    def load(self, name):
        found = self.kept.get(name)
        self.started_with.append(len(found[0]["accepted"]) if found else 0)
        return found


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(greedy_module, "_WIDTH", (8, 4, 16))
    monkeypatch.setattr(threshold_decay_module, "_WIDTH", (16, 32))


@pytest.mark.parametrize("minimum", [None, "balanced"])
@pytest.mark.parametrize("name", ["normal", "near copies", "copies", "far to near"])
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_stopped_at_every_checkpoint(make, name, minimum):
    X, y = clouds.cloud(name, 120, 6), np.repeat([0, 1], [100, 20])
    expected = make(minimum=minimum).fit(X, y)
    everything = Stopping(patience=-1)
    make(minimum=minimum).fit(X, y, work=everything)
    for patience in range(1, -everything.patience):
        work = Stopping(patience)
        with pytest.raises(StoppedError):
            make(minimum=minimum).fit(X, y, work=work)
        found = make(minimum=minimum).fit(X, y, work=work)
        assert max(work.started_with) > 0
        np.testing.assert_array_equal(found.indices_, expected.indices_)
        np.testing.assert_array_equal(found.distances_, expected.distances_)
        assert found.summary() == expected.summary()


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_other_rows_begin_anew(make):
    work = Stopping(patience=2)
    with pytest.raises(StoppedError):
        make().fit(clouds.cloud("normal", 120, 6, seed=0), work=work)
    work.started_with.clear()
    X = clouds.cloud("normal", 120, 6, seed=1)
    np.testing.assert_array_equal(make().fit(X, work=work).indices_, make().fit(X).indices_)
    assert work.started_with == [0]


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize("device", ["tpu-9", 3, None, "meta"])
def test_refuses_a_device_that_is_not_there(make, device):
    with pytest.raises(InputError, match='device: expected "auto", "cpu" or "cuda"'):
        make(device=device).fit(clouds.cloud("normal", 80, 2))


@pytest.mark.cuda
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_cuda_picks_the_same_rows(make):
    X = clouds.cloud("normal", 5000, 64)
    np.testing.assert_array_equal(make(device="cuda").fit(X).indices_, make(device="cpu").fit(X).indices_)
