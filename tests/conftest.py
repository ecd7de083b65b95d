"""What all tests share: the folder of real files, and threads that leave the cores to the other test processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.s3 import _s3_server, s3  # noqa: F401  the fixture is for every test

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Machines are shared: how long an example takes says nothing of what it shows.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("FLORACUBE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FLORACUBE_DATA is not set to the folder of real files")
    return Path(folder)
