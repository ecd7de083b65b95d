"""Maps of plots far from the surveys' areas are refused, or say so on every layer; one area teaches no exponent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cube.config import Config
from cube.config.learning import TrainOptions
from cube.errors import ConfigError
from cube.grid import Region
from cube.storage.store import create_cube
from inference.cascade import products
from inference.cascade.areas import SurveyAreas, extrapolated_area
from inference.cascade.indicators import INDICATORS
from inference.network.deep_sdm import DeepSDM
from inference.training.assembly import START_BETA, Assembly
from inference.training.fit import spec_for
from tests.inference.training.test_fit import landscape


def config(**predict: object) -> Config:
    return Config.model_validate(
        {
            "title": "t",
            "cube": "c.zarr",
            "unit_km": 10,
            "sources": [],
            "predict": predict,
            "region": {"west_km": 4800, "south_km": 2890, "east_km": 4810, "north_km": 2900},
        }
    )


@pytest.mark.parametrize(
    ("surveys", "area_m2", "refused"),
    [
        ([1e8] * 50, 100.0, True),  # squares of an atlas
        ([16.0] * 50, 100.0, False),  # plots of a grassland
        ([1.0, 4.0] * 50, 100.0, True),
        ([1.0, 4.0] * 50, 40.0, False),
        ([25.0] * 500 + [1e6], 1e4, True),  # one typing error is no experience
        ([np.nan, 0.0, np.inf], 100.0, False),  # unknown: taken as 100 m2
        ([np.nan, 0.0, np.inf], 2000.0, True),
    ],
)
def test_an_area_far_outside_those_of_the_surveys_is_refused(surveys: list[float], area_m2: float, refused: bool) -> None:
    areas = SurveyAreas.from_surveys(np.array(surveys, np.float32))
    assert areas.far_from(area_m2) == refused
    assert SurveyAreas.from_json(areas.to_json()) == areas
    if not refused:
        assert extrapolated_area(config(area_m2=area_m2), areas) == ""
        return
    with pytest.raises(ConfigError, match=r"predict\.area_m2 is .* set predict\.extrapolate_area: true"):
        extrapolated_area(config(area_m2=area_m2), areas)
    assert "extrapolated to plots of" in extrapolated_area(config(area_m2=area_m2, extrapolate_area=True), areas)


def test_the_message_names_areas_that_would_work() -> None:
    with pytest.raises(ConfigError, match=r"surveys that the model learns from are of 25 m2; choose 2\.5 to 250 m2"):
        extrapolated_area(config(area_m2=2500.0), SurveyAreas(25.0, 25.0))
    assert extrapolated_area(config(area_m2=1e9), None) == ""  # records alone: no area to be far from


def test_every_layer_states_an_extrapolated_area(tmp_path: Path) -> None:
    cube = create_cube(str(tmp_path / "c.zarr"), Region(4800, 2890, 4810, 2900, 10), "t")
    text = "extrapolated to plots of 100 m2 from surveys of 100,000,000 m2"
    about = {products.EXTRAPOLATED_AREA: text}
    products.make_species(cube, "v1", ["Abies alba"], np.full(1, 0.004, np.float32), 100.0, about)
    products.make_composition(cube, "v1", about)
    products.make_indicators(cube, "v1", INDICATORS[:2], about)
    products.make_habitats(cube, "v1", {"level1": ((0, "T", "#2f6b3b"),)}, "Habitat", about)
    seen = 0
    for product, level in (("species", "/0"), ("species", ""), ("composition", ""), ("indicators", "/0"), ("habitats", "/0")):
        group = cube.group(f"products/{product}/v1{level}")
        assert group.attrs[products.EXTRAPOLATED_AREA] == text
        for _, array in group.arrays():
            if array.ndim >= 2:
                seen += 1
                assert text in array.attrs["long_name"]
    assert seen == 11


def test_surveys_of_one_area_leave_its_exponent_at_the_stated_default() -> None:
    predictors, surveys, _ = landscape(60)
    spec = spec_for(predictors, surveys)
    for area, learned in ((np.full(60, 25.0), False), (np.geomspace(4, 400, 60), True), (np.full(60, np.nan), False)):
        given = replace(surveys, area_m2=area.astype(np.float32))
        net = DeepSDM(spec)
        data = Assembly(predictors, given, spec, TrainOptions())
        data.begin(net)
        assert data.surveys is not None
        assert data.surveys.teaches_area == learned
        assert net.area_exponent.requires_grad == learned
        assert net.beta.item() == pytest.approx(START_BETA)
