"""--normalize: embeddings compared by their directions, whatever their lengths."""

import json
from pathlib import Path

import numpy as np
import pytest

from entropick.cli import main
from entropick.selectors import Greedy


@pytest.fixture
def embeddings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    X = (random.standard_normal((60, 5)) * np.exp(random.standard_normal((60, 1)))).astype(np.float32)
    np.save("pool.npy", X)
    return X


def select(*more):
    return main(["select", "pool=pool.npy", "--n", "12", "--out", "out", *more])


def chosen():
    import pyarrow.parquet as pq

    return pq.read_table("out/manifest.parquet").column("row").to_pylist()


def test_the_rows_of_the_selector_on_unit_rows(embeddings):
    assert select("--normalize") == 0
    unit = embeddings.astype(np.float64)
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    expected = Greedy(n_samples=12, random_state=0).fit(unit).indices_.tolist()
    assert chosen() == expected != Greedy(n_samples=12, random_state=0).fit(embeddings).indices_.tolist()
    assert json.loads(Path("out/selection.json").read_text())["config"]["features"] == {"embeddings": "of length 1"}


def test_with_and_without_are_two_selections(embeddings, capsys):
    assert select() == 0
    assert select("--normalize") == 2
    assert "features" in capsys.readouterr().err


def test_a_row_without_a_direction_is_named(embeddings, capsys):
    embeddings[7] = 0
    np.save("pool.npy", embeddings)
    assert select("--normalize") == 2
    assert "all its features are 0" in capsys.readouterr().err
    assert select("--normalize", "--skip-bad") == 0
    assert 7 not in chosen()
    assert [of["row"] for of in json.loads(Path("out/selection.json").read_text())["skipped"]] == [7]


def test_lengths_that_vary_are_told(embeddings, capsys):
    assert select() == 0
    assert "rows have lengths from" in capsys.readouterr().out
    np.save("pool.npy", embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    assert main(["select", "pool=pool.npy", "--n", "12", "--out", "other"]) == 0
    assert "rows have lengths from" not in capsys.readouterr().out


def test_a_score_by_directions(embeddings):
    np.save("scaled.npy", embeddings * np.linspace(1, 9, 60, dtype=np.float32)[:, None])
    words = ["score", "--training", "pool.npy", "--generated", "scaled.npy", "--normalize", "--out", "s"]
    assert main([*words, "--metrics", "generalization_score"]) == 0
    values = json.loads(Path("s/score.json").read_text())["values"]
    assert values["generalization_score/embeddings"] < 1e-6


def directions(X):
    X = X.astype(np.float64)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["sources", "file"])
def test_directions_are_about_the_origin_whatever_the_offset(tmp_path, monkeypatch, kind):
    """Distances of the rows as they came: those to their mean have nothing to do with cosines."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(3)
    X = 1e8 + random.standard_normal((60, 4)) * 1e3 * np.exp(random.standard_normal((60, 1)))
    unit = directions(X)
    unit -= unit.mean(axis=0)
    expected = Greedy(n_samples=12, random_state=0).fit((unit * 1e6).astype(np.float32))
    np.save("X.npy", X)
    words = ["select", "pool=X.npy"]
    if kind == "file":
        np.save("images.npy", random.integers(0, 256, (60, 4, 4), np.uint8))
        words = ["select", "pool=images.npy", "--features", "X.npy"]
    assert main([*words, "--n", "12", "--normalize", "--out", "out"]) == 0
    assert chosen() == expected.indices_.tolist()
    radius = json.loads(Path("out/selection.json").read_text())["selection"]["covering_radius"]
    assert radius == pytest.approx(expected.covering_radius_ / 1e6, rel=1e-4)


def test_the_same_is_subtracted_from_all_sets_of_a_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(4)
    made, real = 1e8 + random.standard_normal((2, 40, 4)) * 1e3
    np.save("made.npy", made)
    np.save("real.npy", real)
    words = "score --training real.npy --generated made.npy --metrics generalization_score --normalize --out s"
    assert main(words.split()) == 0
    apart = np.linalg.norm(directions(made)[:, None] - directions(real)[None], axis=2).min(axis=1).mean()
    found = json.loads(Path("s/score.json").read_text())["values"]["generalization_score/embeddings"]
    assert found == pytest.approx(apart, rel=1e-4)


def test_all_rows_without_a_direction_are_counted_and_named(embeddings, capsys):
    embeddings[[7, 31]] = 0
    np.save("pool.npy", embeddings)
    assert select("--normalize") == 2
    said = capsys.readouterr().err
    assert "2 rows cannot be used" in said and "in row 7" in said and "in row 31" in said and "--normalize" in said


def test_lengths_are_those_of_the_rows_as_they_came(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("pool.npy", 1e8 + np.random.default_rng(5).standard_normal((60, 4)))
    assert select() == 0
    assert "rows have lengths" not in capsys.readouterr().out
