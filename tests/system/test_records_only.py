"""A region without surveys: records alone train, are judged, are mapped as relative intensity, and are served as such."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from cube.storage.store import open_cube
from tests.system.conftest import copy_of, floracube

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(landscape: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = copy_of(
        landscape,
        tmp_path_factory.mktemp("records") / "only",
        "truth",
        "products",
        "releases",
        "current.json",
        "predict",
        "model",
    )
    document = yaml.safe_load(config.read_text())
    surveys, species = document.pop("surveys"), document["species"]
    del document["habitats"]
    places = np.genfromtxt(config.parent / surveys["table"], delimiter=",", names=True, dtype=None, encoding="utf-8")
    names = dict(line.split(",")[:2] for line in (config.parent / species["table"]["table"]).read_text().splitlines()[1:])
    rows = [f"{p['lon']},{p['lat']},{names[str(int(p['speciesId']))]}" for p in places if np.isfinite(p["lat"])]
    (config.parent / "records.csv").write_text("lon,lat,name\n" + "\n".join(rows[:3000]) + "\n")
    del species["table"]
    document["records"] = {"table": "records.csv", "columns": {"longitude": "lon", "latitude": "lat", "species": "name"}}
    document["train"] |= {"least_steps": 20}
    document["evaluate"] = {"block_km": 1}
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    floracube("train", str(config))
    floracube("predict", str(config))
    return config


def test_its_skill_is_of_records_against_background_of_blocks_left_out(alone: Path) -> None:
    saved = json.loads((alone.parent / "model/out_of_fold.json").read_text())
    assert 0 < saved["skill"][0]["AUC against background"] < 1
    rows = json.loads(floracube("evaluate", str(alone), "--json").stdout)
    assert [row["method"] for row in rows] == ["floracube", "random_forest (down-sampled)"]
    assert rows[0]["AUC against background"] == pytest.approx(saved["skill"][0]["AUC against background"])
    assert "background" in rows[0]["table"]


def test_layers_legends_page_and_card_say_relative_intensity(alone: Path) -> None:
    from fastapi.testclient import TestClient

    from server.main import create_app

    assert json.loads((alone.parent / "model/sdm/card.json").read_text())["training"]["statement"] == "relative intensity"
    url = str(alone.parent / "cube.zarr")
    cube = open_cube(url)
    occurrence = np.asarray(cube.array("products/species/v1/0/occurrence")[:])
    assert len(np.unique(occurrence[occurrence != 255])) > 20
    with TestClient(create_app([url])) as client:
        layers = client.get("/layers", params={"search": "species."}).json()
        layer = next(x for x in layers["layers"] if x["id"].startswith("species."))
        assert "Relative intensity, not probability" in layer["note"]
        legend = client.get(f"/layers/{layer['id']}/legend.json").json()
        assert "Relative intensity" in legend["note"]
