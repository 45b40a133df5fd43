"""What the docs name is there: files of the repository in backticks, and what links lead to."""

import dataclasses
import re
from pathlib import Path

import pytest

import entropick
from entropick.config.components import BUILT_IN
from entropick.loop.loop import Loop
from entropick.metrics.suite import LOOP_MEASURES, REGISTRY

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("src", "tests", "docs", "tools", "examples", "benchmarks", "experiments")
# Written by those who read, or by a command.
THEIRS = {"my-study.toml", "study.toml", "FILE.toml", "tables.md"}
NAMES = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*")}
NAMES |= {path.name for path in ROOT.iterdir()}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def looks_like_ours(text):
    """A path from one of the repository's folders, or a name that only a file of source or docs has."""
    if re.fullmatch(r"[\w.-]+(/[\w.*-]+)*/?", text) is None:
        return False
    return ("/" in text and text.partition("/")[0] in FOLDERS) or text.endswith((".py", ".md", ".toml", ".j2"))


def named(text):
    """All files of the repository that a page names in backticks, in lines and in blocks."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    words = {word for part in (*blocks, *lines) for word in part.split()}
    return {word for word in words if looks_like_ours(word)} - THEIRS


def is_there(name):
    if "/" not in name:
        return name in NAMES
    rooms = [ROOT / "src" / "entropick", *(ROOT / "src" / "entropick").iterdir()]
    return any(list(folder.glob(name)) for folder in (ROOT, *(room for room in rooms if room.is_dir())))


@each_page
def test_files_in_backticks_exist(page):
    assert not {name for name in named(page.read_text(encoding="utf-8")) if not is_there(name)}


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("section", BUILT_IN)
def test_all_kinds_and_what_is_taken_without_one_are_told(section):
    page = (ROOT / "docs" / "study-files.md").read_text(encoding="utf-8")
    told = re.search(rf"(?m)^\| `{section}` \| (`.*) \|$", page)[1]
    kinds = {kind for kind in BUILT_IN[section] if f"`{kind}`" not in told and f"`{kind}-small`" not in told}
    assert not kinds, section
    default = next(field for field in dataclasses.fields(Loop) if field.name == section)
    made = None if default.default_factory is dataclasses.MISSING else default.default_factory().kind
    assert made is None or re.search(rf'(?m)^\| `{section}` \| .* \| `"{made}"` \|$', page)


def test_measures_that_are_left_out_unless_asked_for_are_told():
    page = (ROOT / "docs" / "study-files.md").read_text(encoding="utf-8")
    row = re.search(r"(?m)^\| `metrics` \| .* but (.*) \|$", page)[1]
    assert set(re.findall("`([a-z_]+)`", row)) == {*REGISTRY.built_in} - {*LOOP_MEASURES}


def test_the_version_is_the_same_wherever_it_must_be_told():
    citation, changes = ((ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md"))
    assert f"\nversion: {entropick.__version__}\n" in citation
    assert re.findall(r"(?m)^## (\S+)", changes)[0] == entropick.__version__


def test_the_checks_would_notice():
    found = named("`src/entropick/gone.py`, `gone.py`, `run/gone.py`, `gone.npy`\n```sh\nbenchmarks/gone.py\n```")
    assert found == {"src/entropick/gone.py", "gone.py", "run/gone.py", "benchmarks/gone.py"}
    assert not any(map(is_there, found))
    assert is_there("config/components.py") and is_there("errors.py") and is_there("tests/")
