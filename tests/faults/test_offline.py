"""No command asks the network for anything."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from entropick.cli import main

STUDY = """
name = "tiny"
n_images = 24
[loop]
n_iterations = 1
dataset = "digits"
generator = { kind = "kde", bandwidth = 4 }
[arms.one]
paradigm = "replace"
"""


@pytest.fixture
def no_network(monkeypatch):
    """A machine whose sockets raise."""
    asked = []

    def refuse(*args, **named):
        asked.append(args)
        raise AssertionError("a command asked the network")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    yield asked
    assert asked == []


def test_no_command_asks_the_network(tmp_path, monkeypatch, no_network, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(STUDY)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(f"{name}.npy", rng.integers(0, 256, (16, 4, 4), np.uint8))
    commands = [
        "run tiny.toml --out out --plan",
        "run tiny.toml --out out --workers 1",
        "status out",
        "verify out",
        "report out",
        "select a=a.npy b=b.npy --n 4 --out selection",
        "score --training a.npy --generated b.npy --out score --metrics generalization_score",
    ]
    for command in commands:
        assert main(command.split()) == 0, (command, capsys.readouterr())
