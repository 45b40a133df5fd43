"""Matrices that are no arrays read like one, wherever their rows lie, and here or in another process."""

import os
import pickle
import resource
import sys

import numpy as np
import pytest

from entropick.arrays import FileRows, JoinedRows, SomeRows, allow_open, in_files, non_finite_rows, numbers_of, part_of
from entropick.arrays import rows as rows_module
from entropick.errors import InputError

X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
ASKED = [
    *(slice(None), slice(3, 31), slice(None, None, 7), slice(30, 10), slice(-5, None), 0, -1, np.int64(17)),
    *([39, 0, 12, 12], np.array([], np.int64), np.array([-1, 5]), X[:, 0] > 0),
]


def maps(folder, cuts=(1, 10, 11), kind=np.float32):
    """The rows in as many files as there are parts, each behind a head."""
    made = []
    for number, part in enumerate(np.split(X, cuts)):
        np.save(folder / f"{number}.npy", part.astype(kind))
        made.append(np.load(folder / f"{number}.npy", mmap_mode="r"))
    return made


def in_many_ways(folder):
    """The same rows, made of files, of others, and of both."""
    files = FileRows(maps(folder))
    joined = JoinedRows([X[:7], files.part(7, 25), np.load(folder / "3.npy", mmap_mode="r")[14:]])
    order = np.random.default_rng(1).permutation(80)
    twice = JoinedRows([X, files])
    return {
        "one file": FileRows([np.memmap(folder / "one", np.float32, "w+", shape=X.shape)]),
        "files": files,
        "joined": joined,
        "some": SomeRows(SomeRows(twice, order), np.argsort(order)[:40]),
        "part": JoinedRows([X[:5], twice, X]).part(45, 85),
    }


@pytest.mark.parametrize("way", ["one file", "files", "joined", "some", "part"])
def test_they_read_like_an_array(tmp_path, way):
    rows = in_many_ways(tmp_path)[way]
    if way == "one file":
        np.memmap(tmp_path / "one", np.float32, "r+", shape=X.shape)[:] = X
        rows = FileRows([np.memmap(tmp_path / "one", np.float32, "r", shape=X.shape)])
    assert rows.shape == X.shape and len(rows) == 40 and rows.nbytes == X.nbytes
    there = rows.in_files(lambda part: written(part, tmp_path))
    for one in (rows, there, pickle.loads(pickle.dumps(there))):
        for asked in ASKED:
            found = one[asked]
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, X[asked])
        for numbers in ([3, 38, 3], [7, 8, 9], range(40), []):
            found = one.take(np.array(numbers, np.int64))
            np.testing.assert_array_equal(found, X[list(numbers)])
            found += 1  # what was taken is nobody else's
        np.testing.assert_array_equal(np.stack(list(one)), X)
        for start, stop in ((0, 40), (9, 12), (39, 40), (5, 5)):
            np.testing.assert_array_equal(one.part(start, stop)[:], X[start:stop])


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell what is mapped")
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_rows_that_were_read_do_not_stay_in_memory(tmp_path, kind, monkeypatch):
    """Whatever the system maps around a row, far fewer rows than the file has are kept of it."""
    monkeypatch.setattr(rows_module, "_TOUCHED_BYTES", 8 << 20)
    made = np.memmap(tmp_path / "large", kind, "w+", shape=(32_000_000 // np.dtype(kind).itemsize // 64, 64))
    made[:] = 1
    made.flush()
    rows = FileRows([np.memmap(tmp_path / "large", kind, "r", shape=made.shape)])
    del made
    before = rows_module._mapped_bytes()
    rng, most = np.random.default_rng(0), 0
    for _ in range(20):
        rows.take(rng.integers(len(rows), size=50))
        most = max(most, rows_module._mapped_bytes() - before)
    assert most <= 18 << 20


def written(part, folder):
    file = folder / f"written-{len(list(folder.iterdir()))}"
    made = np.memmap(file, np.float32, "w+", shape=part.shape)
    made[:] = part[:]
    made.flush()
    return FileRows([np.memmap(file, np.float32, "r", shape=part.shape)])


def test_of_rows_in_files_little_is_sent(tmp_path):
    rows = JoinedRows([X, FileRows(maps(tmp_path))])
    sent = in_files(rows, lambda part: written(part, tmp_path))
    assert len(pickle.dumps(sent)) < len(pickle.dumps(rows)) + 1000
    assert X.tobytes() not in pickle.dumps(sent)


def test_an_offset_is_subtracted_in_float64(tmp_path):
    far = X.astype(np.float64) * 1e-3 + 1e9
    np.save(tmp_path / "far.npy", far)
    offset = far.mean(axis=0)
    rows = FileRows([np.load(tmp_path / "far.npy", mmap_mode="r")] * 2, offset=offset)
    np.testing.assert_array_equal(rows[35:45], np.tile(far - offset, (2, 1)).astype(np.float32)[35:45])
    np.testing.assert_array_equal(rows.part(41, 43)[[1]], (far - offset).astype(np.float32)[[2]])


@pytest.mark.parametrize("harm", ["changed", "cut", "replaced", "gone"])
def test_a_file_that_changes_is_noticed(tmp_path, monkeypatch, harm):
    monkeypatch.setattr(rows_module, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(rows_module, "_LOOKED_SHARE", 0)
    rows = FileRows(maps(tmp_path))
    assert len(rows[:]) == 40
    file = tmp_path / "3.npy"
    if harm == "changed":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        os.utime(file, ns=(1, 1))
    elif harm == "cut":
        os.truncate(file, 200)
    elif harm == "replaced":
        (tmp_path / "new").write_bytes(file.read_bytes() + b"x")
        (tmp_path / "new").replace(file)
    else:
        file.unlink()
    said = "that stays where it is, but: No such file" if harm == "gone" else "that stays as it is, but it changed"
    for read in (lambda: rows[:3], lambda: rows.take(np.array([0])), lambda: pickle.loads(pickle.dumps(rows))[:1]):
        with pytest.raises(InputError, match=rf"3\.npy: expected a file {said}"):
            read()


def test_more_files_than_may_be_open(monkeypatch):
    asked = []
    monkeypatch.setattr(rows_module, "_n_open", lambda: 100)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1000, 5000))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    allow_open(700)
    allow_open(3000)
    assert asked == [(3228, 5000)]
    with pytest.raises(InputError, match=r"fewer files of rows, because .* allows 5,000 open files, got 4,800"):
        allow_open(4800)


def test_bad_rows_are_found_in_blocks(monkeypatch):
    bad = X.copy()
    bad[[3, 38], 1] = np.nan, np.inf
    monkeypatch.setattr("entropick.arrays.checks.BLOCK_BYTES", 12 * 7)
    assert non_finite_rows(bad) == {
        3: "expected finite float32 values, got nan in row 3, column 1",
        38: "expected finite float32 values, got inf in row 38, column 1",
    }
    assert list(non_finite_rows(JoinedRows([bad, bad]), first=True)) == [3]


def test_numbers_of_rows():
    assert numbers_of([], 5).dtype == np.int64
    np.testing.assert_array_equal(part_of(X, 1, 3), X[1:3])
