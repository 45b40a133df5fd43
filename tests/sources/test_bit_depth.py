"""Grey of 16 bits is refused, or scaled by an option, alike in all images; frames beside the first are counted."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import entropick as ep
from entropick.cli import main
from entropick.datasets import ArrayFile, ImageFolder
from entropick.errors import InputError
from entropick.sources import open_sources

N = 24
SCANS = np.random.default_rng(0).integers(0, 4096, (N, 6, 5), np.uint16)
SCALED = np.rint(SCANS * (255 / 4095)).astype(np.uint8)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Scans of 12 bits in files of 16, half of them TIFF, and the same in one array."""
    monkeypatch.chdir(tmp_path)
    Path("scans").mkdir()
    for row, scan in enumerate(SCANS):
        Image.fromarray(scan).save(f"scans/{row:02d}.{'png' if row % 2 else 'tif'}")
    np.save("scans.npy", SCANS)
    np.savez("scans.npz", images=SCANS)
    np.save("scaled.npy", SCALED)


def chosen(out):
    return [line.split(",")[3] for line in Path(out, "manifest.csv").read_text().splitlines()[1:]]


@pytest.mark.parametrize("source", ["scans", "scans.npy", "scans.npz"])
def test_they_are_refused_and_the_option_is_named(place, capsys, source):
    assert main(["select", f"a={source}", "--n", "5", "--out", "out"]) == 2
    assert "--bit-depth N" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["scans", "scans.npy", "scans.npz"])
def test_all_are_scaled_alike(place, capsys, source):
    assert main(["select", f"a={source}", "--n", "9", "--bit-depth", "12", "--out", "out"]) == 0
    said = capsys.readouterr().out
    assert main(["select", "a=scaled.npy", "--n", "9", "--out", "scaled"]) == 0
    assert chosen("out") == chosen("scaled")
    told = json.loads(Path("out/selection.json").read_text())
    assert told["config"]["sources"]["a"]["bit_depth"] == 12
    if source == "scans":
        assert "24 of 24 files have over 8 bits a channel; grey is scaled from 0..4,095 to 0..255" in said
        assert list(told["converted"]["a"].values()) == [24]


def test_another_depth_is_another_selection(place, capsys):
    words = ["select", "a=scans", "--n", "5", "--out", "out", "--bit-depth"]
    assert main([*words, "12"]) == 0 and main([*words, "16"]) == 2
    assert "another" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["scans", "scans.npy"])
def test_values_beyond_the_depth_are_refused_with_numbers(place, capsys, source):
    assert main(["select", f"a={source}", "--n", "5", "--bit-depth", "10", "--out", "out"]) == 2
    assert "expected values of 10 bits, 0 to 1,023, got" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [7, 33, "12", 12.5])
def test_no_bit_depth(place, wrong):
    with pytest.raises(InputError, match="bit_depth: expected a whole number of at"):
        ep.select("scans", 5, bit_depth=wrong)


def test_embeddings_have_none(place):
    np.save("X.npy", np.eye(9, dtype=np.float32))
    with pytest.raises(InputError, match="bit_depth: expected images, but a has embeddings"):
        open_sources(["a=X.npy"], bit_depth=12)


def test_the_same_in_a_score_and_in_memory(place):
    words = "--training scans --generated scaled.npy --bit-depth 12 --allow-same --out out"
    assert main(["score", *words.split()]) == 0
    values = json.loads(Path("out/score.json").read_text())["values"]
    assert values["generalization_score/pixels"] == 0
    found = ep.select({"files": "scans", "memory": SCANS}, 9, bit_depth=12)
    assert found.summary["duplicates"]["exact"] == N


def test_the_same_in_a_loop(place):
    folder = ImageFolder(path="scans", bit_depth=12, n_images=12)
    np.testing.assert_array_equal(
        folder.load().images, ArrayFile(path="scans.npy", bit_depth=12, n_images=12).load().images
    )
    assert folder.load().images.max() <= 255 and folder.describe()["bit_depth"] == 12
    assert "bit_depth" not in ImageFolder(path="scans").describe()
    with pytest.raises(InputError, match=r"I;16.*--bit-depth N \(bit_depth=N\)"):
        ImageFolder(path="scans").load()


@pytest.mark.parametrize(("depth", "white"), [(12, round(255 * 1000 / 4095)), (None, 255)])
def test_how_a_scan_is_shown(tmp_path, depth, white):
    """Without a depth, where embeddings are compared, from black to its own largest value."""
    Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / "scan.png")
    (source,) = open_sources([f"a={tmp_path}"], bit_depth=depth)
    assert source.picture(0).getpixel((0, 0)) == (white,) * 3


def png(pixels):
    """A PNG of big-endian colour of 16 bits, which Pillow does not write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    whole = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + whole


def test_colour_that_loses_bits_is_told(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 65536, (20, 4, 4, 3)).astype(np.uint16)
    for row, image in enumerate(pixels):
        (tmp_path / f"{row:02d}.png").write_bytes(png(image))
    said = []
    found = ep.select(tmp_path, 5, say=said.append)
    assert any("20 of 20 files have over 8 bits a channel; the upper 8 are compared" in line for line in said)
    assert found.summary["converted"] == {"pool": {"more than 8 bits per channel, brought to 8": 20}}
    (source,) = open_sources([f"a={tmp_path}"])
    np.testing.assert_array_equal(np.asarray(source.picture(3)), pixels[3] >> 8)


@pytest.mark.parametrize("command", ["select", "score"])
def test_frames_beside_the_first_are_counted(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    frames = np.random.default_rng(2).integers(0, 256, (40, 3, 6, 6), np.uint8)
    for name, of in (("a", frames[:20]), ("b", frames[20:])):
        Path(name).mkdir()
        for row, three in enumerate(of):
            first, *others = (Image.fromarray(one) for one in three[: 1 if row % 2 else 3])
            first.save(f"{name}/{row:02d}.tif", save_all=True, append_images=others)
    words = "select a=a b=b --n 5" if command == "select" else "score --training a --generated b"
    assert main([*words.split(), "--out", "out"]) == 0
    told = json.loads(Path("out", f"{'selection' if command == 'select' else 'score'}.json").read_text())
    assert [of["further frame or page of a file"] for of in told["passed_over"].values()] == [20, 20]
