"""The examples run as they stand, say what they promise, and stay short."""

from pathlib import Path

import pytest
from fresh_python import run_python

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_explains_itself(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60 and text.startswith('"""') and "import entropick as ep" in text


def run(name, *arguments, cwd):
    path = next(path for path in EXAMPLES if path.stem == name)
    done = run_python("-W", "error", str(path), *map(str, arguments), cwd=cwd)
    assert not done.stderr
    return done.stdout.splitlines()


def test_all_examples_are_run_here():
    assert [path.stem for path in EXAMPLES] == ["run_loop", "score_copies", "select_subset"]


def test_select_subset(tmp_path):
    lines = run("select_subset", cwd=tmp_path)
    numbers = {line[:16].strip(): [float(word) for word in line[16:].split()] for line in lines[2:5]}
    entropy, share = ({name: row[i] for name, row in numbers.items()} for i in (0, 2))
    assert list(numbers) == ["random", "greedy", "threshold decay"]
    assert min(entropy["greedy"], entropy["threshold decay"]) > entropy["random"] + 1
    assert 0.4 < share["random"] < 0.6 and min(share["greedy"], share["threshold decay"]) > 0.75


def test_score_copies(tmp_path):
    lines = run("score_copies", cwd=tmp_path)
    assert lines[0].startswith("held-out real images: ")
    assert lines[1].startswith("as good as real") and lines[1].endswith("new images")
    assert lines[2].startswith("noisy copies") and lines[2].endswith(": copies")
    assert lines[3].startswith("exact copies") and " 0.0 = 0.00 " in lines[3]


def test_run_loop(tmp_path):
    lines = run("run_loop", tmp_path / "run", cwd=tmp_path)
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    shares = [float(line.split()[-1]) for line in lines[1:4]]
    assert shares[0] == 1.0 and shares == sorted(shares, reverse=True) and shares[2] > 0
    assert lines[4] == "iteration 3 made 256 images of shape (8, 8, 1)"
    assert lines[5].endswith("same results: True") and lines[6] == f"everything is in {tmp_path / 'run'}"
    assert (tmp_path / "run" / "ledger.jsonl").is_file()
