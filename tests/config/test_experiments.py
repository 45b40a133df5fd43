"""The study files of the repository's experiments load, and say what they are for."""

import dataclasses
from pathlib import Path

import pytest

from entropick.config import load_study
from entropick.report.intervals import CONTROLS

FOLDER = Path(__file__).parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*.toml"))
FAMILIES = ("digits", "mnist", "cifar10", "faces", "paper", "memorization")


def test_there_are_some_of_every_kind():
    assert {path.stem.partition("-")[0] for path in FILES} == set(FAMILIES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_loads_and_tells_its_figure_and_its_cost(path, tmp_path, monkeypatch):
    monkeypatch.setenv("ENTROPICK_DATA", str(tmp_path))
    monkeypatch.setenv("ENTROPICK_ENCODERS", str(tmp_path))
    study = load_study(str(path))
    assert (study.name, bool(study.title), bool(study.description)) == (path.stem, True, True)
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(line.startswith("# Cost: ") for line in comments) and len(comments) >= 2
    for loop in (run.loop for run in study.arm_runs()):
        encoders = [space for space in (loop.features, *loop.evaluation) if space.kind == "encoder"]
        assert all(Path(encoder.model).parent == tmp_path for encoder in encoders)
        if loop.dataset.kind == "digits":
            of_pixels = tuple(space for space in loop.evaluation if space not in encoders)
            dataclasses.replace(loop, evaluation=of_pixels).check()
        else:
            assert Path(loop.dataset.path).parent == tmp_path


def test_the_grid_has_three_families_with_both_controls_and_both_selections():
    arms = load_study(str(FOLDER / "digits-grid.toml")).arms
    for family in ("replace", "accumulate", "accumulate-subsample"):
        methods = {name.partition("+")[2] or "vanilla" for name in arms if name.partition("+")[0] == family}
        assert methods >= {*CONTROLS, "greedy", "threshold-decay"}
