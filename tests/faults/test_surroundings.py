"""Users without rights, folders that move, clocks that go backwards, folders and names at the limits of the disk."""

from __future__ import annotations

import datetime
import io
import itertools
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fresh_python import run_python
from PIL import Image

from entropick.cli import main
from entropick.run import History, directory

STUDY = """
name = "tiny"
n_images = 24
checkpoint_seconds = 1e-9
[loop]
n_iterations = 2
dataset = { kind = "array-file", path = "data/images.npy", n_reference = 12 }
[loop.generator]
kind = "ddpm"
network = "mlp"
width = 8
depth = 1
steps = 30
batch_size = 8
sampling_steps = 2
precision = "float32"
device = "cpu"
[arms.one]
paradigm = "replace"
[arms.two]
paradigm = "accumulate"
"""
RUN = ["run", "tiny.toml", "--workers", "1", "--quiet", "--out"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    return tmp_path


def write_study(folder):
    (folder / "tiny.toml").write_text(STUDY)
    (folder / "data").mkdir()
    np.save(folder / "data" / "images.npy", np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8))


def seals(out):
    return {path.parent.relative_to(out): History(path.parent).seal for path in Path(out).rglob("ledger.jsonl")}


class Killed(BaseException):
    """The end of a process, at a moment of a test's choosing."""


def killed_after(n_checkpoints, monkeypatch):
    """End the command within a training, after so many checkpoints."""
    from entropick.run.work_folder import StageWork

    real, left = StageWork.save, iter(range(n_checkpoints))

    def save(self, *args):
        real(self, *args)
        if next(left, None) is None:
            raise Killed

    monkeypatch.setattr(StageWork, "save", save)
    with pytest.raises(Killed):
        main([*RUN, "out"])
    monkeypatch.setattr(StageWork, "save", real)


@pytest.mark.parametrize("how", ["renamed", "copied", "through a link"])
def test_a_study_that_is_moved_between_its_end_and_its_resumption_goes_on(place, monkeypatch, how):
    killed_after(40, monkeypatch)
    if how == "renamed":
        Path("out").rename("elsewhere")
    elif how == "copied":
        # Without hard links, and with other times of files.
        shutil.copytree("out", "elsewhere", copy_function=shutil.copyfile)
        shutil.rmtree("out")
    else:
        Path("out").rename("real place")
        Path("elsewhere").symlink_to("real place")
    # All that is relative stays so: data and study file move along.
    below = place / "another" / "folder"
    below.mkdir(parents=True)
    for name in ("tiny.toml", "data", "elsewhere", "real place"):
        if (place / name).exists():
            (place / name).rename(below / name)
    monkeypatch.chdir(below)
    assert any(Path("elsewhere/work").rglob("training-*.safetensors"))
    assert main([*RUN, "elsewhere"]) == main(["verify", "elsewhere", "--quiet"]) == 0
    assert main([*RUN, "undisturbed"]) == 0
    assert seals("elsewhere") == seals("undisturbed") and len(seals("undisturbed")) == 2


def test_a_selection_that_is_moved_is_complete(place, capsys):
    flags = ["--n", "4", "--out"]
    assert main(["select", "real=data/images.npy", *flags, "chosen"]) == 0
    Path("chosen").rename("moved")
    capsys.readouterr()
    assert main(["select", "real=data/images.npy", *flags, "moved"]) == main(["verify", "moved"]) == 0
    assert "moved is complete" in capsys.readouterr().out


def test_time_that_goes_backwards_changes_nothing(place, monkeypatch, capsys):
    """The clock is set back by a day at each look at it: budgets and checkpoints go by time that has passed."""
    assert main([*RUN, "undisturbed"]) == 0
    backwards = itertools.count(start=time.time(), step=-86_400)
    monkeypatch.setattr(time, "time", lambda: float(next(backwards)))

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(next(backwards), tz)

    monkeypatch.setattr(directory, "datetime", Clock)
    assert main([*RUN, "out", "--budget", "1h"]) == 0
    times = [entry.timing["finished"] for entry in History(Path("out/arms/one/seed-0")).entries]
    assert times == sorted(times, reverse=True) and len(set(times)) > 5
    assert seals("out") == seals("undisturbed")
    assert main(["verify", "out"]) == main(["status", "out", "--costs"]) == main(["report", "out"]) == 0
    # A budget is spent after its time, not at a time of day.
    assert main([*RUN, "again", "--budget", "0.001s"]) == 75
    backwards = itertools.count(start=time.time() + 10**9, step=86_400)
    assert main([*RUN, "again", "--budget", "1h"]) == 0


def write_png(path, rng):
    content = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (4, 4), np.uint8)).save(content, "PNG", compress_level=0)
    with open(path, "wb") as file:
        file.write(content.getvalue())


def test_ten_thousand_files_in_a_class(place, capsys):
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        Path(f"many/{name}").mkdir(parents=True)
    for number in range(10_000):
        write_png(f"many/one/{number}.png", rng)
    write_png("many/two/0.png", rng)
    assert main(["select", "many=many", "--n", "4", "--method", "random", "--out", "out"]) == 0
    assert "10001" in capsys.readouterr().out.replace(",", "")


# The longest names that a disk has, and bytes that are no UTF-8.
NAMES = [b"x" * 251 + b".png", b"\xff\xfe\x80.png", "ü".encode("latin-1") + b".png", b"new\nline\x1b[31m.png", b" .png"]


def test_names_of_255_bytes_and_names_that_are_no_text(place, capsys):
    rng = np.random.default_rng(0)
    for folder in (b"y" * 255, b"\xf0\x28\x8c\xbc", b"plain"):
        Path(os.fsdecode(b"real/" + folder)).mkdir(parents=True)
        for name in NAMES:
            write_png(b"real/" + folder + b"/" + name, rng)
    for flags in (["--copy"], ["--link"]):
        out = f"out{flags[0]}"
        assert main(["select", "real=real", "--n", "12", "--out", out, *flags]) == 0
        assert main(["verify", out]) == 0
        files = [path for path in Path(out).rglob("*") if path.suffix == ".png" and "sheet" not in path.name]
        assert len(files) >= 12
    assert main(["score", "--training", "real", "--generated", "real", "--allow-same", "--out", "score"]) == 0
    folder = "loop.dataset={kind='image-folder',path='real'}"
    assert main(
        ["run", "tiny.toml", "--out", "loop", "--workers", "1", "--images", "8", "--set", folder, "--quiet"]
    ) in (0, 2)
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err and "\x1b[31m" not in said.out + said.err


# Another user in a fork, for whom this Python may not be there at all; what it needs is imported before.
NOBODY = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, {faults!r})
from scenarios import execute
import numpy as np
from entropick.cli import main

commands = [
    "run tiny.toml --out out --workers 1",
    "report out",
    "status out --costs",
    "verify out",
    "export out/arms/one/seed-0 --iteration 1 --out pipeline",
    "select real=data/images.npy --n 4 --out selection --features {{kind='classifier',path='lessons.npz',steps=2}}",
    "score --training data/images.npy --generated made.npy --out score",
]
os.chmod(".", 0o755)
home = Path("home").resolve()
home.mkdir(mode=0o555)
for name in ("warm-up", "case"):
    rng = np.random.default_rng(0)
    Path(name, "data").mkdir(parents=True)
    Path(name, "tiny.toml").write_text({study!r}.replace("mlp", "unet").replace("width = 8", "width = 16"))
    np.save(f"{{name}}/data/images.npy", rng.integers(0, 256, (40, 8, 8), np.uint8))
    np.save(f"{{name}}/made.npy", rng.integers(0, 256, (40, 8, 8), np.uint8))
    np.savez(f"{{name}}/lessons.npz", images=rng.integers(0, 256, (16, 8, 8), np.uint8), labels=np.arange(16) % 2)
os.chown("case", 65534, 65534)
case = Path("case").resolve()
os.chdir("warm-up")
assert [main(command.split()) for command in commands] == [0] * len(commands)

def become_nobody():
    for name in [name for name in os.environ if name.startswith(("XDG", "HF_", "TORCH", "TMP"))]:
        del os.environ[name]
    os.environ["HOME"] = str(home)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

for command in commands:
    ended = execute(tuple(command.split()), case, prepare=become_nobody)
    assert ended.code == 0 and "warning" not in ended.said, ended
assert case.joinpath("out/report.html").stat().st_uid == 65534
assert not list(home.iterdir())
ended = execute(("run", "tiny.toml", "--out", "../warm-up/out", "--workers", "1"), case, prepare=become_nobody)
print(ended.code, ended.said)
ended = execute(("run", "tiny.toml", "--out", "../home/out", "--workers", "1"), case, prepare=become_nobody)
print(ended.code, ended.said)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_user_65534_with_a_home_that_cannot_be_written():
    # Folders of pytest are root's alone.
    with tempfile.TemporaryDirectory() as place:
        code = NOBODY.format(faults=str(Path(__file__).parent), study=STUDY.replace("ns = 2", "ns = 1"))
        done = run_python("-c", code, cwd=place, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "is complete already; nothing was computed" in done.stdout
    assert "entropick: error: could not write" in done.stdout and "Permission denied" in done.stdout


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
TORCHRUN |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


WRONG = [(name, value) for name in list(TORCHRUN)[1:] for value in (None, "", "many", "-1", "9" * 10_000 + "?")]


# Without WORLD_SIZE there is one process, and any text may be an address.
@pytest.mark.parametrize(
    ("name", "value"),
    [of for of in WRONG if of != ("WORLD_SIZE", None) and (of[0] != "MASTER_ADDR" or not of[1])],
)
def test_variables_of_torchrun_that_are_not_its_own_are_one_line(place, monkeypatch, capsys, name, value):
    for variable, right in TORCHRUN.items():
        monkeypatch.setenv(variable, right)
    monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    assert main(["status", "."]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"entropick: error: {name}: expected") and said.count("\n") == 1 and len(said) < 500


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--set", "loop.generator.device=meta"], "device: expected a usable torch device or 'auto', got 'meta'"),
        (["--set", 'name="a\\u0000b"'], "expected a usable path"),
        (["--out", "study/arms"], "is among the arms of"),
        (["--out", "study/arms/one"], "is among the arms of"),
        (["--out", "study/arms/one/seed-0/inner"], "is among the arms of"),
    ],
)
def test_devices_names_and_folders_that_nothing_can_be_done_with_are_one_line(place, capsys, flags, expected):
    assert main([*RUN, "study", "--iterations", "1", "--arms", "one"]) == 0
    assert main(["run", "tiny.toml", "--workers", "1", "--quiet", *flags]) == 2
    said = capsys.readouterr().err
    assert expected in said and said.count("\n") == 1


def test_more_processes_than_a_machine_has_are_refused(place, capsys):
    command = ["select", "real=data/images.npy", "--n", "4", "--out", "out", "--engine", "processes:100000"]
    assert main(command) == 2
    assert "expected at most 1,024 processes of one machine, got 100,000" in capsys.readouterr().err


@pytest.mark.parametrize(
    "index",
    ["[[[", "[]", "{}", '{"weight_map": 7}', '{"weight_map": {"a": 7}}', '{"weight_map": {"a": "../x"}}', "\xff"],
)
def test_an_index_of_weights_that_lies_is_one_line(place, capsys, index):
    folder = place / "model"
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_text('{"model_type": "vit", "architectures": ["x"]}')
    (folder / "model.safetensors.index.json").write_text(index, encoding="latin-1")
    encoder = "{kind='encoder',model='./model'}"
    assert main(["select", "real=data/images.npy", "--n", "4", "--out", "out", "--features", encoder]) == 2
    said = capsys.readouterr().err
    assert "index.json: expected an index of weights in parts beside it" in said and said.count("\n") == 1


@pytest.mark.parametrize("content", ["[]", "7", "null", "[" * 100_000, '{"arms": [], "seeds": 7}'])
def test_a_study_file_that_is_another_thing_is_one_line(place, capsys, content):
    assert main([*RUN, "out", "--iterations", "1", "--arms", "one"]) == 0
    Path("out/study.json").write_text(content)
    for command in ("status out", "status out --costs", "report out"):
        assert main(command.split()) == 2
        said = capsys.readouterr().err
        assert said.startswith("entropick: error: out/study.json") and said.count("\n") == 1 and "verify" in said
    assert main(["verify", "out"]) == 2 and main(["verify", "out", "--repair"]) == main(["status", "out"]) == 0


@pytest.mark.parametrize("arguments", [["run", "smoke"], ["report", "."], ["status", ".", "--costs"]])
def test_without_docstrings_which_charts_need_it_is_said_before_anything_is_done(
    tmp_path, monkeypatch, capsys, arguments
):
    """As `python -OO` has none."""
    monkeypatch.chdir(tmp_path)
    flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if name[0] != "_"}
    monkeypatch.setattr(sys, "flags", SimpleNamespace(**{**flags, "optimize": 2}))
    assert main(arguments) == 2 and "Use -O, or PYTHONOPTIMIZE=1." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
