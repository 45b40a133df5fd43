"""Code in an interpreter of its own."""

import os
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"


def run_python(*arguments, check=True, **options):
    """Run ``python *arguments``; the finished process comes back, with its output as text."""
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, env=environment, **options
    )
    assert not check or done.returncode == 0, done.stderr
    return done
