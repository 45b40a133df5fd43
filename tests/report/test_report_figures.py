"""The figures as specifications and as files."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from made_up_study import HOSTILE, metrics, write_study

import entropick.report.figure
from entropick.component import Registry
from entropick.errors import InputError, RunError
from entropick.page.document import FILE_INK, PAGE_INK
from entropick.report import StudyRecord, read_study, write_figures, write_page
from entropick.report.figure import Figure, Look, draw, style_at
from entropick.report.table import Table, tabulate

ENTROPY = "knn_entropy-pixels"


def _figures(folder: Path) -> dict[str, Figure]:
    return _drawn(read_study(folder))


def _drawn(study: StudyRecord, *, for_file: bool = False) -> dict[str, Figure]:
    return {figure.name: figure for figure in draw(tabulate(study), Look(study, for_file=for_file))}


def _values(spec: dict[str, Any], field: str) -> list[dict[str, Any]]:
    return next(rows for rows in map(json.loads, _data(spec)) if field in rows[0])


def _data(value: Any) -> list[str]:
    """All data of a specification, wherever it stands in it."""
    if isinstance(value, dict):
        own = [value["values"]] if isinstance(value.get("values"), str) else []
        own += [text for text in value.get("datasets", {}).values() if isinstance(text, str)]
        return own + [text for inner in value.values() for text in _data(inner)]
    return [text for inner in value for text in _data(inner)] if isinstance(value, list) else []


def _spec(figure: Figure, ink: str = PAGE_INK) -> dict[str, Any]:
    return figure.panel_spec(figure.panels[0], ink)


def test_every_metric_has_a_figure_and_arms_that_accumulate_have_their_sources(study: Path) -> None:
    assert list(_figures(study)) == [
        "plane",
        "generalization_score-pixels",
        "generalization_score_ratio-pixels",
        "spacing_ratio-pixels",
        "knn_entropy-pixels",
        "duplicate_share-pixels",
        "total_variance-pixels",
        "variance_ratio_real-pixels",
        "frechet_distance-pixels",
        "precision-pixels",
        "recall-pixels",
        "real-shares",
        "source-shares",
        "generalization_score-against-knn_entropy-pixels",
        "generalization_score-against-total_variance-pixels",
    ]


def test_files_have_the_images_too(study: Path) -> None:
    of_images = set(_drawn(read_study(study), for_file=True)) - set(_figures(study))
    assert of_images == {
        f"{kind}-{arm}" for kind in ("evolution", "transition") for arm in ("replace", "accumulate-greedy")
    } | {"spread"}


def test_many_arms_fall_into_panels_with_a_colour_per_method(sized: Path) -> None:
    figures = _figures(sized)
    score = figures["generalization_score-pixels-size-96"]
    assert [panel.title for panel in score.panels] == ["replace", "accumulate", "fresh"]
    labels = [{row["label"] for row in _values(score.panel_spec(panel, PAGE_INK), "seeds")} for panel in score.panels]
    assert labels == [{"vanilla", "random", "greedy", "threshold-decay"}] * 3
    domains = [
        score.panel_spec(panel, PAGE_INK)["layer"][-1]["encoding"]["y"]["scale"]["domain"] for panel in score.panels
    ]
    assert domains[0] == domains[1] == domains[2]


def test_sizes_are_lines_of_a_figure_and_colours_of_the_scatter(sized: Path) -> None:
    figures = _figures(sized)
    by_size = figures["generalization_score-pixels-by-size"]
    assert len(by_size.panels) == 12
    assert {row["size"] for row in _values(_spec(by_size), "seeds")} == {"64", "96"}
    scatter = figures["generalization_score-against-knn_entropy-pixels"]
    assert len(_values(_spec(scatter), "other")) == 12 * 2 * 2 * 5 - 2 * 2
    assert _spec(scatter)["encoding"]["color"]["field"] == "size"
    assert any(text.startswith("Within a size: ") for text in scatter.caption)


def test_arms_that_differ_in_one_number_are_an_ablation(tmp_path: Path) -> None:
    arms = {
        f"tau-{tau}": {"selector": {"kind": "threshold-decay", "threshold": tau}, "n_iterations": 2}
        for tau in (8, 2, 4)
    }
    write_study(tmp_path, "t", {**arms, "other": {"selector": {"kind": "random"}, "n_iterations": 2}}, seeds=(0, 1))
    figure = _figures(tmp_path)["ablation-selector.threshold"]
    rows = _values(_spec(figure), "value")
    assert [row["value"] for row in rows] == [2, 4, 8]
    by_arm = {row["arm"]: row["mean"] for row in rows}
    expected = sum(metrics(0, seed, 2)["generalization_score/pixels"] or 0.0 for seed in (0, 1)) / 2
    assert by_arm["tau-8"] == pytest.approx(expected)


def test_an_ablation_is_of_the_last_iteration_that_all_of_its_arms_have(tmp_path: Path) -> None:
    """Arms may also go on for longer than others."""
    arms = {
        f"tau-{tau}": {"selector": {"kind": "threshold-decay", "threshold": tau}, "n_iterations": n}
        for tau, n in ((2, 3), (4, 4), (8, 4))
    }
    write_study(tmp_path, "t", arms, seeds=(0,), stop={"tau-8": 3})
    figures = _figures(tmp_path)
    assert [name for name in figures if name.startswith("ablation")] == ["ablation-selector.threshold"]
    by_arm = {row["arm"]: row["mean"] for row in _values(_spec(figures["ablation-selector.threshold"]), "value")}
    expected = {f"tau-{tau}": metrics(arm, 0, 2)["generalization_score/pixels"] for arm, tau in enumerate((2, 4, 8))}
    assert by_arm == pytest.approx(expected)


def test_a_falling_novelty_has_its_early_warning(sized: Path) -> None:
    figure = _figures(sized)["generalization_score_ratio-pixels-size-96"]
    # Arm 1 falls by 0.86 per iteration to the copying level of 0.3: at ln(0.3) / ln(0.86) = 7.98.
    told = {row[0]: row[-1] for row in figure.cells[1:]}
    assert told["replace+random"].startswith("as near as copies from about iteration 7.98 on")
    assert told["replace+random"].endswith("what lowers it: crowding")
    assert told["replace"].startswith("the copying level was reached at iteration 3")
    assert any(text.startswith("Dotted: the early warning") for text in figure.caption)


def test_a_file_with_early_warnings_keeps_its_legend(tmp_path: Path) -> None:
    arms = {name: {"paradigm": {"kind": "replace"}, "n_iterations": 5} for name in ("replace", "replace+random")}
    write_study(tmp_path, "t", arms, seeds=(0, 1))
    figure = _drawn(read_study(tmp_path), for_file=True)["generalization_score_ratio-pixels"]
    assert any(text.startswith("Dotted: the early warning") for text in figure.caption)
    colors = [layer["encoding"].get("color", {}) for layer in figure.file_spec(FILE_INK)["layer"]]
    # A layer that declines the legend takes it from all.
    legends = [color.get("legend") for color in colors if color.get("field") == "label"]
    assert len(legends) > 3 and all(legends)
    # Nor does a warning that reaches beyond the axis run into the legend.
    marks = [layer["mark"] for layer in figure.file_spec(FILE_INK)["layer"]]
    drawn = [mark for mark in marks if mark.get("strokeDash") == [2, 4] or mark.get("strokeCap") == "round"]
    assert len(drawn) == 2 and all(mark["clip"] for mark in drawn)


def test_a_file_with_real_data_of_its_own_for_each_arm_keeps_its_legend(tmp_path: Path, monkeypatch) -> None:
    # As where each arm has a split of its own: none of them speaks for all.
    monkeypatch.setattr(Table, "real", lambda self, key: None)
    arms = {name: {"paradigm": {"kind": "replace"}, "n_iterations": 3} for name in ("replace", "replace+random")}
    write_study(tmp_path, "t", arms, seeds=(0, 1))
    layers = _drawn(read_study(tmp_path), for_file=True)["generalization_score-pixels"].file_spec(FILE_INK)["layer"]
    colors = [layer["encoding"].get("color", {}) for layer in layers]
    assert [layer["mark"]["type"] for layer, color in zip(layers, colors, strict=True) if color].count("rule") == 1
    assert all(color.get("legend") for color in colors if color.get("field") == "label")


def test_lines_are_means_over_seeds_and_break_where_a_number_is_missing(study: Path) -> None:
    rows = _values(_spec(_figures(study)[ENTROPY]), "seeds")
    by_point = {(row["arm"], row["iteration"]): row["mean"] for row in rows}
    expected = sum(metrics(1, seed, 3)["knn_entropy/pixels"] or 0.0 for seed in (0, 1)) / 2
    assert by_point["accumulate-greedy", 3] == pytest.approx(expected)
    assert by_point["replace", 2] is None


def test_every_specification_is_valid_vega_lite(study: Path, sized: Path) -> None:
    for folder in (study, sized):
        for figure in _drawn(read_study(folder), for_file=True).values():
            for panel in figure.panels[:1]:
                panel.chart.to_dict(validate=True)


def test_the_page_draws_in_the_colour_of_its_text_and_files_on_white(study: Path) -> None:
    figure = _figures(study)[ENTROPY]
    assert _spec(figure)["config"]["background"] == "transparent"
    assert figure.file_spec(FILE_INK)["config"]["background"] == "white"


def test_no_name_becomes_part_of_an_expression(tmp_path: Path) -> None:
    name = "a'); alert(1); ('"
    write_study(tmp_path, HOSTILE, {name: {"n_iterations": 1}}, seeds=(0,))
    for figure in _figures(tmp_path).values():
        for panel in figure.panels:
            assert name not in json.dumps(_expressions(figure.panel_spec(panel, PAGE_INK)))


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
    record.arms[0].runs[0].find(2, "measure").values["n_training"] = 192
    assert any("96 to 192 images" in text for text in _drawn(record)[ENTROPY].caption)
    assert not any("96 to" in text for text in _figures(tmp_path)[ENTROPY].caption)


def test_more_arms_than_colours_differ_in_shape() -> None:
    assert len({style_at(index) for index in range(40)}) == 40


def test_files_are_what_their_names_say(study: Path, tmp_path: Path) -> None:
    paths = write_figures(study, tmp_path, ("svg", "pdf", "png"))
    assert len(paths) == (15 + 5) * 3
    starts = {".svg": b"<svg", ".pdf": b"%PDF-", ".png": b"\x89PNG\r\n\x1a\n"}
    for path in paths:
        content = path.read_bytes()
        assert path.parent == tmp_path and content.startswith(starts[path.suffix]) and len(content) > 4000


def test_equal_ledgers_give_equal_svg(study: Path, tmp_path: Path) -> None:
    first, second = (write_figures(study, tmp_path / name, ("svg",)) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_installed_packages_add_figures(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = (entropick.report.figure.__doc__ or "").partition("::\n")[2].partition("\nThe package's own")[0]
    lost = 'def lost(table, look):\n    return [Figure("lost", "Lost", (), (), section="nowhere")]\n'
    start = "from __future__ import annotations\nimport altair as alt\nfrom entropick.report.figure import *\n"
    code = start + textwrap.dedent(example) + lost
    install_figures(tmp_path, monkeypatch, code, {"last-recalls": "extra_figures:last_recalls"})
    found = list(_figures(study).values())
    assert [figure.name for figure in found[-2:]] == [
        "generalization_score-against-total_variance-pixels",
        "last-recalls",
    ]
    rows = _values(_spec(found[-1]), "recall")
    assert [(row["arm"], row["recall"]) for row in rows] == [
        (name, metrics(index, 0, 3)["recall/pixels"]) for index, name in enumerate(("replace", "accumulate-greedy"))
    ]
    assert "Recall at the end" in write_page(study, tmp_path / "page.html").read_text()
    assert tmp_path / "last-recalls.svg" in write_figures(study, tmp_path, ("svg",))
    install_figures(tmp_path, monkeypatch, code, {"lost": "extra_figures:lost"})
    with pytest.raises(InputError, match="figure 'lost' of 'lost': expected a section of measures, relations"):
        _figures(study)


OF_OTHERS = """
import altair as alt
from entropick.report.figure import Figure, Panel
def drawn(name, caption=(), x=1.0):
    chart = alt.Chart(alt.InlineData(values=[{"x": x}])).mark_bar().encode(x="x:Q")
    return Figure(name, "t", caption, (Panel("", chart),))
def raises(table, look): raise KeyError("x")
def nothing(table, look): return None
def single(table, look): return drawn("one")
def other(table, look): return [7]
def nan(table, look): yield drawn("one", x=float("nan"))
def outside(table, look): yield drawn("../one")
def text(table, look): yield drawn("one", "a caption")
def twice(table, look): yield from (drawn("one"), drawn("One"))
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("raises", r"expected figures, but it failed \(KeyError\('x'\)\)"),
        ("nothing", "expected figures, but it failed .*'NoneType' object is not iterable"),
        ("single", "expected figures, but it failed .*'Figure' object is not iterable"),
        ("other", "expected figures, got 7"),
        ("nan", "expected figures, but it failed .*not JSON compliant"),
        ("outside", r"expected names of letters, digits and . _ - as those of files, got '../one'"),
        ("text", "expected a caption in a tuple, got 'a caption'"),
    ],
)
def test_a_figure_of_others_that_is_none_is_named(
    study: Path, tmp_path: Path, others, name: str, expected: str
) -> None:
    others(name)
    with pytest.raises(InputError, match=f"figure '{name}': {expected}.*Mend its function"):
        write_figures(study, tmp_path / "figures", ("svg",))


def test_figures_of_one_name_have_a_file_each(study: Path, tmp_path: Path, others) -> None:
    others("twice")
    assert [path.name for path in write_figures(study, tmp_path / "figures", ("svg",))] == ["one.svg", "One-2.svg"]


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Has the page draw one figure function of another package, and no others."""
    figures = entropick.report.figure
    monkeypatch.setattr(figures, "FIGURES", Registry("entropick.figures", {}))
    monkeypatch.delitem(sys.modules, "extra_figures", raising=False)
    yield lambda name: install_figures(tmp_path, monkeypatch, OF_OTHERS, {name: f"extra_figures:{name}"})
    sys.modules.pop("extra_figures", None)


def install_figures(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, names: dict[str, str]) -> None:
    """A package with figure functions, as `importlib.metadata` sees it."""
    (folder / "extra_figures.py").write_text(code)
    told = folder / "extra_figures-1.dist-info"
    told.mkdir(exist_ok=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: extra-figures\nVersion: 1\n")
    lines = "\n".join(f"{name} = {target}" for name, target in names.items())
    (told / "entry_points.txt").write_text(f"[entropick.figures]\n{lines}\n")
    monkeypatch.syspath_prepend(str(folder))


def test_unknown_formats_are_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected some of svg, pdf, png, got \['gif'\]"):
        write_figures(study, tmp_path, ("gif",))


def test_nothing_measured_is_nothing_to_draw(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"seeds": [0], "arms": {"a": {"n_iterations": 1}}}))
    with pytest.raises(RunError, match="nothing has been measured yet"):
        write_figures(tmp_path, tmp_path / "out")


def test_arms_of_like_names_have_figures_of_their_own(tmp_path: Path) -> None:
    names = ("x+y", "x-y", "x y", "X-Y")
    write_study(tmp_path, "t", {name: {"n_iterations": 1} for name in names}, seeds=(0,))
    study = read_study(tmp_path)
    files = [figure.name for figure in draw(tabulate(study), Look(study, for_file=True))]
    for kind in ("evolution", "transition"):
        assert [name for name in files if name.startswith(kind)] == [
            f"{kind}-x-y",
            f"{kind}-x-y-2",
            f"{kind}-x-y-3",
            f"{kind}-X-Y-4",
        ]
    assert len(set(files)) == len(files)
