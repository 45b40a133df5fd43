"""The notebooks run as they stand, quickly, and nothing in them warns."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra [dev]")
nbclient = pytest.importorskip("nbclient", reason="notebooks need the extra [dev]")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.filterwarnings("default")  # What the kernel's own machinery warns of is not ours.
@each_notebook
def test_a_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert not [output.text for output in outputs(notebook) if output.get("name") == "stderr"]


@each_notebook
def test_a_notebook_keeps_small_outputs_without_scripts(path):
    notebook = nbformat.read(path, as_version=4)
    kinds = {kind for output in outputs(notebook) for kind in output.get("data", {})}
    assert outputs(notebook) and not kinds & {"application/javascript", "application/vnd.vegalite.v5+json"}
    assert "<script" not in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 200_000


def test_there_are_three():
    assert len(NOTEBOOKS) == 3
