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
    assert [path.stem for path in EXAMPLES] == [
        "run_loop",
        "score_copies",
        "select_hugging_face",
        "select_scikit_learn",
        "select_subset",
        "select_torch_subset",
    ]


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


def test_select_scikit_learn(tmp_path):
    lines = run("select_scikit_learn", cwd=tmp_path)
    assert lines[1].startswith("greedy, balanced  40 to 40 rows per class") and lines[2].startswith("random")
    assert all(float(line.split()[-1]) > 0.85 for line in lines[1:])


def test_select_torch_subset(tmp_path):
    lines = run("select_torch_subset", cwd=tmp_path)
    assert lines[0] == "300 of 1200 images, 150 in the first half, batches of (64, 1, 8, 8)"


def test_select_hugging_face(tmp_path):
    lines = run("select_hugging_face", cwd=tmp_path)
    assert len(lines) == 1 and lines[0].startswith("100 of 600 rows, the first four show ")


def test_without_the_hugging_face_package(tmp_path):
    (tmp_path / "datasets.py").write_text("raise ImportError")
    path = next(path for path in EXAMPLES if path.stem == "select_hugging_face")
    code = f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); runpy.run_path({str(path)!r})"
    done = run_python("-c", code, check=False, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == "the package 'datasets' is not installed: pip install datasets\n"


def test_run_loop(tmp_path):
    lines = run("run_loop", tmp_path / "run", cwd=tmp_path)
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    shares = [float(line.split()[-1]) for line in lines[1:4]]
    assert shares[0] == 1.0 and shares == sorted(shares, reverse=True) and shares[2] > 0
    assert lines[4] == "iteration 3 made 256 images of shape (8, 8, 1)"
    assert lines[5].endswith("same results: True") and lines[6] == f"everything is in {tmp_path / 'run'}"
    assert (tmp_path / "run" / "ledger.jsonl").is_file()
