"""What all tests share: real files, folders made once a run, the order of files, threads that leave the cores to others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.cloud import gs  # noqa: F401
from tests.support.s3 import _s3_server, s3  # noqa: F401  the fixture is for every test
from tests.support.shared_data import made_once

if TYPE_CHECKING:
    from cube.storage.store import CubeStore

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
SECONDS = Path(__file__).with_name("seconds.json")  # of each file, where it takes long: `python -m tests.support.seconds`

# Machines are shared: how long an example takes says nothing of what it shows.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest files first, so that processes which take a file each end together."""
    seconds: dict[str, float] = json.loads(SECONDS.read_text(encoding="utf-8"))
    root = SECONDS.parents[1]
    items.sort(key=lambda item: -seconds.get(item.path.relative_to(root).as_posix(), 0.0))


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("FLORACUBE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FLORACUBE_DATA is not set to the folder of real files")
    return Path(folder)


@pytest.fixture(scope="session")
def good_cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """A small cube that keeps every promise. Read it; `tests.support.good_cube.copy_of` gives one to write to."""
    from cube.storage.store import open_cube
    from tests.support.good_cube import make_good_cube

    folder = made_once(tmp_path_factory, "good", lambda place: make_good_cube(str(place / "good.zarr")))
    return open_cube(str(folder / "good.zarr"))


@pytest.fixture(scope="session")
def large_cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """2,000 species, 12 releases, holes. Read it; `tests.support.large_cube.linked_copy` gives one to publish in."""
    from cube.storage.store import open_cube
    from tests.support.large_cube import make_large_cube

    folder = made_once(tmp_path_factory, "large", lambda place: make_large_cube(str(place / "large.zarr")))
    return open_cube(str(folder / "large.zarr"))
