"""The documentation site: it builds without a warning, has every public name, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site needs the extra [docs]")

from test_public_api import THINGS

ROOT = Path(__file__).parents[1]
LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "use": "href"}


class Loaded(HTMLParser):
    """What a browser fetches for a page, and the anchors of the page."""

    def __init__(self, page):
        super().__init__()
        self.addresses, self.anchors, self.links = [], set(), set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors.add(found.get("id"))
        self.links |= {found["href"]} if tag == "a" and "href" in found else set()
        is_fetched = tag != "link" or found.get("rel") not in ("canonical", "next", "prev")
        if tag in LOADS and is_fetched and LOADS[tag] in found:
            self.addresses.append(found[LOADS[tag]])


def built(folder):
    """The pages of the site, which is built without a warning or not at all."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return {page.relative_to(folder).as_posix(): Loaded(page) for page in folder.rglob("*.html")}


def test_the_site(tmp_path):
    site = built(tmp_path)
    assert foreign(site) == []
    assert not_described(site) == []
    # Pages that are written elsewhere.
    commands = {f"entropick-{name}" for name in ("run", "select", "score", "status", "verify", "report", "export")}
    assert commands <= site["commands.html"].anchors
    assert "three-jobs" in site["index.html"].anchors
    assert {"https://arxiv.org/abs/2509.16499", "files/experiments/mnist-14.toml"} <= site["index.html"].links
    assert {"CHANGELOG.html", "CONTRIBUTING.html", "api/entropick.selectors.html"} <= site.keys()
    assert len([name for name in site if name.startswith("tutorials/")]) == 3


def foreign(site):
    """Addresses on other hosts that a page would load something from."""
    addresses = [address for page in site.values() for address in page.addresses]
    assert len(addresses) > 100
    return [address for address in addresses if re.match(r"(\w+:)?//", address)]


def not_described(site):
    """Public names without a place in the reference; one that is a module, too, is found in that module."""
    anchors = set().union(*(page.anchors for name, page in site.items() if name.startswith("api/")))
    homes = {name: f"{thing.__module__}.{thing.__qualname__}" for name, thing in THINGS.items()}
    return [name for name, home in homes.items() if not {name, home} & anchors]
