"""What is kept of a finished study: ledgers without images, every number, figures and tables."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import pytest

from entropick.report import read_table

SCRIPT = Path(__file__).parents[2] / "experiments" / "results.py"


@pytest.fixture(scope="module")
def results():
    spec = importlib.util.spec_from_file_location("results", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept(results, sized, tmp_path_factory):
    out = tmp_path_factory.mktemp("kept") / "sized"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["results.py", str(sized), str(out)])
        results.main()
    return out


def test_ledgers_are_kept_and_images_are_not(sized, kept):
    told, again = read_table(sized), read_table(kept)
    assert [(arm.name, run.size, run.seed) for arm, run in again.study.runs()] == [
        (arm.name, run.size, run.seed) for arm, run in told.study.runs()
    ]
    assert told.rows.num_rows > 1000 and again.rows.equals(told.rows)
    suffixes = {path.suffix for path in (kept / "arms").rglob("*") if path.is_file()}
    assert suffixes == {".json", ".jsonl"}


def test_every_number_stands_in_the_table(sized, kept):
    with (kept / "numbers.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {(row["arm"], row["size"], row["seed"], row["iteration"], row["measure"]): row["value"] for row in rows}
    assert len(found) == len(rows)
    table = read_table(sized)
    for arm, run in table.study.runs():
        for n in (0, *run.measured):
            for key, value in table.of_run(arm, run, n).items():
                written = found[arm.name, str(run.size), str(run.seed), str(n), key]
                assert written == ("" if value is None else str(value))


def test_tables_have_every_arm_at_every_size(sized, kept):
    told, text = read_table(sized).study, (kept / "tables.md").read_text()
    assert text.count("**Last iteration") == len(told.sizes)
    for arm in told.arms:
        assert text.count(f"| {arm.name} |") >= len(told.sizes)
    assert "| replace+greedy | vanilla |" in text and "| replace+greedy | random |" in text
    assert any((kept / "figures").glob("*.svg"))


def test_an_unfinished_study_is_refused(results, study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["results.py", str(study), str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        results.main()
    assert "expected a finished study" in capsys.readouterr().err and not (tmp_path / "out").exists()
