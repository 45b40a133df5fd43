"""Images in tar files, tables and archives as sources: the same choice and score as of a folder of files."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from entropick.errors import InputError
from entropick.features import Pixels
from entropick.scoring import Score
from entropick.selection import Choice
from entropick.selectors import Greedy
from entropick.sources import Space, open_sources

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 6, 6), np.uint8)
LABELS = np.arange(20) % 2


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


FILES = [png(image) for image in IMAGES]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The same images in every form; number 13 does not decode where there are files."""
    monkeypatch.chdir(tmp_path)
    content = [*FILES[:13], b"torn", *FILES[14:]]
    Path("folder").mkdir()
    with tarfile.open("images.tar", "w") as archive:
        for row, data in enumerate(content):
            Path(f"folder/{row:02d}.png").write_bytes(data)
            head = tarfile.TarInfo(f"{row:02d}.png")
            head.size = len(data)
            archive.addfile(head, io.BytesIO(data))
    column = pa.array([{"bytes": data, "path": f"{row:02d}.png"} for row, data in enumerate(content)])
    pq.write_table(pa.table({"image": column, "label": LABELS}), "images.parquet", row_group_size=7)
    np.savez("adm.npz", IMAGES, LABELS)
    np.savez("medmnist.npz", train_images=IMAGES, train_labels=LABELS[:, None], test_images=IMAGES[:3])
    np.savez("keras.npz", x_train=IMAGES, y_train=LABELS[:, None])
    return tmp_path


def chosen(source, **more):
    choice = Choice(
        sources=open_sources([f"a={source}"]),
        selector=Greedy(n_samples=6, random_state=0),
        space=Space("features", encoder=Pixels()),
        **more,
    )
    told = choice.run(Path("out", source.replace("/", "-")))
    with open(Path("out", source.replace("/", "-"), "manifest.csv"), encoding="utf-8") as stream:
        return told, list(csv.DictReader(stream))


@pytest.mark.parametrize("source", ["images.tar", "images.parquet"])
def test_the_same_rows_are_chosen_and_bad_ones_named(place, source):
    with pytest.raises(InputError, match=rf"1 image cannot .*\n.*{source}#13"):
        chosen(source)
    told, rows = chosen(source, skip_bad=True, files="copy")
    like, expected = chosen("folder", skip_bad=True)
    assert [row["row"] for row in rows] == [row["row"] for row in expected]
    assert [row["distance"] for row in rows] == [row["distance"] for row in expected]
    assert [(bad["row"], bad["reason"]) for bad in told["skipped"]] == [
        (bad["row"], bad["reason"]) for bad in like["skipped"]
    ]
    # Of the container come the very bytes.
    placed = {path.name: path.read_bytes() for path in Path("out", source, "selected").rglob("*.png")}
    assert placed == {f"{int(row['row']):02d}.png": FILES[int(row["row"])] for row in rows}
    assert Path("out", source, "contact-sheet.png").is_file()


@pytest.mark.parametrize("named", ["images.npy", "pool"])
def test_a_split_of_what_has_none_is_refused(tmp_path, named):
    np.save(tmp_path / "images.npy", np.zeros((5, 4, 4), np.uint8))
    (tmp_path / "pool").mkdir()
    with pytest.raises(InputError, match=rf"{named}#train: expected a split behind # of \.npz files alone"):
        open_sources([f"a={tmp_path / named}#train"])


@pytest.mark.parametrize(("given", "got"), [("0.png", "one image"), ("*.png", "2 images")])
def test_images_that_are_named_one_by_one_lead_to_their_folder(tmp_path, given, got):
    for number in range(2):
        Image.new("L", (4, 4), number).save(tmp_path / f"{number}.png")
    with pytest.raises(InputError, match=rf"expected a folder of images, got {got}\. Give {tmp_path}\."):
        open_sources([f"a={tmp_path / given}"])


@pytest.mark.parametrize("source", ["adm.npz", "medmnist.npz#train", "keras.npz"])
def test_archives_of_others(place, source):
    (opened,) = open_sources([f"a={source}"])
    np.testing.assert_array_equal(opened.array[..., 0], IMAGES)
    assert opened.classes == tuple(map(str, LABELS))
    assert chosen(source)[0]["n_distinct"] == 6


def test_an_archive_in_a_folder_stands_for_it(place):
    Path("alone").mkdir()
    Path("adm.npz").rename("alone/adm.npz")
    (opened,) = open_sources(["a=alone"])
    np.testing.assert_array_equal(opened.array[..., 0], IMAGES)


def test_splits_are_asked_for(place):
    with pytest.raises(InputError, match=r"splits \(train, test\) .* for instance 'medmnist\.npz#train'"):
        open_sources(["a=medmnist.npz"])
    with pytest.raises(InputError, match=r"splits \(train, test\)"):
        open_sources(["a=medmnist.npz#val"])
    train, test = open_sources(["a=medmnist.npz#train", "b=medmnist.npz#test"])
    assert (len(train), len(test)) == (20, 3) and train.content_hash([]) != test.content_hash([])


def test_a_score_of_a_tar_file_and_a_folder(place):
    pq.write_table(pq.read_table("images.parquet").take(list(range(12))), "made.parquet")
    sources = open_sources(["training=images.tar", "generated=made.parquet"])
    score = Score(sources=sources, spaces=[Space("pixels", encoder=Pixels())], skip_bad=True, allow_same=True)
    result = score.run(Path("score"))
    assert result["values"]["generalization_score/pixels"] == 0
    assert "images.tar#" in Path("score/nearest-pixels.csv").read_text()


def test_classes_of_a_table_are_balanced(place):
    told, _ = chosen("images.parquet", skip_bad=True, balance=True)
    assert {name: of["chosen"] for name, of in told["classes"].items()} == {"0": 3, "1": 3}


def test_home(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    (opened,) = open_sources(["a=~/folder"])
    assert len(opened) == 20
    with pytest.raises(InputError, match="expected a folder or a file at ~nobody-at-all/x"):
        open_sources(["a=~nobody-at-all/x"])


def test_a_container_that_changes_is_refused(place):
    from entropick.sources import Contents
    from entropick.work import Work

    contents = Contents.of(open_sources(["a=images.tar"]), [Space("pixels", encoder=Pixels())], Work())
    Path("images.tar").write_bytes(Path("images.tar").read_bytes() + bytes(512))
    with pytest.raises(InputError, match="expected a file that stays as it is"):
        contents.check_unchanged(contents.sources[0].paths)


@pytest.mark.parametrize("path", ["images.tar", "images.parquet", "images.npz", "images.npy", "embeddings.npy"])
def test_a_file_that_changes_after_it_was_opened_is_refused(place, path):
    """Where its images lie, or how many there are, would be what was true of another file."""
    from entropick.sources import Contents
    from entropick.work import Work

    array = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    np.save("images.npy", array)
    np.savez("images.npz", images=array)
    np.save("embeddings.npy", array.reshape(20, -1))
    sources = open_sources([f"a={path}"])
    Path(path).write_bytes(Path(path).read_bytes() + bytes(512))
    with pytest.raises(InputError, match=f"{path}: expected a file that stays as it is"):
        Contents.of(sources, [Space("embeddings")], Work())


def test_what_lies_beside_arrays_is_told(place):
    for suffix in ("npy", "npz"):
        folder = Path(suffix)
        folder.mkdir()
        images = np.zeros((3, 8, 8), np.uint8)
        np.save(folder / "a.npy", images) if suffix == "npy" else np.savez(folder / "a.npz", images=images)
        (folder / "labels.csv").write_text("label")
        (source,) = open_sources([f"a={suffix}"])
        assert source.kind == "images" and source.passed_over == {"of another kind (.csv)": 1}
    # What says more of images is used.
    Path("folder/metadata.csv").write_text("".join(["file_name,label\n", *(f"{row:02d}.png,a\n" for row in range(20))]))
    (source,) = open_sources(["a=folder"])
    assert source.classes == ("a",) * 20 and source.passed_over == {}


def test_what_a_file_calls_its_rows_is_in_the_manifest(place):
    """A key in a tar file, a path or id in a table, word for word; files of their own and rows of arrays have none."""
    kept = [row for row in range(len(FILES)) if row != 13]
    of = {"img": [FILES[row] for row in kept], "id": [f"cats/{row}" for row in kept]}
    pq.write_table(pa.table(of), "ids.parquet")
    rows = {"e": [[float(row), 1.0] for row in kept], "key": [f"k{row}" for row in kept]}
    pq.write_table(pa.table(rows), "embeddings.parquet")
    for source, name in {"images.tar": "{:02d}.png", "images.parquet": "{:02d}.png"}.items():
        _, table = chosen(source, skip_bad=True)
        assert [row["name"] for row in table] == [name.format(int(row["row"])) for row in table]
    _, table = chosen("ids.parquet")
    assert [row["name"] for row in table] == [f"cats/{kept[int(row['row'])]}" for row in table]
    assert all(Path(row["file_name"]).name == row["name"].rpartition("/")[2] for row in table)
    choice = Choice(sources=open_sources(["a=embeddings.parquet"]), selector=Greedy(n_samples=6))
    choice.run(Path("out", "rows"))
    table = pq.read_table("out/rows/manifest.parquet").to_pydict()
    assert table["name"] == [f"k{kept[row]}" for row in table["row"]]
    for source in ("folder", "adm.npz"):
        assert "name" not in chosen(source, skip_bad=True)[1][0]
