"""What the documentation site shows that is not written in docs/: a hook of MkDocs, named in mkdocs.yml.

- The front page is the README; the change log and CONTRIBUTING are pages, too.
- `api/ROOM.md` for each room of the package: its public names, from their docstrings (mkdocstrings).
- `commands.md` ends with what `--help` says of each command.
- Notebooks are pages, with what they showed when they were last executed (`make notebooks`).
- Files of the repository that pages link to or show (`../results/...`) are copied into the site.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import nbconvert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import entropick

ROOT = Path(__file__).parents[1]
FROM_THE_ROOT = {"README.md": "index.md", "CHANGELOG.md": "CHANGELOG.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
FROM_THE_ROOT |= {name: name for name in ("SECURITY.md",) if (ROOT / name).is_file()}
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?\)")
FRONT_DOOR = "entropick"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the version on every page, and list the rooms."""
    config.site_name = f"entropick {entropick.__version__}"
    if "MIKE_DOCS_VERSION" in os.environ:  # Several versions beside each other: mike is building this one.
        config.extra["version"] = {"provider": "mike"}
    sections = {title: entry for entry in config.nav or () for title in entry}
    sections["Python API"]["Python API"] = [{room: f"api/{room}.md"} for room in rooms()]
    listed = str(config.nav)
    sections["How-to guides"]["How-to guides"] += [
        path.name for path in sorted(Path(config.docs_dir).glob("*.md")) if path.name not in listed
    ]
    sections["Reference"]["Reference"] += [name for name in FROM_THE_ROOT.values() if name not in listed]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are written elsewhere, and the files that pages link to."""
    for name, uri in FROM_THE_ROOT.items():
        head = "---\nhide: [navigation]\n---\n" if uri == "index.md" else ""
        files.append(File.generated(config, uri, content=head + (ROOT / name).read_text(encoding="utf-8")))
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
        for page in notebook_pages(file, config):
            files.append(page)
    for room in rooms():
        files.append(File.generated(config, f"api/{room}.md", content=room_page(room)))
    for path in sorted({path for file in files.documentation_pages() for path in linked(file)}):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead where their targets are in the site."""
    if page.file.src_uri.startswith("api/"):
        return markdown
    if page.file.src_uri == "commands.md":
        markdown = f"{markdown}\n{helps()}"

    def moved(match: re.Match[str]) -> str:
        before, target, anchor = match.groups(default="")
        path = repository_path(page.file.src_uri, target)
        if path is None:
            return match.group()
        uri = in_the_site(path)
        return f"{before}{posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return LINK.sub(moved, markdown)


def repository_path(src_uri: str, target: str) -> str | None:
    """The path below the repository's root that a link of a page leads to; None for one that leads elsewhere."""
    written = next((name for name, uri in FROM_THE_ROOT.items() if uri == src_uri), f"docs/{src_uri}")
    if "://" in target or target.startswith("mailto:"):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(written), target))


def in_the_site(path: str) -> str:
    """Where a file of the repository is in the site."""
    path = re.sub(r"\.ipynb$", ".md", path)
    return FROM_THE_ROOT.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}")


def linked(file: File) -> Iterator[str]:
    """Files of the repository outside of docs/ that a page links to."""
    for match in LINK.finditer(file.content_string if file.src_uri.endswith(".md") else ""):
        path = repository_path(file.src_uri, match.group(2))
        if path and not path.startswith("docs/") and path not in FROM_THE_ROOT and (ROOT / path).is_file():
            yield path


def notebook_pages(file: File, config: MkDocsConfig) -> Iterator[File]:
    """A notebook as a page, and the pictures that its cells have shown."""
    uri = file.src_uri.removesuffix(".ipynb")
    resources = {"output_files_dir": posixpath.basename(uri), "unique_key": "output"}
    text, resources = nbconvert.MarkdownExporter().from_filename(file.abs_src_path, resources)
    yield File.generated(config, f"{uri}.md", content=text)
    for name, content in resources["outputs"].items():
        yield File.generated(config, f"{posixpath.dirname(uri)}/{name}", content=content)


def rooms() -> list[str]:
    """The modules of the package with public names: the front door first, then what it leads to, then the others."""
    found = [room.name for room in pkgutil.iter_modules(entropick.__path__) if room.name not in ("__main__", "cli")]
    first = {home(name).split(".")[1] for name in entropick.__all__ if not name.startswith("__")}
    return [FRONT_DOOR, *(f"{FRONT_DOOR}.{name}" for name in sorted(found, key=lambda name: (name not in first, name)))]


def home(name: str) -> str:
    """The full name of what the front door offers under a name."""
    thing: Any = getattr(entropick, name)
    return thing.__name__ if inspect.ismodule(thing) else f"{thing.__module__}.{name}"


def public_names(module: ModuleType) -> list[str]:
    """What a module offers: its `__all__`, else the classes and functions that are its own."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    names = getattr(module, "__all__", None) or [name for name in own if not name.startswith("_")]
    return [name for name in names if not name.startswith("__") and not inspect.ismodule(getattr(module, name))]


def room_page(room: str) -> str:
    """The page of a room: what it is for, then every public name."""
    module = importlib.import_module(room)
    parts = [f"# {room}", f"::: {room}\n    options: {{members: false, show_root_heading: false}}"]
    if room == FRONT_DOOR:
        return "\n\n".join([*parts, front_door(module)])
    return (
        "\n\n".join([*parts, *(described(room, name, getattr(module, name)) for name in public_names(module))]) + "\n"
    )


def described(room: str, name: str, thing: Any) -> str:
    """A class or function by its docstring, a constant by its value."""
    if inspect.isclass(thing) or inspect.isfunction(thing):
        is_module_too = f"{room}.{name}" in sys.modules
        return f"::: {room}.{f'{name}.' * is_module_too}{name}"
    value = repr(thing)
    shown = value if len(value) <= 300 and " at 0x" not in value else f"{type(thing).__name__}(...)"
    return f"## `{name}` {{#{room}.{name}}}\n\n```python\n{shown}\n```"


def front_door(module: ModuleType) -> str:
    """The names of `import entropick as ep`, each a link to where it is described."""
    lines = ["| name | what it is |", "| --- | --- |"]
    for name in (name for name in module.__all__ if not name.startswith("__")):
        thing = getattr(module, name)
        room = ".".join(home(name).split(".")[:2])
        target = f"{room}.md" if inspect.ismodule(thing) else f"{room}.md#{room}.{name}"
        summary = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        lines.append(f"| [`ep.{name}`]({target}){{#{FRONT_DOOR}.{name}}} | {summary} |")
    return "\n".join(lines) + "\n"


def helps() -> str:
    """What `--help` says of each command."""
    from entropick import cli

    parts = []
    for name in (part.name for command in get_args(cli.Command) for part in get_args(command)[1:]):
        parts += [f"## entropick {name}", f"```text\n{help_of(name)}\n```"]
    return "\n\n".join(parts) + "\n"


def help_of(command: str) -> str:
    """The help of one command, 88 columns wide and without colours."""
    from entropick import cli

    text = io.StringIO()
    before = dict(os.environ)
    os.environ |= {"COLUMNS": "88", "NO_COLOR": "1"}
    try:
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            cli.main([command, "--help"])
    finally:
        os.environ.clear()
        os.environ.update(before)
    return text.getvalue().strip()
