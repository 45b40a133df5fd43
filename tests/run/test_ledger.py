"""The ledger: every line seals all lines before it; a torn tail is no damage, everything else is."""

from __future__ import annotations

import hashlib
import json

import pytest
from toy_run import seal, write_run

from entropick.errors import RunDamaged
from entropick.run import LEDGER, Entry, Ledger


@pytest.fixture
def path(tmp_path):
    write_run(tmp_path)
    return tmp_path / LEDGER


def lines_of(path):
    return path.read_text().splitlines(keepends=True)


def edited(line, **changes):
    return json.dumps({**json.loads(line), **changes}) + "\n"


def test_every_line_carries_the_hash_of_the_seal_before_and_of_all_but_timing(path):
    previous = ""
    for line in lines_of(path):
        fields = json.loads(line)
        body = {name: fields[name] for name in ("iteration", "stage", "key", "files", "values")}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        assert fields["check"] == hashlib.sha256((previous + text).encode()).hexdigest()[:16]
        assert fields["timing"]
        previous = fields["check"]
    assert previous == Ledger(path.parent).seal


def test_the_timing_is_not_sealed(path):
    before = seal(path.parent)
    path.write_text("".join(edited(line, timing={"seconds": 1e9}) for line in lines_of(path)))
    assert seal(path.parent) == before


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_last_line_is_dropped_and_replaced(path, cut):
    whole, before = path.read_bytes(), seal(path.parent)
    path.write_bytes(whole[:-cut])
    assert len(Ledger(path.parent)) == 3
    assert write_run(path.parent) == [3]
    assert seal(path.parent) == before
    assert len(lines_of(path)) == 4


def test_a_torn_line_longer_than_its_successor_leaves_no_tail(path):
    kept = "".join(lines_of(path)[:3])
    path.write_text(kept + '{"iteration": 3, "values": "' + "x" * 10_000)
    write_run(path.parent)
    assert [json.loads(line)["iteration"] for line in lines_of(path)] == [0, 1, 2, 3]


DAMAGES = {
    "not JSON": (2, lambda lines: [lines[0], lines[1][:40] + "\n", *lines[2:]]),
    "not text": (2, lambda lines: [lines[0], "\udcff\udcfe\n", *lines[2:]]),
    "not an object": (2, lambda lines: [lines[0], "[]\n", *lines[2:]]),
    "another field": (3, lambda lines: [*lines[:2], edited(lines[2], surprise=1), *lines[3:]]),
    "empty": (4, lambda lines: [*lines[:3], "\n", lines[3]]),
    "edited value": (2, lambda lines: [lines[0], edited(lines[1], values={"count": 7}), *lines[2:]]),
    "edited hash of a file": (3, lambda lines: [*lines[:2], lines[2].replace('"sha256":"', '"sha256":"f'), *lines[3:]]),
    "edited iteration": (4, lambda lines: [*lines[:3], edited(lines[3], iteration=8)]),
    "first deleted": (1, lambda lines: lines[1:]),
    "middle deleted": (2, lambda lines: [lines[0], *lines[2:]]),
    "reordered": (2, lambda lines: [lines[0], lines[2], lines[1], lines[3]]),
    "repeated": (3, lambda lines: [*lines[:2], lines[1], *lines[2:]]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_with_the_number_of_its_line_and_what_to_do(path, damage):
    number, hurt = DAMAGES[damage]
    path.write_bytes("".join(hurt(lines_of(path))).encode(errors="surrogateescape"))
    with pytest.raises(RunDamaged, match=rf"{LEDGER}: line {number} is damaged.*--repair.*{number - 1} lines before"):
        Ledger(path.parent)


def test_a_refused_ledger_is_left_as_it_is(path):
    path.write_text("".join(lines_of(path)[1:]))
    before = path.read_bytes()
    with pytest.raises(RunDamaged):
        write_run(path.parent)
    assert path.read_bytes() == before


def test_two_results_give_two_seals(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        Ledger(tmp_path / name).append(Entry(0, "count", "key", values={"count": value}))
    assert seal(tmp_path / "a") != seal(tmp_path / "b")


def test_a_number_that_is_not_finite_never_gets_into_the_ledger(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        Ledger(path.parent).append(Entry(4, "count", "key", values={"count": float("nan")}))
    assert path.read_bytes() == before


def test_what_append_returns_is_what_will_be_read(path, tmp_path):
    appended = Ledger(tmp_path).append(Entry(9, "tell", "key", values={"b": (1, 2), "a": {"d": 1, "c": 2}}))
    read = list(Ledger(tmp_path))[-1]
    assert appended == read and repr(appended) == repr(read)
