"""Every notebook runs from its first cell to its last, on a small cube that keeps every promise."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import floracube
from cube.check import check
from cube.storage.store import CubeStore
from docs.make.notebooks import FOLDER, pages
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow

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
        for name, value in {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}.items():
            environment.setenv(name, value)
        with shared.setup_kernel():
            yield shared


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_top_to_bottom(path: Path, folder: Path, client: NotebookClient) -> None:
    client.nb = nbformat.read(path, as_version=4)
    client.nb.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client.reset_execution_trackers()
    for index, cell in enumerate(client.nb.cells):
        client.execute_cell(cell, index)  # raises with the cell and its error
    if path.stem == "your-own-model":
        url = str(folder / "own/cube.zarr")
        assert check(url, values=True)["kept"]
        deadwood = floracube.open(url).indicators["deadwood"].values
        assert np.isfinite(deadwood[0]).sum() > 1000
        known = np.isfinite(deadwood[0])
        assert (deadwood[1][known] < deadwood[0][known]).all()


def test_notebooks_are_kept_without_outputs() -> None:
    assert len(NOTEBOOKS) == 5
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), path.name


def test_every_notebook_is_a_page_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for name, text in pages().items():
        assert name in navigation
        assert text.startswith("# ")
        assert text.count("```python") >= 3
