import shutil
from typing import NamedTuple

import pytest

from entropick.cli import main
from entropick.features import Pixels

STUDY = """
name = "tiny"
title = "A tiny study"
n_images = 32

[loop]
n_iterations = 2
dataset = "digits"

[loop.generator]
kind = "kde"
bandwidth = 4

[arms.replace]
paradigm = "replace"

[arms."accumulate+threshold-decay"]
selector = { kind = "threshold-decay", threshold = 500.0 }
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys, monkeypatch):
    """Call the command line in this process, on a terminal of 80 columns that is none."""
    monkeypatch.setenv("COLUMNS", "80")

    def cli(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return Ended(code, *capsys.readouterr())

    return cli


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory):
    """A finished study; not to be changed."""
    place = tmp_path_factory.mktemp("finished")
    (place / "tiny.toml").write_text(STUDY)
    assert main(["run", str(place / "tiny.toml"), "--out", str(place / "run"), "--workers", "1"]) == 0
    return place / "run"


@pytest.fixture
def finished(finished_once, tmp_path):
    """A copy of a finished study."""
    return shutil.copytree(finished_once, tmp_path / "finished")


@pytest.fixture
def dear_pixels(monkeypatch):
    """Pixels whose features are kept, as those of an encoder are."""
    monkeypatch.setattr(Pixels, "cheap", False)
