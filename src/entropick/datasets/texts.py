"""Text of many rows: names, ids and classes, in bytes a row instead of an object of Python each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from operator import eq
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

# Rows that are looked at together.
_BLOCK_ROWS = 65_536
# An odd number without a pattern in its bits.
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Texts(Sequence[str | None]):
    """Text of many rows, held as Arrow holds it: its bytes and 8 more for each, or where few differ 4 for each.

    Parameters
    ----------
    chunks
        Arrays of Arrow of large strings, or of dictionaries of them, one after another.

    Examples
    --------
    >>> import pyarrow as pa
    >>> texts = Texts([as_text(pa.array(["a", "b"])), as_text(pa.array([1, None]))])
    >>> len(texts), texts[2], texts[-1], list(texts)
    (4, '1', None, ['a', 'b', '1', None])
    """

    def __init__(self, chunks: Sequence[Any]) -> None:
        self._chunks = list(chunks)
        self._ends = np.cumsum([len(of) for of in self._chunks])

    @classmethod
    def coded(cls, arrays: Sequence[Any], named: Sequence[Sequence[str] | None] = ()) -> Self:
        """The same for a column of classes, of which few differ, with the names of those in each array; see
        `class_text`."""
        import pyarrow as pa

        chunks = []
        for array, names in zip(arrays, named or [None] * len(arrays), strict=True):
            of = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
            texts = pa.array([class_text(value, names) for value in of.dictionary.to_pylist()], pa.large_string())
            chunks.append(pa.DictionaryArray.from_arrays(of.indices.cast(pa.int32()), texts))
        return cls(chunks)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, row: int) -> str | None: ...
    @overload
    def __getitem__(self, row: slice) -> list[str | None]: ...
    def __getitem__(self, row: int | slice) -> str | list[str | None] | None:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        number = row + len(self) if row < 0 else row
        if not 0 <= number < len(self):
            raise IndexError(row)
        chunk = int(np.searchsorted(self._ends, number, side="right"))
        found: str | None = self._chunks[chunk][number - (int(self._ends[chunk - 1]) if chunk else 0)].as_py()
        return found

    def __iter__(self) -> Iterator[str | None]:
        for chunk in self._chunks:
            for start in range(0, len(chunk), _BLOCK_ROWS):
                yield from chunk[start : start + _BLOCK_ROWS].to_pylist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return sum(chunk.nbytes for chunk in self._chunks)

    def numbered(self) -> tuple[NDArray[np.int64], list[str]]:
        """See the function of this name."""
        import pyarrow as pa

        chunks = [of if pa.types.is_dictionary(of.type) else of.dictionary_encode() for of in self._chunks]
        known = [of.dictionary.to_pylist() for of in chunks]
        names = sorted({name for of in known for name in of if name is not None})
        numbers, found = {name: number for number, name in enumerate(names)}, [np.empty(0, np.int64)]
        for chunk, of in zip(chunks, known, strict=True):
            # The last one stands for none.
            in_all = np.array([*(-1 if name is None else numbers[name] for name in of), -1], np.int64)
            found.append(in_all[chunk.indices.fill_null(len(of)).to_numpy()])
        return np.concatenate(found), names

    def repeats(self, most: int) -> tuple[int, list[tuple[int, int]]]:
        """How many rows have a text that an earlier row has, and the first so many of them, each after the first row
        that has it. Rows without text are none of them. Beside the text this takes some 24 bytes a row.
        """
        if not len(self):
            return 0, []
        valid = np.flatnonzero(np.concatenate([np.asarray(of.is_valid()) for of in self._chunks]))
        marks = np.concatenate([_marks(chunk) for chunk in self._chunks])[valid]
        order = np.argsort(marks, kind="stable")
        is_like = marks[order][1:] == marks[order][:-1]
        later = valid[np.sort(order[1:][is_like])][:most]
        first = dict[str, int]()
        # Texts that only have equal marks are no repeats.
        places = np.searchsorted(marks[order], marks[np.searchsorted(valid, later)])
        pairs = []
        for row, place in zip(later.tolist(), places.tolist(), strict=True):
            text = self[row]
            known = first.setdefault(str(text), int(valid[order[place]]))
            if self[known] == text:
                pairs.append((known, row))
        return int(np.count_nonzero(is_like)), pairs


def numbered(texts: Sequence[str | None]) -> tuple[NDArray[np.int64], list[str]]:
    """The number of each text among all different ones, -1 where there is none, and these, sorted.

    Examples
    --------
    >>> numbers, names = numbered(["b", "a", "b"])
    >>> numbers.tolist(), names
    ([1, 0, 1], ['a', 'b'])
    """
    if isinstance(texts, Texts):
        return texts.numbered()
    names = sorted({text for text in texts if text is not None})
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([-1 if text is None else numbers[text] for text in texts], np.int64), names


def text_hash(texts: Sequence[str | None]) -> str:
    """sha256 (hexadecimal) of texts in their order, of which some may be missing.

    Examples
    --------
    >>> text_hash(["ab", None]) == text_hash(["a", "b"]), text_hash(["ab", None]) == text_hash(("ab", None))
    (False, True)
    """
    hashed = hashlib.sha256()
    for text in texts:
        content = b"" if text is None else text.encode("utf-8", "surrogateescape")
        # Its length first, so that no two rows can be read as one.
        hashed.update((-1 if text is None else len(content)).to_bytes(8, "little", signed=True) + content)
    return hashed.hexdigest()


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, or what pandas has for it, which is not even comparable.

    Examples
    --------
    >>> is_missing(None), is_missing(float("nan")), is_missing("nan")
    (True, True, False)
    """
    return value is None or (str(value) in ("<NA>", "NaT") and not isinstance(value, str)) or bool(value != value)


def class_text(value: Any, names: Sequence[str] | None) -> str | None:
    """A class as text, None for none: -1 stands for that where classes have names."""
    if is_missing(value):
        return None
    if names is None or not isinstance(value, int):
        return str(value)
    if value < 0:
        return None
    return names[value] if value < len(names) else str(value)


def as_text(array: Any) -> Any:
    """An array of Arrow as one of large strings, the text that Python has for each value."""
    import pyarrow as pa

    plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    kind = plain.type
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return plain.cast(pa.large_string())
    return pa.array([None if value is None else str(value) for value in plain.to_pylist()], pa.large_string())


def _marks(chunk: Any) -> NDArray[np.uint64]:
    """A number of 64 bits of each text, equal for equal ones: its bytes as the digits of a number, cut off."""
    import pyarrow as pa

    whole = chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk
    marks = np.zeros(len(whole), np.uint64)
    for start in range(0, len(whole), _BLOCK_ROWS):
        part = whole[start : start + _BLOCK_ROWS].fill_null("")
        _, offsets, content = part.buffers()
        ends = np.frombuffer(offsets, np.int64)[part.offset : part.offset + len(part) + 1]
        lengths = np.diff(ends)
        letters = np.frombuffer(content or b"", np.uint8)[ends[0] : ends[-1]].astype(np.uint64) + np.uint64(1)
        within = np.arange(len(letters)) - np.repeat(ends[:-1] - ends[0], lengths)
        powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, _BASE, np.uint64))
        has_some = lengths > 0
        if has_some.any():
            sums = np.add.reduceat(letters * powers[within], (ends[:-1] - ends[0])[has_some])
            marks[start : start + len(part)][has_some] = sums
    return marks
