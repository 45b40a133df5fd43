"""Every input that is broken in a way of its own: one line that names it and says what to do, exit code 2."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from entropick.cli import main

N = 12
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 8, 8), np.uint8)
X = np.random.default_rng(1).standard_normal((N, 4)).astype(np.float32)


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def cut(path, share=0.6):
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(share * len(content))])


def saved(folder, data_files):
    Path(folder).mkdir()
    Path(folder, "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in data_files]}))


def shards(*parts):
    Path("shards").mkdir()
    for number, part in enumerate(parts):
        np.save(f"shards/part-{number}.npy", part)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Good images beside which each test makes a bad input."""
    monkeypatch.chdir(tmp_path)
    Path("good").mkdir()
    for row, image in enumerate(IMAGES):
        Path(f"good/{row:02d}.png").write_bytes(png(image))
    np.save("X.npy", X)
    pq.write_table(pa.table({"path": [f"{row:02d}.png" for row in range(N)], "e": list(X)}), "X.parquet")


def parquet_cut():
    pq.write_table(pa.table({"image": [png(image) for image in IMAGES]}), "bad.parquet")
    cut("bad.parquet")
    return "a=bad.parquet", "bad.parquet: expected a parquet file, but it cannot be read"


def embeddings_cut():
    cut("X.parquet")
    return "a=X.parquet", "X.parquet: expected a parquet file, but it cannot be read"


def npy_cut():
    cut("X.npy")
    return "a=X.npy", "X.npy: expected a NumPy file without pickles, but it cannot be read"


def npz_cut():
    np.savez("bad.npz", images=IMAGES)
    cut("bad.npz")
    return "a=bad.npz", "bad.npz: expected a NumPy file without pickles, but it cannot be read"


def tar_cut():
    tar("bad.tar", {f"{row}.png": png(image) for row, image in enumerate(IMAGES)})
    cut("bad.tar", 0.33)
    return "a=bad.tar", "bad.tar: expected a whole tar file"


def tar_compressed():
    with tarfile.open("bad.tar", "w:gz") as archive:
        archive.add("good")
    return "a=bad.tar", "bad.tar: expected a tar file that is not compressed"


def tar_without_images():
    tar("bad.tar", {"0.txt": b"x", "0.cls": b"1"})
    return "a=bad.tar", "bad.tar: expected images in the tar file, found none, only"


def empty_tar():
    tar("bad.tar", {})
    return "a=bad.tar", "bad.tar: expected images in the tar file, found none"


def half_a_saved_data_set():
    saved("bad", ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"])
    return "a=bad", "state.json: expected a file of its folder that is there, got 'data-00000-of-00002.arrow'"


def state_that_is_cut():
    saved("bad", [])
    Path("bad/state.json").write_text('{"_data_')
    return "a=bad", "state.json: expected the files of a saved data set, but it cannot be read"


def several_splits():
    saved("bad", [])
    Path("bad/dataset_dict.json").write_text("{}")
    return "a=bad", "bad: expected one split of the data set that was saved there"


def arrow_cut():
    saved("bad", ["x.arrow"])
    with pa.OSFile("bad/x.arrow", "wb") as sink, pa.ipc.new_stream(sink, pa.schema({"image": pa.binary()})) as writer:
        writer.write_table(pa.table({"image": pa.array([png(image) for image in IMAGES], pa.binary())}))
    cut("bad/x.arrow")
    return "a=bad", "x.arrow: expected a stream of Arrow, but it cannot be read"


def metadata_torn():
    Path("good/metadata.jsonl").write_text('{"file_name": "00.png"\n')
    return "a=good", "metadata.jsonl: expected rows with a column file_name, but it cannot be read"


def metadata_twice():
    Path("good/metadata.csv").write_text("file_name,label\n00.png,a\n00.png,b\n")
    return "a=good", "metadata.csv: expected one row for each file, got '00.png' more than once"


def empty_folder():
    Path("bad").mkdir()
    return "a=bad", "bad: expected image files"


def no_images_in_folder():
    Path("bad").mkdir()
    Path("bad/notes.txt").write_text("x")
    return (
        "a=bad",
        "bad: expected image files (.png, .jpg and what else Pillow opens), embeddings or other files of data "
        "(.npy, .npz, .parquet, .arrow, .tar), found none, only 1 ",
    )


def no_such_path():
    return "a=nowhere", "a: expected a folder or a file at nowhere, but there is none"


def no_such_pattern():
    return "a=nowhere/*.tar", "nowhere/*.tar: expected files of one kind, for instance .parquet, got none"


def another_kind_of_file():
    Path("bad.txt").write_text("x")
    return "a=bad.txt", "bad.txt: expected a folder of images, or a .npy, .npz or .parquet file"


def a_file_that_is_no_image():
    Path("good/bad.png").write_text("x")
    return "a=good", "good/bad.png: does not decode (UnidentifiedImageError)"


def an_image_alone():
    return "a=good/00.png", "good/00.png: expected a folder of images"


def shards_of_two_widths():
    shards(X, X[:, :3])
    return "a=shards", "part-1.npy: expected rows as in part-0.npy, which has shape (12, 4), got shape (12, 3)"


def shards_of_two_kinds():
    shards(X)
    Path("X.parquet").rename("shards/X.parquet")
    return "a=shards", "shards: expected files of one kind, for instance .parquet, got .npy, .parquet"


def nan_in_a_shard():
    bad = X.copy()
    bad[3, 1] = np.nan
    shards(X, bad)
    return "a=shards", "shards/part-1.npy#3: expected finite float32 values, got nan in row 15, column 1"


def text_in_embeddings():
    np.save("bad.npy", np.array([["a"]]))
    return "a=bad.npy", "expected real numbers, got dtype <U1"


def pickles():
    np.save("bad.npy", np.array([{}, []], object))
    return "a=bad.npy", "bad.npy: expected a NumPy file without pickles"


def lists_of_two_lengths():
    pq.write_table(pa.table({"e": [[1.0, 2.0], [3.0]]}), "bad.parquet")
    return "a=bad.parquet", "bad.parquet: expected lists of one length in column 'e', got lengths [1, 2]"


def columns_of_nothing():
    return "a=X.parquet --columns f*", "columns: expected columns of X.parquet (path, e), got 'f*'"


def columns_of_text():
    return "a=X.parquet --columns path", "X.parquet: expected real numbers, but column 'path' has dtype"


def weights_of_an_encoder():
    Path("weights").mkdir()
    Path("weights/config.json").write_text("{}")
    return (
        "a=good --features weights",
        'weights holds an encoder (config.json). To compare by it: --features \'{kind = "encoder"',
    )


def given_of_no_source():
    return "a=good --given b", "given: expected the name of a source (a), got 'b'"


def everything_given():
    return "a=good --given a", "n: expected at most 0, as many as there are candidates, got 5"


def more_than_there_are():
    return "a=good b=X.npy --n 99", "sources: expected images in all of them, or embeddings in all of them"


def archive_without_images():
    np.savez("bad.npz", labels=[1])
    return "a=bad.npz", "bad.npz: expected an array named 'images', found labels"


def archive_of_no_images():
    np.savez("bad.npz", images=X)
    return (
        "a=bad.npz",
        "bad.npz: images: expected images (n, h, w) or (n, h, w, c) of uint8 values 0..255, got shape (12, 4)",
    )


def empty_array():
    np.save("bad.npy", IMAGES[:0])
    return "a=bad.npy", "bad.npy: expected at least one image with pixels, got shape (0, 8, 8, 1)"


def empty_table():
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), "bad.parquet")
    return "a=bad.parquet", "bad.parquet: expected rows, got none"


def features_too_few():
    np.save("few.npy", X[:5])
    return "a=good --features few.npy", "features: expected 12 rows, one per image (a 12), got 5"


def features_of_others():
    pq.write_table(pa.table({"path": [f"x{row}.png" for row in range(N)], "e": list(X)}), "X.parquet")
    return "a=good --features X.parquet", "features: expected names of the images in X.parquet, but 'x0.png' and all"


def features_nowhere():
    return "a=good --features nowhere.npy", "nowhere.npy: expected a file of embeddings, but there is none"


def features_of_a_folder_of_images():
    return "a=good --features good", "good: expected embeddings in a .npy or .parquet file, or in several in a folder"


def bit_depth_of_embeddings():
    return "a=X.npy --bit-depth 12", "bit_depth: expected images, but a has embeddings"


def resize_of_embeddings():
    return "a=X.npy --resize 8", "resize: expected an encoder of images, but there are embeddings"


BROKEN = [
    parquet_cut, embeddings_cut, npy_cut, npz_cut, tar_cut, tar_compressed, tar_without_images, empty_tar,
    half_a_saved_data_set, state_that_is_cut, several_splits, arrow_cut, metadata_torn, metadata_twice, empty_folder,
    no_images_in_folder, no_such_path, no_such_pattern, another_kind_of_file, a_file_that_is_no_image, an_image_alone,
    shards_of_two_widths, shards_of_two_kinds, nan_in_a_shard, text_in_embeddings, pickles, lists_of_two_lengths,
    columns_of_nothing, columns_of_text, given_of_no_source, everything_given, more_than_there_are,
    weights_of_an_encoder,
    archive_without_images, archive_of_no_images, empty_array, empty_table, features_too_few, features_of_others,
    features_nowhere, features_of_a_folder_of_images, bit_depth_of_embeddings, resize_of_embeddings,
]  # fmt: skip


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_one_message_names_what_is_broken(make, capsys):
    words, expected = make()
    assert main(["select", "--n", "5", *words.split(), "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert expected in said and "Traceback" not in said
    # Only lists of images or rows have a line for each.
    assert len(said.splitlines()) == (2 if "cannot be used" in said else 1)
    assert not Path("out").exists()


def test_metadata_of_files_that_are_not_there(capsys):
    Path("good/metadata.csv").write_text("file_name,label\nnowhere.png,a\n00.png,b\n")
    assert main(["select", "a=good", "--n", "5", "--out", "out"]) == 0
    said = capsys.readouterr().out
    assert "good/metadata.csv: 1 row is of no image: nowhere.png." in said
    assert "11 of 12 images have no class, so classes are not used" in said


def test_shards_that_are_missing(capsys):
    Path("shards").mkdir()
    np.save("shards/x-00000-of-00003.npy", X)
    assert main(["select", "a=shards", "--n", "5", "--out", "out"]) == 0
    assert "not all shards of a split are there (x: 1 of 3)" in capsys.readouterr().out
