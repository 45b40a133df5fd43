"""The proven bounds are never violated, and an int8 product is trusted only where it is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from entropick.neighbors import precision as module
from entropick.neighbors.exact import bound_differences, squared_distances
from entropick.neighbors.precision import Precision
from entropick.neighbors.tile import as_columns, as_rows, compare

VALUES = st.floats(-1e6, 1e6, width=32) | st.integers(0, 255).map(float) | st.floats(-(2.0**-10), 2.0**-10, width=32)
SHAPES = st.tuples(st.integers(2, 12), st.integers(2, 40))


def held_as(kind, X):
    fine = Precision.of(X)
    return {"float32": fine, "float64": fine.double()}.get(kind) or fine.coarse(X, getattr(torch, kind))


@pytest.mark.parametrize("kind", ["float64", "float32", "bfloat16", "int8"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    X=hnp.arrays(np.float32, SHAPES, elements=VALUES),
    offset=st.sampled_from([0.0, 1e3, -1e5]),
    share=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_bounds_are_never_violated(kind, X, offset, share):
    X = X + np.float32(offset)
    precision = held_as(kind, X)
    placed = precision.place(X)
    i, j = np.indices((len(X), len(X))).reshape(2, -1)
    true = squared_distances(X, i, X, j).reshape(len(X), len(X)) * precision.scale**2
    limits = np.quantile(true, share, axis=1, method="nearest")
    near, _ = compare(as_rows(placed), torch.from_numpy(limits), as_columns(precision.place(X))).near()
    found = np.zeros_like(true, bool)
    found[near.row, near.column] = True
    assert found[true <= limits[:, None]].all()
    pairs = true[near.row, near.column]
    assert (near.lowest <= pairs).all() and (pairs <= near.highest).all()


@pytest.mark.parametrize("kind", ["float64", "float32", "bfloat16", "int8"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    X=hnp.arrays(np.float32, st.tuples(st.integers(70, 90), st.integers(2, 20)), elements=VALUES),
    share=st.sampled_from([0.1, 1.0]),
    wanted=st.sampled_from([1, 3, 80]),
)
def test_the_nearest_are_among_the_near_and_within_reach(kind, X, share, wanted):
    precision = held_as(kind, X)
    i, j = np.indices((len(X), len(X))).reshape(2, -1)
    true = squared_distances(X, i, X, j).reshape(len(X), len(X)) * precision.scale**2
    limits = np.quantile(true, share, axis=1, method="nearest")
    tile = compare(as_rows(precision.place(X)), torch.from_numpy(limits), as_columns(precision.place(X)))
    near, reach = tile.near(wanted)
    found = np.zeros_like(true, bool)
    found[near.row, near.column] = True
    ranked = np.sort(true, axis=1)
    kth = ranked[:, wanted - 1] if wanted <= len(X) else np.full(len(X), np.inf)
    assert found[true <= np.minimum(limits, kth)[:, None]].all()
    assert (kth <= reach.numpy()).all()
    assert (near.limits(len(X), wanted) >= kth).all()
    assert (np.diff(near.row) >= 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_bounds_of_float64_far_below_the_limit(seed):
    """Near-copies among rows that are far apart: the arithmetic of the bounds rounds as much as the product."""
    rng = np.random.default_rng(seed)
    large = rng.choice([0, 1e-4, 1e6, -1e6, 5e5], (80, 6)) * rng.random((80, 6))
    X = np.where(rng.random((80, 6)) < 0.5, rng.integers(0, 256, (80, 6)), large).astype(np.float32)
    precision = held_as("float64", X)
    i, j = np.indices((len(X), len(X))).reshape(2, -1)
    true = squared_distances(X, i, X, j).reshape(len(X), len(X)) * precision.scale**2
    tile = compare(as_rows(precision.place(X)), torch.from_numpy(true.max(axis=1)), as_columns(precision.place(X)))
    near, _ = tile.near()
    pairs = true[near.row, near.column]
    assert (near.lowest <= pairs).all() and (pairs <= near.highest).all()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("kind", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("d", [384, 9000])
def test_bounds_of_long_sums(d, kind, device):
    """Sums of as many terms as tensor cores and cuBLAS cut into pieces, of pairs that are nearer than they are long."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((8, d))[np.arange(96) % 8] + 0.02 * rng.standard_normal((96, d))).astype(np.float32)
    precision = held_as(kind, X)
    i, j = np.indices((len(X), len(X))).reshape(2, -1)
    true = squared_distances(X, i, X, j).reshape(len(X), len(X)) * precision.scale**2
    limits = torch.from_numpy(np.median(true, axis=1)).to(device)
    near, _ = compare(as_rows(precision.place(X, device)), limits, as_columns(precision.place(X, device))).near()
    found = np.zeros_like(true, bool)
    found[near.row, near.column] = True
    assert found[true <= np.median(true, axis=1)[:, None]].all()
    pairs = true[near.row, near.column]
    assert (near.lowest <= pairs).all() and (pairs <= near.highest).all()


def cut_off(terms, block=8, extra=1):
    """Their sum as the tensor cores of an A100 add up: terms of a block, and what is there, lose what lies beneath 25
    bits of the largest, and their sum what lies beneath its 24."""
    total = 0.0
    for start in range(0, len(terms), block):
        beside = np.append(terms[start : start + block], total)
        unit = 2.0 ** (np.frexp(np.abs(beside).max())[1] - 24 - extra)
        total = float((np.trunc(beside / unit) * unit).sum())
        last = 2.0 ** (np.frexp(abs(total))[1] - 24)
        total = float(np.trunc(total / last) * last)
    return total


def test_sums_of_tensor_cores_are_within_the_bound():
    n = 1 << 14
    # The largest first, and of each block as much as can be lost.
    terms = np.full(n, 2.0**-23 * (1 - 2.0**-8))
    terms[0], terms[8::8] = 1.0, 2.0**-24 * (1 - 2.0**-8)
    error = terms.sum() - cut_off(terms)
    precision = replace(held_as("float32", np.eye(3, dtype=np.float32)), dtype=torch.bfloat16)
    assert error > precision._product_error(n) / 2 * terms.sum()
    assert error < precision._product_error(n, "cuda") / 2 * terms.sum()


@pytest.mark.parametrize("n", [3, 40, 300, 1000])
@pytest.mark.parametrize("k", [1, 3, 11])
def test_the_largest_gains(n, k):
    rng, k = np.random.default_rng(0), min(n, k)
    # Whole numbers, of which many are equal.
    X = rng.integers(0, 3, (n, 5)).astype(np.float32)
    precision = held_as("float32", X)
    placed = as_rows(precision.place(X[:7]))
    tile = compare(placed, torch.full_like(placed.norms, torch.inf), as_columns(precision.place(X)))
    gains, columns = tile.largest(k)
    assert torch.equal(gains, tile.gains[:, :n].sort(dim=1, descending=True).values[:, :k])
    assert torch.equal(gains, tile.gains.gather(1, columns)) and int(columns.max()) < n
    assert all(len(set(row)) == k for row in columns.tolist())


@pytest.mark.parametrize("columns", [3, 16, 256, 300])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_filling_is_near_nothing(kind, columns):
    X = np.random.default_rng(0).standard_normal((columns, 20)).astype(np.float32)
    precision = held_as(kind, X)
    placed = as_rows(precision.place(X))
    near, _ = compare(placed, torch.full_like(placed.norms, torch.inf), as_columns(precision.place(X))).near()
    assert len(near.row) == columns**2 and near.column.max() == columns - 1


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    X=hnp.arrays(np.float32, SHAPES, elements=VALUES | st.floats(width=32, allow_nan=False, allow_infinity=False)),
    offset=st.sampled_from([0.0, 1e3, -1e5]),
)
def test_bounds_by_differences_are_never_violated(X, offset):
    with np.errstate(over="ignore"):
        X = np.clip(X + np.float32(offset), -3e38, 3e38).astype(np.float32)
    scale = Precision.of(X).scale
    i, j = np.indices((len(X), len(X))).reshape(2, -1)
    low, high = bound_differences(X, i, X, j, scale)
    true = squared_distances(X, i, X, j)
    assert (low <= true).all() and (true <= high).all()
    normal = (true * scale**2 > 1e-20) & np.isfinite(high)
    assert (high - low <= 1e-4 * true)[normal].all()


def test_pixels_are_held_without_error():
    X = np.random.default_rng(0).integers(0, 256, (500, 48)).astype(np.float32)
    precision = held_as("int8", X)
    placed = precision.place(X)
    np.testing.assert_array_equal(placed.vectors.numpy(), X.astype(np.int16) - 128)
    assert module.is_sharp(precision, X)


def test_normal_rows_are_not_sharp_in_int8():
    X = np.random.default_rng(0).standard_normal((500, 48)).astype(np.float32)
    assert not module.is_sharp(held_as("int8", X), X)


def test_the_choice_follows_the_speeds(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 48)).astype(np.float32)
    normal = np.random.default_rng(0).standard_normal((50, 48)).astype(np.float32)

    def chosen(X, **speeds):
        monkeypatch.setattr(module, "speeds", lambda *_: speeds)
        precision = module.screen(Precision.of(X), X, "cpu")
        return str(precision.dtype) if precision else None

    assert chosen(pixels, int8=2.0, bfloat16=0.5) == "torch.int8"
    assert chosen(pixels, int8=1.0, bfloat16=0.5) is None
    assert chosen(pixels, int8=2.0, bfloat16=3.0) == "torch.bfloat16"
    assert chosen(normal, int8=9.0, bfloat16=0.9) is None
    assert chosen(normal, int8=9.0, bfloat16=2.0) == "torch.bfloat16"
    assert chosen(pixels[:, :1], int8=9.0, bfloat16=9.0) is None


def test_a_wrong_product_has_no_speed(monkeypatch):
    monkeypatch.setattr(module, "multiply", lambda a, b: a @ b.T + (a.dtype == torch.bfloat16))
    module.speeds.cache_clear()
    try:
        assert module.speeds("cpu", torch.get_num_threads())["bfloat16"] == 0
    finally:
        module.speeds.cache_clear()


def test_what_is_placed_anew_on_a_gpu_is_placed_ahead():
    X = np.arange(60, dtype=np.float32).reshape(20, 3)
    precision, parts = Precision.of(X), [slice(0, 7), slice(7, 14), np.array([3, 19])]
    there, here, held = (
        module.Reader(lambda part: precision.place(X[part]), vectors, device)
        for device, vectors in (("meta", None), ("cpu", None), ("meta", precision.place(X)))
    )
    assert isinstance(here.in_turn(parts), map) and isinstance(held.in_turn(parts), map)
    ahead = there.in_turn(parts)
    assert not isinstance(ahead, map)
    for part, *found in zip(parts, ahead, here.in_turn(parts), held.in_turn(parts), strict=True):
        for vectors in found:
            assert torch.equal(vectors.vectors, precision.place(X[part]).vectors)
