"""Images in memory of any size, and embeddings of them, are taken one by one as files are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import entropick as ep
from entropick.cli import main
from entropick.errors import InputError

N = 20
ARRAYS = [np.random.default_rng(row).integers(0, 256, (10 + row % 5, 14 - row % 3, 3), np.uint8) for row in range(N)]
X = np.random.default_rng(9).standard_normal((N, 4)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The same images as files."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for row, image in enumerate(ARRAYS):
        Image.fromarray(image).save(f"images/{row:02d}.png")
    return Path("images")


def split(**more):
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features(photo=datasets.Image(), label=datasets.ClassLabel(names=["a", "b"]))
    of = {"photo": [Image.fromarray(image) for image in ARRAYS], "label": [row % 2 for row in range(N)]}
    return datasets.Dataset.from_dict(of | more, features=kinds)


@pytest.mark.parametrize("kind", ["pictures", "opened", "arrays", "split"])
def test_the_same_rows_as_of_files(folder, kind):
    expected = ep.select(folder, 7)
    given = {
        "pictures": lambda: [Image.fromarray(image) for image in ARRAYS],
        "opened": lambda: [Image.open(file) for file in sorted(folder.iterdir())],
        "arrays": lambda: ARRAYS,
        "split": split,
    }[kind]()
    said = []
    found = ep.select(given, 7, say=said.append)
    assert found.indices.tolist() == expected.indices.tolist()
    assert any("compared at 32 x 32" in line for line in said)
    assert set(found.paths) == {"pool (in memory)"} and found.contact_sheet == expected.contact_sheet
    score = ep.score(training=given, generated=folder, allow_same=True, metrics=["generalization_score"])
    assert score.values["generalization_score/pixels"] == 0


def test_classes_of_a_split(folder):
    chosen = ep.select(split(), 8, balance=True)
    assert {name: of["chosen"] for name, of in chosen.summary["classes"].items()} == {"a": 4, "b": 4}


def test_the_chosen_ones_as_files(folder):
    chosen = ep.select([Image.fromarray(image) for image in ARRAYS], 5, files="copy", out="out")
    for row in chosen.indices.tolist():
        np.testing.assert_array_equal(np.asarray(Image.open(f"out/selected/pool/{row:02d}.png")), ARRAYS[row])
    assert len(Path("out/filenames.txt").read_text().splitlines()) == 5
    # None of them lies where FiftyOne would look for it.
    assert not Path("out/fiftyone.csv").exists() and not Path("out/order.csv").exists()


def test_names_that_images_have(folder):
    opened = [Image.open(file) for file in sorted(folder.iterdir())]
    assert set(ep.select(opened, 3).table["name"]) <= {str(file) for file in folder.iterdir()}
    assert "name" not in ep.select([Image.fromarray(image) for image in ARRAYS], 3).table


def test_a_picture_that_cannot_be_read(folder):
    contents = [file.read_bytes() for file in sorted(folder.iterdir())]
    contents[3] = contents[3][:-200]
    opened = [Image.open(io.BytesIO(content)) for content in contents]
    with pytest.raises(InputError, match=r"1 image cannot be used(.|\n)*pool \(in memory\)#3"):
        ep.select(opened, 5)
    assert [of["row"] for of in ep.select(opened, 5, skip_bad=True).summary["skipped"]] == [3]


def test_a_row_without_an_image(folder):
    with pytest.raises(InputError, match=r"1 image cannot be used(.|\n)*#5"):
        ep.select(split(photo=[*map(Image.fromarray, ARRAYS[:5]), None, *map(Image.fromarray, ARRAYS[6:])]), 5)


def test_grey_of_16_bits():
    scans = [Image.fromarray(np.full((4 + row % 2, 4), 200 * row, np.uint16)) for row in range(N)]
    with pytest.raises(InputError, match=r"not one file can be read(.|\n)*bit_depth=N(.|\n)*and 10 more"):
        ep.select(scans, 5)
    assert ep.select(scans, 5, bit_depth=12).summary["n_distinct"] == 5


@pytest.mark.parametrize("kind", ["array", "float64", "tensor", "pandas"])
def test_embeddings_in_memory(folder, kind):
    expected = ep.select(X, 6).indices.tolist()
    order = np.random.default_rng(1).permutation(N)
    if kind == "pandas":
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(X[order], columns=list("abcd"))
        given = frame.assign(path=[f"{row:02d}.png" for row in order])  # joined by name, whatever the order
    elif kind == "tensor":
        given = pytest.importorskip("torch").from_numpy(X)
    else:
        given = X if kind == "array" else X.astype(np.float64)
    found = ep.select(folder, 6, features=given)
    assert found.indices.tolist() == expected
    score = ep.score(
        training=folder, generated=ARRAYS, features=np.concatenate([X, X]), allow_same=True, metrics=["authpct"]
    )
    assert list(score.values) == ["authpct/embeddings"]


def test_embeddings_in_memory_are_part_of_what_a_folder_holds(folder):
    ep.select(folder, 6, features=X, out="out")
    assert ep.select(folder, 6, features=X, out="out").folder == Path("out")
    with pytest.raises(ep.errors.RunChanged):
        ep.select(folder, 6, features=X + 1, out="out")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (X[:5], "expected 20 rows, one per image .pool 20., got 5"),
        (X[:, 0], "features: expected a name, a table, a path, or embeddings"),
        (["pixels", "pixels"], "features: expected a kind's name or a table"),
        (7, "features: expected a kind's name or a table"),
    ],
)
def test_no_features(folder, features, message):
    with pytest.raises(InputError, match=message):
        ep.select(folder, 5, features=features)


@pytest.mark.parametrize("form", ["emb", "emb/", "emb/*.npy", "~/emb"])
def test_a_folder_or_pattern_of_embeddings(folder, monkeypatch, form):
    monkeypatch.setenv("HOME", str(Path.cwd()))
    Path("emb").mkdir()
    for part in range(4):
        np.save(f"emb/part-{part}.npy", X[part * 5 : part * 5 + 5])
    expected = ep.select(X, 6).indices.tolist()
    assert ep.select(folder, 6, features=form).indices.tolist() == expected
    assert main(["select", "a=images", "--n", "6", "--features", form, "--out", "out"]) == 0
    words = ["score", "--training", "images", "--generated", "X.npz", "--features", form, "--out", "s"]
    np.savez("X.npz", images=np.zeros((1, 4, 4), np.uint8))
    assert main(words) == 2  # 20 rows for 21 images


def test_an_encoder_is_no_folder_of_its_name(folder):
    Path("pixels").mkdir()
    assert ep.select(folder, 5, features="pixels").summary["config"]["features"] == {"kind": "pixels"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a.png", "b.png"], "got a list of 2 paths. Give the folder that holds them"),
        ([Path("a.png")], "got a list of 1 paths"),
        ([(ARRAYS[0], 1), (ARRAYS[1], 0)], "got a list of 2 pairs. Give the images as a list, and their labels"),
    ],
)
def test_lists_of_what_is_no_image_say_what_to_give(given, message):
    with pytest.raises(InputError, match=message):
        ep.select(given, 1)
