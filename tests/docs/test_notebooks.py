"""Every notebook runs from its first cell to its last on a small cube, and its committed outputs are those of its code.

The committed outputs are of the demo, whose species and numbers the small cube does not have. Compared is which outputs each
cell gives (text, table, picture) and what it prints, numbers aside.
"""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import floracube
from cube.check import check
from cube.storage.store import CubeStore
from docs.make.notebooks import FOLDER, INLINE, SOURCE, code_hash, pages, small
from tests.docs.pages import ROOT

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def folder(good_cube: CubeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with `demo-out/cube.zarr`."""
    out = tmp_path_factory.mktemp("notebooks")
    shutil.copytree(good_cube.url, out / "demo-out/cube.zarr")
    return out


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[NotebookClient]:
    """One kernel for all notebooks: what they import is loaded once, what they name is forgotten in between."""
    empty = nbformat.v4.new_notebook()
    # Machines are shared: how long a cell takes says nothing.
    shared = NotebookClient(empty, timeout=1500, startup_timeout=600, resources={"metadata": {"path": str(folder)}})
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"MPLBACKEND": INLINE, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}.items():
            environment.setenv(name, value)
        with shared.setup_kernel():
            yield shared


def kinds(cell: Any) -> list[Any]:
    """What a cell gives: the types of each output, and of what it prints the text without its numbers."""
    out: list[Any] = []
    for output in map(small, cell.outputs):
        if output.output_type == "stream":
            out.append((output.name, " ".join(re.sub(r"-?[\d.,]+", "#", output.text).split())))
        else:
            out.append(sorted(output.data))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_gives_the_outputs_that_are_committed(path: Path, folder: Path, client: NotebookClient) -> None:
    committed = nbformat.read(path, as_version=4)
    client.nb = nbformat.read(path, as_version=4)
    client.nb.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client.reset_execution_trackers()
    for index, cell in enumerate(client.nb.cells):
        client.execute_cell(cell, index)  # raises with the cell and its error
    for cell, before in zip(client.nb.cells[1:], committed.cells, strict=True):
        if cell.cell_type == "code" and not cell.source.startswith("if "):  # what a cube may lack
            assert kinds(cell) == kinds(before), cell.source
    if path.stem == "your-own-model":
        url = str(folder / "own/cube.zarr")
        assert check(url, values=True)["kept"]
        deadwood = floracube.open(url).indicators["deadwood"].values
        assert np.isfinite(deadwood[0]).sum() > 1000
        mapped = np.isfinite(deadwood[0])
        assert (deadwood[1][mapped] < deadwood[0][mapped]).all()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_of_the_code_beside_them_and_small(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.get(SOURCE) == code_hash(notebook), "run `python -m docs.make.notebooks` with a cube of the demo"
    text = path.read_text(encoding="utf-8")
    assert not re.search(r" at 0x[0-9a-f]{6}|/tmp/|/home/|/root/", text)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            for name, data in output.get("data", {}).items():
                size = len(base64.b64decode(data)) if name == "image/png" else len(data)
                assert size < 60_000, f"{name} of {size} bytes"


def test_notebooks_show_pictures() -> None:
    pictured = {path.stem for path in NOTEBOOKS if "image/png" in path.read_text(encoding="utf-8")}
    assert pictured == {"area-statistics", "map-a-species", "plain-xarray", "sample-points", "your-own-model"}
    for name, text in pages().items():
        assert "data:image/png;base64," in text, name


def test_every_notebook_is_a_page_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for name, text in pages().items():
        assert name in navigation
        assert text.startswith("# ")
        assert text.count("```python") >= 3
