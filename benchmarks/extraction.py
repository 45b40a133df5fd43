"""Features of a folder of photographs, side by side with a torch DataLoader before the same encoder.

    python benchmarks/extraction.py --n 400 --threads 2
    python benchmarks/extraction.py --encoder ../shared/encoders/tf_efficientnet_lite0

Each contestant runs in a process of its own: images per second, and the most memory of the process (of the loader's
workers, the largest beside it). Without an encoder, a small network of timm with random weights is written and used.
The photographs are those of ``tests/photographs.py``: 40 sizes, several formats; here none is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1] / "tests"
CONTESTANTS = ("entropick", "entropick, bfloat16", "DataLoader, 0 workers", "DataLoader, 2 workers")
BATCH = 16


def entropick(files: list[Path], encoder: Path, precision: str) -> np.ndarray:
    """This package: threads read and prepare ahead of the network, every image as a viewer shows it."""
    from entropick.features import Encoder
    from entropick.features.stream import ImageFiles, stream

    space = Encoder(model=str(encoder), device="cpu", precision=precision)
    pictures = ImageFiles(files, [None] * len(files), "rgb")
    return np.concatenate([part.X for part in stream(space, pictures, range(len(files)))])


def data_loader(files: list[Path], encoder: Path, n_workers: int) -> np.ndarray:
    """The usual way: a data set that decodes and transforms, a loader of batches, the network."""
    import timm
    import torch
    from PIL import Image

    model = timm.create_model(f"local-dir:{encoder}", pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model), is_training=False)

    class Photographs(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, row: int) -> Any:
            return transform(Image.open(files[row]).convert("RGB"))

    loader = torch.utils.data.DataLoader(Photographs(), batch_size=BATCH, num_workers=n_workers)
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in loader]).numpy()


def contest(name: str, folder: Path, encoder: Path, threads: int) -> dict[str, Any]:
    """Run one contestant here, after a pass over a few images."""
    import torch

    torch.set_num_threads(threads)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    ways: dict[str, Any] = {
        "entropick": lambda files: entropick(files, encoder, "float32"),
        "entropick, bfloat16": lambda files: entropick(files, encoder, "bfloat16"),
        "DataLoader, 0 workers": lambda files: data_loader(files, encoder, 0),
        "DataLoader, 2 workers": lambda files: data_loader(files, encoder, 2),
    }
    ways[name](files[:BATCH])
    started = time.perf_counter()
    X = ways[name](files)
    seconds = time.perf_counter() - started
    assert X.shape[0] == len(files)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    return {"contestant": name, "images_per_second": len(files) / seconds, "peak_mb": peak}


def main() -> None:
    """Prepare the folder and the encoder, and let each contestant run by itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=400, help="photographs")
    parser.add_argument("--largest", type=int, default=3000, help="the longest of their shorter sides")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--encoder", type=Path, help="a checkpoint folder of timm")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, folder, encoder = arguments.one
        print(json.dumps(contest(name, Path(folder), Path(encoder), arguments.threads)))
        return
    sys.path[:0] = [str(TESTS), str(TESTS / "features")]
    from checkpoints import write_timm
    from photographs import write_photographs

    with tempfile.TemporaryDirectory() as place:
        photographs, encoder = Path(place) / "photographs", arguments.encoder or write_timm(Path(place) / "encoder")
        write_photographs(photographs, arguments.n, largest=arguments.largest, broken=0)
        print("| | images per second | most memory |\n| --- | ---: | ---: |")
        for name in CONTESTANTS:
            command = [sys.executable, __file__, "--threads", str(arguments.threads)]
            command += ["--one", name, str(photographs), str(encoder)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
            told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
            found = json.loads(told.splitlines()[-1])
            print(f"| {name} | {found['images_per_second']:.1f} | {found['peak_mb']:,.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
