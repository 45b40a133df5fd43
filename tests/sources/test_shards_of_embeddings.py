"""Embeddings in many files, of every type and layout: the same rows as in one array, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from entropick.datasets import tables
from entropick.errors import InputError
from entropick.sources import Contents, Space, embeddings, open_embeddings, open_sources
from entropick.sources.embeddings import Embeddings
from entropick.sources.rounding import as_features
from entropick.work import Work

N, D = 10_000, 3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D))
CUTS = np.sort(RNG.choice(np.arange(1, N), 6, replace=False))
KINDS = ["f2", "f4", "f8", ">f2", ">f4", ">f8", "i2", "u4", "i8", ">i4"]


def rows_of(kind):
    return (X * 1000).astype(kind) if np.dtype(kind).kind in "iu" else X.astype(kind)


def as_one_array(rows, folder):
    np.save(folder / "one.npy", np.ascontiguousarray(rows))
    return open_sources([f"a={folder / 'one.npy'}"])[0].array


def parquet(rows, form, path):
    flat = pa.array(np.ascontiguousarray(rows, rows.dtype.newbyteorder("=")).ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, D)
    columns = {
        "lists": {"e": list(rows)},
        "fixed lists": {"e": lists},
        "large lists": {"e": lists.cast(pa.large_list(flat.type))},
        "nested lists": {"e": pa.FixedSizeListArray.from_arrays(lists, 1)},
        "columns": {f"x{i}": np.ascontiguousarray(rows[:, i]) for i in range(D)},
    }
    if form == "tensors":
        kind = pa.fixed_shape_tensor(flat.type, (1, D))
        columns[form] = {"e": pa.ExtensionArray.from_storage(kind, lists)}
    pq.write_table(pa.table(columns[form]), path, row_group_size=700)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["C", "F", "(n, 1, d)", "(n, d, 1, 1)"])
def test_seven_arrays_are_one(tmp_path, kind, layout):
    rows = rows_of(kind)
    expected = as_one_array(rows, tmp_path)
    (tmp_path / "many").mkdir()
    for number, part in enumerate(np.split(rows, CUTS), start=5):
        shaped = {"(n, 1, d)": part[:, None], "(n, d, 1, 1)": part[..., None, None]}.get(layout, part)
        np.save(tmp_path / f"many/part-{number}.npy", np.asfortranarray(shaped) if layout == "F" else shaped)
    (source,) = open_sources([f"a={tmp_path / 'many'}"])
    assert source.kind == "embeddings" and source.array.dtype == np.float32 and source.array.flags.c_contiguous
    np.testing.assert_array_equal(source.array, expected)
    assert source.place(N - 1) == f"{tmp_path}/many/part-11.npy#{N - CUTS[-1] - 1}"


@pytest.mark.parametrize("form", ["lists", "fixed lists", "large lists", "nested lists", "columns", "tensors"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i8"])
def test_seven_tables_are_one_array(tmp_path, monkeypatch, kind, form):
    monkeypatch.setattr(tables, "BATCH_NUMBERS", 1000)  # as if a column had more than 2^31 numbers
    rows = rows_of(kind)
    expected = as_one_array(rows, tmp_path)
    for number, part in enumerate(np.split(rows, CUTS), start=5):
        parquet(part, form, tmp_path / f"part-{number}.parquet")
    (source,) = open_sources([f"a={tmp_path / 'part-*.parquet'}"])
    np.testing.assert_array_equal(source.array, expected)


@pytest.mark.parametrize("kind", ["f8", "i8"])
def test_an_offset_is_the_same_however_rows_are_spread(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(embeddings, "_BLOCK_NUMBERS", 100)
    far = (X * 1000 + 1e12).astype(kind)
    one, *parts = ([far], np.split(far, CUTS), [np.asfortranarray(far)], [far[:1], far[1:]])
    (expected,) = as_features({"a": Embeddings(tuple(one))})
    assert len(np.unique(expected.X, axis=0)) > N - 10
    for spread in parts:
        np.testing.assert_array_equal(as_features({"a": Embeddings(tuple(spread))})[0].X, expected.X)


def test_blocks_do_not_depend_on_the_files(monkeypatch):
    monkeypatch.setattr(embeddings, "_BLOCK_NUMBERS", 31)
    for n_cuts in range(8):
        cuts = np.sort(RNG.integers(0, 100, n_cuts))
        blocks = list(Embeddings(tuple(np.split(X[:100], cuts))).blocks())
        assert [len(block) for block in blocks] == [10] * 10
        np.testing.assert_array_equal(np.concatenate(blocks), X[:100])


@pytest.mark.parametrize(("kind", "order"), [("f2", "C"), ("f4", "F"), (">f4", "C"), ("f8", "F")])
def test_a_map_is_read_block_by_block(tmp_path, monkeypatch, kind, order):
    """Beside the result there is one block in memory, and rows of a Fortran map are not read one at a time."""
    monkeypatch.setattr(embeddings, "_BLOCK_NUMBERS", 3000)
    np.save(tmp_path / "a.npy", np.asarray(X, kind, order=order))
    sizes, contiguous = [], np.ascontiguousarray

    def seen(array, *more):
        if isinstance(array, np.memmap):
            sizes.append(array.shape)
        return contiguous(array, *more)

    monkeypatch.setattr(np, "ascontiguousarray", seen)
    (source,) = open_sources([f"a={tmp_path / 'a.npy'}"])
    np.testing.assert_array_equal(source.array, X.astype(kind).astype("f4"))
    assert set(sizes) == {(1000, D)} and not isinstance(source.array, np.memmap)


def test_a_matrix_of_float32_stays_a_map(tmp_path):
    np.save(tmp_path / "a.npy", X.astype("f4")[:, None])
    (source,) = open_sources([f"a={tmp_path / 'a.npy'}"])
    assert isinstance(source.array, np.memmap) and source.array.shape == (N, D)


def test_names_problems_and_classes_go_on_over_files(tmp_path):
    for number in range(3):
        rows = [[1.0, 2.0], None, [float("nan"), 1.0], [None, 2.0]]
        names = [f"{number}/{row}.png" for row in range(4)]
        pq.write_table(pa.table({"path": names, "e": rows, "label": list("abab")}), tmp_path / f"{number}.parquet")
    (source,) = open_sources([f"a={tmp_path}"])
    assert sorted(source.problems) == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    assert source.names[4] == source.own_name(4) == "1/0.png" and source.classes == tuple("abab" * 3)
    assert source.place(6) == f"{tmp_path}/1.parquet#2"


@pytest.mark.parametrize("dtype", [complex, "U4", "m8[s]"])
def test_shards_without_real_numbers_are_refused(tmp_path, dtype):
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.ones((4, 2)).astype(int).astype(dtype))
    with pytest.raises(InputError, match=r"0\.npy: expected real numbers, got dtype"):
        open_sources([f"a={tmp_path}"])


@pytest.mark.parametrize("turned", [False, True])
def test_lists_in_one_shard_and_numbers_in_another_are_refused(tmp_path, turned):
    for number, of in enumerate(([1.0, 2.0], [[1.0], [3.0]])):
        pq.write_table(pa.table({"e": of}), tmp_path / f"{1 - number if turned else number}.parquet")
    wanted = "a list" if turned else "a number"
    with pytest.raises(InputError, match=rf"1\.parquet: expected {wanted} in each row of column 'e', as in 0\.parquet"):
        open_sources([f"a={tmp_path}"])


def test_a_file_is_there_once_however_many_ways_a_pattern_has_to_it(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    pq.write_table(pa.table({"e": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / "a" / "b" / "0.parquet")
    (source,) = open_sources([f"a={tmp_path}/**/**/*.parquet"])
    assert len(source) == 2 and source.place(1) == f"{tmp_path}/a/b/0.parquet#1"


def test_shards_that_number_their_classes_differently(tmp_path):
    for number, names in enumerate((["cat", "ant"], ["ant", "cat"])):
        told = json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", "names": names}}}}).encode()
        table = pa.table({"e": [[1.0, number], [2.0, 3.0]], "label": [0, 1]})
        pq.write_table(table.replace_schema_metadata({b"huggingface": told}), tmp_path / f"{number}.parquet")
    (source,) = open_sources([f"a={tmp_path}"])
    assert list(source.classes) == ["cat", "ant", "ant", "cat"]


def write(path, rows, **more):
    if path.suffix == ".npy":
        np.save(path, rows)
    else:
        pq.write_table(pa.table({"e": list(rows), **more}), path)


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
@pytest.mark.parametrize("damage", ["width", "empty", "torn", "kind", "column"])
@pytest.mark.parametrize("number", [0, 1])
def test_shards_that_do_not_belong_together(tmp_path, suffix, damage, number):
    for other in range(2):
        write(tmp_path / f"part-{other}.{suffix}", X[:5])
    bad = tmp_path / f"part-{number}.{suffix}"
    if damage == "width":
        write(bad, X[:5, :2])
    elif damage == "empty":
        write(bad, X[:0])
    elif damage == "torn":
        bad.write_bytes(bad.read_bytes()[:-60])
    elif suffix == "npy":
        np.save(bad, np.array(["a"] * 5) if damage == "kind" else X[0])
    else:
        pq.write_table(pa.table({"e": list("abcde")} if damage == "kind" else {"f": list(X[:5])}), bad)
    with pytest.raises(InputError) as caught:
        open_sources([f"a={tmp_path}"])
    assert f"part-{number}.{suffix}" in str(caught.value) or "part-1" in str(caught.value)
    assert "\n" not in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.parametrize("form", ["tensors", "nested lists"])
def test_a_matrix_in_each_row_is_refused(tmp_path, form):
    rows = [[[1.0, 2.0], [3.0, 4.0]]] * 3
    column = pa.array(rows)
    if form == "tensors":
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(rows))
    pq.write_table(pa.table({"e": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a vector in each row of column 'e', got tensors of shape \(2, 2\)"):
        open_embeddings(tmp_path / "a.parquet")
    np.save(tmp_path / "a.npy", np.array(rows))
    with pytest.raises(InputError, match=r"a\.npy: expected"):
        open_sources([f"a={tmp_path / 'a.npy'}"])


def test_what_datasets_makes_of_embeddings(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    kinds = datasets.Features({"e": datasets.Array2D((1, D), "float32"), "id": datasets.Value("int64")})
    made = datasets.Dataset.from_dict({"e": X[:50, None].astype("f4"), "id": range(50)}, features=kinds)
    made.save_to_disk(tmp_path / "saved", num_shards=3)
    made.to_parquet(tmp_path / "one.parquet")
    for place in (tmp_path / "saved", tmp_path / "one.parquet"):
        np.testing.assert_array_equal(open_embeddings(place).matrix, X[:50].astype("f4"))


def test_images_in_several_arrays(tmp_path):
    images = RNG.integers(0, 256, (9, 4, 5), np.uint8)
    for number, part in enumerate(np.split(images, [2, 6])):
        np.save(tmp_path / f"{number}.npy", part)
    (source,) = open_sources([f"a={tmp_path}"])
    assert source.kind == "images"
    np.testing.assert_array_equal(source.array[..., 0], images)
    np.save(tmp_path / "3.npy", images[:, :2])
    with pytest.raises(InputError, match=r"images of one shape, but .*3\.npy has \(9, 2, 5, 1\)"):
        open_sources([f"a={tmp_path}"])


def test_a_pattern_of_files_with_embeddings_of_images(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for row in range(20):
        Image.fromarray(np.full((4, 4), row, np.uint8)).save(images / f"{row:02d}.png")
    for number, part in enumerate(np.split(X[:20], [7])):
        np.save(tmp_path / f"{number}.npy", part)
    contents = Contents.of(open_sources([f"a={images}"]), [Space("X", file=tmp_path / "*.npy")], Work())
    (space,), found = contents.spaces, contents.survey(Work())
    np.testing.assert_array_equal(contents.candidates(space, found, tmp_path, Work()).X, X[:20].astype("f4"))
    # One that comes while a command works is none of them.
    np.save(tmp_path / "2.npy", X[:20])
    np.testing.assert_array_equal(contents.candidates(space, found, tmp_path, Work()).X, X[:20].astype("f4"))
    contents.check_unchanged_rows()
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "a.npy", X[:20])
    (tmp_path / "folder" / "names.csv").touch()
    (beside,) = Contents.of(contents.sources, [Space("X", file=tmp_path / "folder")], Work()).spaces
    assert beside.notes == (f"{tmp_path}/folder: passed over 1 of another kind (.csv).",)
    np.save(tmp_path / "1.npy", X[:20])
    with pytest.raises(InputError, match=r"1\.npy: expected a file that stays as it is"):
        contents.candidates(space, found, tmp_path, Work())
    with pytest.raises(InputError, match=r"y\*\.npy: expected files of one kind.*got none"):
        Contents.of(contents.sources, [Space("X", file=tmp_path / "y*.npy")], Work())


def test_an_embedding_file_may_be_several(tmp_path):
    for number, part in enumerate(np.split(X[:20], [7])):
        np.save(tmp_path / f"{number}.npy", part)
    np.testing.assert_array_equal(open_embeddings(Path(tmp_path, "*.npy")).matrix, X[:20])


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_shard_is_never_in_memory_twice(tmp_path, monkeypatch, compression):
    """Of one row group, which is all of the shard, Arrow holds little beside the matrix."""
    rows = RNG.standard_normal((100_000, 16)).astype("f4")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 16)
    pq.write_table(pa.table({"e": lists}), tmp_path / "a.parquet", row_group_size=len(rows), compression=compression)
    monkeypatch.setattr(tables, "BATCH_NUMBERS", 1 << 16)
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        found = open_embeddings(tmp_path / "a.parquet")
    finally:
        pa.set_memory_pool(before)
    np.testing.assert_array_equal(found.matrix, rows)
    assert pool.max_memory() < rows.nbytes / 2
