"""Output that cannot be written stops nothing, and is said once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tiny import ONE_ARM


@pytest.mark.parametrize(("redirected", "n_said"), [("> /dev/full", 1), (">&-", 0), ("> /dev/full 2>&1", 0)])
def test_a_run_goes_on_without_output_and_says_so_once(tmp_path, redirected, n_said):
    (tmp_path / "tiny.toml").write_text(ONE_ARM)
    command = f"{sys.executable} -m entropick run tiny.toml --out out --workers 1 {redirected}"
    ended = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("the output cannot be written (No space left on device)") == n_said
    assert "Traceback" not in ended.stderr and (tmp_path / "out" / "report.html").exists()
