"""Embeddings at addresses: what pyarrow.fs opens is fetched, listed like folders, and refused in a line."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from PIL import Image

from entropick import select
from entropick.cli import main
from entropick.datasets import remote
from entropick.datasets.remote import RemotePath
from entropick.errors import InputError
from entropick.sources import open_sources, scratch
from entropick.sources.scratch import spilled_into

X = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float16)
CUTS = [7, 30]


def write(folder):
    """The rows in three shards of both kinds, beside what systems leave there."""
    for kind in ("npy", "parquet"):
        (folder / "bucket" / kind / "_temporary").mkdir(parents=True)
        for number, part in zip((9, 10, 11), np.split(X, CUTS), strict=True):
            file = folder / "bucket" / kind / f"part-{number}.{kind}"
            if kind == "npy":
                np.save(file, part)
            else:
                ids = pa.array([f"{number}-{row}" for row in range(len(part))])
                lists = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), 4)
                pq.write_table(pa.table({"id": ids, "e": lists}), file)
        (folder / "bucket" / kind / "_SUCCESS").touch()
        (folder / "bucket" / kind / ".part.crc").touch()


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A file system elsewhere; which addresses it was asked for."""
    write(tmp_path)
    asked = []

    def from_uri(address):
        asked.append(address)
        rest = address.partition("://")[2].partition("?")[0].rpartition("@")[2]
        return pa.fs.SubTreeFileSystem(str(tmp_path), pa.fs.LocalFileSystem()), rest

    monkeypatch.setattr(pa.fs, "FileSystem", SimpleNamespace(from_uri=from_uri))
    remote._opened.cache_clear()
    yield asked
    remote._opened.cache_clear()


@pytest.mark.parametrize("kind", ["npy", "parquet"])
@pytest.mark.parametrize("what", ["", "/", "/part-*.{}", "/part-[0-9]*.{}"])
@pytest.mark.parametrize("is_large", [False, True])
def test_shards_of_a_bucket(bucket, tmp_path, monkeypatch, kind, what, is_large):
    monkeypatch.setattr(scratch, "LARGE", 0.0 if is_large else 0.25)
    with spilled_into(tmp_path / "rows"):
        (source,) = open_sources([f"a=s3://key:secret@bucket/{kind}{what.format(kind)}?region=eu"])
        np.testing.assert_array_equal(source.array[:], X.astype(np.float32))
        assert len(list((tmp_path / "rows").rglob("*.*"))) >= is_large
    assert not (tmp_path / "rows").exists()
    assert source.place(8) == source.absolute_place(8) == f"s3://bucket/{kind}/part-10.{kind}#1"
    assert str(source.base) == f"s3://bucket/{kind}" and source.file_name(8) == f"part-10.{kind}"
    assert source.own_name(8) == ("10-1" if kind == "parquet" else None)
    assert bucket and all("region=eu" in address for address in bucket)
    assert "secret" not in str(source.path) + repr(source.path) and len(source.content_hash([])) == 64


def test_one_file_and_folders_below(bucket, tmp_path):
    (tmp_path / "bucket" / "npy" / "below").mkdir()
    np.save(tmp_path / "bucket" / "npy" / "below" / "part-12.npy", X[:2])
    with spilled_into(None):
        (one,) = open_sources(["a=gs://bucket/npy/part-10.npy"])
        (below,) = open_sources(["a=gs://bucket/npy/**/part-12.npy"])
        (all_of_them,) = open_sources(["a=gs://bucket/npy"])
    assert len(one) == 23 and one.place(3) == "gs://bucket/npy/part-10.npy" and len(below) == 2
    assert str(one.base) == "gs://bucket/npy" and one.file_name(3) == "part-10.npy"
    assert below.place(1) == "gs://bucket/npy/below/part-12.npy#1" and below.file_name(1) == "below/part-12.npy"
    assert len(all_of_them) == 62 and dict(all_of_them.passed_over) == {
        "hidden": 1,
        "no embeddings (without a suffix)": 1,
    }
    assert all("retry_limit_seconds=60" in address for address in bucket)


def test_its_content_is_known_by_size_and_time(bucket, tmp_path):
    path = RemotePath("s3://bucket/npy/part-9.npy")
    before = path.content_hash()
    assert before == RemotePath("s3://me:secret@bucket/npy/part-9.npy?region=eu").content_hash()
    np.save(tmp_path / "bucket" / "npy" / "part-9.npy", X)
    assert path.content_hash() != before


def test_an_address_of_this_machine_is_a_path(tmp_path):
    write(tmp_path)
    (source,) = open_sources([f"a=file://{tmp_path}/bucket/npy"])
    assert source.place(0) == f"{tmp_path}/bucket/npy/part-9.npy#0" and len(source) == 60


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://bucket/none", "expected a folder or a file at s3://bucket/none, but there is none"),
        ("s3://bucket/none*.npy", "expected files of one kind, for instance .parquet, got none"),
        ("s3://bucket/empty", "expected .npy or .parquet files, found none, only 1 no embeddings (.tar)"),
        ("s3://bucket/torn.npy", "s3://bucket/torn.npy: expected a NumPy file without pickles"),
        ("s3://bucket/torn.parquet", "s3://bucket/torn.parquet: expected a parquet file, but it cannot be read"),
        ("s3://bucket/images.parquet", "expected embeddings at an address, got images. Copy them to this machine"),
        ("s3://bucket/photo.png", "s3://bucket/photo.png: expected"),
    ],
)
def test_what_is_not_there_or_no_embeddings(bucket, tmp_path, address, says):
    place = tmp_path / "bucket"
    (place / "empty").mkdir()
    for name in ("empty/a.tar", "photo.png"):
        (place / name).write_bytes(b"x")
    (place / "torn.npy").write_bytes((place / "npy" / "part-9.npy").read_bytes()[:-5])
    (place / "torn.parquet").write_bytes((place / "parquet" / "part-9.parquet").read_bytes()[:-5])
    with pa.OSFile(str(place / "images.parquet"), "wb") as stream:
        pq.write_table(pa.table({"image": [b"x"]}), stream)
    with pytest.raises(InputError) as caught, spilled_into(None):
        open_sources([f"a={address}"])
    assert says in str(caught.value) and "\n" not in str(caught.value) and "/rows" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["s3://bucket/pool?endpoint_override=127.0.0.1:9&scheme=http", "nfs://a/b", "http://a/b"]
)
def test_addresses_that_do_not_answer_or_that_nobody_knows(address, monkeypatch):
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match=r"expected .*address that") as caught, spilled_into(None):
        open_sources([f"a={address}"])
    assert "\n" not in str(caught.value) and "endpoint_override" not in str(caught.value).partition("but:")[0]


def test_a_file_that_is_cut_on_its_way(bucket, tmp_path, monkeypatch):
    cut = RemotePath.stat
    monkeypatch.setattr(RemotePath, "stat", lambda self: type(found := cut(self))(**{**vars(found), "st_size": 9999}))
    with pytest.raises(InputError, match=r"part-9.npy: expected 9,999 bytes, got"), spilled_into(tmp_path / "rows"):
        open_sources(["a=s3://bucket/npy/part-9.npy"])
    assert not (tmp_path / "rows").exists()


def test_embeddings_of_images_at_an_address(bucket, tmp_path):
    for row in range(60):
        Image.fromarray(np.full((4, 4), row, np.uint8)).save(tmp_path / f"{row:02d}.png")
    lines = []
    for address in ("s3://key:secret@bucket/npy", "s3://bucket/npy/part-*.npy"):
        found = select(tmp_path, 9, features=address, say=lines.append)
        assert found.indices.tolist() == select(X, 9).indices.tolist()
    assert "s3://bucket/npy: rows are fetched from 3 files, known by their sizes and times." in lines
    assert "secret" not in str(found.summary) + str(lines)


def test_a_score_of_what_lies_at_addresses(bucket, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    roles = ["--training", "s3://bucket/npy", "--generated", f"file://{tmp_path}/bucket/npy/part-10.npy"]
    assert main(["score", *roles, "--out", "out"]) == 0
    assert "exact copies of training images" in capsys.readouterr().out
