"""Pools that take much of memory: their rows stay in files, and the same ones are chosen."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entropick.arrays import BlockRows, FileRows, rows
from entropick.selection import choice, stages
from entropick.selectors.base import Selector
from entropick.sources import scratch

X = np.random.default_rng(0).standard_normal((300, 20)).astype(np.float16)
X[200:220] = X[:20]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The same rows in one file and in several, as arrays and as tables."""
    monkeypatch.chdir(tmp_path)
    for kind in ("npy", "parquet"):
        (tmp_path / kind).mkdir()
        for number, part in enumerate((X[:90], X[90:91], X[91:])):
            if kind == "npy":
                np.save(f"npy/{number}.npy", part)
            else:
                lists = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), 20)
                names = pa.array([f"{number}-{row}" for row in range(len(part))])
                pq.write_table(pa.table({"id": names, "e": lists}), f"parquet/{number}.parquet")
    np.save("half.npy", X)
    return tmp_path


@pytest.fixture
def little_memory(monkeypatch):
    """Everything is large; the sources that choices got are kept in a list."""
    monkeypatch.setattr(scratch, "LARGE", 0.0)
    seen, init = [], choice.Choice.check

    def check(self):
        seen.append(self.sources)
        init(self)

    monkeypatch.setattr(choice.Choice, "check", check)
    return seen


def chosen(cli, out, *arguments):
    ended = cli("select", *arguments, "--n", "40", "--out", out)
    assert ended.code == 0, ended.err
    told = json.loads((out / "selection.json").read_text())
    return [told[key] for key in ("selection", "control", "duplicates", "sources")], (out / "manifest.csv").read_text()


@pytest.mark.parametrize("pool", ["npy", "parquet", "half.npy"])
@pytest.mark.parametrize("more", ["", "--engine processes:1", "--memory 1G"])
def test_rows_that_stay_in_files(cli, place, pool, more, request):
    expected = chosen(cli, place / "expected", f"pool={pool}")
    seen = request.getfixturevalue("little_memory")
    found = chosen(cli, place / "found", f"pool={pool}", *more.split())
    assert isinstance(seen[0][0].array, FileRows)
    assert found == expected
    assert not (place / "found" / ".rows").exists() and not list((place / "found" / "work").glob("*.rows"))


@pytest.mark.parametrize("engine", ["", "--engine processes:2"])
def test_a_core_set_of_them(cli, place, little_memory, engine):
    """What is certified stands in every place; shares, workers and files change none of the rows."""
    rows = np.repeat(X[:60], 5, axis=0)
    np.save("copies.npy", (rows + np.float16(0.01) * X).astype(np.float16))
    command = ["select", "pool=copies.npy", "--n", "30", "--approximate", "0.5", *engine.split(), "--out", "out"]
    ended = cli(*command)
    assert ended.code == 0, ended.err
    told = json.loads((place / "out" / "selection.json").read_text())
    proof = told["certificate"]
    assert told["config"]["selector"]["kind"] == "approximate-greedy" and proof["core_set"]["eps"] == 0.5
    assert proof["core_set"]["rows"] < 150 and proof["core_set"]["distance"] > 0
    assert told["selection"]["covering_radius"] <= proof["core_set"]["radius_at_most"]
    assert proof["factor"] <= proof["core_set"]["factor_at_most"] < 2.5
    words = f"chosen from {proof['core_set']['rows']} of 300 rows"
    assert words in " ".join(ended.out.split()) and words in (place / "out" / "selection.html").read_text()
    assert "Forecast once they are there: at most" in " ".join(ended.out.split())


@pytest.mark.parametrize("told_by", ["this machine", "the workers"])
def test_workers_that_cannot_hold_their_rows_are_refused_before_anything(
    cli, place, little_memory, told_by, monkeypatch
):
    if told_by == "the workers":
        monkeypatch.setattr(choice, "share_of_memory", lambda workers: 1 << 40)
    failed = cli("select", "pool=npy", "--n", "40", "--out", "out", "--engine", "processes:2", "--memory", "600M")
    assert failed.code == 2 and not (place / "out" / "selection.json").exists()
    assert "worker 0 of 2 needs at least 0.4 GiB for 150 rows of 20 numbers and 40 picks, and has 0.2" in failed.err


def test_a_bad_row_among_them(cli, place, little_memory):
    rows = X.copy()
    rows[7, 3] = np.nan
    np.save("half.npy", rows)
    failed = cli("select", "pool=half.npy", "--n", "40", "--out", "out")
    assert failed.code == 2 and "half.npy: expected finite float16 values, got nan in row 7, column 3" in failed.err
    assert cli("select", "pool=half.npy", "--n", "40", "--out", "out", "--skip-bad").code == 0


@pytest.mark.filterwarnings("ignore::entropick.errors.TrustWarning")
@pytest.mark.parametrize(
    "arguments",
    [
        "pool=npy other=parquet more=half.npy --given other --quota more=0.5",
        "pool=bad.npy other=far.npy --skip-bad --guard other",
        "pool=far.npy other=npy --normalize --method threshold-decay --skip-bad",
        "pool=whole.npy other=small.npy --guard pool --skip-bad --normalize",
    ],
)
def test_what_is_not_all_rows_of_one_source_stays_in_files_too(cli, place, arguments, request):
    rows = X.copy()
    rows[[7, 250], 3] = np.nan
    np.save("bad.npy", rows)
    far = X.astype(np.float64) + 10
    far[5], far[100:103] = 0, 1e4
    np.save("far.npy", far)
    np.save("whole.npy", X.astype(np.float32))
    np.save("small.npy", np.concatenate([X[:30] + 1, np.full((1, 20), np.nan), X[:2] * 1e3]).astype(np.float32))
    expected = chosen(cli, place / "expected", *arguments.split())
    seen = request.getfixturevalue("little_memory")
    rule = "entropick.selectors.base.Selector.fit"
    fit, fitted = Selector.fit, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule, lambda self, X, *more, **named: fitted.append(X) or fit(self, X, *more, **named))
        assert chosen(cli, place / "found", *arguments.split()) == expected
        assert chosen(cli, place / "shared", *arguments.split(), "--engine", "processes:2") == expected
    assert isinstance(fitted[0], BlockRows) and seen
    assert not (place / "shared" / ".rows").exists() and not list((place / "shared").rglob("*.rows"))


def test_a_pool_dealt_otherwise_is_gone_on_with(cli, place, little_memory):
    """Checkpoints know rows, and not how they lie."""
    expected = chosen(cli, place / "expected", "pool=npy")
    stopped = cli("select", "pool=npy", "--n", "40", "--out", "out", "--budget", "0s")
    assert stopped.code == 75
    assert chosen(cli, place / "out", "pool=npy", "--engine", "processes:1") == expected


@pytest.mark.parametrize(
    ("engine", "harmed", "unreached", "harm", "says"),
    [
        ("", "random_control", "find_duplicates", "touch", "stays as it is, but it changed while"),
        ("", "find_duplicates", "_counts", "unlink", "stays where it is, but it was removed while"),
        ("--engine processes:1", "random_control", "find_duplicates", "touch", "stays as it is, but it changed while"),
    ],
)
def test_a_file_that_changes_is_noticed_in_every_phase(cli, place, monkeypatch, engine, harmed, unreached, harm, says):
    """Whoever holds the rows: these are in memory, or in that of workers, and no file is read any more."""
    monkeypatch.setattr(rows, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(rows, "_LOOKED_SHARE", 0.0)
    real = getattr(stages, harmed)

    def harming(*arguments, **named):
        getattr(place / "npy" / "2.npy", harm)()
        return real(*arguments, **named)

    monkeypatch.setattr(stages, harmed, harming)
    monkeypatch.setattr(stages, unreached, None)
    ended = cli("select", "pool=npy", "--n", "40", "--out", "out", *engine.split())
    assert ended.code == 2 and f"npy/2.npy: expected a file that {says}" in ended.err, ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("engine", ["", "--engine processes:1"])
def test_a_file_that_changes_ends_the_choice(cli, place, monkeypatch, engine):
    fit = Selector.fit

    def harming(self, *arguments, **named):
        (place / "npy" / "2.npy").touch()
        return fit(self, *arguments, **named)

    monkeypatch.setattr(Selector, "fit", harming)
    monkeypatch.setattr(stages, "random_control", None)
    monkeypatch.setattr(rows, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(rows, "_LOOKED_SHARE", 0.0)
    ended = cli("select", "pool=npy", "--n", "40", "--out", "out", *engine.split())
    assert ended.code == 2 and "npy/2.npy: expected a file that stays as it is, but it changed" in ended.err, ended.err


def test_no_room_for_them(cli, place, little_memory, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    failed = cli("select", "pool=parquet", "--n", "40", "--out", "out")
    assert failed.code == 2 and "because they do not fit into memory, but: No space left on device" in failed.err
    assert not (place / "out").exists()
