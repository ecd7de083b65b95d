"""What the model folder knows of each species arrives in the cube as it is, and what it does not know stays empty."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cube.errors import ModelError
from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.records.traits import FLAG_TRAITS, NUMBER_TRAITS, TEXT_TRAITS
from cube.storage import model_card
from cube.storage.store import create_cube
from inference.cascade.documents import model_documents
from inference.cascade.model import Model, load_model, save_settings, save_traits
from inference.data.recipe import Recipe, recipe_of
from inference.explanation.importance import Importance, write_importance
from inference.explanation.responses import Response, save_curves
from inference.explanation.skill import species_skill, write_skill
from inference.network import checkpoint
from inference.network.deep_sdm import ModelSpec
from inference.network.ensemble import Ensemble

COUNT = model_card.BLOCK + 5  # two documents
NAMES = tuple(f"Planta numero-{i}" for i in range(COUNT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model of random weights without any word on its skill."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    spec = ModelSpec(("table_50m", "survey"), COUNT, ("elevation",), (), d=8, hidden=8)
    checkpoint.save(path / "sdm", Ensemble(spec, 1, NAMES))
    save_settings(path, Recipe(("table_50m",), (INPUTS["elevation"],)), {"quantiles": {}})
    traits = {name: np.full(COUNT, "", object) for name in TEXT_TRAITS} | {name: np.zeros(COUNT, bool) for name in FLAG_TRAITS}
    save_traits(path, NAMES, traits | {name: np.zeros(COUNT, np.float32) for name in NUMBER_TRAITS})
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder)


def told(folder: Path) -> tuple[pd.DataFrame, Response]:
    """Fill `explanation/` as a training does; what was written."""
    rng = np.random.default_rng(1)
    there = folder / "explanation"
    there.mkdir(exist_ok=True)
    judged = np.arange(100) >= 60
    presence = rng.random((100, COUNT)) < 0.2
    presence[60:, 1] = False
    table = species_skill(NAMES, presence, judged, rng.random((40, COUNT)), rng.integers(0, 9, COUNT))
    write_skill(there, table)
    lines = rng.random((3, 15, COUNT)).astype(np.float32)
    curve = Response("table_50m", "elevation", np.linspace(100, 900, 15, dtype=np.float32), *lines, np.float32([300, 200]))
    save_curves(there, [curve])
    write_importance(
        there,
        [
            Importance("table_50m", "", 0.3, 0.02, 0.001, 0.7, 0.05),
            Importance("table_50m", "elevation", 0.3, 0.01, 0.0, 0.7, 0.02),
        ],
    )
    (folder / "metrics.json").write_text(json.dumps({"auc_test": 0.7, "held_out_surveys": 40.0, "habitats": {"accuracy": 0.9}}))
    return table, curve


def test_a_model_that_measured_nothing_says_nothing(folder: Path, model: Model) -> None:
    card, species = model_documents(folder, model)
    assert card["importance"] is None
    assert card["responses"] == []
    assert [s["name"] for s in species] == list(NAMES)
    assert all(s["held_out"] is s["responses"] is s["surveys"] is None for s in species)


def test_what_was_measured_comes_back_out_of_the_cube_species_by_species(folder: Path, model: Model, tmp_path: Path) -> None:
    table, curve = told(folder)
    cube = create_cube(str(tmp_path / "cube.zarr"), Region(4803, 2892, 4813, 2902, 10), "Test")
    model_card.write_model(cube, "v1", *model_documents(folder, model))
    card = model_card.read_card(cube, "v1")
    assert card is not None
    assert (card["model"], card["species"], card["metrics"]["auc_test"]) == (model.hash, COUNT, 0.7)
    assert card["habitats"] == {"accuracy": 0.9}
    assert [row["title"] for row in card["importance"]] == ["Layers of 50 m", "Elevation above sea level"]
    assert card["responses"][0]["units"] == "m"
    assert card["responses"][0]["at_surveys"] == [200, 300]
    for index in (0, 1, model_card.BLOCK - 1, model_card.BLOCK, COUNT - 1):
        one, row = model_card.read_species(cube, "v1", index), table.iloc[index]
        assert one is not None
        assert (one["name"], one["surveys"], one["records"]) == (NAMES[index], row.surveys, row.records)
        assert one["held_out"]["present"] == row.present
        assert one["held_out"]["auc"] == (None if np.isnan(row.auc) else pytest.approx(row.auc, rel=1e-5))
        np.testing.assert_allclose(one["responses"][0], [line[:, index] for line in (curve.mean, curve.lower, curve.upper)], 1e-3)
    assert model_card.read_species(cube, "v1", COUNT) is None
    assert model_card.read_card(cube, "v2") is None


def test_documents_of_other_species_are_refused_with_the_file_and_the_mend(folder: Path, model: Model) -> None:
    table, _ = told(folder)
    write_skill(folder / "explanation", table.iloc[::-1])
    with pytest.raises(ModelError, match=r"species\.csv: lists other species than the model; run `floracube train` again"):
        model_documents(folder, model)


@pytest.mark.parametrize(
    ("modality", "channel", "title", "units"),
    [
        ("table_1km", "bioclim.bio12", "Annual precipitation", "mm"),
        ("table_50m", "soil.clay", "Clay in the soil", "g kg-1"),
        ("table_50m", "landcover.igbp5", "Land cover is mixed forests", ""),
        ("table_50m", "slope", "Slope of the terrain", "degree"),
        ("satellite", "sentinel2.nir", "Sentinel-2 surface reflectance, cloud-free median: nir", ""),
        ("climate", "climate.tas", "Air temperature, mean of months", "K"),
        ("table_50m", "footprint.hfp2009", "Human footprint: hfp2009", ""),
        ("table_1km", "invented.thing", "invented.thing", ""),
    ],
)
def test_channels_have_names_and_units_for_a_person(modality: str, channel: str, title: str, units: str) -> None:
    found = recipe_of(INPUTS.values()).title(modality, channel)
    assert (found[0].lower(), found[1]) == (title.lower(), units)
