"""Build what is released, and use it as somebody would who has nothing else: `make dist`.

Builds the source archive, and from it the wheel, into `dist/`; `twine check` reads their descriptions. Then each Python
of 3.11 to 3.13 that is here gets an empty environment with the wheel alone, and there, in an empty folder, far
from the checkout, a study, a selection, a score and what looks at them are run. Nothing is uploaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
PYTHONS = ("3.11", "3.12", "3.13")

IMAGES = """
from pathlib import Path
from PIL import Image
import entropick as ep
digits = ep.datasets.Digits(n_images=200).load()
made = ep.generators.KDE(bandwidth=6.0).fit(digits.images).sample(200)
for name, images in (("train", digits.images), ("made", made), ("held-out", digits.reference[:200])):
    Path(name).mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(f"{name}/{i:03}.png")
"""
# What is run, and what it must leave.
COMMANDS = {
    "--version": (),
    "run smoke": ("runs/smoke/report.html",),
    "status runs/smoke": (),
    "verify runs/smoke": (),
    "report runs/smoke --figures figures": ("figures",),
    "select real=train made=made --n 50 --guard real --out chosen --copy": ("chosen/selection.json", "chosen/selected"),
    "score --training train --generated made --reference held-out --out check": ("check/score.html",),
}


def main() -> int:
    """Build, check, install, use."""
    shutil.rmtree(DIST, ignore_errors=True)
    run([sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT)])
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(DIST.iterdir()))])
    (wheel,) = DIST.glob("*.whl")
    found = {version: path for version in PYTHONS if (path := find(version))}
    for version, python in found.items():
        with tempfile.TemporaryDirectory(prefix="entropick-dist-") as folder:
            use(wheel, python, Path(folder))
        say(f"Python {version}: the wheel works without the checkout")
    missing = [version for version in PYTHONS if version not in found]
    if missing:
        say(f"not tried, because it is not here: Python {', '.join(missing)}")
    for path in sorted(DIST.iterdir()):
        say(f"{path.relative_to(ROOT)}, {path.stat().st_size / 1e6:.1f} MB")
    return 0 if found else 2


def find(version: str) -> str | None:
    """A Python of that version: on the PATH, or of pyenv, whose commands on the PATH may be names without a version."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(name), *sorted(map(str, pyenv.glob(f"versions/{version}*/bin/{name}")))]
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for python in filter(None, candidates):
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return python
    return None


def use(wheel: Path, python: str, folder: Path) -> None:
    """Install the wheel into an empty environment, and run every command in an empty folder."""
    venv, here = folder / "venv", folder / "empty"
    here.mkdir()
    run([str(ROOT / "tools" / "make-venv"), str(venv)], PYTHON=python)
    run([str(venv / "bin" / "pip"), "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)], here)
    run([str(venv / "bin" / "python"), "-c", IMAGES], here)
    for command, left in COMMANDS.items():
        run([str(venv / "bin" / "entropick"), *command.split()], here)
        for name in left:
            if not (here / name).exists():
                there = sorted(path.name for path in here.iterdir())
                sys.exit(f"make: entropick {command}: expected {name} afterwards, got {there}")


def run(command: list[str], folder: Path = ROOT, **variables: str) -> None:
    """Run a command without this environment's Python path; end with what it said if it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        sys.exit(f"make: {' '.join(command)[:300]}: exit code {done.returncode}\n{said}")


def say(text: str) -> None:
    """One line on stdout, at once."""
    print(f"make: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
