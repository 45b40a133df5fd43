"""Embeddings as people have them: joined by name, without what is no feature, rows that cannot be used, offsets."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from entropick import select
from entropick.errors import InputError
from entropick.selection import Choice
from entropick.selectors import Greedy
from entropick.sources import Space, open_embeddings, open_sources
from entropick.sources.space import rows_of_files

NAMES = [f"{folder}/{number}.png" for folder in ("cats", "dogs") for number in range(10)]
X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
X[7] += 50


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of 20 images, of which only the embedding of cats/7.png is odd."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        Path("real", name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(Path("real", name))
    return tmp_path


def embedded(names, order, column="path", **more):
    table = {column: [names[row] for row in order], "embedding": list(X[order]), **more}
    pq.write_table(pa.table(table), "X.parquet")
    (space,) = (Space("X", file=Path("X.parquet")).opened(open_sources(["real=real"])),)
    return space


ORDER = np.random.default_rng(1).permutation(20)


@pytest.mark.parametrize("column", ["path", "file_name", "filename", "filepath", "image_path", "key", "id"])
@pytest.mark.parametrize("form", ["{}", "./{}", "real/{}", "/another/machine/real/{}", "/another/{}"])
def test_rows_are_joined_by_name(place, column, form):
    space = embedded([form.format(name) for name in NAMES], ORDER, column)
    np.testing.assert_array_equal(space.embedded, X)
    assert space.problems == ({},) and space.notes == ()


def test_keys_without_a_suffix_and_absolute_paths(place):
    for names in ([name[:-4] for name in NAMES], [str(place / "real" / name) for name in NAMES]):
        np.testing.assert_array_equal(embedded(names, ORDER, "key").embedded, X)


def test_an_index_of_pandas_with_names_joins(place):
    space = embedded(NAMES, ORDER, "__index_level_0__")
    np.testing.assert_array_equal(space.embedded, X)


def test_names_of_nothing_and_names_that_are_there_twice_are_listed(place):
    names = [*NAMES[:18], "birds/0.png", NAMES[0]]
    space = embedded(names, np.arange(20))
    assert set(space.problems[0]) == {0, 18, 19}
    assert space.notes[0].endswith("1 row of no image, or of several: birds/0.png.")
    with pytest.raises(InputError, match=r"names of the images in X\.parquet, but 'x1' and all others"):
        embedded([f"x{number}" for number in range(20)], ORDER)


def test_a_name_in_two_folders_is_of_none(place):
    files = [(place / "a", Path("1.png")), (place / "b", Path("1.png")), (place / "b", Path("2.png"))]
    assert rows_of_files(["1.png", "2.png", "b/1.png"], files) == ([None, 2, 1], ["1.png"])
    assert rows_of_files(["z/1.png"], [(place / "a", Path("y/1.png"))]) == ([None], ["z/1.png"])


def test_names_of_many_files_are_joined_in_little_memory(tmp_path):
    files = [(tmp_path / "a" / "b" / "c", Path(f"class {row % 100}/image {row}.jpg")) for row in range(10_000)]
    names = [str(folder / below) for folder, below in files]
    tracemalloc.start()
    rows, strays = rows_of_files([*names, "elsewhere/image.jpg"], files)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == list(range(10_000)) and strays == ["elsewhere/image.jpg"]
    assert most < 1500 * len(files)


def test_the_odd_image_is_chosen(place):
    embedded(NAMES, ORDER)
    sources = open_sources(["real=real"])
    choice = Choice(sources=sources, selector=Greedy(n_samples=2), space=Space("X", file=Path("X.parquet")))
    choice.run(Path("out"))
    assert "real/cats/7.png" in Path("out/manifest.csv").read_text()


def test_no_pixel_is_decoded_where_embeddings_are_given(place):
    Path("real/cats/3.png").write_bytes(b"torn")
    Image.fromarray(np.zeros((9, 5), np.uint16)).save("real/cats/4.png")
    embedded(NAMES, ORDER)
    choice = Choice(
        sources=open_sources(["real=real"]), selector=Greedy(n_samples=20), space=Space("X", file=Path("X.parquet"))
    )
    assert choice.run(Path("out"))["skipped"] == []


def test_the_index_of_pandas_and_whole_numbers_among_fractions_are_no_features(tmp_path):
    columns = {f"x{i}": X[:, i] for i in range(3)}
    table = pa.table({**columns, "number": np.arange(20), "id": np.arange(20), "row": np.arange(20) / 2})
    pandas = json.dumps({"index_columns": ["row"]}).encode()
    pq.write_table(table.replace_schema_metadata({b"pandas": pandas}), tmp_path / "X.parquet")
    found = open_embeddings(tmp_path / "X.parquet")
    np.testing.assert_array_equal(found.matrix, X)
    assert found.unused == ("number", "id", "row")
    chosen = open_embeddings(tmp_path / "X.parquet", ["x[02]", "number"])
    np.testing.assert_array_equal(chosen.matrix, np.column_stack([X[:, 0], X[:, 2], np.arange(20)]))
    with pytest.raises(InputError, match=r"columns: expected columns of .*x0.*, got 'y\*'"):
        open_embeddings(tmp_path / "X.parquet", ["y*"])


def test_whole_numbers_alone_are_features(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4], "label": [0, 1]}), tmp_path / "X.parquet")
    assert open_embeddings(tmp_path / "X.parquet").matrix.tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("kind", ["npy", "columns", "lists", "file"])
def test_rows_that_are_no_numbers_are_all_named_or_skipped(place, kind):
    holes = X.copy()
    holes[3, 1], holes[11, 2] = np.nan, np.inf
    rows = [None if row == 15 else list(of) for row, of in enumerate(holes)]
    if kind == "npy":
        holes[15] = np.nan
        np.save("holes.npy", holes)
    elif kind == "columns":
        values = {f"x{i}": [None if row is None else row[i] for row in rows] for i in range(3)}
        pq.write_table(pa.table(values), "holes.parquet")
    else:
        pq.write_table(pa.table({"e": rows}), "holes.parquet", row_group_size=6)
    file = Path("holes.npy" if kind == "npy" else "holes.parquet")
    sources = open_sources(["a=real" if kind == "file" else f"a={file}"])
    parts = {
        "sources": sources,
        "selector": Greedy(n_samples=5),
        "space": Space("X", file=file if kind == "file" else None),
    }
    with pytest.raises(InputError) as caught:
        Choice(**parts).run(Path("out"))
    assert all(
        text in str(caught.value)
        for text in (
            "3 rows of holes.parquet cannot" if kind == "file" else "3 rows cannot",
            "row 3, column 1",
            "inf in row 11",
            "row 15",
        )
    )
    told = Choice(**parts, skip_bad=True).run(Path("out"))
    assert [bad["row"] for bad in told["skipped"]] == [3, 11, 15]
    assert told["selection"]["covering_radius"] > 0


def test_numbers_with_an_offset_stay_apart(tmp_path):
    far = X.astype(np.float64) + 1e8
    np.save(tmp_path / "a.npy", far)
    np.save(tmp_path / "b.npy", far[::-1].copy())
    a, b = open_sources([f"a={tmp_path / 'a.npy'}", f"b={tmp_path / 'b.npy'}"])
    assert len(np.unique(a.array, axis=0)) == 20
    np.testing.assert_allclose(np.ptp(a.array, axis=0), np.ptp(X, axis=0), rtol=1e-5)
    np.testing.assert_array_equal(a.array, b.array[::-1])
    np.save(tmp_path / "near.npy", X.astype(np.float64))
    np.testing.assert_array_equal(open_sources([f"a={tmp_path / 'near.npy'}"])[0].array, X)


def opened_beside_unreadable_images(folder, n_rows):
    for number in range(6):
        Image.new("L", (8, 8), 40 * number).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes(b"torn")
    X = np.arange(1, 4 * n_rows + 1, dtype=np.float32).reshape(n_rows, 4)
    np.save(folder.parent / "rows.npy", X)
    sources = open_sources([f"a={folder}"])
    return X, Space("features", file=folder.parent / "rows.npy").opened(sources)


def test_rows_are_of_the_images_that_can_be_read_where_there_are_as_many(tmp_path):
    (tmp_path / "a").mkdir()
    X, space = opened_beside_unreadable_images(tmp_path / "a", 5)
    np.testing.assert_array_equal(space.embedded[[0, 1, 3, 4, 5]], X)
    assert list(space.problems[0]) == [2] and "does not decode" in space.problems[0][2]
    assert "5 rows for 6 images, of which 1 cannot be read" in space.notes[-1]


def test_unreadable_images_are_named_where_rows_are_too_few(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(
        InputError, match=r"expected 6 rows.*got 4(.|\n)*1 cannot be read:\n  .*2\.png: does not decode"
    ):
        opened_beside_unreadable_images(tmp_path / "a", 4)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_number_beyond_float32_is_named_as_it_came(normalize):
    X = np.random.default_rng(0).standard_normal((30, 3))
    X[7, 1] = 1e300
    told = "expected finite float32 values, got 1e+300 (beyond float32) in row 7, column 1"
    with pytest.raises(InputError, match=re.escape(told)):
        select(X, 4, normalize=normalize)
    found = select({"a": X[:5], "b": X[5:]}, 4, normalize=normalize, skip_bad=True)
    assert [of["reason"] for of in found.summary["skipped"]] == [told.replace("row 7", "row 2")]
    with pytest.raises(InputError, match="30 rows cannot be used"):
        select(np.random.default_rng(0).standard_normal((30, 3)) * 1e300, 4, normalize=normalize)


def test_a_number_beyond_float32_in_one_of_several_files(tmp_path):
    X = np.ones((6, 2))
    X[4, 1] = -1e200
    for part in range(2):
        np.save(tmp_path / f"{part}.npy", X[3 * part : 3 * part + 3])
    with pytest.raises(InputError, match=re.escape("got -1e+200 (beyond float32) in row 4, column 1")):
        select(tmp_path, 2)


@pytest.mark.parametrize("column", ["path", "label", "image.path"])
def test_text_that_is_none_is_refused_before_anything_is_computed(tmp_path, column):
    lengths = pa.py_buffer(np.arange(5, dtype=np.int32))
    text = pa.Array.from_buffers(pa.string(), 4, [None, lengths, pa.py_buffer(b"a\xffbc")])
    if column == "image.path":
        table = {"image": pa.StructArray.from_arrays([pa.array([b"x"] * 4), text], ["bytes", "path"])}
    else:
        table = {"e": list(X[:4]), column: text}
    pq.write_table(pa.table(table), tmp_path / "X.parquet")
    with pytest.raises(InputError, match=r"X\.parquet: expected a parquet file, but .*Invalid UTF8"):
        open_sources([f"a={tmp_path / 'X.parquet'}"])


def test_several_classes_in_a_row_are_none(tmp_path):
    pq.write_table(pa.table({"e": list(X[:4]), "label": [[0, 1], [], [1], [2]]}), tmp_path / "X.parquet")
    (source,) = open_sources([f"a={tmp_path / 'X.parquet'}"])
    assert source.classes is None and source.unused == ("label",) and source.array.shape == (4, 3)


@pytest.mark.parametrize("kind", ["embeddings", "images"])
def test_a_pool_without_one_usable_row_is_refused_with_its_reasons(tmp_path, kind):
    if kind == "embeddings":
        np.save(tmp_path / "a.npy", np.full((9, 3), np.nan))
    else:
        for row in range(9):
            (tmp_path / f"{row}.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"not one.*\n.*a\.npy|not one.*\n.*0\.png"):
        select(tmp_path, 2, skip_bad=True)


def test_more_than_is_usable_is_refused_before_anything_is_computed(tmp_path):
    np.save(tmp_path / "a.npy", np.where(np.arange(20)[:, None] < 15, X, np.nan))
    lines = []
    with pytest.raises(InputError, match="n: expected at most the 15 rows that are usable, got 16"):
        select(tmp_path / "a.npy", 16, skip_bad=True, say=lines.append)
    with pytest.raises(InputError, match=r"a=1 of 16 asks for 16 rows, but a has 15"):
        select({"a": tmp_path / "a.npy", "b": X}, 16, skip_bad=True, quotas={"a": 1.0}, say=lines.append)
    assert not any("Forecast" in line for line in lines)
