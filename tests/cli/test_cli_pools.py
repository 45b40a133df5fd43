"""Pools in shards: ids and paths in what is written, and all that can be wrong with them in a line that says where."""

from __future__ import annotations

import builtins
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entropick.processes import ray_actors

N, D = 40, 5
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
CUTS = [13, 20]
NAMES = [f"part-{number}" for number in (9, 10, 11)]


def shard(name, rows, **columns):
    pq.write_table(pa.table({"e": list(rows), **columns}), f"pool/{name}.parquet")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Three shards of tables with ids and paths, the same as arrays, and an earlier choice."""
    monkeypatch.chdir(tmp_path)
    Path("pool").mkdir()
    Path("arrays").mkdir()
    for name, part in zip(NAMES, np.split(X, CUTS), strict=True):
        ids = [f"{name}/{row}" for row in range(len(part))]
        shard(name, part, id=ids, path=[f"img/{of}.jpg" for of in ids], number=range(len(part)))
        np.save(f"arrays/{name}.npy", part)
    return tmp_path


def lines(name):
    return Path(name).read_text().splitlines()


def test_ids_and_paths_are_in_all_that_is_written(cli):
    assert cli("select", "pool=pool", "--n", "9", "--out", "out").code == 0
    assert cli("select", "pool=arrays/*.npy", "--n", "9", "--out", "plain").code == 0
    head, *rows = (line.split(",") for line in lines("out/manifest.csv"))
    named = [dict(zip(head, row, strict=True)) for row in rows]
    for of in named:
        number, row = of["path"].rpartition("/")[2].split("#")
        assert of["id"] == f"{number.removesuffix('.parquet')}/{row}" and of["name"] == f"img/{of['id']}.jpg"
        assert np.searchsorted(CUTS, int(of["row"]), side="right") == NAMES.index(number.removesuffix(".parquet"))
    assert lines("out/ids.txt") == [of["name"] for of in named]
    assert pq.read_table("out/manifest.parquet").column("id").to_pylist() == [of["id"] for of in named]
    assert [line.split(",")[3] for line in lines("plain/manifest.csv")[1:]] == [of["row"] for of in named]
    assert not Path("plain/ids.txt").exists()


@pytest.mark.parametrize(
    ("pool", "base"),
    [
        ("pool", "pool"),
        ("pool/*.parquet", "pool"),
        ("**/part-10.parquet", ""),
        ("pool/*-10.parquet", "pool"),
        ("one", "one"),
        ("packed", "packed"),
        ("arrays/part-9.npy", "arrays"),
    ],
)
def test_a_row_is_found_by_its_place(cli, place, pool, base):
    """By the file that it lies in, whether a folder or pattern has one of them or many."""
    Path("one").mkdir()
    Path("packed").mkdir()
    shutil.copy("arrays/part-9.npy", "one")
    np.savez("packed/a.npz", images=np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8))
    assert cli("select", f"pool={pool}", "--n", "5", "--out", "out").code == 0
    for of in pq.read_table("out/manifest.parquet").to_pylist():
        file = Path(of["base"], of["file_name"])
        assert file.is_file() and of["base"] == str(place / base)
        if pool == "arrays/part-9.npy":
            assert of["path"] == str(file)
        else:
            assert of["path"].rpartition("#")[0] == str(file)
            assert pool in ("pool", "pool/*.parquet") or of["path"].endswith(f"#{of['row']}")


def test_a_folder_that_is_called_like_a_pattern_of_others(cli, place):
    Path("po*").mkdir()
    assert cli("select", "pool=po*/part-9.parquet", "--n", "5", "--out", "out").code == 0
    assert pq.read_table("out/manifest.parquet").column("base").to_pylist() == [str(place)] * 5


def test_what_lies_beside_shards_is_told_for_what_it_is(cli):
    Path("pool/readme.txt").write_text("x")
    Path("pool/gone.txt").symlink_to("nowhere")
    Path("arrays/below").mkdir()
    told = cli("select", "pool=pool", "--n", "5", "--out", "out")
    assert told.code == 0 and "pool: passed over 2 of another kind (.txt)." in told.out + told.err
    told = cli("select", "pool=arrays/*", "--n", "5", "--out", "other")
    assert told.code == 0 and "pool: passed over 1 folder." in told.out + told.err


def test_whole_numbers_are_ids(cli):
    for name, part in zip(NAMES, np.split(np.arange(N) + 10**12, CUTS), strict=True):
        shard(name, X[: len(part)], id=part)
    assert cli("select", "pool=pool", "--n", "3", "--out", "out", "--skip-bad").code == 0
    assert all(len(line) == 13 for line in lines("out/ids.txt"))


def another_width():
    shard(NAMES[1], X[:5, :3], id=list("abcde"), path=list("vwxyz"))
    return "pool=pool", "pool/part-10.parquet: expected lists of length 5 in column 'e', as in part-9.parquet, got 3."


def another_width_of_an_array():
    np.save("arrays/part-10.npy", X[:5, :3])
    return (
        "pool=arrays",
        "arrays/part-10.npy: expected rows as in part-9.npy, which has shape (13, 5), got shape (5, 3)",
    )


def other_columns():
    shard(NAMES[1], X[:5], id=list("abcde"))
    return "pool=pool", "pool/part-10.parquet: expected columns as in part-9.parquet (e, path, id), got e, id."


def no_rows():
    shard(NAMES[2], X[:0], id=[], path=[])
    return "pool=pool", "pool/part-11.parquet: expected"


def no_rows_in_an_array():
    np.save("arrays/part-11.npy", X[:0])
    return "pool=arrays", "arrays/part-11.npy: expected rows as in part-9.npy"


def a_gap():
    part = X[:5].copy()
    part[3, 2] = np.nan
    shard(NAMES[1], part, id=list("abcde"), path=list("vwxyz"))
    return "pool=pool", "pool/part-10.parquet#3: expected finite float32 values, got nan in row 16, column 2"


def no_parquet():
    Path("pool/part-10.parquet").write_bytes(b"not a table")
    return "pool=pool", "pool/part-10.parquet: expected a parquet file, but it cannot be read"


def torn():
    content = Path("pool/part-10.parquet").read_bytes()
    Path("pool/part-10.parquet").write_bytes(content[: len(content) // 2])
    return "pool=pool/*.parquet", "pool/part-10.parquet: expected a parquet file, but it cannot be read"


def damaged_within():
    content = bytearray(Path("pool/part-10.parquet").read_bytes())
    content[4:200] = bytes(196)
    Path("pool/part-10.parquet").write_bytes(content)
    return "pool=pool", "pool/part-10.parquet: expected a parquet file, but it cannot be read"


def none_of_them():
    pool = "pool/shard-*.parquet"
    return f"pool={pool}", f"{pool}: expected files of one kind, for instance .parquet, got none: no file matches."


def a_link_to_nothing():
    Path("pool/zz.parquet").symlink_to("gone.parquet")
    Path("pool/zzz.parquet").symlink_to("zzz.parquet")
    return "pool=pool", (
        "pool/zz.parquet: expected a file, but it is a link to 'gone.parquet', which is not there. Restore that, or "
        "remove the link (1 more are no files either)."
    )


def a_link_to_nothing_that_matches():
    pool, says = a_link_to_nothing()
    return f"{pool}/*.parquet", says


def a_shard_that_is_a_folder():
    Path("pool/zz.parquet").mkdir()
    return "pool=pool/*.parquet", "pool/zz.parquet: expected a file, but it is a folder. Give its files"


def a_shard_that_is_a_pipe():
    os.mkfifo("pool/zz.parquet")
    return "pool=pool", "pool/zz.parquet: expected a file, but it is no regular one. Leave it out."


def a_shard_in_capitals():
    Path("pool/part-10.parquet").rename("pool/part-10.PARQUET")
    return "pool=pool", "pool: expected files of one kind, for instance .parquet, got .PARQUET, .parquet."


def only_links_to_nothing():
    Path("links").mkdir()
    Path("links/a.npy").symlink_to("gone.npy")
    return "pool=links", "links/a.npy: expected a file, but it is a link to 'gone.npy', which is not there."


def only_folders_that_match():
    says = "po*: expected files of one kind, for instance .parquet, got none: no file matches, only 1 folder."
    return "pool=po*", says


def an_id_twice_in_a_shard():
    shard(NAMES[1], X[:3], id=["a", "b", "a"], path=list("xyz"))
    return "pool=pool", "pool/part-10.parquet#2: expected another id than 'a', which pool/part-10.parquet#0 has"


def an_id_twice_in_two_shards():
    shard(NAMES[2], X[:3], id=["a", "part-9/4", "b"], path=list("xyz"))
    return "pool=pool", "pool/part-11.parquet#1: expected another id than 'part-9/4', which pool/part-9.parquet#4 has"


def an_engine_that_does_not_answer():
    return (
        "pool=pool --engine ray:127.0.0.1:9",
        "engine: expected a Ray cluster at 127.0.0.1:9, but nothing answers there",
    )


def an_address_that_is_none():
    return "pool=pool --engine ray:not-an-address", "not-an-address. Start one with 'ray start --head'"


def ray_that_is_not_there():
    return "pool=pool --engine ray", "engine: expected the package ray, which is not installed. In a checkout"


def shared_memory_that_is_small():
    return "pool=pool --engine ray", "engine: expected 256 MiB free in /dev/shm, where Ray passes messages, got 63"


@pytest.mark.parametrize(
    "bad",
    [
        *(
            another_width,
            another_width_of_an_array,
            no_rows,
            no_rows_in_an_array,
            a_gap,
            no_parquet,
            torn,
            damaged_within,
        ),
        *(
            other_columns,
            none_of_them,
            a_link_to_nothing,
            a_link_to_nothing_that_matches,
            only_links_to_nothing,
            a_shard_that_is_a_folder,
            a_shard_that_is_a_pipe,
            a_shard_in_capitals,
            only_folders_that_match,
            an_id_twice_in_a_shard,
            an_id_twice_in_two_shards,
            an_engine_that_does_not_answer,
            an_address_that_is_none,
        ),
        *(ray_that_is_not_there, shared_memory_that_is_small),
    ],
    ids=lambda bad: bad.__name__,
)
def test_what_is_wrong_is_said_with_its_place(cli, monkeypatch, bad):
    if bad is ray_that_is_not_there:
        found = builtins.__import__
        monkeypatch.setattr(
            builtins,
            "__import__",
            lambda name, *more: (_ for _ in ()).throw(ImportError) if name == "ray" else found(name, *more),
        )
    elif bad in (an_engine_that_does_not_answer, an_address_that_is_none, shared_memory_that_is_small):
        pytest.importorskip("ray")
    monkeypatch.setattr(ray_actors.shutil, "disk_usage", lambda path: namedtuple("U", "free")(63 << 20))
    arguments, says = bad()
    ended = cli("select", *arguments.split(), "--n", "9", "--out", "out")
    assert ended.code == 2 and says in " ".join(ended.err.replace("\n", " ").split()), ended.err
    assert ended.err.startswith("entropick: error: ") and "Traceback" not in ended.err
    assert not Path("out/selection.json").exists()


def test_rows_that_repeat_an_id_are_left_out_when_asked_to(cli):
    an_id_twice_in_two_shards()
    ended = cli("select", "pool=pool", "--n", "20", "--out", "out", "--skip-bad")
    assert ended.code == 0 and lines("out/ids.txt").count("part-9/4") <= 1
    assert "expected another id than 'part-9/4'" in Path("out/selection.json").read_text()


def test_a_column_that_is_no_id(cli):
    Path("pool/part-11.parquet").unlink()
    shard("part-10", np.repeat(X, 60, axis=0), id=["clip"] * 2400, path=["x"] * 2400)
    ended = cli("select", "pool=pool", "--n", "9", "--out", "out")
    told = (
        "pool: expected in each row a value of its own in column 'id', but 2,399 of 2,413 have that of an earlier row;"
    )
    assert ended.code == 2 and told in " ".join(ended.err.split()) and ended.err.count("\n") < 8
    assert "'clip' is in pool/part-10.parquet#0 and pool/part-10.parquet#1, for instance" in " ".join(ended.err.split())


def test_paths_that_rows_share_are_counted(cli):
    for name, part in zip(NAMES, np.split(X, CUTS), strict=True):
        shard(name, part, path=[f"{row // 2}.png" for row in range(len(part))])
    ended = cli("select", "pool=pool", "--n", "9", "--out", "out")
    said = (
        "pool: 30 rows have the path of an earlier one; '0.png' is in pool/part-9.parquet#0 and pool/part-9.parquet#1"
    )
    assert ended.code == 0 and said in " ".join((ended.out + ended.err).split())


def test_two_commands_in_one_folder_leave_each_other_their_files(cli, monkeypatch):
    from entropick.sources import scratch

    with scratch.spilled_into(Path("out/.rows")):
        held = scratch.scratch_file(".rows")
        held.write_bytes(b"rows of the first")
        Path("out/.rows/of-a-killed-one").mkdir()
        assert cli("select", "pool=pool", "--n", "9", "--out", "out").code == 0
        assert held.exists() and not Path("out/.rows/of-a-killed-one").exists()
    assert not Path("out/.rows").exists()
    shutil.rmtree("out")


def test_of_very_many_bad_rows_some_are_named(cli):
    bad = np.repeat(X, 10, axis=0)
    bad[:250] = np.nan
    np.save("arrays/part-10.npy", bad)
    ended = cli("select", "pool=arrays", "--n", "9", "--out", "out")
    assert ended.code == 2 and "250 rows cannot be used." in ended.err and "… and 150 more" in ended.err
    assert ended.err.count("expected finite float32 values") == 100
