"""Questions that are dealt to workers are answered as in one process, whoever is lost on the way."""

import os
import pickle

import numpy as np
import pytest
from toys import Power, RowSum, unmakeable

from entropick.arrays import FileRows, SomeRows
from entropick.errors import InputError, ProcessLost
from entropick.processes import actors
from entropick.processes.dealing import dealing
from entropick.processes.engine import engine
from entropick.work import Work


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    with dealing(Work(), engine("processes:2"), tmp_path_factory.mktemp("dealing") / "rows") as dealt:
        yield dealt


def answers(work, *recipes, rounds):
    return [[number for number, _ in of] for of in work.deal(Power, recipes, rounds)]


def test_without_an_engine_it_is_the_same_work(tmp_path):
    alone = Work()
    with dealing(alone, None, tmp_path / "rows") as dealt:
        assert dealt is alone and alone.n_workers == 0
    assert answers(alone, (2,), (3,), rounds=[[2, 2], [3]]) == [[4, 8], [9]]


def test_each_question_has_its_recipe_and_computations_follow_each_other(work):
    assert work.n_workers == 2
    assert answers(work, (2,), (3,), rounds=[[2, 2], [3, 1], [5]]) == [[4, 8], [9, 1], [25]]
    [of_one] = work.deal(Power, [(1,)], [[7]])
    [of_two] = work.deal(Power, [(1,), (1,)], [[7, 7]])
    assert [number for number, _ in of_two] == [7, 7]
    assert len({pid for _, pid in [*of_one, *of_two]}) == 2, "workers stay"
    assert os.getpid() not in {pid for _, pid in of_two}
    assert list(work.deal(Power, [], [])) == []


def test_one_that_is_lost_is_made_anew_and_asked_again(work, tmp_path):
    recipes = [(2, tmp_path / "a"), (3, tmp_path / "b")]
    assert answers(work, *recipes, rounds=[[2, 2], [0, 4], [3, 3], [0, 0]]) == [[4, 8], [0, 64], [9, 27], [0, 0]]


def test_one_that_is_lost_whenever_it_is_asked(work, monkeypatch):
    monkeypatch.setattr(actors, "TRIES", 2)
    with pytest.raises(ProcessLost, match="repeat the same command"):
        answers(work, (2,), (3,), rounds=[[2, 2], [0, 4]])
    assert answers(work, (2,), (3,), rounds=[[2, 2]]) == [[4, 8]]


def test_errors_are_those_of_the_workers(work):
    with pytest.raises(InputError, match="number: expected at least 0, got -1"):
        answers(work, (2,), (3,), rounds=[[2, -1]])
    with pytest.raises(InputError, match=r"x.npy: expected a file"):
        list(work.deal(unmakeable, [("x.npy",)], [[1]]))


def test_while_they_rest_this_process_answers_and_then_they_are_started_anew(work):
    [before] = work.deal(Power, [(1,), (1,)], [[1, 1]])
    with work.resting():
        X = np.zeros((2, 1))
        assert work.n_workers == 0 and work.for_workers(X) is X
        assert list(work.deal(Power, [(2,)], [[3]])) == [[(9, os.getpid())]]
    [after] = work.deal(Power, [(1,), (1,)], [[1, 1]])
    assert not {pid for _, pid in before} & {pid for _, pid in after} and os.getpid() not in dict(after).values()


def test_rows_are_written_once_and_gone_with_their_array(tmp_path):
    X = np.random.default_rng(0).random((50, 3), np.float32)
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "left by a killed command").touch()
    with dealing(Work(), engine("processes:2"), tmp_path / "rows") as dealt:
        assert not (tmp_path / "rows").exists()
        lying = FileRows([np.load(tmp_path / "X.npy", mmap_mode="r")])
        some = SomeRows(lying, np.array([4, 7, 9]))
        assert dealt.for_workers(lying) is lying and dealt.for_workers(some) is some
        np.testing.assert_array_equal(dealt.for_workers(np.load(tmp_path / "X.npy", mmap_mode="r")[10:])[:], X[10:])
        assert not (tmp_path / "rows").exists()
        mine = X.copy()
        rows = dealt.for_workers(mine)
        assert dealt.for_workers(mine) is rows and len(list((tmp_path / "rows").iterdir())) == 1
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows))[:], X)
        [(whole, of_some)] = dealt.deal(RowSum, [(rows,), (some,)], [[slice(0, 2), slice(1, 3)]])
        np.testing.assert_array_equal(whole, X[:2].sum(axis=1))
        np.testing.assert_array_equal(of_some, X[[7, 9]].sum(axis=1))
        del mine
        assert list((tmp_path / "rows").iterdir()) == []
        dealt.for_workers(X)
    assert not (tmp_path / "rows").exists()
