"""Values beyond all measure end in one short line, at once."""

from __future__ import annotations

import time

import numpy as np
import pytest

from entropick.cli import main
from entropick.config import load_study
from entropick.datasets import Digits
from entropick.datasets.array_files import read_array_file
from entropick.errors import InputError
from entropick.generators import DDPM, KDE
from entropick.loop import Loop, Study
from entropick.processes import hardware
from entropick.selectors import Random

N_ARMS = len(load_study("smoke").arms)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 10**11),
        ("depth", 10**8),
        ("batch_size", 10**22),
        ("steps", "longer than Python writes"),
        ("sampling_chunk", 10**12),
    ],
)
def test_a_size_beyond_all_measure_is_one_line_in_under_a_second(name, value):
    value = 10**5000 if isinstance(value, str) else value
    started = time.process_time()
    with pytest.raises(InputError, match=f"{name}: expected a whole number of at most") as caught:
        DDPM(**{name: value}).check()
    assert time.process_time() - started < 1 and len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_messages_cut_long_values():
    with pytest.raises(InputError, match="…") as caught:
        DDPM(width="x" * 10_000).check()
    assert len(str(caught.value)) < 300


# What each flag is given, of ten thousand letters or digits; {} is the value.
LONG_VALUES = [
    ("run {}", "x"),
    ("run {}.toml", "x"),
    *((f"run smoke --plan {flag}", "x") for flag in ("--out {}", "--arms {}", "--budget {}", "--set {}", "--data {}")),
    *((f"run smoke --plan {flag}", "x") for flag in ("--device {}", "--images {}", "--seeds {}", "--set name={}")),
    *((f"run smoke --plan --set {key}=1", "x") for key in ("{}", "loop.{}", "loop.generator.{}", "arms.{}.selector")),
    *((f"run smoke --plan --set loop.{part}={{}}", "x") for part in ("dataset", "features", "generator.width")),
    *((f"run smoke --plan --set loop.{part}=['{{}}']", "x") for part in ("metrics", "evaluation", "probe_steps")),
    ("run smoke --plan --set loop.dataset={{kind='array-file',path='{}'}}", "x"),
    ("run smoke --plan --set loop.dataset={{kind='image-folder',path='{}'}}", "x"),
    ("run smoke --plan --set loop.dataset={{kind='image-folder',path='$\\u007b{}\\u007d'}}", "x"),
    *((f"run smoke --plan --set {key}={{}}", "9") for key in ("loop.n_iterations", "loop.generator.width", "n_images")),
    ("run smoke --log {}", "x"),
    ("run smoke --reuse {}", "x"),
    *((f"select {of} --n 4 --out out", "x") for of in ("{}", "a={}")),
    *((f"select a=a.npy --n 4 --out out {flag} {{}}", "x") for flag in ("--features", "--quota", "--method", "--set")),
    *((f"select a=a.npy --n 4 --out out {flag} {{}}", "x") for flag in ("--work", "--budget", "--trusted", "--seed")),
    ("select a=a.npy --n {} --out out", "9"),
    ("select a=a.npy --n 4 --out {}", "x"),
    ("score --training {} --generated a.npy --out out", "x"),
    *((f"score --training a.npy --generated a.npy --out out {flag} {{}}", "x") for flag in ("--metrics", "--fail-if")),
    *((f"{command} {{}}", "x") for command in ("status", "verify", "report", "completion", "status .", "--")),
    ("report . --figures {}", "x"),
    ("report . --format {}", "x"),
    ("export {} --iteration 1 --out out", "x"),
    ("export . --iteration {} --out out", "9"),
    ("export . --iteration 1 --out {}", "x"),
    ("{}", "x"),
]


@pytest.mark.parametrize(("command", "letter"), LONG_VALUES)
def test_a_value_of_ten_thousand_letters_is_not_repeated_as_a_whole(tmp_path, monkeypatch, capsys, command, letter):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.random.default_rng(0).integers(0, 256, (16, 4, 4), np.uint8))
    try:
        code = main(command.format(letter * 10_000).split())
    except SystemExit as leaving:
        code = leaving.code
    said = capsys.readouterr().err
    assert code == 2 and len(said) < 1800 and "Traceback" not in said, said[:3000]


def loop(**more):
    return Loop(**{"dataset": Digits(), "generator": KDE(), **more})


@pytest.fixture
def small_machine(monkeypatch):
    """One of 1 GB."""
    monkeypatch.setattr(hardware.os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 10**9}.get)


TOO_LARGE = {
    "width, depth": DDPM(network="mlp", width=65_536, depth=1_000),
    "width, depth: expected a training that fits into the 1.0 GB of memory here": DDPM(width=1_024),
    "batch_size": DDPM(network="mlp", width=1_024, batch_size=10_000_000),
    "10,000,000 images at once. Lower batch_size": DDPM(batch_size=10_000_000),
    "sampling_chunk": DDPM(network="mlp", width=16, depth=1, sampling_chunk=10_000_000).set_params(batch_size=1),
}


@pytest.mark.parametrize("expected", list(TOO_LARGE)[:4])
def test_what_does_not_fit_in_memory_is_one_line_in_under_a_second_from_python(small_machine, expected):
    model, started = TOO_LARGE[expected], time.process_time()
    for refuse in (model.check, lambda: model.fit(np.zeros((8, 8, 8, 1), np.uint8)), loop(generator=model).check):
        with pytest.raises(InputError, match=expected) as caught:
            refuse()
        assert "\n" not in str(caught.value) and "1.0 GB" in str(caught.value)
    assert time.process_time() - started < 1


def test_a_chunk_of_images_that_does_not_fit_is_known_with_their_shape(small_machine):
    model = TOO_LARGE["sampling_chunk"]
    model.check()
    with pytest.raises(InputError, match=r"sampling_chunk: .* 10,000,000 of 192 numbers take at least 15\.4 GB"):
        model.fit(np.zeros((8, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--set", "loop.generator.depth=1000", "--width", "65536"], "width, depth: expected a training that fits"),
        (["--set", "loop.generator.batch_size=10000000", "--width", "1024"], "batch_size: expected a training"),
        (["--width", "100000000000"], "width: expected a whole number of at most 65,536"),
        (["--set", "loop.generator.depth=100000000"], "depth: expected a whole number of at most 1,000"),
        (["--set", "loop.generator.batch_size=10000000000000000000000"], "batch_size: expected a whole number of at"),
        (["--set", "loop.generator.timesteps=1000000000"], "timesteps: expected a whole number of at most 1,000,000"),
        (["--set", "loop.n_generated=100000000000"], "n_generated: expected images that fit into the 1.0 GB of memory"),
        (["--iterations", "1000000000"], "n_iterations: expected at most 10,000, got 1,000,000,000"),
        (
            ["--seeds", *map(str, range(5_000))],
            f"expected at most 10,000 runs of a study, got {5_000 * N_ARMS:,}: {N_ARMS} arms at 1 sizes",
        ),
    ],
)
@pytest.mark.parametrize("plan", [["--plan"], []])
def test_a_study_that_does_not_fit_is_one_line_in_under_a_second_before_anything_is_read(
    small_machine, tmp_path, monkeypatch, capsys, flags, expected, plan
):
    monkeypatch.setattr(Digits, "load", lambda *args, **named: pytest.fail("data was read"))
    started = time.process_time()
    assert main(["run", "smoke", "--out", str(tmp_path / "out"), *plan, *flags]) == 2
    said = capsys.readouterr().err
    assert time.process_time() - started < 1 and not (tmp_path / "out").exists()
    assert expected in said and said.count("\n") == 1 and len(said) < 500, said


def test_thousands_of_arms_seeds_and_images_are_refused_from_python_too(small_machine):
    with pytest.raises(InputError, match="expected at most 10,000 runs of a study, got 10,000,000: 1 arms"):
        Study(name="many", arms={"one": loop()}, seeds=tuple(range(10**7))).check()
    with pytest.raises(InputError, match="expected at most 10,000 runs of a study, got 20,000: 20,000 arms"):
        Study(name="many", arms={f"arm {number}": loop() for number in range(20_000)}).check()
    with pytest.raises(InputError, match=r"selector\.n_samples: expected images that fit into the 1\.0 GB of memory"):
        loop(selector=Random(n_samples=10**10)).check()


def test_a_pool_that_does_not_fit_is_known_before_the_first_training(tmp_path, small_machine):
    """10,000 iterations of 1,024 images of 64 numbers are 0.66 GB, and of 2,048 more than there is."""
    with pytest.raises(InputError, match=r"pools that fit into the 1\.0 GB .* iteration 10,000 has 20,4.* 1\.3 GB"):
        loop(n_iterations=10_000, n_generated=2_048).run(tmp_path)
    assert not list(tmp_path.glob("iteration-001"))


def test_models_count_among_what_the_disk_must_hold(tmp_path, monkeypatch):
    monkeypatch.setattr("entropick.loop.loop.free_bytes", lambda folder: 10**6)
    model = DDPM(network="mlp", width=512, depth=1, steps=1, device="cpu")
    with pytest.raises(InputError, match="images and models still to be made need"):
        loop(generator=model, n_iterations=1).run(tmp_path)
    loop(n_iterations=1, n_generated=64).run(tmp_path / "small")


def test_of_an_archive_only_the_needed_arrays_are_read(tmp_path):
    images = np.zeros((3, 4, 4, 1), np.uint8)
    np.savez_compressed(tmp_path / "x.npz", images=images, other=np.array([{}]))  # cannot be read without pickles
    found, labels = read_array_file(tmp_path / "x.npz")
    np.testing.assert_array_equal(found, images)
    assert labels is None
