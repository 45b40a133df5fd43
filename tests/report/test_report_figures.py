"""The figures as specifications and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_study import HOSTILE, metrics, write_study

from entropick.errors import InputError, RunError
from entropick.page.drawing import FILE_INK, PAGE_INK
from entropick.report import read_study, write_figures
from entropick.report.figures import Figure, arm_style, study_figures

ENTROPY = "knn_entropy-pixels"


def _figures(folder: Path) -> dict[str, Figure]:
    return {figure.name: figure for figure in study_figures(read_study(folder), legend=False)}


def _values(spec: dict[str, Any], field: str) -> list[dict[str, Any]]:
    return next(rows for rows in spec["datasets"].values() if field in rows[0])


def test_every_metric_has_a_figure_and_arms_that_accumulate_have_their_sources(study: Path) -> None:
    assert list(_figures(study)) == [
        "generalization_score-pixels",
        "knn_entropy-pixels",
        "total_variance-pixels",
        "frechet_distance-pixels",
        "precision-pixels",
        "recall-pixels",
        "duplicate_share-pixels",
        "generalization_score-against-entropy-pixels",
        "source-shares-accumulate-greedy",
    ]


def test_lines_are_means_over_seeds_and_break_where_a_number_is_missing(study: Path) -> None:
    rows = _values(_figures(study)[ENTROPY].spec(PAGE_INK, 300, with_title=False), "seeds")
    by_point = {(row["arm"], row["iteration"]): row["mean"] for row in rows}
    expected = sum(metrics(1, seed, 3)["knn_entropy/pixels"] or 0.0 for seed in (0, 1)) / 2
    assert by_point["accumulate-greedy", 3] == pytest.approx(expected)
    assert by_point["replace", 2] is None


def test_the_page_draws_in_the_colour_of_its_text_and_files_on_white(study: Path) -> None:
    figure = _figures(study)[ENTROPY]
    assert figure.spec(PAGE_INK, "container", with_title=False)["config"]["background"] == "transparent"
    assert figure.spec(FILE_INK, 300, with_title=True)["config"]["background"] == "white"


def test_no_name_becomes_part_of_an_expression(tmp_path: Path) -> None:
    name = "a'); alert(1); ('"
    write_study(tmp_path, HOSTILE, {name: {"n_iterations": 1}}, seeds=(0,))
    for figure in _figures(tmp_path).values():
        spec = figure.spec(PAGE_INK, 300, with_title=False)
        assert name not in json.dumps(_expressions(spec))


def _expressions(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [inner for key, inner in value.items() if key in ("test", "expr", "signal", "calculate", "filter")]
        return [str(text) for text in own] + [text for inner in value.values() for text in _expressions(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _expressions(inner)]
    return []


def test_the_entropy_caption_warns_when_sizes_differ(tmp_path: Path) -> None:
    write_study(tmp_path, "t", {"a": {"n_iterations": 2}}, seeds=(0,))
    record = read_study(tmp_path)
    record.arms[0].runs[0].entries[2, "measure"].values["n_training"] = 192
    figures = {figure.name: figure for figure in study_figures(record, legend=False)}
    assert any("96 to 192 images" in text for text in figures[ENTROPY].caption)
    assert not any("96 to" in text for text in _figures(tmp_path)[ENTROPY].caption)


def test_more_arms_than_colours_differ_in_shape() -> None:
    assert len({arm_style(index) for index in range(40)}) == 40


def test_files_are_what_their_names_say(study: Path, tmp_path: Path) -> None:
    paths = write_figures(study, tmp_path, ("svg", "pdf", "png"))
    assert len(paths) == 9 * 3
    starts = {".svg": b"<svg", ".pdf": b"%PDF-", ".png": b"\x89PNG\r\n\x1a\n"}
    for path in paths:
        content = path.read_bytes()
        assert path.parent == tmp_path and content.startswith(starts[path.suffix]) and len(content) > 4000


def test_equal_ledgers_give_equal_svg(study: Path, tmp_path: Path) -> None:
    first, second = (write_figures(study, tmp_path / name, ("svg",)) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_unknown_formats_are_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected some of svg, pdf, png, got \['gif'\]"):
        write_figures(study, tmp_path, ("gif",))


def test_nothing_measured_is_nothing_to_draw(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"seeds": [0], "arms": {"a": {"n_iterations": 1}}}))
    with pytest.raises(RunError, match="nothing has been measured yet"):
        write_figures(tmp_path, tmp_path / "out")
