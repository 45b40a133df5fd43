"""Training and sampling of the diffusion engine, side by side with a plain Diffusers loop written for the purpose.

    python benchmarks/engine.py --threads 1 --out engine.json             # a processor: under 5 minutes
    python benchmarks/engine.py --device cuda --out engine-cuda.json      # one GPU: under 8 minutes

Each contestant runs in a process of its own. The plain loop follows the manner of Diffusers' training example: PNG
files through a loader, autocast with a scaled loss on a GPU, AdamW and a learning-rate scheduler, ``loss.item()`` at
every step; it samples with ``DDPMScheduler.step``, under the same autocast. The floor is the time that the network's
multiplications take at the rate of one large matrix product, float32 on a processor and bfloat16 on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from entropick.diffusion import gate
from entropick.diffusion import sampling as sampling_loop
from entropick.diffusion.networks import build_network
from entropick.generators import DDPM
from entropick.generators.cost import Stopwatch


@dataclass(frozen=True)
class Case:
    """A network, its images, and how much of it is timed: steps from `first` to `last`, and `timesteps` of sampling."""

    network: str
    width: int
    image_shape: tuple[int, int, int]
    batch: int
    sampled: int
    first: int
    last: int
    timesteps: int

    def build(self) -> nn.Module:
        """The network that all contestants train and sample."""
        torch.manual_seed(0)
        return build_network(self.network, width=self.width, depth=2, image_shape=self.image_shape)

    def images(self) -> np.ndarray:
        """Random pixels: their values do not change the work."""
        return np.random.default_rng(0).integers(0, 256, (2048, *self.image_shape), dtype=np.uint8)


CASES = {
    "cpu": {
        "unet-16": Case("unet", 16, (32, 32, 3), 16, 16, first=3, last=15, timesteps=20),
        "unet-48": Case("unet", 48, (32, 32, 3), 8, 8, first=3, last=11, timesteps=15),
        "mlp-256": Case("mlp", 256, (8, 8, 1), 128, 256, first=50, last=550, timesteps=100),
        "mlp-1024": Case("mlp", 1024, (28, 28, 1), 128, 256, first=10, last=110, timesteps=60),
    },
    "cuda": {
        "unet-48": Case("unet", 48, (32, 32, 3), 128, 1024, first=30, last=180, timesteps=40),
        "mlp-1024": Case("mlp", 1024, (28, 28, 1), 128, 1024, first=50, last=550, timesteps=100),
    },
}
# Contestant -> precision of our engine; None is the plain loop.
CONTESTANTS = {
    "plain loop": None,
    "entropick auto": "auto",
    "entropick float32": "float32",
    "entropick bfloat16": "bfloat16",
    "entropick float16": "float16",
}
ON = {
    "cpu": ("plain loop", "entropick auto", "entropick float32", "entropick bfloat16"),
    "cuda": ("plain loop", "entropick auto", "entropick bfloat16", "entropick float16", "entropick float32"),
}


def entropick(case: Case, precision: str, device: str) -> dict[str, Any]:
    """This package, by its public class; "auto" is what long work takes."""
    gate.WORTH_TIMING = gate.WORTH_TRYING = 0
    # A chunk is as large as it is to be timed.
    sampling_loop._AT_ONCE = ()
    model = DDPM(
        network=case.network,
        width=case.width,
        depth=2,
        steps=case.last,
        batch_size=case.batch,
        sampling_steps=case.timesteps,
        sampling_chunk=case.sampled,
        precision=precision,
        device=device,
    )
    training, sampling = Stopwatch(case.first, case.last), Stopwatch(1, 2)
    model.fit(case.images(), work=training)
    # The first chunk pays for what is built once.
    model.sample(2 * case.sampled, work=sampling)
    ways = (model.training_values(), model.sampling_values())
    return {
        "training_ms": 1e3 * training.seconds,
        "sampling_ms": 1e3 * sampling.seconds / case.timesteps,
        "execution": [way.get("execution", "float32, eager") for way in ways],
        "refused": [way.get("refused", []) for way in ways],
        "parts": model.sampling_values().get("computed_in_parts", 1),
    }


class PngFolder(torch.utils.data.Dataset):
    """Images as files, decoded anew for every batch."""

    def __init__(self, folder: Path, images: np.ndarray) -> None:
        self._paths = [folder / f"{i:05d}.png" for i in range(len(images))]
        for path, image in zip(self._paths, images, strict=True):
            Image.fromarray(image.squeeze()).save(path)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self._paths[row]) as image:
            pixels = np.atleast_3d(np.asarray(image))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1.0


def plain_loop(case: Case, device: str) -> dict[str, Any]:
    """Diffusers as its examples use it."""
    network = case.build().to(device)
    with tempfile.TemporaryDirectory() as folder:
        training = plain_training(case, network, device, PngFolder(Path(folder), case.images()))
    return {"training_ms": training, "sampling_ms": plain_sampling(case, network, device)}


def plain_training(case: Case, network: nn.Module, device: str, images: PngFolder) -> float:
    """Milliseconds per step."""
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_cosine_schedule_with_warmup

    on_gpu = device == "cuda"
    loader = torch.utils.data.DataLoader(
        images, batch_size=case.batch, shuffle=True, drop_last=True, num_workers=8 if on_gpu else 0
    )
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, 500, 128_000)
    scaler = torch.amp.GradScaler(device, enabled=on_gpu)
    watch, step = Stopwatch(case.first, case.last), 0
    while step < case.last:
        for clean in loader:
            x = clean.to(device)
            noise = torch.randn(x.shape, device=device)
            timesteps = torch.randint(0, 1000, (len(x),), device=device).long()
            noisy = scheduler.add_noise(x, noise, timesteps)
            with torch.autocast(device, torch.float16 if on_gpu else torch.bfloat16, enabled=on_gpu):
                predicted = network(noisy, timesteps)
            loss = functional.mse_loss(predicted.float(), noise)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            optimizer.zero_grad()
            loss.detach().item()
            watch.due()
            step += 1
            if step == case.last:
                break
    return 1e3 * watch.seconds


@torch.no_grad()
def plain_sampling(case: Case, network: nn.Module, device: str) -> float:
    """Milliseconds per timestep."""
    from diffusers import DDPMScheduler

    on_gpu = device == "cuda"
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(case.timesteps)
    height, width, channels = case.image_shape
    watch = Stopwatch(1, 2)
    for _ in range(2):
        x = torch.randn((case.sampled, channels, height, width), device=device)
        for t in scheduler.timesteps:
            with torch.autocast(device, torch.float16 if on_gpu else torch.bfloat16, enabled=on_gpu):
                predicted = network(x, t.to(device).expand(len(x)))
            x = scheduler.step(predicted.float(), t, x).prev_sample
        ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        watch.due()
    return 1e3 * watch.seconds / case.timesteps


def floor(case: Case, device: str) -> dict[str, Any]:
    """What the multiplications alone would take: forward for sampling, three times that for training."""
    _, flops = DDPM(network=case.network, width=case.width, depth=2).size(case.image_shape)
    rate = matrix_rate(device)
    return {
        "training_ms": 3e3 * flops * case.batch / rate,
        "sampling_ms": 1e3 * flops * case.sampled / rate,
        "matrix_tflops": rate / 1e12,
        "gflop_per_image": flops / 1e9,
    }


def matrix_rate(device: str) -> float:
    """FLOP per second of one large matrix product, the best of ten."""
    size = 8192 if device == "cuda" else 2048
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def run_one(case: Case, contestant: str, device: str) -> dict[str, Any]:
    """Time one contestant in this process."""
    if contestant == "floor":
        return floor(case, device)
    precision = CONTESTANTS[contestant]
    found = plain_loop(case, device) if precision is None else entropick(case, precision, device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**found, "peak_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else peak}


def run_apart(name: str, contestant: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time one contestant in a process of its own."""
    command = [sys.executable, __file__, "--one", name, contestant, "--device", arguments.device]
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def best_of(name: str, contestant: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The smaller times of several processes: whatever else a machine does only adds to them."""
    found = [run_apart(name, contestant, arguments) for _ in range(arguments.repeats)]
    return {**found[0], **{key: min(row[key] for row in found) for key in ("training_ms", "sampling_ms")}}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """One case as Markdown: milliseconds, how many times as fast as the plain loop, how many times the floor."""
    plain, least = rows["plain loop"], rows["floor"]
    lines = [
        "| | training step, ms | x plain | x floor | sampling timestep, ms | x plain | x floor | peak memory | as |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, row in rows.items():
        cells = [name]
        for key in ("training_ms", "sampling_ms"):
            cells += [f"{row[key]:.2f}", f"{plain[key] / row[key]:.2f}", f"{row[key] / least[key]:.1f}"]
        cells.append(f"{row['peak_bytes'] / 1e6:,.0f} MB" if "peak_bytes" in row else "")
        parts = f"; a chunk in {row['parts']} parts" if row.get("parts", 1) > 1 else ""
        cells.append(" / ".join(dict.fromkeys(row.get("execution", []))) + parts)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the cases, print the tables, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=list(CASES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=2, help="processes per contestant; the smaller times count")
    parser.add_argument("--cases", nargs="+", help="some of the device's cases (default: all)")
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cases = CASES[arguments.device]
    if arguments.one:
        print(json.dumps(run_one(cases[arguments.one[0]], arguments.one[1], arguments.device)))
        return
    found: dict[str, Any] = {}
    for name in arguments.cases or cases:
        rows = {who: best_of(name, who, arguments) for who in (*ON[arguments.device], "floor")}
        found[name] = {"case": asdict(cases[name]), "rows": rows}
        print(f"\n**{name}** ({cases[name]})\n\n{table(rows)}", flush=True)
    if arguments.out:
        machine = {"torch": torch.__version__, "python": platform.python_version(), "threads": arguments.threads}
        machine["device"] = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor()
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"machine": machine, "cases": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
