"""Sources: opened without being copied, refused with a reason; the forecast has the right order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entropick.errors import InputError
from entropick.features import Pixels
from entropick.selection import Choice, open_sources, read_embeddings
from entropick.selection.extraction import given
from entropick.selection.forecast import forecast
from entropick.selectors import Greedy

X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


def test_a_memory_map_goes_through_uncopied(tmp_path):
    np.save(tmp_path / "X.npy", X)
    (source,) = open_sources([f"a={tmp_path / 'X.npy'}"])
    candidates = given([source], None, ({},))
    assert isinstance(candidates.X, np.memmap) and np.shares_memory(candidates.X, source.array)
    images = np.zeros((20, 4, 4), np.uint8)
    np.save(tmp_path / "images.npy", images)
    sources = open_sources([f"a={tmp_path / 'images.npy'}"])
    embedded = read_embeddings(tmp_path / "X.npy")
    assert np.shares_memory(given(sources, embedded, ({},)).X, embedded)


def test_a_path_may_have_an_equals_sign(tmp_path):
    np.save(tmp_path / "seed=3.npy", X)
    (source,) = open_sources([f"a={tmp_path / 'seed=3.npy'}"])
    assert source.name == "a" and len(source) == 20


@pytest.mark.parametrize("kind", ["lists", "fixed lists", "columns", "float64 lists"])
def test_parquet_of_every_shape(tmp_path, kind):
    tables = {
        "lists": {"e": list(X)},
        "fixed lists": {"e": pa.FixedSizeListArray.from_arrays(X.ravel(), 3)},
        "columns": {f"x{i}": X[:, i] for i in range(3)},
        "float64 lists": {"e": list(X.astype(np.float64))},
    }
    pq.write_table(pa.table(tables[kind]), tmp_path / "X.parquet", row_group_size=7)
    np.testing.assert_array_equal(read_embeddings(tmp_path / "X.parquet"), X)


def test_rows_of_skipped_images_are_left_out_of_their_embeddings(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((20, 4, 4), np.uint8))
    sources = open_sources([f"a={tmp_path / 'images.npy'}"])
    found = given(sources, X, ({3: "torn", 7: "torn"},))
    assert found.row.tolist() == [row for row in range(20) if row not in (3, 7)]
    np.testing.assert_array_equal(found.X, X[found.row])


def test_the_same_from_python(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    sources = open_sources([f"a={tmp_path / 'images.npz'}"])
    said = []
    choice = Choice(sources=sources, selector=Greedy(n_samples=5, random_state=0), encoder=Pixels())
    result = choice.run(tmp_path / "out", say=said.append)
    assert result["n_samples"] == 5 and said[0].startswith("greedy: 5 of 30 rows with 16 features. Forecast")
    assert choice.run(tmp_path / "out", say=said.append) == result and said[-1].startswith("chosen before")


def test_another_run_is_not_written_into(tmp_path):
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"n_iterations": 3}')
    choice = Choice(sources=open_sources([f"a={tmp_path / 'X.npy'}"]), selector=Greedy(n_samples=5))
    with pytest.raises(InputError, match="holds other files"):
        choice.run(tmp_path / "run")


def test_a_larger_selection_is_forecast_to_cost_more():
    small, large = (forecast(n, 64, n // 2, method="greedy") for n in (1_000, 100_000))
    assert 0 < small.seconds < large.seconds and 0 < small.bytes < large.bytes
    assert large.bytes > 2 * 100_000 * 64 * 4
