"""A search does not depend on row order, block size, number of threads, or on uint8 or float32 input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from entropick.neighbors import nearest_neighbors, precision, search


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (300, 48)).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(pixels):
    return nearest_neighbors(pixels[:100], pixels[100:], k=3)


def same(found, expected):
    np.testing.assert_array_equal(found.distances, expected.distances)
    np.testing.assert_array_equal(found.indices, expected.indices)


def test_uint8_or_float(pixels, expected):
    for kind in (np.float32, np.float64, np.int32):
        same(nearest_neighbors(pixels[:100].astype(kind), pixels[100:].astype(kind), k=3), expected)


@pytest.mark.parametrize("rows", [1, 17, 4096])
def test_block_size(pixels, expected, rows, monkeypatch):
    monkeypatch.setattr(search, "_QUERY_ROWS", rows)
    monkeypatch.setattr(search, "_POINT_ROWS", rows)
    same(nearest_neighbors(pixels[:100], pixels[100:], k=3), expected)


@pytest.mark.parametrize("held", [0, 1 << 30])
def test_points_held_or_placed_anew(pixels, expected, held, monkeypatch):
    monkeypatch.setattr(search, "_HELD_BYTES", held)
    same(nearest_neighbors(pixels[:100], pixels[100:], k=3), expected)


def test_number_of_threads(pixels, expected):
    before = torch.get_num_threads()
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            same(nearest_neighbors(pixels[:100], pixels[100:], k=3), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["none", "bfloat16"])
def test_rows_so_wide_that_tiles_have_few(pixels, expected, kind, monkeypatch):
    monkeypatch.setattr(search, "_QUERY_BYTES", 0)
    monkeypatch.setattr(search, "_POINT_BYTES", 0)
    monkeypatch.setattr(precision, "_SAMPLE_NUMBERS", 1)
    monkeypatch.setattr(precision, "_SUMMED", 5)
    monkeypatch.setattr(precision, "_forced", kind)
    same(nearest_neighbors(pixels[:100], pixels[100:], k=3), expected)


@pytest.mark.parametrize("offset", [0, 1e4])
def test_wide_rows_leave_little_open(offset, monkeypatch):
    """Sums of so many float32 terms err by too much to tell anything; sums of blocks do not."""
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((40, 60_000)) + offset).astype(np.float32)
    looked_at = []
    differences = search.squared_distances
    monkeypatch.setattr(
        search, "squared_distances", lambda *pairs: looked_at.append(len(pairs[1])) or differences(*pairs)
    )
    found = nearest_neighbors(rows[:20], rows[20:], k=1)
    exact = ((rows[:20, None].astype(np.float64) - rows[20:]) ** 2).sum(2)
    assert found.indices[:, 0].tolist() == exact.argmin(1).tolist()
    assert sum(looked_at) < 4 * 20


def test_row_order(pixels, expected):
    rng = np.random.default_rng(1)
    asked, known = rng.permutation(100), rng.permutation(200)
    found = nearest_neighbors(pixels[:100][asked], pixels[100:][known], k=3)
    np.testing.assert_array_equal(found.distances, expected.distances[asked])
    np.testing.assert_array_equal(known[found.indices], expected.indices[asked])
