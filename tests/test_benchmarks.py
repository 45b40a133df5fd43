"""What is started on a machine with a GPU and little else: the benchmark for it, and the tests that need it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fresh_python import run_python

ROOT = Path(__file__).resolve().parents[1]
# Of what tests import, the packages that such machines lack.
BARE = """
import sys
import pytest
sys.modules.update(dict.fromkeys(("altair", "diffusers", "playwright", "tyro", "vl_convert")))
sys.exit(pytest.main(["-m", "cuda", "--collect-only", "-q", "-p", "no:cacheprovider"]))
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_benchmark_says_so_in_one_line_and_runs_nothing(tmp_path):
    ended = run_python(str(ROOT / "benchmarks/gpu.py"), "--out", str(tmp_path / "gpu.json"), check=False)
    assert ended.returncode == 2 and not ended.stdout and not list(tmp_path.iterdir())
    assert ended.stderr == "gpu.py: device: expected a GPU for 'cuda', but torch sees no GPU. Use 'cpu' or 'auto'.\n"


def test_the_tests_of_a_gpu_are_found_where_what_others_import_is_missing():
    assert "tests/diffusion/test_cuda.py::" in run_python("-c", BARE, cwd=ROOT).stdout
