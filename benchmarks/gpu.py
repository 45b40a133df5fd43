"""One GPU, seen by one command: what is there, how fast it could be, how fast we are, and beside whom.

    python benchmarks/gpu.py --out gpu.json                      # one GPU: at most 9 minutes
    python benchmarks/gpu.py --device cpu --quick                # the same code, tiny, where there is no GPU
    python benchmarks/gpu.py --only engine launches --out gpu.json
    python benchmarks/gpu.py --table gpu.json                    # the tables of an earlier run

It needs Python 3.12, torch 2.11 and what entropick needs to run (numpy, scipy, scikit-learn, pyarrow, safetensors,
threadpoolctl), pytest for the tests, transformers for the encoder, and Diffusers (a wheel of 0.42 will do, without its
own dependencies but importlib-metadata) for the rivals alone; no network. What is missing is named, and its part left
out. Each part runs in a process with a time limit of its own; what it has found stands in the JSON file at once, so
that a run that is cut still tells. The parts are in the order of what one would miss most, and all of their limits are
more than the time there is: what is compiled takes minutes, and is best asked for by itself (``--only compiled``).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import queue
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
PACKAGES = ("torch", "triton", "numpy", "scipy", "scikit-learn", "pyarrow", "safetensors", "diffusers", "transformers")


@dataclass(frozen=True)
class Setting:
    """What every part is told: the device, whether it is to be tiny, and where CIFAR-10 lies."""

    device: str
    quick: bool
    data: Path | None
    reference: Path | None

    @property
    def is_gpu(self) -> bool:
        """Whether the device is one."""
        return self.device.startswith("cuda")

    def wait(self) -> None:
        """Until the device has done all it was given."""
        if self.is_gpu:
            import torch

            torch.cuda.synchronize()

    def seconds(self, function: Callable[[], Any], repeats: int = 5) -> float:
        """The median of a few calls, after one that is not counted."""
        function()
        self.wait()
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            function()
            self.wait()
            times.append(time.perf_counter() - started)
        return statistics.median(times)


def tell(what: str, value: float | str, unit: str = "", **notes: Any) -> None:
    """One row of what a part has found; the parent reads it at once."""
    print(json.dumps({"what": what, "value": value, "unit": unit, **notes}), flush=True)


# -- what is there -------------------------------------------------------------------------------------------------


def environment(setting: Setting) -> None:
    """Versions, the device, and what is missing."""
    import torch

    tell("Python", platform.python_version())
    for name in PACKAGES:
        try:
            tell(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            tell(name, "not installed")
    tell("processor", platform.processor() or platform.machine(), cores=os.cpu_count())
    if setting.is_gpu:
        about = torch.cuda.get_device_properties(0)
        tell("GPU", about.name, multiprocessors=about.multi_processor_count)
        tell("memory", about.total_memory / 2**30, "GiB")
        tell("CUDA", str(torch.version.cuda))


def floors(setting: Setting) -> None:
    """What this device can do at best: products, memory, launches."""
    import torch

    size = 512 if setting.quick else 8192
    for name in ("bfloat16", "float32", "float64"):
        a = torch.randn(size, size, device=setting.device, dtype=getattr(torch, name))
        tell(f"matrix product, {name}", 2e-12 * size**3 / setting.seconds(lambda a=a: a @ a), "TFLOP/s", size=size)
    x = torch.empty(2**20 if setting.quick else 2**30, dtype=torch.uint8, device=setting.device)
    y = torch.empty_like(x)
    tell("copy within memory", 2e-9 * x.numel() / setting.seconds(lambda: y.copy_(x)), "GB/s")
    small = torch.zeros(16, device=setting.device)

    def many() -> None:
        for _ in range(1000):
            small.add_(1.0)

    tell("launch, from Python", 1e3 * setting.seconds(many), "us")
    if setting.is_gpu:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            many()
        tell("launch, in a graph", 1e3 * setting.seconds(graph.replay), "us")


# -- the engine ----------------------------------------------------------------------------------------------------


def case(setting: Setting) -> Any:
    """The paper's network and batch; a small one where it is to be quick."""
    from engine import Case

    if setting.quick:
        return Case("unet", 16, (8, 8, 3), 8, 8, first=2, last=5, timesteps=4)
    return Case("unet", 48, (32, 32, 3), 128, 1024, first=30, last=130, timesteps=30)


def engine(setting: Setting) -> None:
    """Ours, by precision."""
    from engine import entropick

    chosen = case(setting)
    for precision in ("auto", "float32") if setting.is_gpu else ("float32", "bfloat16"):
        found = entropick(chosen, precision, setting.device)
        notes = {"as": found["execution"][0], "refused": found["refused"][0]}
        tell(f"training step, {precision}", found["training_ms"], "ms", **notes)
        notes = {"as": found["execution"][1], "refused": found["refused"][1]}
        tell(f"sampling timestep, {precision}", found["sampling_ms"], "ms", **notes)
    if setting.is_gpu:
        import torch

        tell("peak memory", torch.cuda.max_memory_allocated() / 1e9, "GB")
        tell_floor(setting, chosen)
        from entropick.generators import ddpm

        # Not used: what kernels would save that may round otherwise in the next run.
        ddpm.launching_on = torch.cuda.device
        found = entropick(chosen, "bfloat16", setting.device)
        tell("training step", found["training_ms"], "ms", **{"as": "bfloat16, cuDNN free to take any kernel"})
        tell("sampling timestep", found["sampling_ms"], "ms", **{"as": "bfloat16, cuDNN free to take any kernel"})
    else:
        tell_floor(setting, chosen)


def compiled(setting: Setting) -> None:
    """Ours through torch.compile, as a long training has it: what compiling takes, what it gains, how many launches."""
    from engine import entropick

    from entropick.diffusion import gate

    gate.WORTH_COMPILING = 0.0
    chosen, started = case(setting), time.perf_counter()
    found = entropick(chosen, "auto" if setting.is_gpu else "float32", setting.device)
    for name, number in (("training step", 0), ("sampling timestep", 1)):
        key = "training_ms" if number == 0 else "sampling_ms"
        tell(name, found[key], "ms", **{"as": found["execution"][number], "refused": found["refused"][number]})
    tell("both, with all compilation", time.perf_counter() - started, "s")
    launches(setting)


def chunks(setting: Setting) -> None:
    """A sample in small chunks: one after another, and as many at once as are timed to be fastest."""
    import numpy as np

    from entropick.diffusion import gate, sampling
    from entropick.generators import DDPM

    gate.WORTH_TIMING = gate.WORTH_TRYING = 0
    network, width, size = ("mlp", 16, 8) if setting.quick else ("unet", 48, 32)
    chunk, n, steps = (8, 64, 4) if setting.quick else (256, 4096, 100)
    model = DDPM(network=network, width=width, steps=2, sampling_steps=steps, sampling_chunk=chunk)
    model.set_params(device=setting.device).fit(np.zeros((128, size, size, 3), np.uint8))
    for at_once in ((), sampling._AT_ONCE):
        sampling._AT_ONCE = at_once
        started = time.perf_counter()
        model.sample(n)
        setting.wait()
        notes = {"as": f"{model.sampling_values().get('chunks_at_once', 1)} at once, with all that is built and timed"}
        tell(f"{n:,} images, chunks of {chunk}, {steps} timesteps", time.perf_counter() - started, "s", **notes)


def tell_floor(setting: Setting, chosen: Any) -> None:
    """What the multiplications alone take, at the rate of one large product."""
    from engine import floor

    least = floor(chosen, setting.device)
    tell("floor of a training step", least["training_ms"], "ms", tflops=least["matrix_tflops"])
    tell("floor of a sampling timestep", least["sampling_ms"], "ms")


def plain_loop(setting: Setting) -> None:
    """A fair plain Diffusers loop: data on the device, bfloat16 autocast, fused AdamW, nothing read back."""
    plain(setting, compiled=False)


def compiled_loop(setting: Setting) -> None:
    """The same loop under torch.compile."""
    plain(setting, compiled=True)


def plain(setting: Setting, *, compiled: bool) -> None:
    """Time it: a training step, then a sampling timestep under the same autocast."""
    import torch
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from torch.nn import functional

    chosen, device = case(setting), torch.device(setting.device)
    width = chosen.width
    torch.manual_seed(0)
    stages = 6 if chosen.image_shape[0] >= 32 else 3
    network = UNet2DModel(
        sample_size=chosen.image_shape[0],
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=(width, width, 2 * width, 2 * width, 4 * width, 4 * width)[:stages],
        down_block_types=("DownBlock2D",) * (stages - 2) + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * (stages - 2),
        norm_num_groups=16,
    ).to(device)
    images = torch.from_numpy(chosen.images()).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    alphas = scheduler.alphas_cumprod.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimizer, 500, 128_000)
    # As ours: each size compiled for itself.
    forward = torch.compile(network, dynamic=False) if compiled else network
    amp = torch.autocast(device.type, torch.bfloat16)

    def step() -> None:
        x = images[torch.randint(len(images), (chosen.batch,), device=device)]
        noise = torch.randn_like(x)
        timesteps = torch.randint(0, 1000, (chosen.batch,), device=device)
        alpha = alphas[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * x + (1 - alpha).sqrt() * noise
        with amp:
            predicted = forward(noisy, timesteps, return_dict=False)[0]
        loss = functional.mse_loss(predicted.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)

    name, started = "torch.compile" if compiled else "eager", time.perf_counter()
    step()
    setting.wait()
    tell("first training step", time.perf_counter() - started, "s", **{"as": name})
    for _ in range(chosen.first):
        step()
    setting.wait()
    n, started = chosen.last - chosen.first, time.perf_counter()
    for _ in range(n):
        step()
    setting.wait()
    tell("training step", 1e3 / n * (time.perf_counter() - started), "ms", **{"as": name})
    x = torch.randn(chosen.sampled, 3, *chosen.image_shape[:2], device=device)
    scheduler.set_timesteps(1000)

    @torch.no_grad()
    def walk() -> None:
        images = x
        # The scheduler compares them with its own, which stay on the host.
        on_host = scheduler.timesteps[: chosen.timesteps]
        for t, there in zip(on_host, on_host.to(device), strict=True):
            with amp:
                predicted = forward(images, there.expand(len(images)), return_dict=False)[0]
            images = scheduler.step(predicted.float(), t, images).prev_sample

    tell("sampling timestep", 1e3 / chosen.timesteps * setting.seconds(walk, 1), "ms", **{"as": name})


def launches(setting: Setting) -> None:
    """How many kernels a step and a timestep are, and the ten dearest of each; operators where there is no GPU."""
    if setting.is_gpu:
        count_launches(setting, kernels(setting), "")
        return
    from entropick.diffusion.execution import Execution

    ways = Execution.ways
    for name, fused in (("autocast", False), ("fused", True)):
        import torch

        way = Execution(torch.device("cpu"), torch.bfloat16, channels_last=fused, fused=fused)
        Execution.ways = lambda *given, way=way: (way,)  # type: ignore[method-assign,assignment,misc]
        count_launches(setting, operators(), f", {name}")
    Execution.ways = ways  # type: ignore[method-assign]


def count_launches(setting: Setting, watch: type, name: str) -> None:
    """Of a step and of a timestep of the paper's network, as `watch` sees them."""
    from engine import Case

    from entropick.generators import DDPM

    # Operators do not depend on the batch, kernels hardly; the network is the paper's in any case.
    chosen = case(setting) if setting.is_gpu else Case("unet", 48, (32, 32, 3), 2, 2, first=0, last=0, timesteps=0)
    model = DDPM(
        network="unet",
        width=chosen.width,
        steps=8,
        batch_size=chosen.batch,
        sampling_steps=12,
        sampling_chunk=chosen.sampled,
        precision="bfloat16",
        device=setting.device,
    )
    training, sampling = watch(first=4, last=7, of_steps=True), watch(first=16, last=20, of_steps=False)
    model.fit(chosen.images(), work=training)
    model.sample(2 * chosen.sampled, work=sampling)
    ways = (model.training_values().get("execution", ""), model.sampling_values().get("execution", ""))
    for kind, seen, way in (("training step", training, ways[0]), ("sampling timestep", sampling, ways[1])):
        tell(f"{seen.unit} of a {kind}{name}", seen.count, "", milliseconds=seen.milliseconds, **{"as": way})
        for kernel, number, milliseconds in seen.dearest[:10]:
            tell(f"{kind}{name}: {kernel}", milliseconds, "ms", number=number)


def between() -> type:
    """A `Work` that looks at what happens from one step to another."""
    from entropick.work import Work

    class Between(Work):
        unit = ""

        def __init__(self, *, first: int, last: int, of_steps: bool) -> None:
            self.first, self.last, self.of_steps, self.steps = first, last, of_steps, 0
            self.count, self.milliseconds, self.dearest = 0.0, 0.0, []

        def due(self) -> bool:
            self._pass(self.of_steps)
            return False

        def progress(self, done: int, total: int, note: str = "") -> None:
            self._pass(not self.of_steps)

        def _pass(self, counts: bool) -> None:
            self.steps += counts
            if counts and self.steps == self.first:
                self.begin()
            if counts and self.steps == self.last:
                self.end(self.last - self.first)

        def begin(self) -> None:
            raise NotImplementedError

        def end(self, n: int) -> None:
            raise NotImplementedError

    return Between


def kernels(setting: Setting) -> type:
    """Counts the kernels of a GPU, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    class Kernels(between()):  # type: ignore[misc]
        unit = "launches"

        def begin(self) -> None:
            setting.wait()
            self.profiler = profile(activities=[ProfilerActivity.CUDA])
            self.profiler.start()

        def end(self, n: int) -> None:
            setting.wait()
            self.profiler.stop()
            found: dict[str, list[float]] = {}
            for event in self.profiler.events():
                if "cuda" in str(event.device_type).lower():
                    found.setdefault(event.name, []).append(event.device_time_total / 1e3)
            self.count = sum(map(len, found.values())) / n
            self.milliseconds = sum(map(sum, found.values())) / n
            rows = [(name[:90], len(times) / n, sum(times) / n) for name, times in found.items()]
            self.dearest = sorted(rows, key=lambda row: -row[2])

    return Kernels


def operators() -> type:
    """Counts the operators that reach a device's kernels, as torch dispatches them; views are none.

    A convolution is as many as a GPU has kernels for it: one, one for its bias, and backward one for each gradient.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    from entropick.diffusion import networks

    class Counting(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.found: dict[str, int] = {}

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if not function.is_view:
                name = str(function.overloadpacket)
                n = 1
                if name in ("aten.convolution", "aten.conv2d"):
                    n += len(args) > 2 and args[2] is not None
                elif name == "aten.convolution_backward":
                    n = sum(args[-1])
                self.found[name] = self.found.get(name, 0) + n
            return function(*args, **(kwargs or {}))

    class Operators(between()):  # type: ignore[misc]
        unit = "operators"

        def begin(self) -> None:
            self.mode, self.plain = Counting(), (networks._normed, networks._Resnet._joined)
            networks._normed = as_one(self.plain[0], self.mode.found)
            networks._Resnet._joined = joined_as_one()  # type: ignore[method-assign]
            self.mode.__enter__()

        def end(self, n: int) -> None:
            self.mode.__exit__(None, None, None)
            networks._normed, networks._Resnet._joined = self.plain  # type: ignore[method-assign]
            self.count = sum(self.mode.found.values()) / n
            rows = [(name, number / n, 0.0) for name, number in self.mode.found.items()]
            self.dearest = sorted(rows, key=lambda row: -row[1])

    return Operators


def as_one(normed: Callable[..., Any], found: dict[str, int]) -> Callable[..., Any]:
    """A norm counted as the kernels that it is on a GPU: one forward; one backward, and a sum over images."""
    import torch
    from torch.utils._python_dispatch import _disable_current_modes

    class One(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, norm: Any, x: Any, shift: Any, activated: bool, *weights: Any) -> Any:
            found["normed"] = found.get("normed", 0) + 1
            with _disable_current_modes(), torch.enable_grad():
                given = [None if one is None else one.detach().requires_grad_() for one in (x, shift)]
                y = normed(norm, *given, fused=True, activated=activated)
            ctx.given, ctx.weights, ctx.y = given, weights, y
            return y.detach()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            found["normed, backward"] = found.get("normed, backward", 0) + 2
            wanted = [one for one in ctx.given if one is not None]
            with _disable_current_modes():
                of = list(torch.autograd.grad(ctx.y, [*wanted, *ctx.weights], gradient))
            of_x, of_shift = of.pop(0), of.pop(0) if ctx.given[1] is not None else None
            return None, of_x, of_shift, None, *of

    def counted(norm: Any, x: Any, shift: Any = None, *, fused: bool, activated: bool = True) -> Any:
        if not fused:
            return normed(norm, x, shift, fused=False, activated=activated)
        return One.apply(norm, x, shift, activated, norm.weight, norm.bias)

    return counted


def joined_as_one() -> Callable[..., Any]:
    """The sum at the end of a residual block, counted as the kernels that it is: one; backward the sum of a bias."""
    import torch
    from torch.nn import functional

    class One(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any, *biases: Any) -> Any:
            ctx.n = len(biases)
            return x + y

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient, gradient, *[gradient.sum((0, 2, 3))] * ctx.n

    def counted(block: Any, x: Any, hidden: Any) -> Any:
        hidden, biases = functional.conv2d(hidden, block.conv2.weight, padding=1), [block.conv2.bias]
        if block.conv_shortcut is not None:
            x, biases = functional.conv2d(x, block.conv_shortcut.weight), [*biases, block.conv_shortcut.bias]
        return One.apply(x, hidden, *biases)

    return counted


# -- selection and neighbours --------------------------------------------------------------------------------------


def selection(setting: Setting) -> None:
    """Ours on the device and on the processor, beside a plain loop on the device: one distance sweep per pick."""
    import torch

    from entropick.selectors import Greedy, ThresholdDecay

    sizes = [(400, 100)] if setting.quick else [(20_000, 10_000), (100_000, 20_000), (622_592, 32_768)]
    pools, few = {n: rows(n) for n, _ in sizes}, rows(400 if setting.quick else 8_000)
    chosen: dict[int, np.ndarray] = {}
    # All of the device first: the processor may take longer than there is time.
    for device in dict.fromkeys((setting.device, "cpu")):
        notes = {"as": f"ours, {device}"}
        decay = ThresholdDecay(n_samples=len(few) // 2, threshold="auto", random_state=0, device=device)
        decay.fit(few)
        started = time.perf_counter()
        decay.fit(few)
        tell(f"threshold decay {len(few):,} x 384 -> {len(few) // 2:,}", time.perf_counter() - started, "s", **notes)
        for n, picks in sizes:
            greedy = Greedy(n_samples=picks, initial=[0], device=device)
            dataclasses.replace(greedy, n_samples=100).fit(pools[n][:500])
            # Once more without what the first time takes: memory that is pinned here and allocated there.
            for name in ("", ", again") if device == setting.device else ("",):
                started = time.perf_counter()
                found = greedy.fit(pools[n]).indices_
                tell(f"greedy {n:,} x 384 -> {picks:,}{name}", time.perf_counter() - started, "s", **notes)
            tell("the same rows", str(np.array_equal(chosen.setdefault(n, found), found)), **notes)
            if device == setting.device:
                on_device = torch.from_numpy(pools[n]).to(device)
                plain_greedy(on_device, 2)
                started = time.perf_counter()
                plain_greedy(on_device, min(picks, 2000))
                setting.wait()
                seconds = (time.perf_counter() - started) * picks / min(picks, 2000)
                told = {"as": f"plain loop, {device}", "timed_on": min(picks, 2000)}
                tell(f"greedy {n:,} x 384 -> {picks:,}", seconds, "s", **told)


def neighbors(setting: Setting) -> None:
    """The nearest of as many rows, ours and by plain products."""
    import torch

    from entropick.neighbors import nearest_neighbors

    n = 500 if setting.quick else 32_768
    asking, known = rows(n), rows(n, seed=1)
    for device in dict.fromkeys((setting.device, "cpu")):
        nearest_neighbors(asking[:500], known[:500], device=device)
        for name in ("", ", again") if device == setting.device else ("",):
            started = time.perf_counter()
            nearest_neighbors(asking, known, device=device)
            seconds = time.perf_counter() - started
            tell(f"nearest of {n:,} in {n:,} x 384{name}", seconds, "s", **{"as": f"ours, {device}"})
    a, b = (torch.from_numpy(X).to(setting.device) for X in (asking, known))
    seconds = setting.seconds(lambda: [torch.cdist(part, b).min(1) for part in a.split(4096)], 3)
    tell(f"nearest of {n:,} in {n:,} x 384", seconds, "s", **{"as": f"cdist in float32, {setting.device}"})


def rows(n: int, seed: int = 0) -> np.ndarray:
    """Random rows of the width of DINOv2-small."""
    return np.random.default_rng(seed).standard_normal((n, 384), dtype=np.float32)


def plain_greedy(rows: Any, n: int) -> list[int]:
    """As the paper's released code does it, on the device of the rows."""
    import torch

    nearest = torch.full((len(rows),), float("inf"), device=rows.device)
    picks = [0]
    while len(picks) < n:
        nearest = torch.minimum(nearest, torch.cdist(rows, rows[picks[-1]][None])[:, 0])
        picks.append(int(nearest.argmax()))
    return picks


# -- the rest ------------------------------------------------------------------------------------------------------


def encoder(setting: Setting) -> None:
    """Images per second through DINOv2-small's architecture, random weights; and a classifier that is learned."""
    from entropick.features import Classifier, DINOv2
    from entropick.features.stream import ImageArray, stream

    images = np.random.default_rng(0).integers(0, 256, (8 if setting.quick else 4096, 32, 32, 3), dtype=np.uint8)
    n = min(len(images), 1024)
    for device in dict.fromkeys(("cpu", setting.device)):
        classifier, started = Classifier(steps=100 if setting.quick else 1000, device=device), time.perf_counter()
        classifier.fit(images[:n], np.arange(n) % 2)
        tell(f"classifier, learned from {n:,} images on {device}", time.perf_counter() - started, "s")
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    with tempfile.TemporaryDirectory() as folder:
        layers = 1 if setting.quick else 12
        config = Dinov2Config(hidden_size=384, num_hidden_layers=layers, num_attention_heads=6, image_size=518)
        Dinov2Model(config).save_pretrained(folder)
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        crop = {"height": 224, "width": 224}
        BitImageProcessor(size={"shortest_edge": 256}, crop_size=crop, image_mean=mean, image_std=std).save_pretrained(
            folder
        )
        for precision in ("float32", "bfloat16"):
            features = DINOv2(path=folder, device=setting.device, precision=precision)
            features.extract(images[:4])
            started = time.perf_counter()
            for _ in stream(features, ImageArray(images), range(len(images))):
                pass
            rate = len(images) / (time.perf_counter() - started)
            tell(f"DINOv2-small, {precision}, prepared on threads", rate, "images/s", at_once=features.at_once)


# A line of pytest's about a test that has ended.
_ENDED = re.compile(r"(\S+::.*) (PASSED|FAILED|ERROR|SKIPPED)\b.*\[ *\d+%\]$")


def tests(setting: Setting) -> None:
    """The tests that need a CUDA device, and nothing else."""
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-v", "-W", "default", "-p", "no:cacheprovider"]
    command += ["--continue-on-collection-errors", "--tb=line"]
    started = time.perf_counter()
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "4", "PYTHONPATH": path}
    ended: dict[str, int] = {}
    last = ""
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        # Told as it goes, so that a part that is cut still tells.
        for line in filter(None, map(str.rstrip, process.stdout)):
            last = line
            if found := _ENDED.match(line):
                ended[found[2]] = ended.get(found[2], 0) + 1
                if sum(ended.values()) % 100 == 0:
                    tell("tests so far", str(ended), seconds=time.perf_counter() - started)
            if line.startswith(("FAILED", "ERROR")) or (found and found[2] in ("FAILED", "ERROR")):
                tell("failed", line[:300])
    tell("pytest -m cuda", last, seconds=time.perf_counter() - started)


def loop(setting: Setting) -> None:
    """Two iterations of a loop over CIFAR-10, or random pixels, which take as long: 1,024 images, 500 steps, 50
    timesteps; no page."""
    from entropick import Loop
    from entropick.datasets import ArrayFile
    from entropick.generators import DDPM
    from entropick.paradigms import Accumulate
    from entropick.run import History
    from entropick.selectors import Greedy

    n, steps, timesteps = (64, 3, 2) if setting.quick else (1024, 500, 50)
    generator = DDPM(
        width=16 if setting.quick else 48, steps=steps, sampling_steps=timesteps, device=setting.device, warmup_steps=1
    )
    selector = Greedy(n_samples=n, device=setting.device)
    with tempfile.TemporaryDirectory() as folder:
        data, reference = setting.data, setting.reference
        if data is None:
            data = Path(folder) / "random.npy"
            np.save(data, np.random.default_rng(0).integers(0, 256, (2 * n, 32, 32, 3), dtype=np.uint8))
            tell("images", "random pixels: there is no --data")
        dataset = ArrayFile(path=str(data), reference=str(reference) if reference else None, n_images=n)
        started = time.perf_counter()
        work = Loop(dataset=dataset, generator=generator, selector=selector, paradigm=Accumulate(), n_iterations=2)
        work.run(Path(folder) / "run", observer=finished_stages())
        tell("two iterations", time.perf_counter() - started, "s", images=n, steps=steps, timesteps=timesteps)
        tell("iterations done", History(Path(folder) / "run").n_iterations_done)


def finished_stages() -> Callable[[Any], None]:
    """Tells how long each stage took."""
    last = [time.perf_counter()]

    def observe(event: Any) -> None:
        if event.status == "done":
            now = time.perf_counter()
            tell(f"iteration {event.iteration}, {event.stage}", now - last[0], "s")
            last[0] = now

    return observe


# Part -> what it does, and the seconds that it may take. In the order of what one would miss most.
PARTS: dict[str, tuple[Callable[[Setting], None], int]] = {
    "environment": (environment, 40),
    "floors": (floors, 40),
    "engine": (engine, 120),
    "launches": (launches, 60),
    "tests": (tests, 150),
    "selection": (selection, 60),
    "neighbors": (neighbors, 25),
    "chunks": (chunks, 80),
    "encoder": (encoder, 40),
    "loop": (loop, 90),
    "plain-loop": (plain_loop, 75),
    "compiled": (compiled, 200),
    "compiled-loop": (compiled_loop, 150),
}


def run_part(name: str, arguments: argparse.Namespace, seconds: float, keep: Callable[[dict[str, Any]], None]) -> None:
    """Run one part in a process group of its own; `keep` gets what it has found, as often as there is more."""
    command = [sys.executable, __file__, "--part", name, "--device", arguments.device]
    command += ["--quick"] if arguments.quick else []
    for option in ("data", "reference"):
        value = getattr(arguments, option)
        command += [f"--{option}", str(value)] if value else []
    started, found = time.perf_counter(), {"ended": "running", "rows": []}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1, start_new_session=True
        )
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=max(0.01, seconds - (time.perf_counter() - started)))
            except queue.Empty:
                os.killpg(process.pid, signal.SIGKILL)
                found["ended"] = f"cut after {seconds:.0f} s"
                break
            if line is None:
                break
            if line.startswith('{"what"'):
                found["rows"].append(json.loads(line))
                keep(found)
        process.wait()
        errors.seek(0)
        told = errors.read().strip().splitlines()
    if found["ended"] == "running":
        found["ended"] = "done" if process.returncode == 0 else f"failed: {told[-1] if told else process.returncode}"
        found["trace"] = [] if process.returncode == 0 else told[-12:]
    found["seconds"] = round(time.perf_counter() - started, 1)
    keep(found)


def _read(stream: Any, lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def table(parts: dict[str, Any]) -> str:
    """All that was found, as one Markdown table."""
    lines = ["| part | what | | as |", "| --- | --- | ---: | --- |"]
    for name, part in parts.items():
        for row in part["rows"]:
            notes = {key: value for key, value in row.items() if key not in ("what", "value", "unit") and value}
            said = ", ".join(str(value) if key == "as" else f"{key} {_shown(value)}" for key, value in notes.items())
            lines.append(f"| {name} | {row['what']} | {_shown(row['value'])} {row['unit']} | {said} |")
        lines.append(f"| {name} | *{part['ended']}* | {part.get('seconds', 0)} s | |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run the parts, each in its process, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to see the same code run (default: cuda)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together")
    parser.add_argument("--data", type=Path, help="training images of CIFAR-10, an .npz file (default: random pixels)")
    parser.add_argument("--reference", type=Path, help="its test images (default: images held out)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--table", type=Path, help="print the table of this JSON file and run nothing")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.table.read_text())["parts"]))
        return
    if arguments.part:
        setting = Setting(arguments.device, arguments.quick, arguments.data, arguments.reference)
        PARTS[arguments.part][0](setting)
        return
    from entropick.errors import InputError
    from entropick.processes.hardware import usable_device

    try:
        arguments.device = usable_device(arguments.device)
    except InputError as error:
        parser.exit(2, f"gpu.py: {error}\n")
    deadline = time.perf_counter() + 60 * arguments.minutes
    parts: dict[str, Any] = {}
    for name in arguments.only:

        def keep(found: dict[str, Any], name: str = name) -> None:
            parts[name] = found
            if arguments.out:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(json.dumps({"device": arguments.device, "parts": parts}, indent=1) + "\n")

        left = deadline - time.perf_counter()
        if left < 5:
            keep({"ended": "not run: the time was up", "rows": []})
            continue
        run_part(name, arguments, min(PARTS[name][1], left), keep)
        print(table({name: parts[name]}), flush=True)
    print("\n" + table(parts))


if __name__ == "__main__":
    main()
