"""The three locks are three sizes of one environment: each part of the next, each with what its extras ask for."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cube.storage.store import CubeStore

ROOT = Path(__file__).parents[2]
EXTRAS = {"requirements-serve": ("server", "fast"), "requirements-demo": ("server", "fast", "inference", "build")}
HEAVY = {"requirements-serve": {"torch", "transformers", "scikit-learn"}, "requirements-demo": set[str]()}
TEST_TOOLS = {"pytest", "playwright", "moto", "mypy", "ruff", "zensical", "kubernetes", "schemathesis"}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / f"{name}.lock").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize("name", EXTRAS)
def test_a_smaller_lock_pins_what_the_largest_pins(name: str) -> None:
    assert pins(name).items() < pins("requirements").items()


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_everything_that_its_extras_ask_for_and_no_test_tools(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(row for extra in EXTRAS[name] for row in project["optional-dependencies"][extra])]
    names = {re.split(r"[\[><=]", row)[0].lower().replace(".", "-").replace("_", "-") for row in wanted}
    assert names - {"floracube"} - set(pins(name)) == set()  # an extra may name another of ours
    assert set(pins(name)) & (TEST_TOOLS | HEAVY[name]) == set()


def image_pins(image: str) -> dict[str, str]:
    lock = (ROOT / f"deploy/images/{image}.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^ \n]+)", lock, re.M))


@pytest.mark.parametrize("image", ["server", "worker-cpu", "worker-cuda"])
def test_an_image_installs_what_every_installation_needs(image: str) -> None:
    """But for Arrow, which reads tables of surveys and which the server does without."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[\[><=]", row)[0].lower().replace(".", "-") for row in project["dependencies"]}
    assert names - image_pins(image).keys() == ({"pyarrow"} if image == "server" else set())


@pytest.mark.parametrize("image", ["server", "worker-cpu", "worker-cuda"])
def test_a_lock_names_extras_since_pip_compares_hashes_of_what_it_names_alone(image: str) -> None:
    lock = (ROOT / f"deploy/images/{image}.lock").read_text(encoding="utf-8")
    assert re.search(r"^dask\[array\]==", lock, re.M)


def test_the_server_answers_without_arrow(good_cube: CubeStore) -> None:
    """Every package that its lock leaves out cannot be imported here; the routes of titiler, too, are asked for."""
    code = f"""
import sys
sys.modules["pyarrow"] = None
from starlette.testclient import TestClient
from server.main import create_app
from server.operating.settings import Settings
with TestClient(create_app([{good_cube.url!r}], Settings())) as client:
    layer = client.get("/layers").json()["layers"][0]["id"]
    about = client.get(f"/layers/{{layer}}/WebMercatorQuad/tilejson.json").json()
    lon, lat, _ = about["center"]
    paths = ["/", "/stac", "/docs", "/openapi.json", f"/point/{{lon}},{{lat}}"]
    paths += [f"/layers/{{layer}}/info", f"/layers/{{layer}}/statistics"]
    print([client.get(path).status_code for path in paths])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str([200] * 7), done.stdout + done.stderr


def test_torch_is_pinned_so_that_pip_takes_the_wheel_for_processors() -> None:
    assert pins("requirements-demo")["torch"] == pins("requirements")["torch"] == "2.13.0"


def test_workers_on_gpus_and_on_processors_have_the_same_packages_in_the_same_versions() -> None:
    """A scheduler of one image and workers of the other exchange pickled objects."""
    processors, gpus = image_pins("worker-cpu"), image_pins("worker-cuda")
    shared = processors.keys() & gpus.keys() - {"torch"}
    assert {"dask", "distributed", "cloudpickle", "msgpack", "tornado", "numpy", "zarr"} <= shared
    assert {name: (processors[name], gpus[name]) for name in shared if processors[name] != gpus[name]} == {}


@pytest.mark.parametrize("image", ["worker-cpu", "worker-cuda"])
def test_a_scheduler_has_its_dashboard_and_its_figures(image: str) -> None:
    assert {"bokeh", "prometheus-client"} <= image_pins(image).keys()
