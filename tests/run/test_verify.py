"""Verify names all that is damaged; repair cuts before it; the same call then computes what it was."""

from __future__ import annotations

import pytest
from toy_run import missing, other_bytes, other_size, seal, write_run

from entropick.run import LEDGER, find_runs, locked, repair_run, verify_run


def test_a_sound_run_is_said_to_be_sound(tmp_path):
    write_run(tmp_path)
    found = verify_run(tmp_path)
    assert (found.n_entries, found.n_files, found.n_intact, found.damages) == (4, 4, 4, ())


@pytest.mark.parametrize("hurt", [other_bytes, other_size, missing])
def test_damaged_files_are_named_and_computed_anew_after_a_repair(tmp_path, hurt):
    write_run(tmp_path)
    before = seal(tmp_path)
    hurt_paths = [tmp_path / f"iteration-{i:03d}" / "count.npy" for i in (1, 3)]
    for path in hurt_paths:
        hurt(path)
    found = verify_run(tmp_path)
    assert [str(path) in damage for path, damage in zip(hurt_paths, found.damages, strict=True)] == [True, True]
    assert found.n_intact == 1
    repair_run(found)
    assert write_run(tmp_path) == [1, 2, 3]
    assert seal(tmp_path) == before
    assert verify_run(tmp_path).damages == ()


def test_a_damaged_line_is_named_and_computed_anew_after_a_repair(tmp_path):
    write_run(tmp_path)
    before = seal(tmp_path)
    lines = (tmp_path / LEDGER).read_text().splitlines(keepends=True)
    (tmp_path / LEDGER).write_text("".join([*lines[:2], "junk\n", *lines[3:]]))
    found = verify_run(tmp_path)
    assert len(found.damages) == 1
    assert "line 3" in found.damages[0]
    repair_run(found)
    assert write_run(tmp_path) == [2, 3]
    assert seal(tmp_path) == before


def test_a_run_at_work_is_not_repaired(tmp_path):
    write_run(tmp_path)
    missing(tmp_path / "iteration-001" / "count.npy")
    with locked(tmp_path), pytest.raises(Exception, match="in use"):
        repair_run(verify_run(tmp_path))


def test_all_runs_below_a_folder_are_found(tmp_path):
    for name in ("b", "a/deep"):
        write_run(tmp_path / name)
    assert find_runs(tmp_path) == [tmp_path / "a" / "deep", tmp_path / "b"]
    assert find_runs(tmp_path / "b") == [tmp_path / "b"]
