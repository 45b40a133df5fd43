"""Files are whole or absent, and come back as they were written."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest
from toy_run import CONTENTS, files_below

from entropick.errors import RunDamaged, StorageError
from entropick.run import fingerprint, read_content, read_json, write_atomic, write_json
from entropick.run.files import hash_file, link_or_copy, write_content


def test_the_record_is_hash_and_size_of_what_lies_on_the_disk(tmp_path):
    path = tmp_path / "deep" / "er" / "file.bin"
    data = bytes(range(256)) * 50
    record = write_atomic(path, lambda stream: [stream.write(data[:100]), stream.write(data[100:])])
    assert path.read_bytes() == data
    assert (record.sha256, record.bytes) == (hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize("reason", [ValueError("no"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path, reason):
    path = tmp_path / "file.bin"
    write_atomic(path, lambda stream: stream.write(b"old"))

    def fail(stream):
        stream.write(b"new, but half")
        raise reason

    with pytest.raises(StorageError if isinstance(reason, OSError) else type(reason)):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert files_below(tmp_path) == {"file.bin"}


def test_a_storage_error_names_file_and_reason_and_what_to_do(tmp_path):
    (tmp_path / "wall").write_text("a file where a folder should be")
    said = r"could not write .*wall/file\.bin: (Not a directory|File exists)\. .*repeat the same"
    with pytest.raises(StorageError, match=said):
        write_atomic(tmp_path / "wall" / "file.bin", lambda stream: stream.write(b"x"))


@pytest.mark.parametrize("name", CONTENTS)
def test_every_format_comes_back_and_is_the_same_bytes_each_time(tmp_path, name):
    records = [write_content(tmp_path / str(i) / name, CONTENTS[name]) for i in range(2)]
    assert records[0] == records[1] == hash_file(tmp_path / "1" / name)
    np.testing.assert_equal(read_content(tmp_path / "0" / name), CONTENTS[name])


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfejunk")
    with pytest.raises(RunDamaged, match=name):
        read_content(tmp_path / name)


def test_no_pickle_is_read_or_written(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        write_content(tmp_path / "a.npy", np.array([{"an": "object"}], dtype=object))
    np.save(tmp_path / "b.npy", np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(RunDamaged, match=r"b\.npy"):
        read_content(tmp_path / "b.npy")
    assert files_below(tmp_path) == {"b.npy"}


def test_a_link_replaces_what_was_there(tmp_path):
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")
    link_or_copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").samefile(tmp_path / "source")


def test_where_there_are_no_links_the_file_is_copied(tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "source").write_bytes(b"x" * 3_000_000)
    link_or_copy(tmp_path / "source", tmp_path / "there" / "target")
    assert not (tmp_path / "there" / "target").samefile(tmp_path / "source")
    assert hash_file(tmp_path / "there" / "target") == hash_file(tmp_path / "source")


def test_json_refuses_what_is_not_json(tmp_path):
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(tmp_path / "a.json", {"x": value})
    (tmp_path / "b.json").write_text('{"x": 1')
    with pytest.raises(RunDamaged, match=r"b\.json"):
        read_json(tmp_path / "b.json")


def test_a_fingerprint_does_not_depend_on_the_order_of_keys_but_on_everything_else():
    value = {"a": 1, "b": {"c": [1, 2], "d": None}}
    assert fingerprint(value) == fingerprint({"b": {"d": None, "c": [1, 2]}, "a": 1})
    others = [{**value, "a": 2}, {**value, "a": 1.5}, {**value, "b": {"c": [2, 1], "d": None}}, {"a": 1}]
    assert len({fingerprint(other) for other in [value, *others]}) == 5
