"""Folders that are somebody else's, cannot be written, or lie on file systems that lack something."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from fresh_python import run_python
from tiny import ONE_ARM

from entropick.cli import main
from entropick.errors import RunError
from entropick.run import History, Shared, is_locked, locked
from entropick.run.files import sync_folder, write_json


@pytest.fixture
def command(tmp_path):
    (tmp_path / "tiny.toml").write_text(ONE_ARM)
    return ["run", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "out"), "--workers", "1"]


@pytest.mark.parametrize("name", ["report.html", "selection.json", "score.json", "ledger.jsonl"])
def test_run_refuses_a_folder_with_results_of_something_else(tmp_path, capsys, command, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    assert main(command) == 2 and f"holds {name} of something else" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_a_finished_run_on_a_read_only_disk_is_no_error_and_its_page_goes_elsewhere(
    tmp_path, capsys, command, monkeypatch
):
    assert main(command) == 0
    out = tmp_path / "out"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    # Root may write anywhere, and a read-only mount needs root: os.access says what it would say on one.
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == out and mode & os.W_OK))
    assert main(command) == 0 and "complete already" in capsys.readouterr().out
    assert main(["report", str(out), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "report.html").read_text() == (out / "report.html").read_text()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_a_killed_study_was_writing_is_swept(tmp_path, command):
    assert main(command) == 0
    left = [tmp_path / "out" / name for name in (".study.json.partial", "work/.x.json.partial", "work/k/.y.partial")]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    assert main(command) == 0 and not any(path.exists() for path in left)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EINVAL, errno.ENOTSUP])
def test_without_locks_a_run_is_refused_in_one_line_and_what_may_be_done_twice_goes_on(tmp_path, monkeypatch, number):
    def fails(lock, *args, **named):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", fails)
    with pytest.raises(RunError, match=r"on which files can be locked.*another file system"), locked(tmp_path):
        pass
    assert not is_locked(tmp_path)
    with Shared(tmp_path).held("key"):
        pass


def test_where_flock_does_not_exist_a_lock_that_was_left_there_is_none(tmp_path, monkeypatch):
    """Files of locks, of a killed process or copied from elsewhere: nobody waits for them, for there is nobody."""

    def flock(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)
    (tmp_path / ".lock").touch()
    (tmp_path / ".lock-holder").write_text("1")
    (tmp_path / "key.lock").touch()
    with pytest.raises(RunError, match=r"on which files can be locked, but: Function not impl"), locked(tmp_path):
        pass
    assert not is_locked(tmp_path)
    with Shared(tmp_path).held("key"):
        pass
    with Shared(tmp_path).held("another"):
        pass
    Shared(tmp_path).tidy()


def test_locks_of_a_killed_process_are_free(tmp_path):
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    code = (
        f"from pathlib import Path\nfrom entropick.run import locked\nwith locked(Path({str(tmp_path)!r})):\n    {kill}"
    )
    assert run_python("-c", code, check=False).returncode == -9
    assert (tmp_path / ".lock").exists() and not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPERM, errno.ENOLCK, errno.EROFS])
def test_a_lock_that_only_spares_work_stops_nothing(tmp_path, monkeypatch, number):
    def fails(*args, **named):
        raise OSError(number, os.strerror(number))

    (tmp_path / "x.lock").touch()
    monkeypatch.setattr(FileLock, "acquire", fails)
    monkeypatch.setattr(Path, "unlink", fails)
    with Shared(tmp_path).held("key"):
        pass
    Shared(tmp_path).tidy()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_fsynced_is_no_hindrance(tmp_path, monkeypatch, number):
    def fails(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    write_json(tmp_path / "x.json", {})
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        sync_folder(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.toml").write_text(ONE_ARM)
    assert main(["run", str(folder / "tiny.toml"), "--out", str(folder / "out"), "--workers", "1", "--quiet"]) == 0
    return folder


@pytest.fixture
def copy(finished, tmp_path, monkeypatch):
    """A finished study of one run in the working directory."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return ["run", "tiny.toml", "--out", "out", "--workers", "1", "--quiet"]


def put(path, what):
    """Leave `what` in the place of `path`."""
    path = Path(path)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if what == "a folder":
        path.mkdir()
        (path / "mine").write_text("mine")
    elif what == "a file":
        path.write_text("mine")
    elif what == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"a link to itself": path.name, "a device": os.devnull}[what])


RUN = "out/arms/one/seed-0"
SEALED = ("out/study.json", *(f"{RUN}/{name}" for name in ("config.json", "environment.json", "ledger.jsonl")))
TABLE = f"{RUN}/iteration-001/selection.parquet"


@pytest.mark.parametrize("what", ["a folder", "a pipe", "a device", "a link to itself", "nothing"])
def test_what_lies_in_the_place_of_a_file_is_named_and_moved_aside(copy, capsys, what):
    """A pipe is not waited for either, and what was in a folder is kept."""
    seal = History(RUN).seal
    for names in (SEALED, (TABLE, "out/.seal.json", f"{RUN}/.seal.json")):
        for name in names:
            put(name, what) if what != "nothing" else Path(name).unlink()
        assert main(["verify", "out"]) == 2
        said = capsys.readouterr().out
        assert [name for name in names if name not in said] == []
        assert main(["verify", "out", "--repair", "--quiet"]) == main(copy) == main(["verify", "out", "--quiet"]) == 0
        assert History(RUN).seal == seal
        if what == "a folder":
            assert {Path(f"{name}.damaged/mine").read_text() for name in names} == {"mine"}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("out/.lock", "a folder"),
        ("out/.lock", "a link to itself"),
        (f"{RUN}/.lock", "a folder"),
        ("out/work", "a file"),
        ("out/work", "a link to itself"),
        ("out/report.html", "a folder"),
        ("out/arms", "a file"),
        (RUN, "a file"),
        (f"{RUN}/iteration-001", "a file"),
        (f"{RUN}/iteration-001", "a link to itself"),
    ],
)
def test_what_lies_in_the_place_of_a_folder_or_lock_is_one_line_with_its_path(copy, capsys, name, what):
    if name == "out/work":  # of no use once all is done
        shutil.rmtree(RUN)
    put(name, what)
    code, said = main(copy), capsys.readouterr().err
    assert code == 2 and said.count("entropick: error:") == 1 and name in said and "no space" not in said.lower()


@pytest.mark.parametrize("name", ["out/.lock-holder", "out/.lock"])
def test_a_pipe_that_nothing_is_read_from_is_not_waited_for(copy, name):
    put(name, "a pipe")
    assert main(copy) == 0
