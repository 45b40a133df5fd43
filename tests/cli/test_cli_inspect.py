from entropick.run import History

LONG = "arms/accumulate+threshold-decay/seed-0"


def test_status_of_a_study(cli, finished):
    ended = cli("status", finished)
    lines = ended.out.splitlines()
    assert ended.code == 0 and not ended.err and len(lines) == 3
    assert lines[0].split() == ["run", "done", "state", "last", "stage", "at", "(UTC)"]
    assert lines[1].startswith(f"{LONG}  ") and lines[2].startswith("arms/replace/seed-0  ")
    assert all(line.split()[1:5] == ["2/2", "done", "2", "measure"] for line in lines[1:])
    assert max(map(len, lines)) <= 80


def test_status_of_one_run(cli, finished, monkeypatch):
    monkeypatch.chdir(finished / "arms" / "replace" / "seed-0")
    ended = cli("status", ".")
    assert ended.code == 0 and ended.out.splitlines()[1].startswith("seed-0 ")


def test_status_of_an_unfinished_run(cli, finished):
    run = finished / "arms" / "replace" / "seed-0"
    ledger = run / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:4]))
    last = History(run).entries[-1]
    line = cli("status", finished).out.splitlines()[2]
    assert line.split()[1:5] == ["0/2", "stopped", str(last.iteration), last.stage]


def test_status_changes_nothing(cli, finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    cli("status", finished), cli("verify", finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_long_names_are_never_cut(cli, finished):
    name = "x" * 64
    (finished / "arms" / "replace").rename(finished / "arms" / name)
    assert f"arms/{name}/seed-0  " in cli("status", finished).out


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
