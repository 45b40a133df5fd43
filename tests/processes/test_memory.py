"""How much memory there is: the least of what machine, cgroups and shell allow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from entropick.processes.hardware import usable_memory

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def system(tmp_path):
    """Lay out what a kernel would tell."""

    def lay_out(line, limits):
        (tmp_path / "proc" / "self").mkdir(parents=True)
        (tmp_path / "proc" / "self" / "cgroup").write_text(line)
        for name, limit in limits.items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{limit}\n")
        return {"proc": tmp_path / "proc", "groups": tmp_path / "groups"}

    return lay_out


@pytest.mark.parametrize(
    ("line", "limits", "expected"),
    [
        ("0::/job/step", {"job/step/memory.max": "max", "job/memory.max": 5000}, 5000),
        ("0::/", {"memory.max": 7000}, 7000),
        ("0::/job", {"job/memory.max": 10**18}, MACHINE),
        ("4:memory:/job\n0::/", {"memory/job/memory.limit_in_bytes": 3000}, 3000),
        ("4:cpu,memory:/not/mounted", {"memory/memory.limit_in_bytes": 2000}, 2000),
        ("", {}, MACHINE),
    ],
)
def test_a_limit_of_a_group_or_one_above_it_counts(system, line, limits, expected):
    assert usable_memory(**system(line, limits)) == expected


def test_a_limit_of_the_shell_counts():
    code = "from entropick.processes.hardware import usable_memory; print(usable_memory())"
    limited = f"ulimit -v 8000000; exec {sys.executable} -c '{code}'"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(min(8_000_000 * 1024, usable_memory())), done.stderr
