"""``entropick run --plan``: what would be done, without doing it."""

from __future__ import annotations

import re

import pytest

from entropick.cli import main


def test_the_plan_is_printed_and_nothing_is_done(tmp_path, capsys):
    assert main(["run", "smoke", "--plan", "--out", str(tmp_path / "out"), "--seeds", "0", "1"]) == 0
    said = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in said.splitlines() if line}
    # 3 iterations, 2 seeds, 128 images, 200 steps.
    assert lines["replace"][1:4] == ["128", "768", "1,200"]
    assert lines["kde-random"][1:6] == ["128", "768", "-", "-", "-"]
    assert re.search(r"replace .* \d+ s +0 MB", said)
    assert not (tmp_path / "out").exists()


def test_a_budget_by_rule_is_planned_from_least_to_most(capsys):
    by_rule = ["--set", "loop.generator.steps=auto", "--set", "loop.generator.max_steps=2000"]
    assert main(["run", "smoke", "--plan", "--arms", "replace", *by_rule]) == 0
    assert "3,300 to 6,000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gpus", "workers", "said"),
    [
        (0, 3, "3 at a time."),
        (1, 1, "1 at a time on 1 GPU."),
        (1, 3, "3 at a time on 1 GPU, which share it."),
        (2, 2, "2 at a time on 2 GPUs."),
        (2, 3, "3 at a time on 2 GPUs, which share them."),
        (4, 1, "1 at a time on 1 GPU."),
    ],
)
def test_who_shares_a_gpu_is_said(gpus, workers, said, monkeypatch, capsys):
    monkeypatch.setattr("entropick.cli.run.n_gpus", lambda study: gpus)
    monkeypatch.setattr("entropick.cli.run.plan_study", lambda study: [])
    assert main(["run", "smoke", "--plan", "--workers", str(workers)]) == 0
    assert capsys.readouterr().out.endswith(f" runs, {said}\n")


def test_a_number_of_images_that_an_arm_overrules_is_refused(tmp_path, capsys):
    study = tmp_path / "s.toml"
    arm = '[arms."a"]\ndataset = { n_images = 128 }'
    study.write_text(f'n_images = 128\n[loop]\ndataset = "digits"\ngenerator = "kde"\n{arm}\n[arms.b]\n')
    assert main(["run", str(study), "--plan", "--images", "64"]) == 2
    assert "expected arms without dataset.n_images of their own, but arm 'a' has 128" in capsys.readouterr().err
    assert main(["run", str(study), "--plan", "--images", "64", "--arms", "b"]) == 0
