"""Sources: opened without being copied, refused with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from entropick.errors import InputError
from entropick.features import Pixels
from entropick.neighbors import nearest_neighbors
from entropick.selection import Choice, duplicates
from entropick.selectors import Greedy
from entropick.sources import Candidates, Contents, Source, Space, given, open_embeddings, open_sources, sources_of
from entropick.work import Work

X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


def test_a_memory_map_goes_through_uncopied(tmp_path):
    np.save(tmp_path / "X.npy", X)
    (source,) = open_sources([f"a={tmp_path / 'X.npy'}"])
    candidates = given([source], None, ({},))
    assert isinstance(candidates.X, np.memmap) and np.shares_memory(candidates.X, source.array)
    images = np.zeros((20, 4, 4), np.uint8)
    np.save(tmp_path / "images.npy", images)
    sources = open_sources([f"a={tmp_path / 'images.npy'}"])
    embedded = open_embeddings(tmp_path / "X.npy").matrix
    assert np.shares_memory(given(sources, embedded, ({},)).X, embedded)


def test_a_path_may_have_an_equals_sign(tmp_path):
    np.save(tmp_path / "seed=3.npy", X)
    (source,) = open_sources([f"a={tmp_path / 'seed=3.npy'}"])
    assert source.name == "a" and len(source) == 20


def test_embeddings_of_different_widths_are_refused_at_once(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "wide.npy", np.zeros((5, 4), np.float32))
    with pytest.raises(InputError, match="but a has 3, b has 4"):
        open_sources([f"a={tmp_path / 'X.npy'}", f"b={tmp_path / 'wide.npy'}"])


@pytest.mark.parametrize("kind", ["lists", "fixed lists", "columns", "float64 lists"])
def test_parquet_of_every_shape(tmp_path, kind):
    tables = {
        "lists": {"e": list(X)},
        "fixed lists": {"e": pa.FixedSizeListArray.from_arrays(X.ravel(), 3)},
        "columns": {f"x{i}": X[:, i] for i in range(3)},
        "float64 lists": {"e": list(X.astype(np.float64))},
    }
    pq.write_table(pa.table(tables[kind]), tmp_path / "X.parquet", row_group_size=7)
    np.testing.assert_array_equal(open_embeddings(tmp_path / "X.parquet").matrix, X)


def test_rows_of_skipped_images_are_left_out_of_their_embeddings(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((20, 4, 4), np.uint8))
    sources = open_sources([f"a={tmp_path / 'images.npy'}"])
    found = given(sources, X, ({3: "torn", 7: "torn"},))
    assert found.row.tolist() == [row for row in range(20) if row not in (3, 7)]
    np.testing.assert_array_equal(found.X, X[found.row])


@pytest.mark.parametrize("kind", ["folder", "array", "embeddings", "file of embeddings"])
def test_a_source_that_changes_after_it_was_hashed_is_refused_and_nothing_of_it_is_kept(tmp_path, monkeypatch, kind):
    rng, encoder = np.random.default_rng(0), Dear()
    (tmp_path / "photos").mkdir()
    images = rng.integers(0, 256, (20, 8, 8), np.uint8)
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "photos" / f"{i:02d}.png")
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "X.npy", X)
    path = tmp_path / {"folder": "photos", "array": "images.npy", "embeddings": "X.npy"}.get(kind, "X.npy")
    space = Space("embeddings") if kind == "embeddings" else Space("dear", encoder=encoder)
    if kind == "file of embeddings":
        path, space = tmp_path / "photos", Space("X", file=tmp_path / "X.npy")
    contents = Contents.of(open_sources([f"a={path}"]), [space], Work())
    found = contents.survey(Work())
    changed = space.file or (path / "07.png" if kind == "folder" else path)
    kept = changed.read_bytes()
    changed.write_bytes(kept[:-1] + b"?")
    with pytest.raises(InputError, match=f"{changed.name}: expected a file that stays as it is"):
        contents.candidates(contents.spaces[0], found, tmp_path / "kept", Work())
    assert not list((tmp_path / "kept").rglob("*.npy"))


@dataclass(kw_only=True)
class Dear(Pixels):
    """Pixels whose features are kept, as those of an encoder are."""

    kind: ClassVar[str] = "dear"
    cheap: ClassVar[bool] = False


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_an_array_in_memory_goes_through_uncopied(tmp_path, monkeypatch, dtype):
    """From the caller to the search for duplicates there is one matrix of float32: the caller's, where it is one."""
    X = np.random.default_rng(0).standard_normal((60, 4)).astype(dtype)
    seen = []

    def searched(queries, points, **more):
        seen.append((queries, points))
        return nearest_neighbors(queries, points, **more)

    monkeypatch.setattr(duplicates, "nearest_neighbors", searched)
    (source,) = sources_of(X)
    Choice(sources=[source], selector=Greedy(n_samples=5)).run(tmp_path / "out")
    assert source.array is not None and (dtype != np.float32 or np.shares_memory(source.array, X))
    assert all(np.shares_memory(part, source.array) for pair in seen for part in pair) and len(seen) == 1


def test_classes_of_some_rows_are_numbered_over_all_sources():
    sources = [
        Source("a", Path("a"), "embeddings", classes=tuple("cab")),
        Source("b", Path("b"), "embeddings"),
        Source("c", Path("c"), "embeddings", classes=tuple("da")),
    ]
    of = Candidates(np.zeros((7, 1), np.float32), np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 1, 2, 0, 1, 0, 1]), ())
    numbers, names = of.class_numbers(sources, np.arange(7))
    assert numbers.tolist() == [2, 0, 1, -1, -1, 3, 0] and names == list("abcd")
    numbers, names = of.class_numbers(sources, np.array([6, 3, 5]))
    assert numbers.tolist() == [0, -1, 1] and names == ["a", "d"]
    assert of.class_numbers(sources, np.array([3]))[1] == [] == of.class_numbers(sources, np.array([], np.int64))[1]
