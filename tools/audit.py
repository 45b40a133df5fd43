"""``make audit``: the licences of all that runs with the package, and whether a weakness of it is known.

Licences are read from what is installed, so they are told anywhere; what is known of weaknesses is asked of a registry
by pip-audit, which uv fetches. Exit code 0: all well. 1: a weakness is known, or a licence is none that can be
passed on. 3: that could not be asked, and nothing worse was found.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What asks no more than to be named. In metadata of all ages: expressions, classifiers and first lines of texts.
FREE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|HPND|MPL|Mozilla Public License 2|CNRI|Zlib|CC0|Unlicense|BSL-1"
)
BINDING = re.compile(r"\bA?GPL|(?<!Lesser )General Public License|Affero|SSPL|Proprietary|Commercial", re.IGNORECASE)
# What torch's builds for CUDA bring along: nobody links to them but torch, whose wheels ask for them.
CUDA = re.compile(r"(nvidia|cuda)-")
_SECONDS = 300


def runtime(package: str = "entropick") -> dict[str, Distribution | None]:
    """The package and all that it needs at run time, by name; None for what is not installed."""
    found: dict[str, Distribution | None] = {}
    todo = [Requirement(package)]
    seen = set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        extras = wanted.extras or {""}
        if (name, *sorted(extras)) in seen:
            continue
        seen.add((name, *sorted(extras)))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            found[name] = None
            continue
        for text in found[name].requires or ():
            further = Requirement(text)
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(further)
    return dict(sorted(found.items()))


def licence(of: Distribution) -> str:
    """What its metadata says of its licence: an expression, else classifiers, else the first line of a text."""
    if expression := of.metadata.get("License-Expression"):
        return str(expression)
    classifiers = [text for text in of.metadata.get_all("Classifier") or () if text.startswith("License ::")]
    names = [text.rpartition(" :: ")[2] for text in classifiers if not text.endswith("OSI Approved")]
    first = next((line.strip() for line in (of.metadata.get("License") or "").splitlines() if line.strip()), "")
    return ", ".join(names) or first


def problem_of(text: str) -> str:
    """Why a licence cannot be passed on as it is, or ""."""
    if not text:
        return "it says nothing of its licence"
    if BINDING.search(text) and not FREE.search(text):
        return "its licence binds what is built on it"
    return "" if FREE.search(text) else "its licence is not known here"


def weaknesses(versions: dict[str, str], command: list[str]) -> tuple[list[str], str]:
    """What is known of these versions, a line each; and why it could not be asked, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        # A build for a processor or a GPU is the same release.
        wanted.write_text("".join(f"{name}=={version.partition('+')[0]}\n" for name, version in versions.items()))
        flags = ["--requirement", str(wanted), "--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
        try:
            done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return [], f"{command[0]} cannot be run ({error})"
    try:
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [], f"pip-audit got no answer ({last[:200]})"
    lines = [
        f"{of['name']} {of['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'no version yet'}"
        for of in told
        for known in of.get("vulns", ())
    ]
    asked = {canonicalize_name(of["name"]) for of in told if "vulns" in of}
    missing = [name for name in versions if name not in asked]
    some = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
    unknown = f"the registry knows nothing of {len(missing)} of {len(versions)} packages ({some})"
    return lines, unknown if missing else ""


def main(arguments: list[str] | None = None) -> int:
    """List, ask, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    parser.add_argument("--pip-audit", default=f"{shlex.quote(uv)} tool run --quiet pip-audit", help="the command")
    command = shlex.split(parser.parse_args(arguments).pip_audit)
    found = runtime()
    missing = [name for name, of in found.items() if of is None]
    installed = {name: of for name, of in found.items() if of is not None}
    licences = {name: licence(of) for name, of in installed.items()}
    width = max(map(len, installed))
    for name, of in installed.items():
        print(f"{name.ljust(width)}  {of.version:<14}  {licences[name]}")
    of_cuda = [name for name in licences if CUDA.match(name)]
    asked = {name: text for name, text in licences.items() if name not in of_cuda}
    problems = [f"{name}: {why} ({text})" for name, text in asked.items() if (why := problem_of(text))]
    versions = {name: of.version for name, of in installed.items() if name != "entropick"}
    known, unasked = weaknesses(versions, command)
    for line in [*problems, *known]:
        print(f"audit: {line}")
    if missing:
        unasked = f"{', '.join(missing)} not installed; {unasked}".removesuffix("; ")
    if of_cuda:
        print(f"audit: {len(of_cuda)} libraries of CUDA, which torch brings along, have licences of NVIDIA.")
    print(f"audit: {len(installed)} packages, {len(problems)} problems of licences, {len(known)} known weaknesses.")
    if unasked:
        print(f"audit: weaknesses could not all be asked for: {unasked}. Repeat it where there is a network.")
    return 1 if problems or known else 3 if unasked else 0


if __name__ == "__main__":
    sys.exit(main())
