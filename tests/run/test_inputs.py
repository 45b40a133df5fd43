"""A stage's key is made from what is declared, and what is computed can reach nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest
from toy_run import CONFIG, counted, files_below, flat_run, other_bytes

from entropick.errors import RunDamaged, UndeclaredInput
from entropick.run import Content, Entry, Given, Inputs, Outcome, Run, repair_run, verify_run


@dataclasses.dataclass
class Part:
    """Something with an identity, as components are."""

    weights: str = "a"

    def identity(self):
        return {"kind": "part", "weights": self.weights}


def entry_with(**hashes):
    from entropick.run.files import FileRecord

    files = {f"iteration-001/{name}.npy": FileRecord(sha256, 8) for name, sha256 in hashes.items()}
    return Entry(1, "earlier", "key", files=files)


def content(value, loaded=None):
    digest = hashlib.sha256(value).hexdigest()
    return Content(digest, lambda: value if loaded is None else loaded, lambda data: hashlib.sha256(data).hexdigest())


INPUTS = Inputs(
    settings={"seed": 0, "part": Part(), "several": [Part("b"), {"x": 1.5}]},
    files={"images": (entry_with(images="1" * 64), "images.npy")},
    content={"training": content(b"rows")},
)


def key(**changes):
    return dataclasses.replace(INPUTS, **changes).key(1, "stage")


def test_equal_inputs_have_one_key_and_whatever_is_changed_has_another(monkeypatch):
    images = {"images": (entry_with(images="2" * 64), "images.npy")}
    others = [
        INPUTS.key(2, "stage"),
        INPUTS.key(1, "other"),
        key(settings={**INPUTS.settings, "seed": 1}),
        key(settings={**INPUTS.settings, "part": Part("c")}),
        key(settings={**INPUTS.settings, "several": [Part("b"), {"x": 1}]}),
        key(files=images),
        key(files={}),
        key(content={"training": content(b"others")}),
    ]
    monkeypatch.setattr("entropick.run.inputs.NUMERICS", 2)
    others.append(key())
    monkeypatch.undo()
    assert len({key(), *others}) == 1 + len(others)
    assert key() == Inputs(**{**vars(INPUTS), "content": {"training": content(b"rows", b"from elsewhere")}}).key(
        1, "stage"
    )


def test_where_a_file_lies_and_what_else_its_stage_wrote_is_no_part_of_the_key():
    more = entry_with(images="1" * 64, others="3" * 64)
    assert key() == key(files={"images": (dataclasses.replace(more, iteration=1, stage="another"), "images.npy")})


def test_a_name_stands_for_one_thing():
    with pytest.raises(ValueError, match=r"different names, got images more"):
        dataclasses.replace(INPUTS, settings={"images": 3})


def given():
    return Given(4, "train", INPUTS, lambda entry, name: (entry.stage, name))


def test_what_is_declared_can_be_reached():
    assert given()["seed"] == 0 and given()["part"] == Part()
    assert given().load("images") == ("earlier", "images.npy") and given().sha256("images") == "1" * 64
    assert given().load("training") == b"rows"
    assert [name in given() for name in ("seed", "images", "training", "labels")] == [True, True, True, False]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda given: given.load("labels"), "an input that was declared (images, training), but 'labels'"),
        (lambda given: given.sha256("labels"), "but 'labels' was asked for"),
        (lambda given: given.load("seed"), "(images, training), but 'seed'"),
        (lambda given: given["guard"], "a setting that was declared (part, seed, several), but 'guard'"),
        (lambda given: given["images"], "but 'images' was asked for"),
    ],
)
def test_what_is_not_declared_is_an_error_that_says_what_is(ask, said):
    with pytest.raises(UndeclaredInput, match=rf"iteration 4, stage 'train': .*{re.escape(said)}.*Inputs of the stage"):
        ask(given())


def test_content_of_another_hash_is_refused():
    wrong = Given(1, "train", Inputs(content={"training": content(b"rows", b"others")}), lambda *_: None)
    with pytest.raises(RunDamaged, match=r"stage 'train': expected training with sha256 \w{12}…"):
        wrong.load("training")


def test_a_run_computes_from_declared_files_alone(tmp_path):
    with Run.open(tmp_path, CONFIG) as run:
        first = run.stage(0, "count", Inputs(), lambda given, work: counted(0))

        def doubled(given, work):
            return Outcome({"double.npy": 2 * given.load("counted")}, {"factor": given["factor"]})

        inputs = Inputs(settings={"factor": 2}, files={"counted": (first, "count.npy")})
        entry = run.stage(1, "double", inputs, doubled)
        np.testing.assert_array_equal(run.load(entry, "double.npy"), [0, 2, 4])
        with pytest.raises(UndeclaredInput, match="'counted' was asked for"):
            run.stage(2, "double", Inputs(settings={"factor": 2}), doubled)
        assert run.ledger.find(2, "double") is None


def test_files_of_a_run_without_iterations_lie_in_its_folder(tmp_path):
    assert flat_run(tmp_path / "a") == ["choose", "measure"]
    assert {"chosen.csv", "sheets/1.png", "rows.npy", "told.json", "ledger.jsonl"} <= files_below(tmp_path / "a")
    assert (tmp_path / "a" / "chosen.csv").read_text() == "row\n3\n"
    assert json.loads((tmp_path / "a" / "told.json").read_text()) == {"rows": [3]}
    assert flat_run(tmp_path / "a") == []
    assert flat_run(tmp_path / "b", shared=tmp_path / "work") == ["choose", "measure"]
    assert flat_run(tmp_path / "c", shared=tmp_path / "work") == []
    assert not list(tmp_path.rglob("choosing-*"))


def test_a_run_without_iterations_is_verified_and_repaired_like_any_other(tmp_path):
    flat_run(tmp_path)
    found = verify_run(tmp_path)
    assert (found.n_entries, found.n_files, found.damages) == (2, 4, ())
    other_bytes(tmp_path / "sheets" / "1.png")
    with pytest.raises(RunDamaged, match=r"sheets/1\.png.*--repair"):
        flat_run(tmp_path)
    repair_run(verify_run(tmp_path))
    assert flat_run(tmp_path) == ["choose", "measure"]
    assert verify_run(tmp_path).damages == ()
