import json
import shutil

import pytest

from entropick.run import History

LONG = "arms/accumulate+threshold-decay/seed-0"


def test_status_of_a_study_is_a_grid(cli, finished):
    ended = cli("status", finished)
    assert ended.code == 0 and not ended.err
    assert [line.split() for line in ended.out.splitlines()] == [
        ["arm", "seed", "0"],
        ["replace", "2/2", "done"],
        ["accumulate+threshold-decay", "2/2", "done"],
        ["2", "runs:", "2", "done"],
    ]


def test_status_of_a_study_with_sizes(cli, tmp_path, study_file):
    study_file.write_text(study_file.read_text().replace("n_images = 32", "sizes = [16, 32]"))
    sized = study_file.read_text().replace('dataset = "digits"', 'dataset = { kind = "digits", n_reference = 100 }')
    study_file.write_text(sized)
    asked = ("run", study_file, "--out", tmp_path / "sized", "--workers", 1)
    assert cli(*asked, "--arms", "replace", "--iterations", 1).code == 0
    assert (tmp_path / "sized" / "arms" / "replace" / "size-16" / "seed-0" / "ledger.jsonl").exists()
    assert cli(*asked, "--arms", "replace", "--seeds", 0, 1, "--iterations", 1, "--budget", "0.000001s").code == 75
    lines = [line.split() for line in cli("status", tmp_path / "sized").out.splitlines()]
    assert lines[0] == ["arm", "size", "seed", "0", "seed", "1"]
    # The second seed has the data of the first, and stopped before its first selection; the other size never began.
    assert lines[1:3] == [
        ["replace", "16", "1/1", "done", "0/1", "stopped"],
        ["replace", "32", "1/1", "done", "0", "waiting"],
    ]
    assert lines[-1] == ["4", "runs:", "2", "done,", "1", "stopped,", "1", "waiting"]


def test_status_of_the_runs_of_a_study(cli, finished):
    ended = cli("status", finished, "--runs")
    lines = ended.out.splitlines()
    assert ended.code == 0 and not ended.err and len(lines) == 3
    assert lines[0].split() == ["run", "done", "state", "last", "stage", "at", "(UTC)"]
    assert lines[1].startswith(f"{LONG}  ") and lines[2].startswith("arms/replace/seed-0  ")
    assert all(line.split()[1:5] == ["2/2", "done", "2", "measure"] for line in lines[1:])
    assert max(map(len, lines)) <= 80


def test_costs_of_a_study(cli, finished):
    head, *lines = (line.split() for line in cli("status", finished, "--costs").out.splitlines())
    assert head[:4] == ["arm", "runs", "steps", "images"] and head[-1] == "shared"
    # Two iterations of 32 images each, whoever computed them; the first arm computes, the second takes over.
    assert [line[:4] for line in lines] == [
        ["replace", "1", "0", "64"],
        ["accumulate+threshold-decay", "1", "0", "64"],
    ]
    assert (lines[0][-1], lines[1][-1]) == ("0", "5")


def test_status_of_one_run(cli, finished, monkeypatch):
    monkeypatch.chdir(finished / "arms" / "replace" / "seed-0")
    ended = cli("status", ".")
    assert ended.code == 0 and ended.out.splitlines()[1].startswith("seed-0 ")


def test_status_of_an_unfinished_run(cli, finished):
    run = finished / "arms" / "replace" / "seed-0"
    ledger = run / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:4]))
    last = History(run).entries[-1]
    line = cli("status", finished, "--runs").out.splitlines()[2]
    assert line.split()[1:5] == ["0/2", "stopped", str(last.iteration), last.stage]


def test_status_changes_nothing(cli, finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    cli("status", finished), cli("status", finished, "--costs"), cli("verify", finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_long_names_are_never_cut(cli, finished):
    name = "x" * 64
    (finished / "arms" / "replace").rename(finished / "arms" / name)
    assert f"arms/{name}/seed-0  " in cli("status", finished, "--runs").out


def test_verify_of_what_is_well(cli, finished):
    ended = cli("verify", finished)
    assert ended.code == 0 and ended.out.startswith("2 runs, 20 ledger lines, ")
    assert ended.out.endswith(" files: all as written\n") and len(ended.out.splitlines()) == 1


def test_verify_names_a_changed_file_and_repairs(cli, finished, study_file):
    damaged = finished / "arms" / "replace" / "seed-0" / "iteration-002" / "generated.npy"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    ended = cli("verify", finished)
    assert ended.code == 2 and f"{damaged} is damaged: expected {len(content)} bytes" in ended.out
    assert "1 damaged" in ended.out.splitlines()[-1]
    second = damaged.parent.parent / "iteration-001" / "generated.npy"
    second.write_bytes(second.read_bytes()[:-1])
    assert "files: 2 damaged" in cli("verify", finished).out.splitlines()[-1]
    assert cli("verify", finished, "--repair").code == 0
    assert cli("run", study_file, "--out", finished, "--workers", 1).code == 0
    assert cli("verify", finished).code == 0


def test_verify_names_a_missing_file(cli, finished):
    missing = finished / "arms" / "replace" / "seed-0" / "iteration-001" / "selection.parquet"
    missing.unlink()
    ended = cli("verify", finished)
    assert ended.code == 2 and f"{missing} is missing" in ended.out


def test_report_and_figures(cli, finished, tmp_path):
    ended = cli("report", finished, "--figures", tmp_path / "figures", "--format", "svg")
    figures = sorted((tmp_path / "figures").iterdir())
    assert ended.code == 0 and ended.out.startswith(f"page: {finished / 'report.html'}\n")
    assert figures and {figure.suffix for figure in figures} == {".svg"}
    assert f"{len(figures)} figure files in {tmp_path / 'figures'}" in ended.out


def test_a_report_of_several_studies_has_a_folder_of_figures_for_each(cli, finished, tmp_path):
    other = shutil.copytree(finished, tmp_path / "other")
    ended = cli("report", finished, other, "--figures", tmp_path / "figures", "--format", "svg")
    assert ended.code == 0
    assert sorted(folder.name for folder in (tmp_path / "figures").iterdir()) == ["finished", "other"]
    assert (other / "report.html").is_file()


def test_studies_of_equal_names_do_not_overwrite_each_others_pages(cli, finished, tmp_path):
    other = shutil.copytree(finished, tmp_path / "elsewhere" / finished.name)
    flags = ("--out", tmp_path / "pages", "--figures", tmp_path / "figures", "--format", "svg")
    ended = cli("report", finished, other, *flags, "--json")
    names = [finished.name, f"{finished.name}-2"]
    assert json.loads(ended.out)["pages"] == [str(tmp_path / "pages" / name / "report.html") for name in names]
    for place in ("pages", "figures"):
        assert sorted(folder.name for folder in (tmp_path / place).iterdir()) == names


def test_report_has_a_table_of_all_numbers(cli, finished, tmp_path):
    table = tmp_path / "numbers.csv"
    ended = cli("report", finished, "--table", table)
    head, *lines = table.read_text().splitlines()
    assert ended.code == 0 and f"{len(lines):,} rows in {table}" in ended.out
    assert head == '"arm","family","method","size","seed","iteration","part","space","measure","value"'
    assert any(line.startswith('"replace","replace","vanilla",,0,2,"metrics","pixels","recall",') for line in lines)
    told = json.loads(cli("report", finished, finished, "--table", tmp_path / "both.parquet", "--json").out)
    assert told["table"] == str(tmp_path / "both.parquet") and (tmp_path / "both.parquet").is_file()


def test_a_table_of_another_kind_is_refused_before_anything_is_written(cli, finished, tmp_path):
    (finished / "report.html").unlink()
    ended = cli("report", finished, "--table", tmp_path / "numbers.xlsx")
    assert ended.code == 2 and "--table: expected a file that ends in .csv or .parquet, got" in ended.err
    assert not (finished / "report.html").exists()


@pytest.mark.parametrize("damage", ["other numbers", "cut short", "missing"])
def test_verify_names_a_damaged_study_file_and_repairs_it(cli, finished, study_file, damage):
    path = finished / "study.json"
    before = path.read_text()
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(
            before[:100] if damage == "cut short" else before.replace('"n_iterations": 2', '"n_iterations": 3')
        )
    ended = cli("verify", finished)
    assert ended.code == 2 and f"{path} is not what was written" in ended.out and "1 damaged" in ended.out
    assert cli("verify", finished, "--repair").code == 0 and path.read_text() == before
    assert cli("verify", finished).code == 0 and cli("status", finished).code == 0


def test_a_damaged_study_file_is_written_anew_by_the_same_command(cli, finished, study_file):
    (finished / "study.json").write_text("{")
    assert cli("run", study_file, "--out", finished, "--workers", 1).code == 0 and cli("verify", finished).code == 0


def test_verify_counts_the_runs_of_a_study(cli, finished, study_file):
    shutil.rmtree(finished / "arms" / "replace")
    ended = cli("verify", finished)
    assert ended.code == 2 and "arms/replace/seed-0 is missing: the study had begun this run" in ended.out
    assert cli("verify", finished, "--repair").code == 0
    ended = cli("verify", finished)
    assert ended.code == 0 and f"{finished}: not begun: arms/replace/seed-0" in ended.out
    assert cli("run", study_file, "--out", finished, "--workers", 1).code == 0
    assert cli("verify", finished).out.endswith("all as written\n")


def test_verify_counts_iterations_against_the_config(cli, study_file, tmp_path):
    command = ("run", study_file, "--out", tmp_path / "out", "--workers", 1, "--arms", "replace")
    assert cli(*command, "--iterations", 1).code == 0 and cli(*command, "--budget", "0.000001s").code == 75
    ended = cli("verify", tmp_path / "out")
    assert ended.code == 0 and "arms/replace/seed-0: 1 of 2 iterations done" in ended.out


@pytest.mark.parametrize("content", ["{", "", '{"environments": [1, {}]}', '{"environments": 3}'])
def test_a_damaged_record_of_the_environment_stops_nothing_and_is_told(cli, finished, content):
    path = finished / "arms" / "replace" / "seed-0" / "environment.json"
    path.write_text(content)
    assert cli("report", finished).code == 0 and cli("status", finished, "--costs").code == 0
    assert f"{finished.name}/arms/replace/seed-0/environment.json" in (finished / "report.html").read_text()
    ended = cli("verify", finished)
    assert ended.code == 2 and f"{path} is not what was written" in ended.out
