"""What comes along with the package: licences that can be passed on, no bounds without a reason, `make audit`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from fresh_python import run_python

ROOT = Path(__file__).parents[2]
AUDIT = ROOT / "tools" / "audit.py"
# Stands for pip-audit: what it would print, after it has read which versions it is asked for.
ASKED = """
import json, sys
names = dict(line.strip().split("==") for line in open(sys.argv[sys.argv.index("--requirement") + 1]))
told = [{"name": name, "version": version, "vulns": []} for name, version in names.items()]
"""


def audited(tmp_path, code):
    (tmp_path / "asked.py").write_text(ASKED + code)
    return run_python(str(AUDIT), "--pip-audit", f"{sys.executable} {tmp_path / 'asked.py'}", check=False)


def test_where_nothing_is_known_all_is_well_and_licences_are_listed(tmp_path):
    done = audited(tmp_path, 'print(json.dumps({"dependencies": told}))')
    assert done.returncode == 0, done.stdout + done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if not line.startswith("audit: ")}
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split("[<>=]", text)[0].lower() for text in needed} | {"entropick"} <= listed
    assert "0 problems of licences, 0 known weaknesses." in done.stdout


def test_a_known_weakness_is_named_and_fails(tmp_path):
    code = 'told[0]["vulns"] = [{"id": "CVE-1", "fix_versions": ["9.9"]}]\nprint(json.dumps({"dependencies": told}))'
    done = audited(tmp_path, code)
    assert done.returncode == 1 and re.search(r"^audit: \S+ \S+: CVE-1, mended in 9\.9$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('sys.exit("no network: name not known")', "pip-audit got no answer (no network: name not known)"),
        (
            'told[0] = {"name": told[0]["name"], "skip_reason": "no"}\nprint(json.dumps({"dependencies": told}))',
            "the registry knows nothing of 1 of",
        ),
        ("print('<html>')", "pip-audit got no answer"),
    ],
)
def test_what_could_not_be_asked_is_one_line_and_another_code(tmp_path, code, expected):
    done = audited(tmp_path, code)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if expected in line]
    assert line.startswith("audit: ") and line.endswith("Repeat it where there is a network.")


def test_without_the_tool_it_is_said(tmp_path):
    done = run_python(str(AUDIT), "--pip-audit", str(tmp_path / "nothing"), check=False)
    assert done.returncode == 3 and "cannot be run" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIT", ""),
        ("BSD License, MIT License", ""),
        ("GPL-3.0-only", "its licence binds what is built on it"),
        ("GNU Affero General Public License v3", "its licence binds what is built on it"),
        ("", "it says nothing of its licence"),
        ("Beerware", "its licence is not known here"),
    ],
)
def test_licences_are_judged(text, expected):
    code = f"import sys; sys.path.insert(0, {str(AUDIT.parent)!r}); import audit; print(audit.problem_of({text!r}))"
    assert run_python("-c", code).stdout.strip() == expected


def test_a_dependency_has_an_upper_bound_only_with_its_reason():
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    extras = [requirement for of in project["optional-dependencies"].values() for requirement in of]
    bounded = [of for of in (*project["dependencies"], *extras) if re.search(r"<|==|~=", of.partition(";")[0])]
    lines = [next(line for line in text.splitlines() if f'"{requirement}"' in line) for requirement in bounded]
    assert [line for line in lines if "#" not in line] == []
    assert "<" not in project["requires-python"] or "#" in text.partition("requires-python")[2].partition("\n")[0]
