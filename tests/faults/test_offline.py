"""No command asks the network for anything."""

from __future__ import annotations

import os
import socket
import traceback
import typing

import numpy as np
import pytest

from entropick import cli
from entropick.cli import main

STUDY = """
name = "tiny"
n_images = 24
[loop]
n_iterations = 1
dataset = "digits"
generator = { kind = "ddpm", width = 16, depth = 1, steps = 2, sampling_steps = 2, device = "cpu" }
[arms.one]
paradigm = "replace"
"""


# What every Python that is started imports, with the folder of this file as the place of the record.
IN_WORKERS = """
import pathlib, socket

def refuse(*args, **named):
    pathlib.Path(__file__).with_name("asked").write_text(repr(args))
    raise AssertionError("a worker asked the network")

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
for name in ("create_connection", "getaddrinfo", "gethostbyname"):
    setattr(socket, name, refuse)
pathlib.Path(__file__).with_name("began").touch()
"""


@pytest.fixture
def no_network(monkeypatch, tmp_path_factory):
    """A machine whose sockets raise, in the workers of studies too."""
    asked = []
    workers = tmp_path_factory.mktemp("workers")
    (workers / "sitecustomize.py").write_text(IN_WORKERS)
    monkeypatch.setenv("PYTHONPATH", str(workers), prepend=os.pathsep)

    def refuse(*args, **named):
        asked.append((args, "".join(traceback.format_stack(limit=12))))
        raise AssertionError("a command asked the network")

    def bind(self, address):
        # urllib3 looks, when it is imported, whether this machine has IPv6.
        if address != ("::1", 0):
            refuse(self, address)

    monkeypatch.setattr(socket.socket, "bind", bind)
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    yield workers
    assert asked == [] and not (workers / "asked").exists()


COMMANDS = [
    "run tiny.toml --out out --plan",
    "run tiny.toml --out out --workers 1",
    "run tiny.toml --out out --workers 2 --seeds 1 2",
    "status out",
    "status out --costs --runs",
    "verify out",
    "verify out --repair",
    "report out --figures figures --format svg pdf png",
    "select a=a.npy b=b.npy --n 4 --out selection --features {kind='classifier',path='lessons.npz',steps=2}",
    "select a=a.npy b=b.npy --n 4 --out larger --work work --guard a --quota a=0.5 --device cpu",
    "score --training a.npy --generated b.npy --reference c.npy --out score",
    "export out/arms/one/seed-0 --iteration 1 --out pipeline",
    "completion bash",
    "completion zsh",
    "completion fish",
]


def known_commands():
    """The commands that the parser knows."""
    return [command.__metadata__[0].name for command in typing.get_args(cli.Command)]


def test_every_command_of_the_parser_is_tried():
    assert {command.split()[0] for command in COMMANDS} == set(known_commands())


def test_no_command_asks_the_network(tmp_path, monkeypatch, no_network, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(STUDY)
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        np.save(f"{name}.npy", rng.integers(0, 256, (24, 8, 8), np.uint8))
    np.savez("lessons.npz", images=rng.integers(0, 256, (16, 8, 8), np.uint8), labels=np.arange(16) % 2)
    for command in COMMANDS:
        assert main(command.split()) == 0, (command, capsys.readouterr())
    for command in known_commands():
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
    assert (no_network / "began").exists()


@pytest.mark.parametrize(
    "features",
    [
        "dinov2-small",
        "inception",
        "{kind='encoder',model='facebook/dinov2-small'}",
        "{kind='encoder',model='resnet18'}",
    ],
)
def test_weights_that_are_not_here_are_not_fetched(tmp_path, monkeypatch, no_network, capsys, features):
    """With an empty cache, whatever a machine has: the message says which command fetches them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    np.save("a.npy", np.random.default_rng(0).integers(0, 256, (24, 8, 8), np.uint8))
    assert main(["select", "a=a.npy", "--n", "4", "--out", "out", "--features", features]) == 2
    said = capsys.readouterr().err
    assert "nothing is downloaded" in said or "Where there is a network" in said, said
