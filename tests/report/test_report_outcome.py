"""What came of a study: contraction and copying told apart, noise called noise, no praise beyond real data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import made_up_study
import pytest
from made_up_study import selection, write_study

from entropick.report import read_table, write_page
from entropick.report.figure import Look
from entropick.report.findings import findings
from entropick.report.intervals import comparisons
from entropick.report.outcome import level, outcome, state
from entropick.report.plane import plane
from entropick.report.table import Table

SPACED, KEPT, NOVELTY = "spacing_ratio/pixels", "variance_ratio_real/pixels", "generalization_score_ratio/pixels"
Told = Mapping[str, float]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """What makes the table of a study whose arms end, in iteration 3, with these numbers."""

    def make(arms: Mapping[str, Told], seeds: tuple[int, ...] = (0,)) -> Table:
        ends, as_made = list(arms.values()), made_up_study.metrics

        def measured(arm: int, seed: float, n: int) -> dict[str, float | None]:
            return as_made(0, 0, n) | {"knn_entropy/pixels": 40.0} | (ends[arm] if n == 3 else {})

        monkeypatch.setattr(made_up_study, "metrics", measured)
        write_study(tmp_path, "t", {name: {"n_iterations": 3} for name in arms}, seeds=seeds)
        return read_table(tmp_path)

    return make


ASTRAY = {NOVELTY: 1.0, "precision/pixels": 0.0, "coverage/pixels": 0.002}
STAYS = "stays about as wide and as new as real data"


@pytest.mark.parametrize(
    ("numbers", "fate"),
    [
        ({KEPT: 0.3, SPACED: 0.95}, "contracts to 30 % of the real variance, without copying"),
        ({KEPT: 0.95, SPACED: 0.2}, "copies"),
        ({KEPT: 0.95, SPACED: 0.5}, "draws near to copies"),
        ({KEPT: 0.3, SPACED: 0.2}, "contracts to 30 % of the real variance and copies"),
        ({KEPT: 0.9, SPACED: 0.9, NOVELTY: 0.8}, STAYS),
        ({KEPT: 0.9, SPACED: 0.9, NOVELTY: 0.24}, "keeps its width and 0.24 of the novelty of fresh images"),
        ({NOVELTY: 2.4, "precision/pixels": 0.0, KEPT: 2.0, SPACED: 3.0}, "ends in noise"),
        ({NOVELTY: 2.4, "precision/pixels": 0.9, KEPT: 0.9, SPACED: 0.9}, STAYS),
        ({KEPT: 1.6, SPACED: 1.1}, "spreads to 160 % of the real variance, without copying"),
        ({KEPT: 1.6, SPACED: 1.1} | ASTRAY, "spreads to 160 % of the real variance and makes images unlike real ones"),
        ({KEPT: 0.9, SPACED: 0.9} | ASTRAY, "makes images unlike real ones"),
        ({KEPT: 0.9, SPACED: 0.2} | ASTRAY, "copies, and makes images unlike real ones"),
    ],
)
def test_an_arm_has_a_fate_which_is_the_title(told, tmp_path: Path, numbers: Told, fate: str) -> None:
    table = told({"replace": numbers})
    assert level(table) == pytest.approx(0.3 * 1.01)
    assert state(table, table.study.arms[0], 3).fate == fate
    came = outcome(table)
    assert came is not None and came.title == f"replace {fate}" and came.rescued is None
    assert f"<title>replace {fate} · t</title>" in write_page(tmp_path).read_text()


def test_near_copies_are_told_beside_those_of_fresh_images(told, monkeypatch: pytest.MonkeyPatch) -> None:
    as_made, fresh = made_up_study.baseline, {"near_copy_rate/pixels": 0.009}
    monkeypatch.setattr(made_up_study, "baseline", lambda seed: as_made(seed) | fresh)
    came = outcome(told({"replace": {KEPT: 0.9, SPACED: 0.9, "near_copy_rate/pixels": 0.859}}))
    assert came is not None
    assert came.sentences[0].endswith("; 86 % are near copies by the distances of real images (fresh ones: 0.9 %).")


@pytest.mark.parametrize(
    ("near", "fate"),
    [(0.5, "makes mostly near copies"), (0.4, "draws near to copies"), (0.018, "keeps its width and 0.")],
)
def test_a_wide_spacing_alone_makes_no_copies(near, fate, told, monkeypatch: pytest.MonkeyPatch) -> None:
    as_made, fresh = made_up_study.baseline, {"near_copy_rate/pixels": 0.009}
    monkeypatch.setattr(made_up_study, "baseline", lambda seed: as_made(seed) | fresh)
    arm = {KEPT: 0.9, SPACED: 0.7, "near_copy_rate/pixels": near}
    table = told({"replace+greedy": arm})
    assert state(table, table.study.arms[0], 3).fate.startswith(fate)
    (figure,) = plane(table, Look(table.study))
    assert any("chosen for distance is spaced wide" in text for text in figure.caption)


@pytest.mark.parametrize(
    ("near", "kept", "fate"),
    [
        (0.9, 0.9, "makes mostly near copies"),
        (0.4, 0.9, "copies in part"),
        (0.001, 0.9, "stays about as wide and as new as real data"),
        # Images of a set that shrinks are near to each other by that alone.
        (0.9, 0.3, "contracts to 30 % of the real variance, without copying"),
    ],
)
def test_near_copies_of_a_set_that_has_closed_up_are_copies(near, kept, fate, told) -> None:
    table = told({"replace": {KEPT: kept, SPACED: 1.0, NOVELTY: 0.9, "near_copy_rate/pixels": near}})
    assert state(table, table.study.arms[0], 3).fate == fate


def test_arms_are_compared_at_the_last_iteration_that_both_have(monkeypatch, tmp_path: Path) -> None:
    as_made = made_up_study.metrics

    def measured(arm: int, seed: float, n: int) -> dict[str, float | None]:
        ends = [{KEPT: 0.3, NOVELTY: 0.5}, {KEPT: 0.9, NOVELTY: 0.9}][arm]
        return as_made(0, 0, n) | ends | {SPACED: 0.95, "frechet_distance/pixels": [2.0 * n, 5.0][arm]}

    monkeypatch.setattr(made_up_study, "metrics", measured)
    arms = {name: {"n_iterations": 3} for name in ("replace", "replace+greedy")}
    write_study(tmp_path, "t", arms, seeds=(0,), stop={"replace+greedy": 3})
    came = outcome(read_table(tmp_path))
    assert came is not None and came.rescued is not None
    # In the third iteration, which greedy has not reached, the other has 6.
    assert came.sentences[-1].startswith("The price: replace+greedy is worse in Fréchet distance (5, replace 4, ")
    assert came.sentences[-1].endswith(", at iteration 2).")
    # And how far it is stands beside what it keeps.
    assert came.title.endswith("; replace+greedy stays about as wide and as new as real data after 2 iterations")


@pytest.fixture
def behind(monkeypatch, tmp_path: Path) -> Table:
    """Two arms that go the same way, the second of which is still at its first iterations."""
    as_made = made_up_study.metrics

    def measured(arm: int, seed: float, n: int) -> dict[str, float | None]:
        return as_made(0, 0, n) | {KEPT: 1 - 0.1 * n, SPACED: 0.95, NOVELTY: 1 - 0.08 * n}

    monkeypatch.setattr(made_up_study, "metrics", measured)
    monkeypatch.setattr(made_up_study, "selection", lambda arm, n: selection(1, n) | {"n_garbage": 6 * (n - 1)})
    arms = {name: {"n_iterations": 8} for name in ("accumulate", "accumulate+greedy")}
    write_study(tmp_path, "t", arms, seeds=(0,), stop={"accumulate+greedy": 3})
    return read_table(tmp_path)


def test_an_arm_that_is_behind_rescues_nothing_by_that(behind: Table) -> None:
    came = outcome(behind)
    assert came is not None and came.rescued is None
    assert came.title == "accumulate contracts to 20 % of the real variance, without copying"
    assert "no selection keeps the images clearly nearer" in came.sentences[-1]


def test_shares_are_told_of_the_arms_that_have_come_farthest(behind: Table) -> None:
    """Training sets of early iterations are more real and have less garbage."""
    text = " ".join(findings(behind))
    assert "Most real images are kept by accumulate: 47.5 % of its training set at iteration 8" in text
    assert re.search(r"garbage in the training set of the last iteration[^:]*: accumulate 43\.8 %\.", text)


def test_seeds_that_are_behind_make_no_trend(monkeypatch, tmp_path: Path) -> None:
    """Neither seed falls; the mean does where the better one ends."""
    as_made = made_up_study.metrics

    def measured(arm: int, seed: float, n: int) -> dict[str, float | None]:
        return as_made(0, 0, n) | {NOVELTY: (0.35 + 0.55 * seed) * (1 + 0.01 * (n % 2))}

    monkeypatch.setattr(made_up_study, "metrics", measured)
    write_study(tmp_path, "t", {"replace": {"n_iterations": 8}}, seeds=(0, 1))
    ledger = tmp_path / "arms" / "replace" / "seed-1" / "ledger.jsonl"
    kept = [line for line in ledger.read_text().splitlines(True) if json.loads(line)["iteration"] <= 4]
    ledger.write_text("".join(kept))
    text = " ".join(findings(read_table(tmp_path)))
    assert "No early warning: replace: the score does not fall significantly" in text


def test_noise_is_called_noise_and_its_score_is_not_praised(told) -> None:
    table = told({"replace": {NOVELTY: 2.4, "precision/pixels": 0.0, "generalization_score/pixels": 5.0}})
    assert any("its images are noise at the end, so no rise of a score is good" in text for text in findings(table))


def test_a_selector_that_took_its_whole_pool_is_told(monkeypatch, tmp_path: Path) -> None:
    as_made = made_up_study.selection
    monkeypatch.setattr(made_up_study, "selection", lambda arm, n: as_made(arm, n) | {"n_pool": 96 if arm else 96 * n})
    selector = {"kind": "greedy"}
    arms = {name: {"n_iterations": 3, "selector": selector} for name in ("replace+random", "replace+greedy")}
    write_study(tmp_path, "t", arms, seeds=(0,))
    (told,) = [text for text in findings(read_table(tmp_path)) if "took its whole pool" in text]
    assert told.startswith("replace+greedy: the selector took its whole pool in every iteration")


def test_what_reads_the_same_has_neither_risen_nor_fallen(told) -> None:
    before = made_up_study.metrics(0, 0, 1)["generalization_score/pixels"] or 0.0
    text = " ".join(findings(told({"replace": {"generalization_score/pixels": before * (1 - 1e-6)}})))
    assert f"generalization score stayed at {before:.3g}" in text and f"fell from {before:.3g} to" not in text


def test_the_outcome_has_the_collapse_the_rescue_and_its_price(told) -> None:
    collapsed = {KEPT: 0.3, SPACED: 0.95, NOVELTY: 0.5, "precision/pixels": 0.9, "frechet_distance/pixels": 3.0}
    rescued = {KEPT: 0.7, SPACED: 0.95, NOVELTY: 0.9, "precision/pixels": 0.6, "frechet_distance/pixels": 2.0}
    table = told({"replace": collapsed, "replace+random": collapsed, "replace+greedy": rescued})
    came = outcome(table)
    assert came is not None and came.rescued is not None
    assert (came.collapsed.name, came.rescued.name) == ("replace", "replace+greedy")
    contracts = "replace contracts to 30 % of the real variance, without copying"
    assert came.title == f"{contracts}; replace+greedy keeps 70 %"
    assert len(came.sentences) == 3 and came.sentences[0].startswith(f"{contracts}: after 3 iterations")
    price = "The price: replace+greedy is worse in precision (0.600, replace 0.900, real data 0.930)."
    assert came.sentences[2] == price
    text = " ".join(findings(table))
    assert "ahead in" in text and "behind in precision (one seed, so no interval)" in text


def test_no_selection_that_helps_is_said(told) -> None:
    same = {KEPT: 0.3, SPACED: 0.95, NOVELTY: 0.5}
    together = "In variance, spacing and novelty together no selection keeps the images clearly nearer to the real data"
    came = outcome(told({"replace": same, "replace+greedy": same}))
    assert came is not None and came.rescued is None
    assert came.sentences[-1] == f"{together}: not replace+greedy."


def test_what_is_better_without_a_rescue_is_said(told) -> None:
    same = {KEPT: 0.3, SPACED: 0.95, NOVELTY: 0.5}
    came = outcome(told({"replace": same | {"recall/pixels": 0.1}, "replace+greedy": same | {"recall/pixels": 0.4}}))
    assert came is not None and came.rescued is None
    assert came.sentences[-1].endswith(
        "not replace+greedy. replace+greedy is better in recall (0.400, replace 0.100, real data 0.910)."
    )


def test_precision_above_that_of_real_data_is_explained_and_not_praised(told, tmp_path: Path) -> None:
    table = told({"replace": {"precision/pixels": 0.9}, "replace+greedy": {"precision/pixels": 0.99}}, seeds=(0, 1))
    (found,) = comparisons(table)
    places = [place for place in range(len(found.differences)) if found.is_beyond(place)]
    (difference,) = (found.differences[place] for place in places)
    assert difference is not None and difference.estimate == pytest.approx(0.09)
    assert found.verdicts[places[0]] == 0
    assert any(text.startswith("Precision above that of real data (0.930) is no merit") for text in findings(table))
    assert "beyond real data" in write_page(tmp_path).read_text()


def test_the_plane_has_a_path_per_arm_from_the_real_data_on(study: Path) -> None:
    table = read_table(study)
    (figure,) = plane(table, Look(table.study))
    assert figure.is_large
    assert [row[0] for row in figure.cells[1:]] == ["replace"] * 2 + ["accumulate-greedy"] * 2
    assert figure.cells[0] == ("arm", "", "iteration 0", "iteration 1", "iteration 2", "iteration 3")
    assert figure.cells[1][2:4] == ("0.990", "0.488") and figure.cells[2][2] == "1.01"
    layers = figure.panel_spec(figure.panels[0], "black")["layer"]
    channels = [layer["encoding"][axis] for layer in layers for axis in "xy" if axis in layer["encoding"]]
    scales = [channel["scale"] for channel in channels if "scale" in channel]
    assert scales and all(scale["reverse"] and scale["domain"][0] == 0 for scale in scales)


def test_each_feature_space_that_has_one_has_its_plane(monkeypatch, tmp_path: Path) -> None:
    def also_in_others(made):
        def measured(*place) -> dict[str, float | None]:
            found = made(*place)
            here = {f"{name}/encoder": found.get(f"{name}/pixels") for name in ("spacing_ratio", "variance_ratio_real")}
            return found | here | {"precision/classifier": 0.9}

        return measured

    for name in ("metrics", "baseline"):
        monkeypatch.setattr(made_up_study, name, also_in_others(getattr(made_up_study, name)))
    write_study(tmp_path, "t", {"replace": {"n_iterations": 2}}, seeds=(0,))
    table = read_table(tmp_path)
    first, second = plane(table, Look(table.study))
    assert (first.name, second.name) == ("plane", "plane-encoder")
    assert second.title == "Contraction and copying (encoder)" and second.cells[1:] == first.cells[1:]


def test_a_plane_that_cannot_be_drawn_says_why(study: Path) -> None:
    table = read_table(study)
    rows = table.rows.filter([name != "spacing_ratio" for name in table.rows["measure"].to_pylist()])
    (figure,) = plane(Table(table.study, rows), Look(table.study))
    assert figure.panels == () and "does not measure what it is made of" in figure.caption[0]


def test_entropy_stands_beside_the_logarithm_of_the_variance(sized: Path) -> None:
    table = read_table(sized)
    text = " ".join(findings(table))
    assert re.search(
        r"goes with entropy r = [^,]*, [^,]*, with log variance r = [^,]*, [^,]*, with variance r = ", text
    )


def test_a_missing_early_warning_is_explained(study: Path) -> None:
    text = " ".join(findings(read_table(study)))
    assert "No early warning: replace: the copying level was reached at iteration 3" in text
    assert "accumulate-greedy: 3 iterations measured; a warning needs at least 4" in text


def test_an_arm_without_any_of_the_numbers_is_told_without_them(tmp_path: Path, monkeypatch) -> None:
    """As with metrics = ["precision", "recall"]."""
    two = {"precision/pixels": 0.9, "recall/pixels": 0.8}
    monkeypatch.setattr(made_up_study, "metrics", lambda *of: dict(two))
    monkeypatch.setattr(made_up_study, "baseline", lambda *of: dict(two))
    write_study(tmp_path, "t", {"replace": {"n_iterations": 3}}, seeds=(0,))
    came = outcome(read_table(tmp_path))
    assert came is not None
    assert came.sentences[0] == (
        "replace has no score beside fresh images; whether it contracts or copies, its ledgers do not tell."
    )
