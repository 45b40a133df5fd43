"""A growing set whose rows live on a device says what one whose rows are on the processor does; here it is made to
live on the processor as well, and where there is a GPU, on that."""

import clouds
import numpy as np
import pytest
import torch

from entropick.neighbors import GrowingSet, growing_set, resident, squared_distances
from entropick.neighbors.precision import Precision, holdable
from entropick.neighbors.resident import ResidentSet, growing_among
from entropick.selectors import ApproximateGreedy, DensityGreedy, Gist, Greedy, ThresholdDecay

pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
RULES = {
    "greedy": lambda device: Greedy(n_samples=60, random_state=0, device=device),
    "threshold": lambda device: ThresholdDecay(n_samples=60, threshold="auto", random_state=0, device=device),
    "density": lambda device: DensityGreedy(n_samples=60, k=2, random_state=0, device=device),
    "approximate": lambda device: ApproximateGreedy(n_samples=12, eps=0.5, random_state=0, device=device),
    "gist": lambda device: Gist(n_samples=20, random_state=0, device=device),
}


# Trusted rows that are copies of each other are refused.
REFUSED = {("density", name) for name in ("copies", "integer grid", "all the same")} | {("gist", "all the same")}
CASES = [(rule, name) for rule in RULES for name in clouds.MAKERS if (rule, name) not in REFUSED]


@pytest.fixture
def on_the_device(monkeypatch):
    """Every device has room for rows, and tiles are small."""
    monkeypatch.setattr(resident, "is_resident", lambda *of: True)
    monkeypatch.setattr(growing_set, "_TILE_COLUMNS", 16)
    monkeypatch.setattr(resident, "_TILE_NUMBERS", 1 << 12)
    monkeypatch.setattr(resident, "_DIFFERENCES", 1 << 10)
    monkeypatch.setattr(resident, "_PAIRS", 100)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("rule", "name"), CASES)
def test_the_same_rows_are_chosen(rule, name, device, on_the_device, monkeypatch):
    X = clouds.cloud(name, 120, 20)
    found = RULES[rule](device).fit(X)
    monkeypatch.setattr(resident, "is_resident", lambda *of: False)
    expected = RULES[rule]("cpu").fit(X)
    np.testing.assert_array_equal(found.indices_, expected.indices_)
    np.testing.assert_array_equal(found.distances_, expected.distances_)
    assert found.facts_ == expected.facts_


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("is_on_the_device", [True, False])
def test_no_rows_at_all(device, is_on_the_device, on_the_device, monkeypatch):
    """As of a part of a dealt pool that has nothing of the sources that are asked for."""
    monkeypatch.setattr(resident, "is_resident", lambda *of: is_on_the_device)
    X = clouds.cloud("normal", 20, 8)
    growing = growing_among(X, 5, np.empty(0, np.int64), device=device, precision=Precision.of(X))
    growing.join(X[:2])
    positions, squares, outside = growing.farthest(3, np.empty(0))
    assert (len(positions), len(squares), outside) == (0, 0, (0.0, None))
    assert growing.beyond(1.0, 0, 4)[2] is None and growing.largest() == 0.0 == growing.covering_radius()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", clouds.MAKERS)
def test_what_it_tells(name, device, on_the_device):
    """Beside all distances, computed one by one."""
    X = clouds.cloud(name, 90, 20)
    rows = np.random.default_rng(1).permutation(90)[:70]
    growing = growing_among(X, 40, rows, device=device)
    assert isinstance(growing, ResidentSet)
    weights = np.random.default_rng(2).uniform(0.5, 1.0, 70)
    for start in range(0, 40, 8):
        growing.join(X[start : start + 8])
        members = np.arange(start + 8)
        squares = np.stack([squared_distances(X, rows, X, np.full(70, member)) for member in members]).min(0)
        np.testing.assert_allclose(growing.settle(np.arange(70)), squares, rtol=1e-15)
        assert growing.covering_radius() == pytest.approx(np.sqrt(squares.max()), rel=1e-15)
        assert growing.largest() == pytest.approx(squares.max(), rel=1e-14)
        near = growing.nearest()
        np.testing.assert_allclose(squared_distances(X, rows, X, near), squares, rtol=1e-12)
        positions, told, (value, position) = growing.farthest(5, weights)
        order = np.lexsort((np.arange(70), -squares * weights))
        order = order[squares[order] > 0]
        if len(np.unique(np.round(squares * weights, 9))) == 70:
            assert positions.tolist() == sorted(order[:5])
            assert position == order[5]
        np.testing.assert_allclose(told, squares[positions], rtol=1e-15)
        if position is not None:
            assert value == pytest.approx(squares[position] * weights[position], rel=1e-15)
        limit = float(np.median(squares)) * (1 + 1e-9)
        positions, told, last = growing.beyond(limit, 20, 6)
        above = np.flatnonzero(squares > limit)
        np.testing.assert_array_equal(positions, above[above >= 20][:6])
        assert last == (positions[-1] if len(positions) == 6 else None)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", clouds.MAKERS)
def test_members_in_order(name, device, on_the_device):
    X, order = clouds.cloud(name, 60, 20), np.random.default_rng(3).permutation(60)[:25]
    found, expected = growing_among(X, 25, device=device), GrowingSet(X, 25, device="cpu")
    for growing in (found, expected):
        growing.accept_in_order(order)
    assert found.accepted == expected.accepted
    np.testing.assert_allclose(found.at, expected.at, rtol=1e-15)


@pytest.fixture
def free_on_a_gpu(monkeypatch):
    """Set how many bytes are free on a GPU."""

    def set_to(n_bytes):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (n_bytes, 1 << 40))
        for kept in ("memory_reserved", "memory_allocated"):
            monkeypatch.setattr(torch.cuda, kept, lambda device: 0)

    return set_to


def test_it_lives_where_there_is_room(free_on_a_gpu):
    X = clouds.cloud("normal", 50, 20)
    assert type(growing_among(X, 5, device="cpu")) is GrowingSet
    free_on_a_gpu(1 << 40)
    assert resident.is_resident(55, 20, "cuda")
    free_on_a_gpu(1 << 28)
    assert not resident.is_resident(55, 20, "cuda")


def test_what_a_gpu_has_no_room_for_is_placed_anew(free_on_a_gpu, monkeypatch):
    X = clouds.cloud("normal", 50, 20)
    monkeypatch.setattr("entropick.neighbors.precision._forced", "bfloat16")
    fine = Precision.of(X)
    needed = fine.coarse(X, torch.bfloat16).held_bytes(50, 20)
    free_on_a_gpu(2 * needed)
    assert holdable(fine, X, 50, "cuda")[1]
    free_on_a_gpu(needed)
    assert holdable(fine, X, 50, "cuda") == (None, False)
