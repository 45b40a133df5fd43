"""Text of many rows reads like a list of it, takes bytes a row, and knows what is there twice."""

import numpy as np
import pyarrow as pa
import pytest

from entropick.datasets import texts as module
from entropick.datasets.texts import Texts, as_text, numbered

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_it_reads_like_a_list(kind):
    rows = ["a", "", None, "ü\n", "a" * 300]
    chunks = [as_text(pa.array(rows).cast(kind)), as_text(pa.array(rows).cast(kind)[1:4])]
    found = Texts(chunks)
    expected = rows + rows[1:4]
    assert found == expected and expected == list(found) and found[2:7] == expected[2:7]
    assert [found[row] for row in range(-8, 8)] == expected * 2
    with pytest.raises(IndexError):
        found[8]
    assert found != expected[:-1] and found != [*expected[:-1], "b"] and len(Texts([])) == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, None], ["1", "2", None]),
        ([True, False, True], ["True", "False", "True"]),
        ([1.0, 2.5, 1.0], ["1.0", "2.5", "1.0"]),
    ],
)
def test_text_of_values_is_that_of_python(values, expected):
    assert Texts([as_text(pa.array(values))]) == expected == Texts.coded([pa.array(values)])


def test_it_takes_bytes_a_row():
    names = pa.array([f"{number:012d}.png" for number in range(10_000)])
    assert Texts([as_text(names)]).nbytes <= 10_000 * (16 + 8) + 8
    classes = pa.array(["cat", "dog"] * 5000)
    assert Texts.coded([classes]).nbytes < 10_000 * 4 + 100


def test_what_is_there_twice(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ROWS", 7)
    rows = [str(number) for number in RNG.integers(0, 300, 200)]
    rows[10:13] = [None, "", None]
    rows[50] = ""
    first, expected = {}, []
    for row, text in enumerate(rows):
        if text is not None and first.setdefault(text, row) != row:
            expected.append((first[text], row))
    cut = [as_text(pa.array(rows[:90])), as_text(pa.array(rows)[90:])]
    assert Texts(cut).repeats(1000) == (len(expected), expected)
    assert Texts(cut).repeats(3) == (len(expected), expected[:3])
    assert Texts([as_text(pa.array(["a", "b"]))]).repeats(5) == Texts([]).repeats(5) == (0, [])


def test_equal_marks_are_no_proof(monkeypatch):
    monkeypatch.setattr(module, "_marks", lambda chunk: np.zeros(len(chunk), np.uint64))
    assert Texts([as_text(pa.array(["a", "b"]))]).repeats(5)[1] == []


@pytest.mark.parametrize(
    "make",
    [
        list,
        lambda rows: Texts([as_text(pa.array(rows))]),
        lambda rows: Texts.coded([pa.array(rows[:3]), pa.array(rows[3:])]),
    ],
)
def test_numbers_of_different_ones(make):
    numbers, names = numbered(make(["b", None, "a", "b", "c", None]))
    assert numbers.tolist() == [1, -1, 0, 1, 2, -1] and names == ["a", "b", "c"]
