"""What tests of the cube's tools share: a small cube that keeps every promise, made once."""

from __future__ import annotations

import pytest

from cube.storage.store import CubeStore
from tests.support.good_cube import make_good_cube


@pytest.fixture(scope="session")
def good_cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """Read it, do not write it: `tests.support.good_cube.copy_of` gives one to damage."""
    return make_good_cube(str(tmp_path_factory.mktemp("good") / "good.zarr"))
