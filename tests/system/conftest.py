"""A very small landscape taken through the whole cascade once, by the command line, for all journeys to look at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def floracube(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "floracube.py"), *arguments],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=900,
    )  # fmt: skip
    if check and run.returncode:
        raise AssertionError(f"floracube {' '.join(arguments)} exited with {run.returncode}:\n{run.stderr[-3000:]}")
    return run


@pytest.fixture(scope="session")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a built and trained landscape: 2 x 1 units of 10 km of which a part is region."""
    from demo.journey import prepare
    from demo.landscape import LandscapeSpec

    out = tmp_path_factory.mktemp("landscape")
    spec = LandscapeSpec(
        size_km=4, n_species=16, seed=3, west_km=4098, south_km=2612, n_surveys=300, n_records=50, n_plots=300, n_scenes=3
    )
    path = prepare(out, spec, lambda text: None)
    document = yaml.safe_load(path.read_text())
    document["network"] = {"d": 16, "hidden": 32, "width": 8, "dilations": [1, 1]}
    document["train"] = {"members": 1, "least_steps": 60, "epochs": 2, "threads": 1}
    document["habitats"]["options"] = {"mask_epochs": 1, "epochs": 3, "least_steps": 0, "hidden": 32, "layers": 1, "heads": 2}
    document["habitats"]["min_plots"] = 5
    document["evaluate"]["block_km"] = 1
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    floracube("build", str(path))
    floracube("train", str(path))
    return path


@pytest.fixture(scope="session")
def predicted(landscape: Path) -> Path:
    """The cube with its first release."""
    floracube("predict", str(landscape))
    return landscape.parent / "cube.zarr"
