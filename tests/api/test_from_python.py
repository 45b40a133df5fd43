"""``entropick.select`` and ``entropick.score``: what the commands do, with files and with what is in memory."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh_python import run_python
from PIL import Image
from sklearn.datasets import load_digits

import entropick as ep
from entropick.cli import main
from entropick.errors import InputError, RunChanged
from entropick.run import History
from entropick.scoring.verdict import Chance, notes
from entropick.selectors import Greedy

DIGITS = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of 30 digits in two classes, 20 as an array; temporary folders are made below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for row, image in enumerate(DIGITS[:30]):
        folder = tmp_path / "real" / f"class {row % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{row:02d}.png")
    np.save("made.npy", DIGITS[30:50])
    return tmp_path


def test_the_same_as_the_command(place):
    assert main(["select", "real=real", "made=made.npy", "--n", "12", "--seed", "3", "--out", "out"]) == 0
    found = ep.select({"real": "real", "made": "made.npy"}, 12, seed=3)
    with open("out/manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == list(found.table["source"])
    assert [int(row["row"]) for row in rows] == list(found.table["row"])
    told = json.loads((place / "out" / "selection.json").read_text())
    assert found.summary["selection"] == told["selection"] and found.summary["sources"] == told["sources"]
    # With the same folder it reads what the command has left.
    lines = []
    again = ep.select({"real": "real", "made": "made.npy"}, 12, seed=3, out="out", say=lines.append)
    assert (again.indices == found.indices).all() and any(
        "out is complete already; nothing was computed." in line for line in lines
    )


def test_a_device_decides_about_no_row_so_that_another_one_reads_what_is_there(tmp_path) -> None:
    X, said = np.random.default_rng(0).normal(size=(40, 3)), list[str]()
    first = ep.select(X, 5, out=tmp_path / "out")
    again = ep.select(X, 5, out=tmp_path / "out", device="cpu", say=said.append)
    assert said[0].endswith("is complete already; nothing was computed.")
    assert again.indices.tolist() == first.indices.tolist()


def test_without_a_folder_nothing_is_left(place):
    before = sorted(path.name for path in place.iterdir())
    found = ep.select("real", 5)
    assert sorted(path.name for path in place.iterdir()) == before
    assert found.folder is None and found.contact_sheet.startswith(b"\x89PNG")
    assert found.write_page("page.html").read_text() == found.page and "<html" in found.page
    assert len(found) == 5 and all(Path(path).is_file() for path in found.paths)


def test_rows_of_several_sources(place):
    found = ep.select({"a": DIGITS[:30], "b": DIGITS[30:50]}, 10, quotas={"b": 0.5})
    assert found.sizes == {"a": 30, "b": 20} and len(found.rows["b"]) >= 5
    counted = np.concatenate([found.rows["a"], found.rows["b"] + 30])
    assert sorted(counted) == sorted(found.indices)
    whole = ep.select(DIGITS[:50], 10)
    assert whole.rows["pool"].tolist() == whole.indices.tolist()


def test_the_selector_picks_the_same_rows():
    found = ep.select(X, 9, seed=5)
    assert found.indices.tolist() == Greedy(n_samples=9, random_state=5).fit(X).indices_.tolist()
    own = ep.select(X, 9, method=Greedy(n_samples=1, initial=[7, 8]), seed=5)
    assert own.indices[:2].tolist() == [7, 8] and len(own) == 9
    assert ep.select(X, 9, method="threshold-decay", decay=0.9).summary["config"]["selector"]["decay"] == 0.9


def things():
    """The same rows and the same images as other packages have them."""
    torch, pandas, polars, datasets = map(pytest.importorskip, ("torch", "pandas", "polars", "datasets"))
    named = {f"f{place}": X[:, place] for place in range(4)}
    pictures = [Image.fromarray(image) for image in DIGITS[:20]]
    kinds = datasets.Features(picture=datasets.Image(), label=datasets.ClassLabel(names=["even", "odd"]))
    of_images = {"picture": pictures, "label": [row % 2 for row in range(20)]}
    rows = {
        "tensor": torch.from_numpy(X),
        "pandas": pandas.DataFrame(named),
        "polars": polars.DataFrame(named),
        "lazy": polars.LazyFrame(named),
        "data set": datasets.Dataset.from_dict({"embedding": X.tolist(), "label": ["a"] * 60}),
        "list": X.tolist(),
    }
    images = {
        "tensor": torch.from_numpy(DIGITS[:20])[:, None],
        "pictures": pictures,
        "data set": datasets.Dataset.from_dict(of_images, features=kinds),
    }
    return rows, images


def test_everything_is_taken_wherever_arrays_are():
    rows, images = things()
    for given, (array, n) in ((rows, (X, 9)), (images, (DIGITS[:20], 5))):
        expected = ep.select(array, n).indices.tolist()
        for name, thing in given.items():
            assert ep.select(thing, n).indices.tolist() == expected, name
    assert ep.select(images["data set"], 5, balance=True).summary["classes"].keys() == {"even", "odd"}
    assert set(ep.select(DIGITS[:20], 4, labels=["x", "y"] * 10, balance=True).summary["classes"]) == {"x", "y"}
    named = ep.select({"a": X[:30], "b": X[30:]}, 4, labels={"a": [1] * 30, "b": [2] * 30}, balance=True)
    assert {name: of["chosen"] for name, of in named.summary["classes"].items()} == {"1": 2, "2": 2}


def test_columns_of_a_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"f0": X[:, 0], "f1": X[:, 1], "g": X[:, 2], "label": ["a", "b"] * 30, "id": range(60)})
    assert ep.select(frame, 5).indices.tolist() == ep.select(X[:, :3], 5).indices.tolist()
    assert ep.select(frame, 5, columns=["f*"]).indices.tolist() == ep.select(X[:, :2], 5).indices.tolist()


def test_rows_that_are_picked_already():
    found = ep.select({"had": X[:10], "more": X[10:]}, 5, given=["had"])
    expected = Greedy(n_samples=15, initial=range(10)).fit(X).indices_[10:]
    assert found.indices.tolist() == [*range(10), *expected] and found.rows["more"].tolist() == (expected - 10).tolist()
    assert set(found.paths) == {"had (in memory)", "more (in memory)"}


def test_an_approximate_choice_is_certified():
    copies = np.concatenate([X, X + np.float32(1e-4)])
    found = ep.select(copies, 10, approximate=0.5)
    proof = found.summary["certificate"]
    assert proof["core_set"]["eps"] == 0.5 and proof["core_set"]["rows"] < 120
    assert found.summary["selection"]["covering_radius"] <= proof["core_set"]["radius_at_most"]
    assert "chosen from" in found.page
    assert ep.select(copies, 10).summary["certificate"]["core_set"] is None


def test_a_guard_sets_aside():
    far = np.concatenate([X, [[1e3] * 4]])
    found = ep.select({"real": X, "more": far[50:]}, 5, guard="real")
    assert found.summary["guard"]["n_set_aside"] == 1 and 70 not in found.indices


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ep.select({}, 3), "sources: expected at least one"),
        (lambda: ep.select({"a/b": X}, 3), "expected names that a folder can have, got 'a/b'"),
        (lambda: ep.select({"a": X, "b": DIGITS}, 3), "a has embeddings, b has images"),
        (lambda: ep.select({"a": X, "b": X[:, :2]}, 3), "a has 4, b has 2"),
        (lambda: ep.select("nowhere", 3), "pool: expected a folder or a file at nowhere"),
        (lambda: ep.select(3.5, 3), "pool: expected a path, images .* got float of shape"),
        (lambda: ep.select(X, 61), "n: expected at most 60"),
        (lambda: ep.select(X, 3, method="gredy"), "Did you mean 'greedy'"),
        (lambda: ep.select(X, 3, decay=0.5), "method 'greedy': there is no parameter 'decay'"),
        (lambda: ep.select(X, 3, approximate=2), "approximate: expected a number between 0 and 1"),
        (lambda: ep.select(X, 3, approximate=0.1, method="random"), "approximate: expected the method greedy"),
        (lambda: ep.select(X, 3, approximate=0.1, method=Greedy(n_samples=3)), "Give ApproximateGreedy"),
        (lambda: ep.select(X, 3, method=3), "method: expected a selector's name or a Selector, got 3"),
        (
            lambda: ep.select(X, 3, trusted="b", method="density-greedy"),
            r"trusted: expected the name of a source \(pool",
        ),
        (lambda: ep.select(X, 3, labels=[1, 2]), "labels of pool: expected 60, one per row, got shape"),
        (lambda: ep.select({"a": X}, 3, labels=[1, 2]), "labels: expected a mapping with names among a"),
        (lambda: ep.select(DIGITS, 3, files="copy"), "files: expected a folder in out="),
        (lambda: ep.select(X, 3, budget_seconds=5), "budget_seconds: expected out= or work="),
        (lambda: ep.select(np.where(X[3, 1] == X, np.nan, X), 3), "1 images? cannot be used|1 row"),
        (lambda: ep.score(training=X[:30], generated=X[:30]), "have the same content"),
        (lambda: ep.score(training=X, generated=X + 1, fail_if="nonsense<1"), "nonsense"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_folder_of_another_selection(place):
    ep.select(X, 4, out="out")
    with pytest.raises(RunChanged, match="n_samples: was 4, now 5"):
        ep.select(X, 5, out="out")
    with pytest.raises(RunChanged, match=r"sources\.pool\.content"):
        ep.select(X + 1, 4, out="out")


def test_a_score_is_that_of_the_command(place):
    for name, rows in (("training", slice(0, 40)), ("generated", slice(30, 70)), ("reference", slice(70, 120))):
        np.save(f"{name}.npy", DIGITS[rows])
    roles = ("training", "generated", "reference")
    flags = [part for role in roles for part in (f"--{role}", f"{role}.npy")]
    assert main(["score", *flags, "--fail-if", "near_copy_rate>0.1", "--out", "out"]) == 1
    told = json.loads((place / "out" / "score.json").read_text())
    found = ep.score(**{role: np.load(f"{role}.npy") for role in roles}, fail_if="near_copy_rate>0.1")
    assert found.values == told["values"] and found.failed is True and found.folder is None
    assert found.verdicts[0].is_alarming and "copies" in repr(found)
    assert found.nearest["pixels"]["distance"][0] == 0.0 and len(found.nearest["pixels"]["row"]) == 40
    assert found.write_page("page.html").read_text() == found.page and "<html" in found.page
    assert ep.score(**{role: f"{role}.npy" for role in roles}, metrics=["precision"]).values.keys() == {
        "precision/pixels"
    }


def test_a_score_of_embeddings_without_a_reference():
    found = ep.score(training=X[:30], generated=X[30:], interval=False)
    assert found.verdicts[0].level == "open" and found.failed is False
    assert all(key.endswith("/embeddings") for key in found.values)


def test_what_a_notebook_shows(place):
    chosen = ep.select("real", 12)._repr_html_()
    assert "12 of 30 rows chosen" in chosen and chosen.count("<svg") == 1 and "data:image/png" in chosen
    assert "… and 2 more rows" in chosen and re.search("entropy.*covering radius.*smallest distance", chosen)
    scored = ep.score(training=DIGITS[:40], generated=DIGITS[30:70], reference=DIGITS[70:120])._repr_html_()
    assert "40 training, 40 generated, 50 reference" in scored and scored.count("<svg") == 1
    assert "<script" not in chosen + scored and "http" not in (chosen + scored).replace("http://www.w3.org", "")


def test_hostile_names_are_escaped(place):
    name = "<img src=x onerror=alert(1)>"
    html = ep.select({name: X}, 3)._repr_html_()
    assert "<img" not in html and "&lt;img" in html


def test_a_history_in_a_notebook(place):
    loop = ep.Loop(dataset=ep.datasets.Digits(n_images=32), generator=ep.generators.KDE(bandwidth=4), n_iterations=2)
    html = loop.run(place / "run")._repr_html_()
    assert "2 of 2 iterations" in html and html.count("<svg") == 2 and "generalization_score/pixels" in html
    ep.select(X, 3, out="out")
    html = History("out")._repr_html_()
    assert "2 of 2 stages" in html and "<td" in html and "select" in html


def test_the_front_door_is_light():
    code = "import sys, entropick as ep; ep.select; ep.score; ep.sources; ep.scoring; print(*sys.modules)"
    loaded = set(run_python("-c", code).stdout.split())
    assert not loaded & {"torch", "altair", "PIL", "pyarrow", "scipy", "sklearn", "pandas", "polars", "datasets"}


def test_one_name_is_a_name_and_not_its_letters(place):
    sources = {"ab": X[:5], "b": X[5:]}
    assert ep.select(sources, 3, given="ab").indices.tolist() == ep.select(sources, 3, given=["ab"]).indices.tolist()
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"f0": X[:, 0], "f1": X[:, 1], "g0": 1000 * X[:, 2]})
    assert ep.select(frame, 5, columns="f*").indices.tolist() == ep.select(X[:, :2], 5).indices.tolist()
    assert set(ep.score(training=X[:30], generated=X[30:], metrics="knn_entropy").values) == {"knn_entropy/embeddings"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quotas": "a=0.5"}, "quotas: expected a mapping of names of sources to shares, got 'a=0.5'"),
        ({"quotas": {"a": 2}}, "quotas (--quota) of a: expected a share from 0 to 1, got 2"),
        (
            {"quotas": {"a": 0.7, "b": 0.7}},
            "quotas (--quota): expected shares that add up to at most 1, got 1.4. Lower",
        ),
        ({"given": [3]}, "given: expected text, or several of it in a list, got 3"),
        ({"columns": 3}, "columns: expected text, or several of it in a list, got 3"),
    ],
)
def test_options_of_another_kind_are_refused(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        ep.select({"a": X, "b": X + 1}, 3, **options)


def test_what_is_left_out_counts_for_quotas_too():
    rows = X[:4].copy()
    rows[0] = np.nan
    message = (
        "quotas (--quota): a=1 of 4 asks for 4 rows, but a has 3 that are usable and kept. Lower the share, or --n"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        ep.select({"a": rows, "b": X}, 4, quotas={"a": 1.0}, skip_bad=True)


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (
            lambda: ep.score(training=X, generated=X),
            "Give another --generated (generated=), or --allow-same (allow_same=",
        ),
        (lambda: ep.select(np.where(X[3, 1] == X, np.nan, X), 3), "or give --skip-bad (skip_bad=True)"),
        (lambda: ep.select({"a": DIGITS, "b": DIGITS[:, 1:]}, 3), "Give --resize N (resize=N), which brings all to"),
        (lambda: ep.score(training=X, generated=X[:9] + 1, metrics=["recall"]), "--reference (reference=)"),
    ],
)
def test_advice_speaks_python_beside_the_command_line(call, advice):
    with pytest.raises(InputError) as caught:
        call()
    assert advice in str(caught.value)


def test_a_set_that_is_none_is_named():
    with pytest.raises(InputError, match="training: expected images or embeddings, got None"):
        ep.score(training=None, generated=X)


def test_a_home_in_out_and_work(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place / "home"))
    ep.select(X, 5, out="~/chosen", work="~/work")
    assert main(["select", "x=made.npy", "--n", "3", "--out=~/more"]) == 0
    assert {path.name for path in (place / "home").iterdir()} >= {"chosen", "more"}
    assert not (place / "~").exists()


def test_a_file_whose_end_is_missing_is_found_where_rows_are_missing(place):
    whole = (place / "real/class 0/02.png").read_bytes()
    (place / "real/class 0/02.png").write_bytes(whole[: len(whole) - 40])
    np.save("features.npy", X[:29])
    with pytest.raises(InputError, match=r"class 0/02\.png: does not decode"):
        ep.select("real", 5, features="features.npy")
    found = ep.select("real", 5, features="features.npy", skip_bad=True)
    assert [of["path"][-14:] for of in found.summary["skipped"]] == ["class 0/02.png"]


def test_images_beside_folders_of_classes_are_told(place):
    Image.fromarray(DIGITS[0]).save(place / "real" / "loose.png")
    with pytest.raises(InputError, match=r"real \(real\) lacks that of 1 row \(loose\.png\)"):
        ep.select({"real": "real"}, 5, balance=True)


@pytest.mark.parametrize("has_out", [True, False])
def test_large_tables_come_into_files_until_it_returns(tmp_path, monkeypatch, has_out):
    rows = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float16)
    pq.write_table(pa.table({"e": list(rows)}), tmp_path / "a.parquet")
    expected = ep.select(tmp_path / "a.parquet", 9)
    monkeypatch.setattr("entropick.sources.scratch.LARGE", 0.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = []
    found = ep.select(tmp_path / "a.parquet", 9, out=tmp_path / "out" if has_out else None, say=said.append)
    assert found.indices.tolist() == expected.indices.tolist()
    where = tmp_path / "out" / ".rows" if has_out else tmp_path
    assert f"a.parquet: its rows take much of memory and are read from 0.0 GB in {where}" in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", *["out"] * has_out]
    assert not has_out or not (tmp_path / "out" / ".rows").exists()


LABELS, OTHERS = ["a", "b"] * 30, ["a"] * 50 + ["b"] * 10


def frame(**columns):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({f"f{place}": X[:, place] for place in range(4)} | columns)


def with_labels(labels):
    return {"sources": X, "labels": labels, "balance": True}


def with_column(labels):
    return {"sources": frame(label=labels), "balance": True}


def with_ids(ids):
    return {"sources": frame(id=[f"row {of}" for of in ids])}


TOLD = {
    "labels": (with_labels, LABELS, OTHERS),
    "column": (with_column, LABELS, OTHERS),
    "id": (with_ids, range(60), range(60, 120)),
}


@pytest.mark.parametrize("kind", TOLD)
def test_what_is_told_of_rows_in_memory_is_part_of_the_key(place, kind):
    make, told, others = TOLD[kind]
    ep.select(n=6, **make(told), out="one", work="shared")
    ep.select(n=6, **make(told), out="one", work="shared")
    with pytest.raises(RunChanged, match=r"sources\.pool\.content"):
        ep.select(n=6, **make(others), out="one", work="shared")
    found, fresh = (
        ep.select(n=6, **make(others), out=out, work=work) for out, work in (("two", "shared"), (None,) * 2)
    )
    assert found.indices.tolist() == fresh.indices.tolist()
    assert found.summary["classes"] == fresh.summary["classes"] and found.table.get("id") == fresh.table.get("id")


def test_names_of_features_in_memory_are_part_of_the_key(place):
    names = [f"class {row % 2}/{row:02d}.png" for row in range(30)]

    def choose(order, **where):
        return ep.select("real", 6, features=frame().head(30).assign(path=[names[row] for row in order]), **where)

    choose(range(30), out="one", work="shared")
    with pytest.raises(RunChanged, match=r"features"):
        choose(range(29, -1, -1), out="one", work="shared")
    found = choose(range(29, -1, -1), out="two", work="shared")
    assert found.indices.tolist() == choose(range(29, -1, -1)).indices.tolist()
    assert found.indices.tolist() != choose(range(30)).indices.tolist()


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan])
def test_labels_that_are_missing_are_refused(missing):
    for labels in ([missing, *LABELS[1:]], [missing, *range(59)]):
        with pytest.raises(InputError, match=r"labels of pool: expected the class of every row, got .* in 1 row"):
            ep.select(X, 4, labels=labels, balance=True)


def test_a_missing_label_of_pandas_is_refused():
    pandas = pytest.importorskip("pandas")
    for kind in ("string", "Int64"):
        labels = pandas.Series(["1", "2"] * 30).astype(kind)
        labels[7] = pandas.NA
        with pytest.raises(InputError, match="row 7, for instance"):
            ep.select(X, 4, labels=labels, balance=True)


def test_a_class_of_minus_one_is_none():
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["even", "odd"])
    numbers = [-1, *(row % 2 for row in range(1, 20))]
    pictures = {"picture": [Image.fromarray(image) for image in DIGITS[:20]], "label": numbers}
    images = datasets.Dataset.from_dict(pictures, features=datasets.Features(picture=datasets.Image(), label=label))
    with pytest.raises(InputError, match=r"balance: .*class"):
        ep.select(images, 4, balance=True)
    assert "class" not in ep.select(images, 4).table
    kinds = datasets.Features(embedding=datasets.Sequence(datasets.Value("float32"), length=4), label=label)
    rows = datasets.Dataset.from_dict({"embedding": X[:20].tolist(), "label": numbers}, features=kinds)
    with pytest.raises(InputError, match="expected no missing values, but column 'label' has some"):
        ep.select(rows, 4, balance=True)
    rows = datasets.Dataset.from_dict({"embedding": X[:20].tolist(), "label": [0, 1] * 10}, features=kinds)
    assert ep.select(rows, 4, balance=True).summary["classes"].keys() == {"even", "odd"}


def test_names_beside_images_that_have_none_are_refused(place):
    table = frame().head(50).assign(path=[f"class {row % 2}/{row:02d}.png" for row in range(50)])
    with pytest.raises(InputError, match=r"rows of features .*have names, and the images of made are in an array"):
        ep.select({"real": "real", "made": DIGITS[30:50]}, 6, features=table)


def skipping(rows, row=0):
    rows = rows.copy()
    rows[row] = np.nan
    return rows


def test_rows_to_begin_with_are_counted_as_the_caller_counts_them():
    own = Greedy(n_samples=1, initial=[7, 8])
    found = ep.select(skipping(X), 9, method=own, skip_bad=True)
    assert found.indices[:2].tolist() == [7, 8]
    expected = Greedy(n_samples=9, initial=[6, 7]).fit(X[1:]).indices_ + 1
    assert found.indices.tolist() == expected.tolist()
    two = ep.select({"a": skipping(X), "b": X + 1}, 9, method=Greedy(n_samples=1, initial=[60]), skip_bad=True)
    assert two.indices[0] == 60 and two.rows["b"][0] == 0
    with pytest.raises(InputError, match="initial: expected rows that can be used, but row 0 was skipped"):
        ep.select(skipping(X), 9, method="greedy", initial=[0, 5], skip_bad=True)
    for odd in (60, -1):
        with pytest.raises(InputError, match=f"initial: expected rows from 0 to 59, .* through all sources, got {odd}"):
            ep.select(X, 9, initial=[5, odd])


def test_a_guard_sets_nothing_aside_that_is_picked_already():
    far = np.concatenate([skipping(X), np.full((2, 4), 1e3, np.float32)])
    sources = {"real": far[:50], "more": far[50:]}
    found = ep.select(sources, 5, guard="real", initial=[61, 7], skip_bad=True)
    assert found.indices[:2].tolist() == [61, 7]
    assert found.summary["guard"]["n_set_aside"] == 1 and 60 not in found.indices


def test_utilities_are_of_the_rows_that_the_caller_counts():
    utility = np.linspace(0, 1, 60)
    expected = ep.select(X[1:], 6, method="gist", utility=utility[1:])
    found = ep.select(skipping(X), 6, method="gist", utility=utility, skip_bad=True)
    assert found.indices.tolist() == (expected.indices + 1).tolist()
    far = np.concatenate([X, np.full((1, 4), 1e3, np.float32)])
    guarded = ep.select({"a": far[60:], "b": X}, 6, method="gist", utility=[9, *utility], guard="b", trusted="b")
    alone = ep.select({"a": X}, 6, method="gist", utility=utility)
    assert (guarded.indices - 1).tolist() == alone.indices.tolist()
    with pytest.raises(InputError, match="utility: expected a number for each of the 60 rows of all sources"):
        ep.select(X, 6, method="gist", utility=utility[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minimum": {0: 0.5}}, "minimum: expected none, got .* Give shares of sources by their names"),
        ({"method": Greedy(n_samples=3, minimum={0: 0.5})}, "minimum: expected none, got"),
        ({"n_samples": 4}, "n_samples: expected n alone, got 3 and 4. Leave it out"),
        ({"random_state": np.random.default_rng(0)}, "random_state: expected a whole number"),
        ({"guard": 3}, "guard: expected the name of a source to trust, or a Guard, got 3"),
        ({"columns": "nosuch"}, "columns: expected a table whose columns are features or images, but there is none"),
        ({"files": "link", "out": "o"}, r"files='link' .*folders of image files, but 'pool' is in memory, in an array"),
        ({"given": ["pool", "pool"]}, "given: expected every source once, got 'pool' more than once"),
        ({"balance": True}, r"balance: .*a frame or a data set; or give them .labels=."),
        ({"guard": True}, "guard: expected the name of a source"),
        ({"budget_seconds": "5", "work": "w"}, "budget_seconds: expected a number"),
        ({"budget_seconds": -1, "work": "w"}, "budget_seconds: expected a number of at least 0"),
        ({"out": 5}, "out: expected the path of a folder, or None, got 5"),
        ({"work": ["w"]}, "work: expected the path of a folder, or None, got"),
        ({"skip_bad": "yes"}, "skip_bad: expected true or false, got 'yes'"),
        ({"normalize": 1}, "normalize: expected true or false, got 1"),
        ({"balance": "yes"}, "balance: expected true or false, got 'yes'"),
        ({"files": "move"}, "files: expected one of none, link, copy, got 'move'"),
        ({"files": None}, "files: expected one of none, link, copy, got None"),
        ({"engine": 3}, "engine: expected processes"),
        ({"seed": 1.5}, "seed: expected a whole number of at least 0, got 1.5"),
        ({"seed": "1"}, "seed: expected a whole number"),
        ({"resize": 8.0}, "resize: expected a whole number"),
    ],
)
def test_values_of_a_wrong_kind_are_refused(place, options, message):
    with pytest.raises(InputError, match=message):
        ep.select(X, 3, **options)
    assert sorted(path.name for path in place.iterdir()) == ["made.npy", "real"]


@pytest.mark.parametrize("name", ["allow_same", "skip_bad", "normalize", "interval"])
def test_flags_of_a_score_are_flags(name):
    with pytest.raises(InputError, match=f"{name}: expected true or false, got 'no'"):
        ep.score(training=X[:30], generated=X[30:], **{name: "no"})


def test_scalars_of_numpy_are_numbers():
    plain = ep.select(DIGITS[:30], 5, resize=4, seed=3, method="threshold-decay", decay=0.5)
    of_numpy = ep.select(
        DIGITS[:30],
        np.int64(5),
        resize=np.int32(4),
        seed=np.uint8(3),
        method="threshold-decay",
        decay=np.float64(0.5),
        balance=np.False_,
    )
    assert of_numpy.indices.tolist() == plain.indices.tolist()
    assert of_numpy.summary["config"] == plain.summary["config"]


def test_an_image_that_one_space_cannot_use_counts_in_another(place):
    rows = np.random.default_rng(1).standard_normal((85, 4)).astype(np.float32)
    np.save("all.npy", rows)
    # Its head is whole, which is all that is looked at beforehand.
    torn = place / "real/class 0/02.png"
    torn.write_bytes(torn.read_bytes()[:-40])
    roles = {"training": DIGITS[50:85], "generated": "made.npy", "reference": "real"}
    found = ep.score(**roles, features=["pixels", "all.npy"], skip_bad=True, metrics=["generalization_score_ratio"])
    used = {space: of["used"] for space, of in found.summary["spaces"].items()}
    assert used == {
        "pixels": {"training": 35, "generated": 20, "reference": 29},
        "all": {"training": 35, "generated": 20, "reference": 30},
    }
    assert [of["path"][-6:] for of in found.summary["skipped"]] == ["02.png"]
    assert Chance.of(found.summary, "pixels").n_reference == 29 and Chance.of(found.summary, "all").n_reference == 30
    line = "In all 30 reference images could be used; another space could not use all of these."
    assert line in notes(found.summary) and line in found.page


def test_names_with_any_end_of_a_line_come_back_from_tables(tmp_path):
    for row, image in enumerate(DIGITS[:40]):
        folder = tmp_path / ("real" if row < 20 else "made")
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"a\rb{row:02d}.png")
    found = ep.score(training=tmp_path / "real", generated=tmp_path / "made").nearest["pixels"]
    assert sorted(found["path"]) == [str(tmp_path / "made" / f"a\rb{row:02d}.png") for row in range(20, 40)]
    chosen = ep.select(tmp_path / "made", 5, out=tmp_path / "out")
    with open(tmp_path / "out" / "manifest.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == chosen.paths
    assert b"\r\n" not in (tmp_path / "out" / "manifest.csv").read_bytes()


@pytest.mark.parametrize(
    ("columns", "says"),
    [({"m": [1, "a", None]}, "one kind of value each, but: .*column m"), ({"m": [1j] * 3}, "Unsupported numpy type")],
)
def test_frames_with_a_column_that_arrow_does_not_have_are_refused(columns, says):
    frame = pytest.importorskip("pandas").DataFrame({"x": [1.0, 2.0, 3.0], **columns})
    with pytest.raises(InputError, match=says):
        ep.select(frame, 2)


def test_an_empty_path_is_no_folder(place):
    with pytest.raises(InputError, match="pool: expected a path, got ''"):
        ep.select("", 3)
