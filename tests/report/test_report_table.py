"""Numbers over seeds are means of the ledgers' numbers, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_up_study
import pyarrow.csv
import pyarrow.parquet
import pytest
from made_up_study import metrics, write_study

from entropick.errors import InputError
from entropick.page.words import duration, in_order, name_with_space, number
from entropick.report import read_study, read_table, summary_table, write_table
from entropick.report.table import tabulate

SCORE = "generalization_score/pixels"


def test_one_row_per_run_with_its_last_numbers(study: Path) -> None:
    rows = summary_table(study)
    assert [(row["arm"], row["seed"], row["iteration"]) for row in rows] == [
        ("replace", 0, 3),
        ("replace", 1, 3),
        ("accumulate-greedy", 0, 3),
        ("accumulate-greedy", 1, 3),
        ("stopped <!--<script> & <b>early", 0, None),
    ]
    assert rows[3][SCORE] == metrics(1, 1, 3)[SCORE]
    assert rows[2]["share_real"] == pytest.approx(0.6)
    assert rows[0]["share_real"] == 0
    assert rows[2]["selection/n_distinct"] == 96 and rows[2]["selection/threshold"] is None
    assert len({tuple(row) for row in rows}) == 1


def test_spread_is_mean_and_range_over_seeds(study: Path) -> None:
    table = read_table(study)
    spread = table.over_seeds(table.study.arms[1], 3, SCORE)
    values = [metrics(1, seed, 3)[SCORE] or 0.0 for seed in (0, 1)]
    assert spread is not None
    assert (spread.low, spread.high, spread.n_seeds) == (min(values), max(values), 2)
    assert spread.mean == pytest.approx(sum(values) / 2)


def test_a_missing_number_stays_missing(study: Path) -> None:
    table = read_table(study)
    arm = table.study.arms[0]
    assert table.over_seeds(arm, 2, "knn_entropy/pixels") is None
    assert [table.of_run(arm, run, 2)["knn_entropy/pixels"] for run in arm.runs] == [None, None]


def test_real_data_is_one_number_only_where_arms_share_it(study: Path) -> None:
    record = read_study(study)
    spread = tabulate(record).real(SCORE)
    assert spread is not None and (spread.low, spread.high) == (1.9, 1.91)
    record.arms[1].runs[0].find(0, "baseline").values["metrics"][SCORE] = 5.0
    assert tabulate(record).real(SCORE) is None


def test_shares_sum_to_one(study: Path) -> None:
    table = read_table(study)
    arm = table.study.arms[1]
    assert all(sum(table.shares(arm, n).values()) == pytest.approx(1) for n in arm.iterations)
    assert all(table.real_share(arm, n) == table.shares(arm, n)[0] > 0 for n in arm.iterations)
    assert table.real_share(table.study.arms[0], 2) == 0 and table.real_share(arm, 4) is None


def test_selection_numbers_without_missing_ones(study: Path) -> None:
    table = read_table(study)
    numbers = table.selection(table.study.arms[1], 3)
    assert {name: spread.mean for name, spread in numbers.items()} == pytest.approx(
        {"pool": 288, "selected": 96, "n_distinct": 96, "covering_radius": 0.5 / 3}
    )


def test_a_cost_counts_what_the_results_took_and_apart_from_it_what_was_computed(study: Path) -> None:
    first, second, stopped = read_table(study).costs()
    assert (first.steps, first.images) == (second.steps, second.images) == (2 * 3 * 100, 2 * 3 * 96)
    assert (stopped.steps, stopped.images) == (100, 96)
    assert first.n_shared == 0 and second.n_shared == 4
    # The data and the baseline of both seeds were computed by the first arm, for nobody's stage of the loop.
    own = sum(e.timing["seconds"] for run in second.arm.runs for e in run.entries if e.iteration > 0)
    assert second.own_seconds == pytest.approx(own) == pytest.approx(second.total_seconds)


def test_shared_training_is_part_of_both_costs(tmp_path: Path) -> None:
    arms = {"a": {"n_iterations": 1}, "b": {"n_iterations": 1}}
    write_study(tmp_path, "t", arms, seeds=(0,))
    first, second = read_table(tmp_path).costs()
    computed, linked = (cost.arm.runs[0].find(1, "train").timing for cost in (first, second))
    computed["seconds"] = 7.0
    linked.update({"seconds": 0.0, "shared_from": "a", "took": 7.0})
    first, second = tabulate(replace(read_study(tmp_path), arms=(first.arm, second.arm))).costs()
    assert first.seconds["train"] == second.seconds["train"] == 7.0
    assert second.own_seconds < 7.0 <= first.own_seconds


def test_unfinished_runs_are_named(study: Path) -> None:
    assert read_study(study).unfinished == [
        "stopped <!--<script> & <b>early, seed 0: 0 of 3 iterations measured; iteration 1: select, train, sample done",
        "stopped <!--<script> & <b>early, seed 1: not started",
    ]


def test_keys_come_space_by_space_in_a_fixed_order(study: Path) -> None:
    first = [SCORE, "generalization_score_ratio/pixels", "spacing_ratio/pixels", "knn_entropy/pixels"]
    assert read_table(study).measures[:4] == first
    mixed = {"recall/pixels", "my_own/pixels", "generalization_score/pixels", "recall/dino"}
    assert in_order(mixed) == ["recall/dino", "generalization_score/pixels", "recall/pixels", "my_own/pixels"]
    assert name_with_space("my_own/pixels") == "My own (pixels)"


def test_the_first_space_of_an_evaluation_is_the_main_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_told, as_measured = made_up_study.told_of_real, made_up_study.metrics

    def in_two(numbers):
        return numbers | {key.replace("/pixels", "/aerial"): value for key, value in numbers.items()}

    def told(seed):
        of = as_told(seed)
        return {**of, "metrics": in_two(of["metrics"]), "spread": {**of["spread"], "feature_space": first}}

    monkeypatch.setattr(made_up_study, "told_of_real", told)
    monkeypatch.setattr(made_up_study, "metrics", lambda *of: in_two(as_measured(*of)))
    for first, second in (("pixels", "aerial"), ("aerial", "pixels")):
        write_study(tmp_path / first, "t", {"replace": {"n_iterations": 1}}, seeds=(0,))
        table = read_table(tmp_path / first)
        assert table.space == first
        assert list(dict.fromkeys(key.partition("/")[2] for key in table.measures)) == [first, second]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_all_numbers_are_a_file(study: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"numbers.{suffix}"
    rows = read_table(study).rows
    assert write_table([study], path) == len(rows)
    found = pyarrow.csv.read_csv(path) if suffix == "csv" else pyarrow.parquet.read_table(path)
    assert found.column_names == rows.column_names and len(found) == len(rows)
    # Empty text and a missing number look alike in a CSV file.
    assert [row["value"] for row in found.to_pylist()] == [row["value"] for row in rows.to_pylist()]
    chosen = [row for row in found.to_pylist() if (row["arm"], row["seed"], row["iteration"]) == ("replace", 1, 2)]
    (score,) = (row["value"] for row in chosen if (row["part"], row["measure"]) == ("metrics", "generalization_score"))
    assert score == metrics(0, 1, 2)[SCORE]


def test_numbers_of_several_studies_say_whose_they_are(study: Path, single_run: Path, tmp_path: Path) -> None:
    n_rows = [len(read_table(folder).rows) for folder in (study, single_run)]
    assert write_table([study, single_run], tmp_path / "both.parquet") == sum(n_rows)
    names = pyarrow.parquet.read_table(tmp_path / "both.parquet")["study"].to_pylist()
    assert names == [str(study)] * n_rows[0] + [str(single_run)] * n_rows[1]


@pytest.mark.parametrize("folders", [0, 1])
def test_a_table_has_a_kind_and_a_study(study: Path, tmp_path: Path, folders: int) -> None:
    with pytest.raises(InputError, match=r"at least one folder, and a file that ends in \.csv or \.parquet, got"):
        write_table([study] * folders, tmp_path / ("x.csv" if not folders else "x.xlsx"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\u2013"),
        (0.0, "0"),
        (1024.0, "1,024"),
        (0.123456, "0.1235"),
        (-31.4159, "\u221231.42"),
        (1.5e-7, "1.500e\u221207"),
    ],
)
def test_numbers_as_text(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.42, "0.42 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_as_text(seconds: float, text: str) -> None:
    assert duration(seconds) == text
