"""The page of results says what the ledgers say, and the check of that finds what it does not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "check_results.py"


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("check_results", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_results"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["check_results"]


@pytest.fixture(scope="module")
def studies(check):
    return list(check.kept())


def test_every_number_of_the_page_is_in_the_ledgers(check, studies):
    assert len(studies) >= 4
    assert list(check.stale_tables(studies)) == []
    assert list(check.differences(check.PAGE.read_text(encoding="utf-8"), studies)) == []


def marked(number, source):
    return f"so it is {number}<!-- = {source} --> here"


def test_a_number_is_recomputed_with_as_many_digits_as_are_written(check, studies):
    table = next(table for name, table, _, _ in studies if name == "digits-grid")
    arm = next(arm for arm in table.study.arms if arm.name == "replace+greedy")
    control = next(arm for arm in table.study.arms if arm.name == "replace+random")
    one, other = (table.over_seeds(each, 8, "precision/pixels").mean for each in (arm, control))
    share = table.over_seeds(arm, 8, "0", "shares").mean
    source = "digits-grid; replace+greedy; last; precision/pixels"
    right = [
        marked(f"{one:.3f}", source),
        marked(f"{100 * one:.1f} %", source),
        marked(f"{one - other:.4f}", f"{source}; beside replace+random"),
        marked(f"{one / other:.2f}", f"{source}; over replace+random"),
        marked(f"{table.of_run(arm, arm.runs[1], 8)['precision/pixels']:.2f}", f"{source}; seed 1"),
        marked(f"{share:.2f}", "digits-grid; replace+greedy; 8; 0; part shares"),
    ]
    assert list(check.differences("\n".join(right), studies)) == []
    (said,) = check.differences(f"\n{marked(f'{one + 0.001:.3f}', source)}", studies)
    assert said.startswith(f"docs/results.md:2: {one + 0.001:.3f} is {one:.5f} in the ledgers")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("digits; replace; 1; x", "there is no study 'digits'"),
        ("digits-grid; nobody; 1; x", "has no arm 'nobody'"),
        ("digits-grid; replace; 1; x", "has no 'x' of 'replace' at iteration 1"),
        ("digits-grid; replace", "got too few parts"),
        ("digits-grid; replace; 1; x; without doubt", "got 'without'"),
    ],
)
def test_a_source_that_leads_nowhere_is_named(check, studies, source, said):
    (found,) = check.differences(marked("1.0", source), studies)
    assert said in found


def test_a_changed_row_and_a_stale_table_are_found(check, studies):
    name, table, now, written = studies[0]
    lines = now.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("| ---"))
    page = "\n".join([*lines[at - 1 : at + 2], lines[at + 2].replace("0", "1", 1)])
    (found,) = check.differences(page, studies)
    assert found.startswith("docs/results.md:4: no study has this row: | ")
    (found,) = check.stale_tables([(name, table, now, written.replace("0", "1", 1))])
    assert found.startswith(f"results/{name}/tables.md differs from its ledgers: ")
    assert check.told(marked("1.0", "a; b; c; d")).startswith("1 marked numbers were recomputed; the text")
