"""What is kept of a finished study: its ledgers, every number, figures and tables."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from entropick import Loop, Study
from entropick.datasets import ArrayFile
from entropick.errors import RunDamaged
from entropick.generators import KDE
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
        patch.setattr(sys, "argv", ["results.py", "--all-figures", str(sized), str(out)])
        results.main()
    return out


def test_two_files_keep_all_that_the_ledgers_say(results, sized, kept, tmp_path, monkeypatch):
    assert {path.name for path in kept.iterdir()} == {
        *("study.json", "ledgers.parquet", "numbers.parquet", "tables.md", "figures")
    }
    assert pq.read_table(kept / "numbers.parquet").equals(read_table(sized).rows)
    monkeypatch.setattr(sys, "argv", ["results.py", "--unpack", str(kept), str(tmp_path / "again")])
    results.main()
    for name in results.KEPT:
        for path in sized.rglob(f"arms/**/{name}"):
            assert (tmp_path / "again" / path.relative_to(sized)).read_bytes() == path.read_bytes()
    again = read_table(tmp_path / "again")
    assert again.rows.num_rows > 1000 and again.rows.equals(read_table(sized).rows)
    assert results.tabled(again) == (kept / "tables.md").read_text()


def test_figures_that_show_images_can_be_left_out(results, kept, sized, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["results.py", "--all-figures", "--without-pictures", str(sized), str(tmp_path / "sized")]
    )
    results.main()
    shown = {path.name for path in (kept / "figures").iterdir() if "data:image" in path.read_text()}
    assert {name.split("-")[0] for name in shown} >= {"evolution", "transition"}
    assert capsys.readouterr().out.startswith("left out: ") and shown
    left = {path.name for path in (tmp_path / "sized" / "figures").iterdir()}
    assert left == {path.name for path in (kept / "figures").iterdir()} - shown


def test_figures_that_no_page_shows_are_left_to_the_ledgers(results, kept, sized, tmp_path, monkeypatch, capsys):
    """Those of images are kept: they do not follow from the ledgers."""
    drawn = {path.name for path in (kept / "figures").iterdir()}
    pictures = {name for name in drawn if "data:image" in (kept / "figures" / name).read_text()}
    monkeypatch.setattr(results, "shown", {"sized": {"plane-size-96.svg"}}.get)
    monkeypatch.setattr(sys, "argv", ["results.py", str(sized), str(tmp_path / "sized")])
    results.main()
    left = {path.name for path in (tmp_path / "sized" / "figures").iterdir()}
    assert left == {"plane-size-96.svg", *pictures} and drawn > left
    assert capsys.readouterr().out.startswith(f"{len(drawn - left)} figures that no page shows")


def test_the_tree_keeps_no_figure_that_can_be_drawn_again(results):
    for figures in (results.ROOT / "results").glob("*/figures"):
        kept, shown = {path.name: path for path in figures.iterdir()}, results.shown(figures.parent.name)
        assert shown <= set(kept), figures
        assert all("data:image" in kept[name].read_text() for name in set(kept) - shown), figures


def test_no_folder_of_this_machine_is_kept(results, sized, tmp_path, monkeypatch):
    study, data = tmp_path / "study", tmp_path / "my" / "data"
    for path in [sized / "study.json", *(path for name in results.KEPT for path in sized.rglob(f"arms/**/{name}"))]:
        copy = study / path.relative_to(sized)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text().replace('"pixels"', f'"{data}/pixels"'))
    monkeypatch.setenv("ENTROPICK_DATA", f"{data}/")
    (tmp_path / "kept").mkdir()
    results.pack(study, tmp_path / "kept")
    results.unpack(tmp_path / "kept", tmp_path / "again")
    texts = [path.read_text() for path in (tmp_path / "again").rglob("*") if path.is_file()]
    assert not any(str(data) in text for text in texts)
    assert any('"${ENTROPICK_DATA}/pixels"' in text for text in texts)


def test_a_folder_that_has_no_name_is_refused(results, sized, tmp_path, monkeypatch):
    study = tmp_path / "study"
    shutil.copytree(sized, study)
    told = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**told, "dataset": {"path": "/my/data/images.npz"}}))
    for name in ("ENTROPICK_DATA", "ENTROPICK_ENCODERS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "kept").mkdir()
    with pytest.raises(SystemExit, match=r"no folder of this machine, got /my/data/images.npz\. Set ENTROPICK_DATA"):
        results.pack(study, tmp_path / "kept")
    monkeypatch.setenv("ENTROPICK_DATA", "/my/data")
    results.pack(study, tmp_path / "kept")
    assert "${ENTROPICK_DATA}/images.npz" in (tmp_path / "kept" / "study.json").read_text()


def test_what_was_kept_can_be_kept_again(results, kept, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["results.py", str(kept), str(tmp_path / "sized")])
    monkeypatch.setattr(results.report, "write_figures", lambda *_, **__: [])
    results.main()
    for name in ("ledgers.parquet", "tables.md"):
        assert (tmp_path / "sized" / name).read_bytes() == (kept / name).read_bytes()


def test_only_what_was_kept_is_unpacked_and_nothing_is_overwritten(results, kept, sized, tmp_path, monkeypatch, capsys):
    for study, out in ((sized, tmp_path / "new"), (kept, tmp_path)):
        monkeypatch.setattr(sys, "argv", ["results.py", "--unpack", str(study), str(out)])
        with pytest.raises(SystemExit):
            results.main()
        assert "expected a folder with ledgers.parquet, and one to make" in capsys.readouterr().err


def test_tables_have_every_arm_at_every_size(sized, kept):
    told, text = read_table(sized).study, (kept / "tables.md").read_text()
    assert text.count("**Last iteration") == len(told.sizes)
    for arm in told.arms:
        assert text.count(f"| {arm.name} |") >= len(told.sizes)
    assert "| replace+greedy | vanilla |" in text and "| replace+greedy | random |" in text
    assert any((kept / "figures").glob("*.svg"))


def test_where_classes_were_counted_they_have_a_table(results, kept, tmp_path):
    labels, rng = np.arange(60) % 3, np.random.default_rng(0)
    images = np.clip(40 + 80 * labels[:, None, None, None] + rng.normal(0, 9, (60, 4, 4, 1)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    dataset = ArrayFile(path=str(tmp_path / "images.npz"), n_images=40)
    Study(name="classes", arms={"replace": Loop(dataset=dataset, generator=KDE(), by_class=True, n_iterations=1)}).run(
        tmp_path / "run"
    )
    text = results.tabled(read_table(tmp_path / "run"))
    assert "| arm | classes trained on | spread in them | classes generated | spread in these |" in text
    assert re.search(r"\| replace \| (2\.9\d|3) \| 1 \| ", text)
    assert "**Classes" not in (kept / "tables.md").read_text()


def test_an_unfinished_study_is_refused(results, study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["results.py", str(study), str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        results.main()
    assert "expected a finished study" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["ledgers.parquet", "study.json"])
def test_what_was_kept_and_is_damaged_is_named(results, kept, tmp_path, name):
    damaged = tmp_path / "damaged"
    shutil.copytree(kept, damaged)
    if name == "study.json":
        (damaged / name).unlink()
    else:
        (damaged / name).write_bytes((damaged / name).read_bytes()[:-100])
    with pytest.raises(RunDamaged, match=r"expected ledgers\.parquet and study\.json as they were kept"):
        results.unpack(damaged, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("study", "out", "said"),
    [
        ("nowhere", "out", "expected a study or run directory"),
        ("study", "study", "expected a folder other than the study's to keep it in"),
        ("study", "study/study.json", "expected a folder other than the study's to keep it in"),
    ],
)
def test_a_mistake_is_told_in_a_line(results, sized, tmp_path, monkeypatch, capsys, study, out, said):
    shutil.copytree(sized, tmp_path / "study")
    monkeypatch.setattr(sys, "argv", ["results.py", str(tmp_path / study), str(tmp_path / out)])
    with pytest.raises(SystemExit):
        results.main()
    assert said in capsys.readouterr().err
    assert not (tmp_path / "study" / "ledgers.parquet").exists()
