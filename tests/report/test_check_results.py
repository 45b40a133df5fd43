"""The page of results says what the ledgers say, and the check of that finds what it does not."""

from __future__ import annotations

import importlib.util
import math
import re
import statistics
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "check_results.py"
VARIANCE = "total_variance/pixels"
R_ROW = "| log variance of the training set | 256 images |"


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


def test_no_number_of_the_page_keeps_its_source_to_itself(check, studies):
    assert check.unmarked(check.PAGE.read_text(encoding="utf-8"), studies) == []


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


def test_a_number_may_be_a_difference_with_its_interval_a_share_of_another_or_since_an_iteration(check, studies):
    table = next(table for name, table, _, _ in studies if name == "digits-grid")
    of = {arm.name: arm for arm in table.study.arms}

    def values(arm, n, key="generalization_score/pixels"):
        return [table.of_run(of[arm], run, n)[key] for run in of[arm].runs]

    greedy, random, plain = (values(arm, 8) for arm in ("replace+greedy", "replace+random", "replace"))
    gain = [a - b for a, b in zip(greedy, random, strict=True)]
    half = 4.302653 * statistics.stdev(gain) / 3**0.5  # Student's quantile of two degrees of freedom
    spread = [score / variance**0.5 for score, variance in zip(plain, values("replace", 8, VARIANCE), strict=True)]
    since = [last / first for last, first in zip(plain, values("replace", 1), strict=True)]
    other = statistics.mean(plain) - statistics.mean(random)
    source = "digits-grid; replace+greedy; last; generalization_score/pixels"
    own = "digits-grid; replace; last; generalization_score/pixels"
    right = [
        marked(f"{half:.3f}", f"{source}; beside replace+random; take half"),
        marked(f"{statistics.mean(gain) - half:.3f}", f"{source}; beside replace+random; take low"),
        marked(f"{statistics.mean(gain):.3f}", f"{own.replace('; last', '+random; last')}; below replace+greedy"),
        marked(
            f"{other / statistics.mean(gain):.4f}".replace("-", "\N{MINUS SIGN}"),
            f"{own}; beside replace+random; over replace+greedy",
        ),
        marked(f"{statistics.mean(since):.4f}", f"{own}; since 1"),
        marked(f"{statistics.mean(spread):.4f}", own.replace("generalization_score", "score_over_spread")),
        marked("4,000", "digits-grid; replace; set; generator.steps"),
    ]
    assert list(check.differences("\n".join(right), studies)) == []


def test_a_correlation_is_the_one_of_the_tables(check, studies):
    row = next(
        line for name, _, now, _ in studies if name == "digits-sizes" for line in now.splitlines() if R_ROW in line
    )
    r, low, high = re.findall(r"0\.\d\d", row)
    source = "digits-sizes; all; r; log total_variance/pixels; size 256"
    takes = {r: source, low: f"{source}; take low", high: f"{source}; take high"}
    assert list(check.differences("\n".join(marked(*one) for one in takes.items()), studies)) == []


def test_numbers_without_a_source_are_counted_and_names_are_none(check, studies):
    said = "14x14, 2N, 1/n, `5`, 2026-11-25 [a](b-7.md)\n```\n8\n```\n0.91<!-- paper -->, 9 %<!-- by hand: counted -->"
    assert check.unmarked(said, studies) == []
    assert check.unmarked(f"{said}\n| 3 and 1,024 | 4.5 %, {marked('1.0', 'a; b; c; d')}", studies) != []
    assert len(check.unmarked("| 3 and 1,024 | 4.5 %, -0.5, 6-7.", studies)) == 6
    assert "2 say that they are from elsewhere, and 0 say nothing" in check.told(said, studies)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("digits; replace; 1; x", "there is no study 'digits'"),
        ("digits-grid; nobody; 1; x", "has no arm 'nobody'"),
        ("digits-grid; replace; 1; x", "has no 'x' of 'replace' at iteration 1"),
        ("digits-grid; replace", "got too few parts"),
        ("digits-grid; replace; 1; x; without doubt", "got 'without'"),
        ("digits-grid; nobody; r; knn_entropy/pixels", "has no r of 'knn_entropy/pixels' over 'nobody'"),
        ("digits-grid; replace; set; generator.nothing", "has no 'generator.nothing'"),
        ("digits-grid; replace; 1; precision/pixels; take part", "expected take low, high, half, got 'part'"),
        ("mnist-14; replace; 1; precision/pixels; take half", "has too few seeds for an interval"),
    ],
)
def test_a_source_that_leads_nowhere_is_named(check, studies, source, said):
    (found,) = check.differences(marked("1.0", source), studies)
    assert said in found


@pytest.mark.parametrize(
    "text", ["many<!-- paper --> rows", "76<!-- paper --> minutes --> min", "7 <!-- paper -->", "7<!-- open"]
)
def test_a_comment_that_belongs_to_no_number_is_found(check, studies, text):
    (found,) = check.differences(f"so\n{text}", studies)
    assert found.startswith("docs/results.md:2: a comment stands behind no number, or is not closed once")


def test_a_changed_row_and_a_stale_table_are_found(check, studies):
    name, table, now, written = studies[0]
    lines = now.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("| ---"))
    page = "\n".join([*lines[at - 1 : at + 2], lines[at + 2].replace("0", "1", 1)])
    (found,) = check.differences(page, studies)
    assert found.startswith("docs/results.md:4: no study has this row: | ")
    (found,) = check.stale_tables([(name, table, now, written.replace("0", "1", 1))])
    assert found.startswith(f"results/{name}/tables.md differs from its ledgers: ")
    assert check.told(marked("1.0", "a; b; c; d"), studies).startswith(
        "1 marked numbers were recomputed; 0 say that they are"
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("digits-tau; ARM; last; precision/pixels; seed", "each with a value, got 'seed'"),
        ("digits-tau; ARM; last; precision/pixels; since; size 1", "each with a value, got 'since'"),
        ("digits-tau; ARM; lst; precision/pixels", "as the iteration, got 'lst'"),
        ("digits-tau; ARM; cost; minutes; seed 0", "then any of nothing more, each with a value, got 'seed'"),
        ("digits-tau; ARM; cost; hours", "has no cost in 'hours'"),
        ("digits-tau; nobody; cost; minutes", "has no cost in 'minutes' of 'nobody'"),
        ("memorization-onset; replace; onset; slope; seed 0", "size, take, each with a value, got 'seed'"),
        ("digits-tau; ARM; last; duplicate_share/pixels; over ARM", "of 0 for 'ARM', over which nothing is"),
    ],
)
def test_what_a_comment_asks_for_is_never_passed_over(check, studies, source, said):
    """A word that is not understood would give another number than the one that was meant."""
    tables = {name: table for name, table, _, _ in studies}
    arm = tables["digits-tau"].study.arms[0].name
    with pytest.raises(ValueError, match=re.escape(said.replace("ARM", arm))):
        check.Source.of(source.replace("ARM", arm)).value(tables)


def test_a_number_that_is_none_agrees_with_nothing(check, studies, monkeypatch):
    monkeypatch.setattr(check.Source, "value", lambda self, tables: math.nan)
    page = marked("0.5", "digits-tau; replace; last; precision/pixels")
    assert len(list(check.differences(page, studies))) == 1
