"""The parts of deploy/try.sh that need no containers; the whole of it is run by `make try-deploy`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import floracube
from benchmarks.gpu import differences
from tests.deploy.test_kubernetes import FOLDERS, pytestmark, rendered  # noqa: F401  skips without kustomize 5

ROOT = Path(__file__).parents[2]
TRY = ROOT / "deploy/try"


def played(folder: str, *options: str) -> list[dict[str, Any]]:
    text = yaml.safe_dump_all(rendered(folder))
    done = subprocess.run(
        [sys.executable, TRY / "playable.py", *options], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_resource_is_played_or_named_as_not_playable(folder: str) -> None:
    kinds = [document["kind"] for document in rendered(folder)]
    documents = played(folder)
    assert [d["kind"] for d in documents].count("Pod") == sum(kind in ("Deployment", "Job") for kind in kinds)
    assert [d["kind"] for d in documents].count("ConfigMap") == kinds.count("ConfigMap")


def test_what_is_played_computes_with_the_values_of_its_maps_and_secrets() -> None:
    pods = {d["metadata"]["name"]: d["spec"] for d in played("base", "--secret", "AWS_ACCESS_KEY_ID=me") if d["kind"] == "Pod"}
    (server,) = pods["floracube-server"]["containers"]
    assert server["args"] == ["s3://floracube/cube.zarr", "--workers", "2"]
    values = {entry["name"]: entry["value"] for entry in server["env"]}
    assert (values["AWS_ACCESS_KEY_ID"], values["FLORACUBE_WAIT"]) == ("me", "1")
    assert server["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_replacement_that_finds_nothing_is_a_mistake() -> None:
    done = subprocess.run(
        [sys.executable, TRY / "playable.py", "--replace", "absent=x"], input="{}", capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "there is no 'absent'" in done.stderr


def test_images_that_stand_in_have_the_names_that_are_asked_for() -> None:
    script = (ROOT / "deploy/try.sh").read_text(encoding="utf-8").replace("$version", floracube.__version__)
    built = set(re.findall(r"built localhost/(\S+)", script)) | {"python:3.11-slim-bookworm"}
    text = "".join((ROOT / f"deploy/images/{name}.Dockerfile").read_text(encoding="utf-8") for name in ("server", "worker"))
    asked = set(re.findall(r"^ARG (?:BASE|NODE)=(\S+)", text, re.M))
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))
    for service in compose["services"].values():
        asked.add(re.sub(r"\$\{FLORACUBE_VERSION:-([^}]+)\}", r"\1", service["image"]))
    assert asked <= built


class Versions:
    """A cube with two versions of two species on four cells."""

    VALUES = {"one": [[0, 250, 17, 255], [3, 3, 3, 3]], "two": [[0, 250, 18, 255], [3, 3, 3, 5]]}  # noqa: RUF012

    def array(self, path: str) -> Any:
        import numpy as np

        return np.array(self.VALUES[path.split("/")[2]], np.uint8)


def test_differences_of_two_maps_are_counted_in_stored_steps() -> None:
    assert differences(Versions(), "one", "two") == (0.25, 2)  # type: ignore[arg-type]
