"""The house holds: imports go downwards, rooms do not lean on their neighbours, light doors stay light."""

import ast
import importlib.util
from pathlib import Path

import pytest
from fresh_python import SRC, run_python

HOUSE = SRC / "entropick"
FLOORS = {
    "errors": 0,
    **dict.fromkeys(("arrays", "component", "notebook", "random_stream", "work"), 1),
    "processes": 2,
    "neighbors": 3,
    **dict.fromkeys(("paradigms", "datasets", "selectors", "metrics", "diffusion", "run"), 4),
    **dict.fromkeys(("features", "generators", "page"), 5),
    "sources": 6,
    **dict.fromkeys(("loop", "selection", "scoring", "report", "tracking"), 7),
    "config": 8,
    "api": 9,
    "cli": 10,
}
REPORT_MAY_USE = {"run", "metrics", "arrays", "component", "errors", "page"}
MACHINE_LEARNING = {"torch", "diffusers", "sklearn", "scipy", "transformers", "timm", "torch_fidelity", "torchvision"}
HEAVY = {"torch", "diffusers", "transformers", "timm", "torch_fidelity", "torchvision", "huggingface_hub"}
NOT_AT_THE_DOOR = (*HEAVY, "sklearn", "altair", "scipy", "pyarrow", "PIL")

MODULES = sorted(HOUSE.rglob("*.py"))


def module_name(path):
    parts = ("entropick", *path.relative_to(HOUSE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module):
    """The room of ``entropick.room.file``; None for the package itself and its ``__main__``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] not in ("__main__", "__version__") else None


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(tree, *, inside_functions):
    """Absolute names of all that is imported, ``from a import b`` as ``a.b``; blocks for type checkers left out."""
    todo, found = list(tree.body), []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif is_type_checking(node):
            todo += node.orelse
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += ast.iter_child_nodes(node)
    return found


def own(found):
    """The imports from this package."""
    return [name for name in found if name.split(".")[0] == "entropick"]


def imported_rooms(found):
    """The rooms behind the imports from this package; ``entropick.Loop`` has none."""
    return {room_of(name) for name in own(found)} & FLOORS.keys()


def parametrized(paths):
    return pytest.mark.parametrize("path", paths, ids=module_name)


def below(*rooms):
    return [path for path in MODULES if room_of(module_name(path)) in rooms]


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_every_room_has_a_floor():
    assert {room_of(module_name(path)) for path in MODULES} - {None} == FLOORS.keys()


@parametrized(below(*FLOORS))
def test_imports_go_downwards(path):
    room = room_of(module_name(path))
    for other in imported_rooms(imports(parse(path), inside_functions=True)) - {room}:
        assert FLOORS[other] < FLOORS[room], f"{room} imports {other}"


def test_no_two_files_import_each_other_whatever_the_way_round():
    """Not over other files either, nor within functions; a package's own list of names counts as a file."""
    names = {module_name(path) for path in MODULES}
    graph = {}
    for path in MODULES:
        found = own(imports(parse(path), inside_functions=True))
        whole = {name if name in names else name.rpartition(".")[0] for name in found}
        graph[module_name(path)] = (whole & names) - {module_name(path), "entropick"}
    while free := {name for name, below in graph.items() if not below & graph.keys()}:
        graph = {name: below for name, below in graph.items() if name not in free}
    assert sorted(graph) == []


@parametrized(below(*FLOORS))
def test_no_room_imports_the_front_door(path):
    found = imports(parse(path), inside_functions=True)
    allowed = {"entropick.__version__"} if room_of(module_name(path)) in ("cli", "run", "report", "scoring") else set()
    assert not {name for name in own(found) if room_of(name) not in FLOORS} - allowed


@parametrized(below("report"))
def test_report_reads_runs_and_little_else(path):
    assert imported_rooms(imports(parse(path), inside_functions=True)) <= REPORT_MAY_USE | {"report"}


@parametrized(below("run"))
def test_run_knows_no_machine_learning(path):
    found = imports(parse(path), inside_functions=True)
    assert not {name.split(".")[0] for name in found} & MACHINE_LEARNING
    assert imported_rooms(found) <= {"run", "errors", "arrays", "work", "notebook"}


@parametrized([path for path in MODULES if room_of(module_name(path)) not in ("generators", "diffusion")])
def test_torch_is_imported_late(path):
    found = imports(parse(path), inside_functions=False)
    assert not {name.split(".")[0] for name in found} & HEAVY


@parametrized([path for path in below(*FLOORS) if path.parent != HOUSE and path.name != "__init__.py"])
def test_siblings_are_imported_from_their_files(path):
    room = room_of(module_name(path))
    for name in own(imports(parse(path), inside_functions=True)):
        if room_of(name) == room:
            sibling = HOUSE / room / f"{[*name.split('.'), ''][2]}.py"
            assert sibling.is_file(), f"{name} comes through the room's __init__"


@parametrized([path for path in MODULES if room_of(module_name(path)) != "cli"])
def test_only_the_command_line_prints(path):
    calls = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    assert "print" not in {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def attributes_used(tree):
    """``pyarrow.types`` where ``pa.types`` is used of ``import pyarrow as pa``, without what has its own import."""
    aliases = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    called = {alias.asname or alias.name: alias.name for alias in aliases}
    used = {
        f"{called[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called
    }
    return used - {alias.name for alias in aliases if alias.asname is None}


def is_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # an attribute of what is no package, or of one that is not installed
        return False


def not_imported_with_their_package(names):
    """Those that are modules, and are lacking in a process that has imported their package alone."""
    modules = [tuple(name.rsplit(".", 1)) for name in sorted(names) if is_module(name)]
    missing = []
    for package in sorted({package for package, _ in modules}):
        code = (
            f"import sys, {package} as package; print(*(name for name in sys.argv[1:] if not hasattr(package, name)))"
        )
        done = run_python("-c", code, *(name for of, name in modules if of == package))
        missing += [f"{package}.{name}" for name in done.stdout.split()]
    return missing


def test_a_module_that_is_used_is_imported_there():
    # In the process of the tests some other module has long imported what the process of a user lacks.
    used = {name for path in MODULES for name in attributes_used(parse(path)) if name.split(".")[0] not in HEAVY}
    assert not_imported_with_their_package(used) == []


def test_no_module_is_called_after_nothing():
    words = {word for path in MODULES for word in path.relative_to(HOUSE).with_suffix("").parts}
    assert not words & {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}


def test_no_pickle():
    for path in MODULES:
        found = imports(parse(path), inside_functions=True)
        assert not {name.split(".")[0] for name in found} & {"pickle", "joblib", "dill", "shelve"}, path
        assert "allow_pickle=True" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("module", ["entropick", "entropick.config", "entropick.cli"])
def test_the_door_opens_at_once(module):
    loaded = run_python("-c", f"import sys, {module}; print(*sys.modules)").stdout.split()
    assert module in loaded and not set(NOT_AT_THE_DOOR) & set(loaded)


def test_the_checks_would_notice():
    """The eyes of this file see what they must see."""
    source = """
import os
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import torch
else:
    import scipy
def f():
    from entropick.loop.loop import Loop
    class C:
        import diffusers.models
try:
    from entropick import paradigms
except ImportError:
    pass
"""
    everywhere = imports(ast.parse(source), inside_functions=True)
    assert {"entropick.loop.loop.Loop", "diffusers.models", "entropick.paradigms", "scipy", "os"} < set(everywhere)
    assert "torch" not in everywhere and imported_rooms(everywhere) == {"loop", "paradigms"}
    at_once = set(imports(ast.parse(source), inside_functions=False))
    assert not at_once & {"entropick.loop.loop.Loop", "diffusers.models"}
    with pytest.raises(AssertionError, match="relative import"):
        imports(ast.parse("from . import x"), inside_functions=True)
    used = attributes_used(ast.parse("import pyarrow as pa\ndef f():\n    pa.compute.sum, pa.types.is_list, pa.array"))
    assert used == {"pyarrow.compute", "pyarrow.types", "pyarrow.array"}
    assert not_imported_with_their_package(used) == ["pyarrow.compute"]


def test_the_house_is_where_it_is_looked_for():
    assert len(MODULES) > 30 and Path(HOUSE / "__init__.py") in MODULES
