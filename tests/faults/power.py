"""Power cuts: what may be left of a folder when power fails after some of the calls that a command made.

What was fsynced is there. A write that was not may be there, or as zeros, or not at all; a new name, a rename or a
removal that its folder was not fsynced for may be there or not, each by itself, in whatever order they were done.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from disk import Call

Choose = Callable[[], bool]


@dataclass
class _Node:
    """A file or a folder: what of it is safe, and what was written since."""

    is_folder: bool = False
    safe: bytes = b""
    pending: list[Call] = field(default_factory=list)


@dataclass
class _Change:
    """New nodes of names, None for a name that goes; all of it or none."""

    nodes: dict[str, _Node | None]


class Replay:
    """A folder as it was at `start`, and what the calls of a log have made of it since."""

    def __init__(self, start: Path, root: str) -> None:
        self._root = root.rstrip(os.sep)
        self._safe: dict[str, _Node] = {}
        for path in sorted(start.rglob("*")):
            node = _Node(is_folder=True) if path.is_dir() else _Node(safe=path.read_bytes())
            self._safe[str(path.relative_to(start))] = node
        self._now = dict(self._safe)
        self._pending: dict[str, list[_Change]] = {}

    def do(self, calls: Iterable[Call]) -> None:
        """Go on by these calls."""
        for call in calls:
            self._do(call, os.path.relpath(call.path, self._root))

    def _do(self, call: Call, path: str) -> None:
        match call.operation:
            case "create":
                self._change(path, {path: _Node()})
            case "mkdir":
                self._change(path, {path: _Node(is_folder=True)})
            case "unlink" | "rmdir":
                self._change(path, {path: None})
            case "link":
                other = os.path.relpath(call.other, self._root)
                self._change(other, {other: self._now[path]})
            case "rename":
                other = os.path.relpath(call.other, self._root)
                assert os.path.dirname(path) == os.path.dirname(other)
                moved = {name: node for name, node in self._now.items() if name == path or name.startswith(f"{path}/")}
                names = {f"{other}{name.removeprefix(path)}": node for name, node in moved.items()}
                self._change(path, {**dict.fromkeys(moved), **names})
                # What is pending in a folder goes on under its new name.
                for name in [name for name in self._pending if name == path or name.startswith(f"{path}/")]:
                    changes = [
                        _Change({f"{other}{at.removeprefix(path)}": node for at, node in change.nodes.items()})
                        for change in self._pending.pop(name)
                    ]
                    self._pending[f"{other}{name.removeprefix(path)}"] = changes
            case "write" | "truncate":
                self._now[path].pending.append(call)
            case "fsync" if path == "." or self._now[path].is_folder:
                for change in self._pending.pop(path, []):
                    self._safe = _changed(self._safe, change)
            case "fsync":
                node = self._now[path]
                node.safe, node.pending = _written(node, lambda: True, lambda: False), []

    def _change(self, path: str, nodes: dict[str, _Node | None]) -> None:
        change = _Change(nodes)
        self._now = _changed(self._now, change)
        self._pending.setdefault(os.path.dirname(path) or ".", []).append(change)

    def left(self, kept: Choose, zeroed: Choose = lambda: False) -> dict[str, bytes | None]:
        """What a power cut leaves now: the bytes of each file, None for a folder.

        `kept` is asked for each pending change and write, and `zeroed` whether a write is there as zeros only.
        """
        names = dict(self._safe)
        for changes in self._pending.values():
            for change in changes:
                if kept():
                    names = _changed(names, change)
        return {
            path: None if node.is_folder else _written(node, kept, zeroed)
            for path, node in sorted(names.items())
            if all(
                str(parent) == "." or ((at := names.get(str(parent))) and at.is_folder) for parent in Path(path).parents
            )
        }


def _changed(names: dict[str, _Node], change: _Change) -> dict[str, _Node]:
    return {path: node for path, node in {**names, **change.nodes}.items() if node is not None}


def _written(node: _Node, kept: Choose, zeroed: Choose) -> bytes:
    content = bytearray(node.safe)
    for call in node.pending:
        if not kept():
            continue
        if call.operation == "truncate":
            del content[call.place :]
            content.extend(bytes(call.place - len(content)))
        else:
            content.extend(bytes(max(0, call.place - len(content))))
            content[call.place : call.place + len(call.data)] = bytes(len(call.data)) if zeroed() else call.data
    return bytes(content)


def least(replay: Replay) -> dict[str, bytes | None]:
    """What was fsynced, and no more."""
    return replay.left(lambda: False)


def names_without_content(replay: Replay) -> dict[str, bytes | None]:
    """Every name, but of what was not fsynced zeros, as file systems leave it that write names first."""
    return replay.left(lambda: True, lambda: True)


def anything(replay: Replay, rng: random.Random) -> dict[str, bytes | None]:
    """Each change and each write by the toss of a coin."""
    return replay.left(lambda: rng.random() < 0.5, lambda: rng.random() < 0.3)


def lay_out(left: dict[str, bytes | None], folder: Path) -> None:
    """Write it into a new folder."""
    folder.mkdir()
    for name, content in left.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
