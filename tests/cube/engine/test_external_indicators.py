"""Maps of somebody else's model keep every promise of the cube's own, and nobody follows them unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import floracube
from cube.check import check
from cube.engine.external_indicators import IndicatorSpec, write_indicators
from cube.errors import CubeError
from cube.storage import releases
from cube.storage.store import CubeStore, open_cube
from tests.support.good_cube import copy_of

WARMTH = IndicatorSpec("warmth", "Warmth of slopes", "1", top=10.0)


def warm(inputs: xr.Dataset) -> dict[str, Any]:
    """Twice the slope, and 1 to either side of it; nothing where the slope is not known."""
    slope = inputs["slope"]
    return {"warmth": np.stack([2 * slope, 2 * slope - 1, 2 * slope + 1])}


@pytest.mark.slow
def test_own_maps_are_those_of_the_model_on_land_and_break_no_promise(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    before = floracube.open(cube.url)
    richness = before.indicators["richness"].values
    units = write_indicators(cube.url, "mine", [WARMTH], warm, "twice the slope, 1")
    assert len(units) == 2
    assert releases.current(cube)["name"] == "first"
    assert write_indicators(cube.url, "mine", [WARMTH], warm, "twice the slope, 1") == []
    releases.publish(open_cube(cube.url, writable=True), "mine")
    document = check(cube.url, values=True)
    assert [row["name"] for row in document["promises"] if row["kept"] is not True] == []
    after = floracube.open(cube.url)
    np.testing.assert_array_equal(after.indicators["richness"].values, richness)
    land = after.inputs["surface"].values == 0
    slope = np.where(land, after.inputs["slope"].values, np.nan)
    np.testing.assert_array_equal(np.isfinite(after.indicators["warmth"].values[0]), np.isfinite(slope))
    expected = np.clip(np.stack([2 * slope, 2 * slope - 1, 2 * slope + 1]), 0, 10)
    np.testing.assert_allclose(after.indicators["warmth"].values, expected, atol=10 / 65_000)
    assert after.release["products"] == {**before.release["products"], "indicators": "mine"}


def test_a_run_that_was_cut_off_goes_on_beside_the_same_products_alone(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    asked: list[int] = []

    def dies(inputs: xr.Dataset) -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return warm(inputs)

    with pytest.raises(KeyboardInterrupt):
        write_indicators(cube.url, "mine", [WARMTH], dies, "m")
    first = releases.current(cube)
    releases.write_release(cube, "second", {k: v for k, v in first["products"].items() if k != "indicators"}, {})
    releases.publish(cube, "second")
    with pytest.raises(CubeError, match="there is a version 'mine' of indicators already"):
        write_indicators(cube.url, "mine", [WARMTH], warm, "m")
    releases.publish(cube, first["name"])
    assert len(write_indicators(cube.url, "mine", [WARMTH], warm, "m")) == 1


@pytest.mark.parametrize(
    ("version", "name", "model", "words"),
    [
        ("v1", "warmth", warm, "there is a version 'v1'"),
        ("mine", "richness", warm, "there is an indicator 'richness' already"),
        ("../mine", "warmth", warm, "no name of a version"),
        ("mine", "Warmth!", warm, "no name of a layer"),
        ("mine", "warmth", lambda inputs: {}, "the model gave nothing for unit"),
        ("mine", "warmth", lambda inputs: {"warmth": np.zeros((5, 5))}, r"of the shape \(5, 5\)"),
    ],
)
def test_a_mistake_of_the_model_is_one_sentence(
    good_cube: CubeStore, tmp_path: Path, version: str, name: str, model: Any, words: str
) -> None:
    cube = copy_of(good_cube, tmp_path)
    with pytest.raises(CubeError, match=words):
        write_indicators(cube.url, version, [IndicatorSpec(name, "t", "1", top=10.0)], model, "m")
