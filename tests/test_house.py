"""``tools/house.py``: the numbers of a source tree, on one that is small enough to count by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "tools" / "house.py"
TREE = {
    "__init__.py": "from tiny.top import build\n",
    "errors.py": "class Broken(Exception): ...\n",
    "low/__init__.py": "from tiny.low.stone import lay\n",
    "low/stone.py": "from tiny.errors import Broken\n\n\ndef lay():\n    raise Broken\n",
    "low/sand.py": "x = 1\n",
    "top.py": """from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiny.low.sand import x


def build():
    from tiny.low import lay

    return lay
""",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in TREE.items():
        path = tmp_path / "tiny" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return tmp_path / "tiny"


def house(*arguments):
    done = subprocess.run([sys.executable, HOUSE, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def values(out, column=-1):
    lines = [line.split() for line in out.splitlines() if line[-1:].isdigit()]
    return {" ".join(word for word in line if not word[0].isdigit()): line[column] for line in lines}


def test_what_can_be_counted_by_hand(tree):
    numbers = values(house(tree))
    assert numbers == {
        "rooms": "3",
        "files": "6",
        "lines": "19",
        "median lines of a file": "1",
        "median lines of a function": "3",
        "circles of rooms": "0",
        "circles of files": "0",
        "floors": "3",
    }


def test_what_a_reader_must_open_is_the_file_that_has_the_name(tree):
    out = house(tree, "--reach", "tiny.top:build")
    assert "tiny.top:build: 2 files, 15 lines\n  tiny.low.stone\n  tiny.top" in out


def test_a_circle_is_found_and_named(tree):
    (tree / "low" / "stone.py").write_text("def lay():\n    import tiny.top\n")
    out = house(tree)
    assert "circle, now: low, top" in out and "circle, now: tiny.low, tiny.low.stone" not in out
    assert values(out)["circles of rooms"] == "1" and values(out)["floors"] == "0"


def test_before_and_after_is_one_command(tree):
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", tree.parent)
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "before")):
        subprocess.run([*git, *words], check=True)
    (tree / "low" / "sand.py").unlink()
    out = house(tree, "--rev", "HEAD")
    assert values(out, -2)["files"] == "6" and values(out)["files"] == "5"


def test_this_house_has_no_circles():
    numbers = values(house())
    assert numbers["circles of rooms"] == numbers["circles of files"] == "0"
