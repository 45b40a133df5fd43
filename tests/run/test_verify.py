"""Verify names all that is damaged; repair cuts before it; the same call then computes what it was."""

from __future__ import annotations

import pytest
from toy_run import missing, other_bytes, other_size, seal, write_run

from entropick.run import LEDGER, find_runs, locked, repair_run, verify, verify_run


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


def edited(path):
    path.write_text(path.read_text().replace('"toy"', '"joy"').replace('"python": "3', '"python": "4'))


@pytest.mark.parametrize("name", ["config.json", "environment.json"])
@pytest.mark.parametrize("hurt", [edited, other_bytes, other_size, missing])
def test_verify_names_a_changed_config_or_environment_and_repair_restores_it(tmp_path, name, hurt):
    write_run(tmp_path)
    before = (tmp_path / name).read_bytes()
    hurt(tmp_path / name)
    found = verify_run(tmp_path)
    assert len(found.damages) == 1 and f"{tmp_path / name} is not what was written" in found.damages[0]
    repair_run(found)
    assert (tmp_path / name).read_bytes() == before and verify_run(tmp_path).damages == ()
    assert write_run(tmp_path) == []


def test_a_changed_config_blames_nobody_and_is_written_anew_by_the_same_command(tmp_path):
    write_run(tmp_path)
    edited(tmp_path / "config.json")
    assert write_run(tmp_path) == [] and verify_run(tmp_path).damages == ()


@pytest.mark.parametrize("kept", [3, 1, 0])
@pytest.mark.parametrize("torn", [0, 40])
def test_verify_names_a_lost_end_of_the_ledger(tmp_path, kept, torn):
    write_run(tmp_path)
    before = seal(tmp_path)
    lines = (tmp_path / LEDGER).read_text().splitlines(keepends=True)
    (tmp_path / LEDGER).write_text("".join(lines[:kept]) + lines[kept][:torn])
    found = verify_run(tmp_path)
    assert len(found.damages) == 1 and "has lost its end" in found.damages[0]
    repair_run(found)
    assert verify_run(tmp_path).damages == ()
    assert len(write_run(tmp_path)) == 4 - kept and seal(tmp_path) == before


def test_verify_names_a_lost_ledger(tmp_path):
    write_run(tmp_path)
    (tmp_path / LEDGER).unlink()
    (found,) = verify(tmp_path)
    assert f"{tmp_path / LEDGER} is missing" in found.damages[0]
    repair_run(found)
    assert write_run(tmp_path) == [0, 1, 2, 3] and verify_run(tmp_path).damages == ()


def test_verify_names_a_changed_time_which_no_line_seals(tmp_path):
    write_run(tmp_path)
    text = (tmp_path / LEDGER).read_text()
    (tmp_path / LEDGER).write_text(text.replace('"seconds":0.', '"seconds":9.', 1))
    found = verify_run(tmp_path)
    assert len(found.damages) == 1 and "time or duration" in found.damages[0]
    repair_run(found)
    assert verify_run(tmp_path).damages == () and write_run(tmp_path) == []


@pytest.mark.parametrize("hurt", [other_bytes, other_size, missing])
def test_verify_names_a_damaged_seal_and_repair_writes_it_anew(tmp_path, hurt):
    write_run(tmp_path)
    hurt(tmp_path / ".seal.json")
    found = verify_run(tmp_path)
    assert len(found.damages) == 1 and ".seal.json" in found.damages[0]
    repair_run(found)
    assert verify_run(tmp_path).damages == () and write_run(tmp_path) == []


def test_a_config_that_is_lost_with_its_seal_is_written_anew_by_the_same_command(tmp_path):
    write_run(tmp_path)
    for name in (".seal.json", "config.json"):
        (tmp_path / name).write_text("{")
    repair_run(verify_run(tmp_path))
    assert write_run(tmp_path) == [] and verify_run(tmp_path).damages == ()


def test_a_line_that_was_cut_as_it_was_written_is_no_loss(tmp_path):
    write_run(tmp_path)
    with (tmp_path / LEDGER).open("a") as file:
        file.write('{"iteration": 4')
    assert verify_run(tmp_path).damages == ()


def test_a_line_that_came_after_the_seal_is_sealed_by_the_same_command(tmp_path):
    write_run(tmp_path, 3)
    earlier = (tmp_path / ".seal.json").read_bytes()
    write_run(tmp_path, 4)
    (tmp_path / ".seal.json").write_bytes(earlier)
    assert verify_run(tmp_path).damages == () and write_run(tmp_path) == []
    lines = (tmp_path / LEDGER).read_text().splitlines(keepends=True)
    (tmp_path / LEDGER).write_text("".join(lines[:3]))
    assert "has lost its end" in verify_run(tmp_path).damages[0]
