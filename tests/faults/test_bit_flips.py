"""300 random bits of a finished study: each flip is named by `verify`, or in a file that may change."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tiny import TWO_ARMS

from entropick.cli import main
from entropick.run import verify

N_FLIPS = 300
# As docs/reliability.md lists them.
MAY_CHANGE = ("report.html", "work/*")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flips")
    (folder / "tiny.toml").write_text(TWO_ARMS)
    assert main(["run", str(folder / "tiny.toml"), "--out", str(folder / "out"), "--workers", "1"]) == 0
    return folder / "out"


def flips(files, rng):
    """Random bits: every file is as likely as any other, so that small ones are not passed over."""
    for _ in range(N_FLIPS):
        path = rng.choice(files)
        yield path, rng.randrange(8 * path.stat().st_size)


def test_each_of_300_bit_flips_is_named_or_in_a_file_that_may_change(study):
    files = sorted(path for path in study.rglob("*") if path.is_file() and path.stat().st_size)
    unnamed, n_named = [], 0
    for path, bit in flips(files, random.Random(0)):
        before = path.read_bytes()
        flipped = bytearray(before)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        damages = [damage for found in verify(study) for damage in found.damages]
        path.write_bytes(before)
        if any(str(path) in damage for damage in damages):
            n_named += 1
        elif not any(path.relative_to(study).match(pattern) for pattern in MAY_CHANGE):
            unnamed.append((str(path.relative_to(study)), bit))
    assert unnamed == [] and n_named > 200
    assert not any(found.damages for found in verify(study))


def test_the_files_that_may_change_are_the_documented_ones():
    text = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    assert all(f"`{pattern}`" in text for pattern in MAY_CHANGE)
