"""`nearest_neighbors` against a float64 brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import entropick.neighbors.search as module
from entropick.errors import InputError
from entropick.neighbors import distinct_rows, nearest_neighbors, resident, squared_distances
from entropick.neighbors.exact import bound_differences
from entropick.processes.hardware import full_precision, limited_memory, usable_memory, usable_memory_of
from entropick.work import Work


def brute_force(queries, points, k, exclude_self):
    a, b = np.asarray(queries, np.float64), np.asarray(points, np.float64)
    squares = np.array([np.einsum("ij,ij->i", b - row, b - row) for row in a])
    if exclude_self:
        np.fill_diagonal(squares, np.inf)
    indices = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squares, indices, 1)), indices


def normal(rng, n, d):
    return rng.normal(size=(n, d))


def near_copies(rng, n, d):
    half = rng.normal(size=(n // 2, d)) * 10
    return np.concatenate([half, half + rng.normal(size=half.shape) * 1e-4])


def exact_copies(rng, n, d):
    return rng.permutation(np.concatenate([rng.normal(size=(n // 3, d)).repeat(2, axis=0), np.ones((n // 4, d))]))


def tight_clusters(rng, n, d):
    return rng.normal(size=(3, d))[rng.integers(3, size=n)] * 100 + rng.normal(size=(n, d)) * 1e-3


def with_outliers(rng, n, d):
    X = rng.normal(size=(n, d))
    X[:3] *= 1e4
    return X


CASES = {
    "normal": normal,
    "offset": lambda rng, n, d: normal(rng, n, d) + 1e3,
    "near copies": near_copies,
    "near copies, offset": lambda rng, n, d: near_copies(rng, n, d) + 1e3,
    "exact copies": exact_copies,
    "tight clusters": tight_clusters,
    "outliers": with_outliers,
    "one-hot": lambda rng, n, d: np.eye(n),
    "integer grid": lambda rng, n, d: rng.integers(0, 3, size=(n, min(d, 4))),
    "all the same": lambda rng, n, d: np.full((n, d), 0.1),
    "zeros": lambda rng, n, d: np.zeros((n, d)),
    "huge": lambda rng, n, d: normal(rng, n, d) * 5e37,
    "tiny": lambda rng, n, d: normal(rng, n, d) * 1e-40,
    "signed zeros": lambda rng, n, d: np.copysign(0.0, normal(rng, n, d)),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "_QUERY_ROWS", 32)
    monkeypatch.setattr(module, "_POINT_ROWS", 37)


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (1, 40), (5, 40), (5, 2)])
@pytest.mark.parametrize("case", CASES)
def test_equals_brute_force(case, k, d, exclude_self):
    rng = np.random.default_rng(0)
    X = CASES[case](rng, 100, d).astype(np.float32)
    queries = X if exclude_self else np.concatenate([X[::3], X[:20] + np.float32(0.3)])
    found = nearest_neighbors(queries, X, k=k, exclude_self=exclude_self)
    distances, indices = brute_force(queries, X, k, exclude_self)
    assert found.distances.dtype == np.float64 and found.indices.dtype == np.int64
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.indices, indices)


def test_equals_brute_force_where_float64_products_take_over(monkeypatch):
    monkeypatch.setattr(module, "_SPARE", 1)
    test_equals_brute_force("tight clusters", 5, 40, True)
    test_equals_brute_force("one-hot", 1, 40, True)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.fixture
def living_there(monkeypatch):
    """Points live on every device, even on the processor, and tiles and blocks are small; whoever looks instead is
    counted."""
    monkeypatch.setattr(module, "is_resident", lambda *of: True)
    monkeypatch.setattr(resident, "_TILE_NUMBERS", 1 << 10)
    monkeypatch.setattr(resident, "_DIFFERENCES", 1 << 9)
    monkeypatch.setattr(resident, "_BLOCK_NUMBERS", 1 << 9)
    looked = []

    class Counted(module._Search):
        def nearest(self, queries, numbers):
            looked.append(len(queries))
            return super().nearest(queries, numbers)

    monkeypatch.setattr(module, "_Search", Counted)
    return looked


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (1, 40), (5, 40), (5, 2), (30, 2)])
@pytest.mark.parametrize("case", CASES)
def test_points_that_live_on_a_device(case, k, d, exclude_self, device, living_there):
    rng = np.random.default_rng(0)
    X = CASES[case](rng, 100, d).astype(np.float32)
    queries = X if exclude_self else np.concatenate([X[::3], X[:20] + np.float32(0.3)])
    found = nearest_neighbors(queries, X, k=k, exclude_self=exclude_self, device=device)
    distances, indices = brute_force(queries, X, k, exclude_self)
    assert found.distances.dtype == np.float64 and found.indices.dtype == np.int64
    np.testing.assert_allclose(found.distances, distances, rtol=1e-14)
    is_tied = np.isclose(distances[:, :, None], distances[:, None], rtol=1e-14).sum(2) > 1
    same = found.indices == indices
    # Distances that differ by the order of a sum may come in either order; copies may not.
    assert (same | is_tied).all()
    if case in ("exact copies", "integer grid", "all the same", "zeros", "signed zeros"):
        assert same.all()
    if case == "normal" and d == 40:
        assert sum(living_there) == 0
    if case == "all the same":
        assert sum(living_there) == len(queries)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("d", [1, 40, 128, 131, 770])
def test_a_pair_is_as_far_wherever_it_stands_and_however_many_there_are(d, device):
    """`sum` on a GPU adds rows of 128 numbers and more by where they begin, and fewer than 16 in another order."""
    X = torch.from_numpy(normal(np.random.default_rng(0), 50, d).astype(np.float32)).to(device)
    X[20:] = X[20]
    row, column = torch.zeros(50, dtype=torch.int64, device=device), torch.arange(50, device=device)
    squares = resident._differences(X, row, X, column)
    alone = [resident._differences(X, row[i : i + 1], X, column[i : i + 1]) for i in range(50)]
    assert torch.equal(squares, torch.cat(alone)) and len(squares[20:].unique()) == 1
    there = X.cpu().numpy()
    expected = squared_distances(there, np.zeros(50, int), there, np.arange(50))
    np.testing.assert_allclose(squares.cpu().numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("device", DEVICES)
def test_of_copies_on_a_device_the_lowest_rows(device, living_there, monkeypatch):
    """Also where the differences of one query are computed in several blocks."""
    monkeypatch.setattr(resident, "_DIFFERENCES", 5 * 131)
    X = normal(np.random.default_rng(0), 60, 131).astype(np.float32)
    points = np.concatenate([X, X, X])
    found = nearest_neighbors(X + np.float32(0.01), points, k=3, device=device)
    np.testing.assert_array_equal(found.indices, np.arange(60)[:, None] + [0, 60, 120])
    assert (found.distances == found.distances[:, :1]).all() and not living_there


@pytest.mark.parametrize("device", DEVICES)
def test_a_part_of_the_points_on_a_device(device, living_there):
    """Numbers of points count from the first of the part, and a query is not its own neighbour in it."""
    X = normal(np.random.default_rng(0), 90, 8).astype(np.float32)
    fine = module.Precision.of(X)
    squares, rows = module._search(X, 30, X[30:60], 4, True, fine, device)(slice(20, 50))
    distances, indices = brute_force(X[20:50], X, 90, False)
    for query, (found, order, sorted_distances) in enumerate(zip(rows, indices, distances, strict=True), 20):
        is_part = (order >= 30) & (order < 60) & (order != query)
        assert found.tolist() == order[is_part][:4].tolist()
        np.testing.assert_allclose(squares[query - 20], sorted_distances[is_part][:4] ** 2, rtol=1e-13)


def test_where_points_live(monkeypatch):
    X = np.zeros((50, 20), np.float32)
    monkeypatch.setattr(module, "is_resident", lambda n, width, device: device == "cuda")
    monkeypatch.setattr(module, "ResidentSearch", lambda *of, otherwise: ("there", otherwise))
    precision = module.Precision.of(X)
    assert isinstance(module._search(X, 0, X, 3, False, precision, "cpu"), module._Search)
    assert module._search(X, 0, X, 3, False, precision, "cuda")[0] == "there"
    # Fewer points than are asked for need no GPU.
    monkeypatch.setattr(module, "is_resident", lambda *of: True)
    assert isinstance(module._search(X, 0, X[:3], 3, True, precision, "cpu"), module._Search)


def test_memory_of_a_gpu_that_torch_keeps_is_free(monkeypatch):
    """Else a second search would find no room where the first one was."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert usable_memory_of("cuda") == 60
    # Of four processes each takes no more than its share, of which torch has 20 already.
    with limited_memory(None, 0.25):
        assert usable_memory_of("cuda") == 5
    assert usable_memory_of("cpu") == usable_memory()


def test_copies_that_a_dot_product_takes_for_equal():
    """scikit-learn's brute force in float64 finds copies 1e-4 away; the same in float32 products says 0 of most."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(150, 64)).astype(np.float32) + np.float32(1)
    queries = points[:100] + np.float32(1e-4) * rng.choice(np.float32([-1, 1]), size=(100, 64))
    theirs = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(points.astype(np.float64))
    distances, indices = theirs.kneighbors(queries.astype(np.float64))
    found = nearest_neighbors(queries, points, k=2)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)
    np.testing.assert_allclose(found.distances[:, 0], 8e-4, rtol=1e-2)

    squares = (queries**2).sum(axis=1)[:, None] - 2 * queries @ points.T + (points**2).sum(axis=1)
    shortcut = np.sqrt(np.maximum(squares, 0)).min(axis=1)
    assert np.isin(shortcut, 0).mean() > 0.3 and (np.abs(shortcut / found.distances[:, 0] - 1) > 0.9).all()


def test_of_equal_rows_the_lowest():
    X = np.array([[1], [0], [1], [1]], np.float32)
    found = nearest_neighbors(X, X, k=3, exclude_self=True)
    assert found.indices.tolist() == [[2, 3, 1], [0, 2, 3], [0, 3, 1], [0, 2, 1]]


def test_memory_map_and_other_layouts(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    expected = nearest_neighbors(X, X, exclude_self=True)
    for other in (np.load(tmp_path / "X.npy", mmap_mode="r"), np.asfortranarray(X)):
        found = nearest_neighbors(other, other, exclude_self=True)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.distances, expected.distances)


def allowed_precisions() -> list[str]:
    """What torch says of its products in float32, by the older function and by the newer switches."""
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:
        older = "not read any more"
    return [older, torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision]


def allow_by_function() -> None:
    torch.set_float32_matmul_precision("medium")


def allow_by_flag() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True


def allow_by_switch() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"


@pytest.mark.parametrize("allow", [allow_by_function, allow_by_flag, allow_by_switch])
def test_low_precision_products_allowed_by_the_caller_change_nothing(allow: Callable[[], None]) -> None:
    X = near_copies(np.random.default_rng(0), 100, 64).astype(np.float32)
    expected = nearest_neighbors(X, X, exclude_self=True)
    switches = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [switch.fp32_precision for switch in switches]
    allow()
    try:
        allowed = allowed_precisions()
        found = nearest_neighbors(X, X, exclude_self=True)
        with full_precision, full_precision:
            inside = allowed_precisions()
        assert inside[1:] == ["ieee", "ieee"] and allowed_precisions() == allowed
    finally:
        if allow is not allow_by_switch:
            torch.set_float32_matmul_precision("highest")
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision
    np.testing.assert_array_equal(found.distances, expected.distances)


class StopEarlyError(Exception):
    pass


class Notebook(Work):
    """Saves after every step and stops after the second."""

    def __init__(self):
        self.saved, self.heard = {}, []

    def progress(self, done, total, note=""):
        self.heard.append(done)

    def due(self):
        return True

    def save(self, name, arrays, state):
        self.saved[name] = ({key: array.copy() for key, array in arrays.items()}, dict(state))
        if len(self.heard) == 2:
            raise StopEarlyError

    def load(self, name):
        return self.saved.get(name)


def test_goes_on_where_it_stopped():
    X = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    notebook = Notebook()
    with pytest.raises(StopEarlyError):
        nearest_neighbors(X, X, k=2, work=notebook)
    found = nearest_neighbors(X, X, k=2, work=notebook)
    expected = nearest_neighbors(X, X, k=2)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert notebook.heard == [32, 64, 96, 100]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 4}, "at most 3 neighbours among 3 points, got 4"),
        ({"k": 3, "exclude_self": True}, "at most 2 neighbours among 3 points, itself excluded"),
        ({"k": 0}, "k: expected a whole number"),
        ({"points": np.zeros((2, 2)), "exclude_self": True}, "same rows, got 3 and 2"),
        ({"points": np.zeros((2, 3))}, "queries has 2, points has 3"),
        ({"points": np.zeros(3)}, "points: expected a matrix"),
        ({"queries": np.full((1, 2), np.nan)}, "queries: expected finite"),
    ],
)
def test_refuses_what_cannot_be_searched(arguments, message):
    with pytest.raises(InputError, match=message):
        nearest_neighbors(**{"queries": np.zeros((3, 2)), "points": np.zeros((3, 2)), **arguments})


def test_distinct_rows():
    X = np.array([[0.0, 1], [-0.0, 1], [2, 2], [0, 1], [2, 3]], np.float32)
    first, group = distinct_rows(X)
    assert first.tolist() == [0, 2, 4] and group.tolist() == [0, 0, 1, 0, 2]


@pytest.mark.parametrize("n_columns", [40_000, 70_001])
def test_differences_of_wide_rows_are_those_of_all_columns(n_columns):
    """Rows of more columns than fit in the cache are taken in parts, the last of which is shorter."""
    X = (np.random.default_rng(0).standard_normal((3, n_columns)) * 50 + 100).astype(np.float32)
    X[1, -1] += 1000
    rows, others = np.array([0, 0, 1, 2]), np.array([1, 2, 2, 2])
    expected = ((X[rows].astype(np.float64) - X[others]) ** 2).sum(axis=1)
    np.testing.assert_allclose(squared_distances(X, rows, X, others), expected, rtol=1e-13)
    low, high = bound_differences(X, rows, X, others, 0.5)
    assert (low <= expected).all() and (expected <= high).all()
