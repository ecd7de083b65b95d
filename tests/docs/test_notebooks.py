"""Every notebook runs from its first cell to its last, on a small cube that keeps every promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

import floracube
from cube.check import check
from docs.make.notebooks import FOLDER, pages
from tests.docs.pages import ROOT
from tests.support.good_cube import make_good_cube

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with `demo-out/cube.zarr`."""
    out = tmp_path_factory.mktemp("notebooks")
    make_good_cube(str(out / "demo-out/cube.zarr"))
    return out


@pytest.fixture(scope="module")
def kernel(folder: Path) -> Iterator[KernelManager]:
    """One kernel for all notebooks: what they import is loaded once, what they name is forgotten in between."""
    manager = KernelManager()
    manager.start_kernel(cwd=str(folder), extra_arguments=["--quiet"], env=_environment())
    yield manager
    manager.shutdown_kernel(now=True)


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_top_to_bottom(path: Path, folder: Path, kernel: KernelManager) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client = NotebookClient(notebook, km=kernel, timeout=300)
    client.execute(reset_kc=True)  # raises with the cell and its error
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
