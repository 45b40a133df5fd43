"""``entropick export``: from a run directory to a folder of Diffusers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from diffusers import DDPMPipeline

from entropick import Loop
from entropick.cli import main
from entropick.datasets import ArrayFile
from entropick.generators import DDPM, KDE


@pytest.fixture
def run(tmp_path):
    """Runs a loop of one iteration with this generator."""

    def made(generator):
        np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8))
        dataset = ArrayFile(path=str(tmp_path / "images.npy"), n_images=20)
        Loop(dataset=dataset, generator=generator, n_iterations=1, metrics=("total_variance",)).run(tmp_path / "run")
        return str(tmp_path / "run")

    return made


def unet():
    return DDPM(network="unet", width=16, depth=1, steps=2, batch_size=4, sampling_steps=2, device="cpu")


def test_a_model_of_a_run_becomes_a_folder_with_a_card(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", run(unet()), "--iteration", "1", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    card = (out / "README.md").read_text()
    for told in (
        "| training images | 20 |",
        "| share of real images | 1.0 |",
        "| ledger seal |",
        "total_variance/pixels",
    ):
        assert told in card
    assert DDPMPipeline.from_pretrained(out, low_cpu_mem_usage=False).unet.config.in_channels == 1


@pytest.mark.parametrize(
    ("generator", "iteration", "reason"),
    [(unet, "2", "no trained model of iteration 2"), (KDE, "1", "expected a run with generator 'ddpm', got 'kde'")],
)
def test_what_cannot_be_exported_is_said(run, tmp_path, capsys, generator, iteration, reason):
    assert main(["export", run(generator()), "--iteration", iteration, "--out", str(tmp_path / "out")]) == 2
    assert reason in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_is_not_exported(run, tmp_path, capsys):
    weights = Path(run(unet())) / "iteration-001" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 0x40
    weights.write_bytes(content)
    assert main(["export", str(tmp_path / "run"), "--iteration", "1", "--out", str(tmp_path / "out")]) == 2
    assert "it is not the file that the ledger names" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
