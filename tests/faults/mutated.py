"""Files that lie: arrays, tables and weights with changed bytes, cut ends and heads that promise what is not there.

Each is given to `entropick select` in a process of its own, with a limit on its memory, which must end with results or
with one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scenarios import Ended, execute

from entropick.cli import main

# Beside what a process has before it begins.
_BYTES = 2 << 30
_SELECT = ("select", "--n", "4", "--out", "out", "--quiet")


@dataclass(frozen=True)
class FileKind:
    """A kind of file: its name, what writes a whole one below a folder, its lies about itself, and who reads it."""

    name: str
    write: Callable[[Path], None]
    lies: Callable[[bytes, random.Random], bytes]
    command: tuple[str, ...]


def _write_archive(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8)
    np.savez_compressed(folder / "x.npz", images=images, labels=np.arange(12))


def _lie_of_archive(data: bytes, rng: random.Random) -> bytes:
    """Another head of NumPy in front of the same numbers, in an archive that is whole."""
    shape = rng.choice(["(1000000000000, 4, 4)", "(3000000000, 4, 4)", "(-12, 4, 4)", "(12, 4, 4, 1e9)", "(12,)", "()"])
    kind = rng.choice(["|u1", "|O", "<f8", "<M8[s]", "|V99999999", "<U1000000000"])
    head = f"{{'descr': '{kind}', 'fortran_order': {rng.choice([True, False])}, 'shape': {shape}, }}"
    if rng.random() < 0.2:
        head = "(" * 5_000
    text = head.encode().ljust(10_000)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(192))
    return content.getvalue()


def _write_table(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    columns = {f"f{number}": rng.normal(size=40) for number in range(3)}
    pq.write_table(pa.table({"label": np.arange(40), **columns}), folder / "x.parquet")


def _write_image_table(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    rng, cells = np.random.default_rng(0), []
    for row in range(12):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": f"{row}.png"})
    pq.write_table(pa.table({"image": cells, "label": list(range(12))}), folder / "x.parquet")


def _lie_of_table(data: bytes, rng: random.Random) -> bytes:
    """Another length of the foot, or numbers in it that are far off."""
    if rng.random() < 0.3:
        length = rng.choice([0, 2**31 - 1, 2**32 - 1, len(data), rng.randrange(len(data))])
        return data[:-8] + struct.pack("<I", length) + data[-4:]
    length = struct.unpack("<I", data[-8:-4])[0]
    at = len(data) - 8 - length + rng.randrange(length - 8)
    return data[:at] + b"\xff\xff\xff\xff\x0f" + data[at + 5 :]


def _write_weights(folder: Path) -> None:
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    ViTModel(ViTConfig(**tiny, image_size=16, patch_size=8)).save_pretrained(folder / "encoder")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder / "encoder")
    np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8))


def _lie_of_weights(data: bytes, rng: random.Random) -> bytes:
    """A head that is too long, or whose tensors lie elsewhere, overlap, or have other shapes and types."""
    length = struct.unpack("<Q", data[:8])[0]
    if rng.random() < 0.3:
        return struct.pack("<Q", rng.choice([0, 1, 2**31, 2**63 - 1, 2**64 - 1, len(data)])) + data[8:]
    head = json.loads(data[8 : 8 + length])
    name = rng.choice([name for name in head if name != "__metadata__"])
    tensor = head[name]
    match rng.randrange(6):
        case 0:
            tensor["data_offsets"] = rng.choice([[0, 2**62], [2**62, 2**62 + 4], [-4, 4], [8, 0], [0], "all"])
        case 1:
            tensor["shape"] = rng.choice([[10**12], [2**62, 4], [-1], [0], ["many"], [1] * 1000])
        case 2:
            tensor["dtype"] = rng.choice(["F64", "I8", "F1024", 7, None])
        case 3:
            head[f"{name} again"] = tensor
        case 4:
            del head[name]
        case 5:
            head[name] = rng.choice([None, [], "tensor", 7])
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


_ENCODER = "{kind = 'encoder', model = './encoder', device = 'cpu'}"
KINDS = {
    kind.name: kind
    for kind in (
        FileKind("npz", _write_archive, _lie_of_archive, (*_SELECT, "a=x.npz")),
        FileKind("parquet", _write_table, _lie_of_table, (*_SELECT, "a=x.parquet")),
        FileKind("parquet of images", _write_image_table, _lie_of_table, (*_SELECT, "a=x.parquet")),
        FileKind("safetensors", _write_weights, _lie_of_weights, (*_SELECT, "a=x.npy", "--features", _ENCODER)),
    )
}
CLASSES = ("bytes changed", "cut or doubled", "a lie about itself")
N_CHANGES = 500


@dataclass(frozen=True)
class Change:
    """A change of a file; its number decides about it."""

    file: str
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.file}: {self.kind}, number {self.number}"


def mutated(kind: FileKind, what: str, data: bytes, rng: random.Random) -> bytes:
    """The content of a file, changed in one of the `CLASSES` of ways."""
    match what:
        case "bytes changed":
            changed = bytearray(data)
            for _ in range(rng.choice([1, 1, 2, 8, 64])):
                # Heads and ends say most.
                at = rng.choice([rng.randrange(len(data)), rng.randrange(min(200, len(data))), -1 - rng.randrange(100)])
                changed[at] = rng.choice([0, 0xFF, 0x7F, rng.randrange(256), changed[at] ^ (1 << rng.randrange(8))])
            return bytes(changed)
        case "cut or doubled":
            first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
            return rng.choice([data[:first], data[first:], data[:first] + data[last:], data[:last] + data[first:]])
        case _:
            return kind.lies(data, rng)


class Workbench:
    """One kind of file, whole, and the command that reads it."""

    def __init__(self, name: str, place: Path) -> None:
        self.kind, self._place = KINDS[name], place
        (place / "original").mkdir(parents=True)
        self.kind.write(place / "original")
        self._victim = next(path for path in (place / "original").rglob("*") if path.suffix == f".{name.split()[0]}")
        # In this process, so that what is forked has imported what it needs before its memory is limited.
        with contextlib.chdir(shutil.copytree(place / "original", place / "warm-up")):
            assert main(list(self.kind.command)) == 0
        assert (ended := self.ended(self._victim.read_bytes())).code == 0, ended

    def ended(self, content: bytes) -> Ended:
        """How the command ended that was given this content, in little more memory than it takes to begin."""
        case = self._place / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(self._place / "original", case)
        (case / self._victim.relative_to(self._place / "original")).write_bytes(content)
        return execute(self.kind.command, case, prepare=_limit_memory)

    def tries(self) -> list[Change]:
        """All changes that are tried, in an order in which every n-th is a fair sample."""
        return [Change(self.kind.name, CLASSES[number % len(CLASSES)], number) for number in range(N_CHANGES)]

    def reason(self, change: Change) -> str:
        """Why the command failed, or "" if it held."""
        rng = random.Random(str(change))
        return self.ended(mutated(self.kind, change.kind, self._victim.read_bytes(), rng)).unfit()


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
