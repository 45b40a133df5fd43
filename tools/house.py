"""Numbers of a source tree: rooms, files, lines, medians, import circles, floors, and what a reader must open.

    python tools/house.py                                    the package as it lies here
    python tools/house.py --rev HEAD~20                      as it was, and as it is
    python tools/house.py --reach entropick.selectors.greedy:Greedy

A room is a file or folder directly in the package. Imports count at any depth, inside functions too; blocks under
``TYPE_CHECKING`` do not. A name that comes through a room's ``__init__`` counts for the file that has it.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
from pathlib import Path
from statistics import median

GROUND = ("errors", "arrays", "component", "random_stream", "work")  # known after a day, not counted

Edges = dict[str, set[str]]


class House:
    """The modules of one package by their dotted names: their texts, syntax trees and imports of each other."""

    def __init__(self, folder: Path, rev: str | None) -> None:
        self.package = folder.resolve().name
        texts = _texts(folder, rev)
        names = {path: ".".join((self.package, *Path(path).with_suffix("").parts)) for path in texts}
        self.texts = {names[path].removesuffix(".__init__"): text for path, text in texts.items()}
        self.trees = {name: ast.parse(text) for name, text in self.texts.items()}
        self.imports: Edges = {name: self._imported(name) for name in self.trees}
        self.rooms: Edges = {room: set() for name in self.trees if (room := self.room(name))}
        for name, others in self.imports.items():
            if room := self.room(name):
                self.rooms[room] |= {self.room(other) for other in others} - {room, ""}

    def room(self, module: str) -> str:
        """The room of a module; empty for the package itself and for `__main__`."""
        return f"{module}.".split(".")[1].removeprefix("__main__")

    def _imported(self, name: str) -> set[str]:
        found, todo = set(), [self.trees[name]]
        while todo:
            node = todo.pop()
            if isinstance(node, ast.Import | ast.ImportFrom):
                start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                found |= {self._home(f"{start}{alias.name}") for alias in node.names}
            is_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            todo += node.orelse if is_typing else ast.iter_child_nodes(node)
        return found & self.trees.keys() - {name, self.package}

    def _home(self, name: str) -> str:
        """The module that has what ``from a import b`` calls ``a.b``, looked for through `__init__` files."""
        module = name
        while module not in self.trees and "." in module:
            module = module.rpartition(".")[0]
        for node in self.trees[module].body if module in self.trees and module != name else ():
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{self.package}."):
                for alias in node.names:
                    if f"{module}.{alias.asname or alias.name}" == name:
                        return self._home(f"{node.module}.{alias.name}")
        return module

    def reach(self, module: str) -> list[str]:
        """The modules that are read on the way through all imports from this one, the ground floor left out."""
        if module not in self.trees:
            raise SystemExit(f"--reach: expected a module of {self.package}, got {module}.")
        above = {name: {o for o in others if self.room(o) not in GROUND} for name, others in self.imports.items()}
        return sorted(_all_from(module, above) | {module})

    def numbers(self) -> dict[str, float]:
        """What is printed, by its label."""
        lines = [text.count("\n") for text in self.texts.values()]
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        functions = [node for tree in self.trees.values() for node in ast.walk(tree) if isinstance(node, kinds)]
        return {
            "rooms": len(self.rooms),
            "files": len(self.trees),
            "lines": sum(lines),
            "median lines of a file": median(lines),
            "median lines of a function": median(node.end_lineno - node.lineno + 1 for node in functions),
            "circles of rooms": len(circles(self.rooms)),
            "circles of files": len(circles(self.imports)),
            "floors": _floors(self.rooms),
        }


def _texts(folder: Path, rev: str | None) -> dict[str, str]:
    """Path in the package -> text, as it lies there or at a git revision."""
    if rev is None:
        return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.py")}

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout

    paths = git("ls-tree", "-r", "--name-only", rev, ".").splitlines()
    return {path: git("show", f"{rev}:./{path}") for path in paths if path.endswith(".py")}


def _all_from(start: str, edges: Edges) -> set[str]:
    """All that `start` leads to; itself only if it is in a circle."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        new = edges[todo.pop()] - seen
        seen |= new
        todo += new
    return seen


def circles(edges: Edges) -> set[frozenset[str]]:
    """Groups that all lead to each other."""
    ahead = {name: _all_from(name, edges) for name in edges}
    return {frozenset(o for o in ahead[name] if name in ahead[o]) for name in edges if name in ahead[name]}


def _floors(edges: Edges) -> int:
    """How many rooms the longest way down leads through; 0 if there is a circle."""
    found: dict[str, int] = {}
    while ready := {room for room in edges.keys() - found.keys() if edges[room] <= found.keys()}:
        found |= {room: 1 + max((found[below] for below in edges[room]), default=0) for room in ready}
    return max(found.values(), default=0) if len(found) == len(edges) else 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1] / "src" / "entropick")
    parser.add_argument("--rev", help="a git revision to compare with")
    parser.add_argument("--reach", default=[], action="append", metavar="MODULE[:NAME]")
    options = parser.parse_args()
    now = House(options.folder, None)
    houses = {**({options.rev: House(options.folder, options.rev)} if options.rev else {}), "now": now}
    print(f"{'':<28}" + "".join(f"{title:>14}" for title in houses))
    columns = [house.numbers() for house in houses.values()]
    for label in columns[0]:
        print(f"{label:<28}" + "".join(f"{column[label]:>14,g}" for column in columns))
    for title, circle in ((t, c) for t, house in houses.items() for c in circles(house.rooms) | circles(house.imports)):
        print(f"circle, {title}: {', '.join(sorted(circle))}")
    for entry in options.reach:
        found = now.reach(entry.partition(":")[0])
        print(f"\n{entry}: {len(found)} files, {sum(now.texts[name].count(chr(10)) for name in found):,} lines")
        print("\n".join(f"  {name}" for name in found))


if __name__ == "__main__":
    main()
