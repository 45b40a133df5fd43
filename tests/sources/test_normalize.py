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
