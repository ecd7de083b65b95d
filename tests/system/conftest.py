"""A very small landscape taken through the whole cascade once, by the command line, for all journeys to look at."""

from __future__ import annotations

import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
import yaml

import floracube as front
from tests.support.shared_data import made_once

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    returncode: object
    stdout: str
    stderr: str


def floracube(*arguments: str, check: bool = True) -> Ended:
    """Run the command line as a user does, in this process: starting Python and torch each time takes longer than most work."""
    code: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as stdout,
        redirect_stderr(StringIO()) as stderr,
    ):
        patch.setattr(sys, "argv", ["floracube", *arguments])
        try:
            front.main()
        except SystemExit as end:
            code = end.code
    if check and code:
        raise AssertionError(f"floracube {' '.join(arguments)} exited with {code}:\n{stderr.getvalue()[-3000:]}")
    return Ended(code, stdout.getvalue(), stderr.getvalue())


def _make_landscape(out: Path) -> None:
    from demo.journey import prepare
    from demo.landscape import LandscapeSpec

    spec = LandscapeSpec(
        size_km=4, n_species=16, seed=3, west_km=4098, south_km=2612, n_surveys=300, n_records=50, n_plots=300, n_scenes=3
    )
    path = prepare(out, spec, lambda text: None)
    document = yaml.safe_load(path.read_text())
    document["network"] = {"d": 16, "hidden": 32, "width": 8, "dilations": [1, 1]}
    document["train"] = {"members": 2, "least_steps": 40, "epochs": 1, "threads": 1}
    document["habitats"]["options"] |= {"mask_epochs": 1, "epochs": 3, "least_steps": 0, "hidden": 32, "layers": 1, "heads": 2}
    document["habitats"]["min_plots"] = 5
    document["evaluate"] |= {"block_km": 1, "options": {"trees": 20, "bootstraps": 20}}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    for command in ("build", "train", "predict"):
        floracube(command, str(path))


@pytest.fixture(scope="session")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a landscape of 2 x 1 units of 10 km, of which a part is region, with its models and first release.

    All processes share it: what writes to it takes `copy_of` it.
    """
    return made_once(tmp_path_factory, "landscape", _make_landscape) / "config.yaml"


@pytest.fixture(scope="session")
def predicted(landscape: Path) -> Path:
    """The cube of the landscape with its first release."""
    return landscape.parent / "cube.zarr"


def copy_of(landscape: Path, folder: Path, *without: str) -> Path:
    """The configuration of a copy of a landscape in `folder`, without files of the names `without`."""
    return Path(shutil.copytree(landscape.parent, folder, ignore=shutil.ignore_patterns(*without))) / "config.yaml"
