import re

import pytest

from entropick.cli.flags import parse_budget
from entropick.run import History


def ledgers(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("ledger.jsonl"))}


def test_a_study_of_ones_own_end_to_end(cli, study_file, tmp_path):
    out = tmp_path / "out"
    ended = cli("run", study_file, "--out", out, "--iterations", 1, "--seeds", 3, "--workers", 1)
    assert ended.code == 0 and not ended.err
    assert ended.out.startswith("study 'tiny': 2 arms x 1 seed x 1 iteration, 1 at a time, in ")
    assert "replace seed 3 iteration 1/1 select" in ended.out
    assert "accumulate+threshold-decay seed 3 iteration 1/1 train: shared with another arm" in ended.out
    # The page's path is the last line, whatever else there is to say.
    assert ended.out.endswith(f"page: {out / 'report.html'}\n") and (out / "report.html").is_file()
    config = History(out / "arms" / "replace" / "seed-3").config
    assert config["seed"] == 3 and config["generator"] == {"kind": "kde", "bandwidth": 4.0}
    assert config["dataset"]["n_images"] == config["n_generated"] == 32


def test_flags_and_set_reach_the_run(cli, study_file, tmp_path):
    arguments = ("--images", 16, "--iterations", 1, "--arms", "replace", "--workers", 1)
    sets = ("--set", "loop.generator.bandwidth=2.5", "--set", 'loop.metrics=["knn_entropy"]')
    assert cli("run", study_file, "--out", tmp_path / "out", *arguments, *sets).code == 0
    (run,) = [path.parent for path in ledgers(tmp_path / "out")]
    config = History(run).config
    assert run.name == "seed-0" and run.parent.name == "replace"
    assert config["generator"]["bandwidth"] == 2.5 and config["metrics"] == ["knn_entropy"]
    assert config["dataset"]["n_images"] == config["n_generated"] == 16
    assert set(History(run).metrics[0]) == {"iteration", "knn_entropy/pixels"}


def test_the_default_directory_is_called_after_the_study(cli, study_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("run", study_file, "--iterations", 1, "--arms", "replace", "--workers", 1).code == 0
    assert list(ledgers(tmp_path / "runs" / "tiny"))


def test_repeating_a_finished_command_computes_nothing(cli, finished, study_file):
    before = ledgers(finished)
    page = (finished / "report.html").stat().st_mtime_ns
    ended = cli("run", study_file, "--out", finished, "--workers", 1)
    assert ended.code == 0 and "is complete already; nothing was computed." in ended.out
    assert not re.search("iteration .*select", ended.out)
    assert ledgers(finished) == before and (finished / "report.html").stat().st_mtime_ns == page


def test_a_finished_study_can_be_extended(cli, finished, study_file):
    before = ledgers(finished)
    assert cli("run", study_file, "--out", finished, "--iterations", 3, "--workers", 1).code == 0
    for path, content in ledgers(finished).items():
        assert content.startswith(before[path]) and len(content) > len(before[path])


def test_a_lost_page_is_written_again(cli, finished, study_file):
    (finished / "report.html").unlink()
    assert cli("run", study_file, "--out", finished, "--workers", 1).code == 0
    assert (finished / "report.html").is_file()


def test_a_page_that_does_not_tell_all_is_written_again(cli, finished, study_file, tmp_path):
    out = tmp_path / "again"
    cli("run", study_file, "--out", out, "--workers", 1, "--arms", "replace")
    ended = cli("run", study_file, "--out", out, "--workers", 1, "--reuse", finished)
    # Nothing was computed, but the second arm has been linked since.
    assert ended.code == 0 and "nothing was computed" in ended.out
    assert "threshold-decay" in (out / "report.html").read_text()


def test_another_title_reaches_the_page_of_a_finished_study(cli, finished, study_file):
    ended = cli("run", study_file, "--out", finished, "--workers", 1, "--set", "title=Of another name")
    assert ended.code == 0 and "nothing was computed" in ended.out
    assert "Of another name</title>" in (finished / "report.html").read_text()


def test_a_spent_budget_has_its_own_exit_code(cli, study_file, tmp_path):
    out = tmp_path / "out"
    stopped = cli("run", study_file, "--out", out, "--budget", "0s", "--workers", 1)
    assert stopped.code == 75 and stopped.err.startswith("entropick: ") and "Traceback" not in stopped.err
    assert cli("run", study_file, "--out", out, "--workers", 1, "--budget", "1h").code == 0


def test_an_interruption_has_its_own_exit_code(cli, study_file, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("entropick.loop.study.Study.run", interrupt)
    ended = cli("run", study_file, "--out", tmp_path / "out")
    assert ended.code == 130 and "repeat the same command to go on" in ended.err


def test_the_table_at_the_end_fits_a_terminal(cli, finished, study_file):
    out = cli("run", study_file, "--out", finished, "--workers", 1).out.splitlines()
    start = next(i for i, line in enumerate(out) if line.startswith("pixels"))
    heading, *rows = out[start : start + 4]
    assert heading.split() == ["pixels", "iter.", "GS", "entropy", "Fréchet", "prec.", "recall", "real"]
    names = [row[: len("accumulate+threshold-decay")].strip() for row in rows]
    assert names == ["real data", "replace", "accumulate+threshold-decay"]
    assert [row.split()[1] for row in rows[1:]] == ["2", "2"]
    assert len({len(line) for line in (heading, *rows)}) == 1 and len(heading) <= 80
    history = History(finished / "arms" / "replace" / "seed-0").metrics[-1]
    assert float(rows[1].split()[2]) == pytest.approx(history["generalization_score/pixels"], rel=1e-2)
    assert float(rows[1].split()[6]) == pytest.approx(history["recall/pixels"], abs=1e-3)
    assert rows[1].split()[-1] == "0.000" and 0 < float(rows[2].split()[-1]) < 1


def test_several_seeds_are_averaged(cli, study_file, tmp_path):
    arguments = ("--arms", "replace", "--iterations", 1, "--seeds", 0, 1, "--workers", 1)
    out = cli("run", study_file, "--out", tmp_path / "out", *arguments).out
    assert "pixels, means over 2 seeds" in out
    (row,) = [line for line in out.splitlines() if line.startswith("replace  ")]
    scores = [History(run.parent).metrics[0]["generalization_score/pixels"] for run in ledgers(tmp_path / "out")]
    assert len(scores) == 2 and float(row.split()[2]) == pytest.approx(sum(scores) / 2, rel=1e-2)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("90", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("1m30s", 90), (" 2m ", 120)],
)
def test_budgets(text, seconds):
    assert parse_budget(text) == seconds


def test_a_run_ends_with_what_was_seen_and_opens_no_browser_without_a_terminal(cli, study_file, tmp_path, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda address: pytest.fail(f"{address} was opened"))
    monkeypatch.setenv("DISPLAY", ":0")
    out = tmp_path / "out"
    ended = cli("run", study_file, "--out", out, "--iterations", 2, "--arms", "replace", "--workers", 1, "--open")
    assert ended.code == 0
    assert re.search(r"\nreplace .*: after 2 iterations its images have .* of the score of fresh images", ended.out)
    assert ended.out.splitlines()[-1] == f"page: {out / 'report.html'}"
