"""The year of a series against sines whose mean, trend, amplitude and phase are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cube.config import load_config
from cube.errors import ConfigError
from cube.grid import Region
from cube.layers import Layer
from cube.sources.harmonics import harmonic_fit
from cube.sources.open import open_sources
from cube.sources.source_layer import derived_layers
from tests.support.builds import write_config
from tests.support.rasters import Array, write_bands

REGION = Region(4700, 2850, 4710, 2860, 10)


def sines(steps: int, period: int, rng: np.random.Generator, began: float = 0.0) -> tuple[Array, dict[str, Array]]:
    """(steps, 5, 7) of sines with a trend, and what they were made from."""
    mean, trend, size, peak = rng.uniform((10, -1, 0.5, 0), (20, 1, 4, 1), (5, 7, 4)).transpose(2, 0, 1)
    t = ((np.arange(steps) + 0.5) / period)[:, None, None]
    values = mean + trend * (t - steps / period / 2) + size * np.cos(2 * np.pi * (t + began - peak))
    phase = np.stack([np.cos(2 * np.pi * peak), np.sin(2 * np.pi * peak)])
    return values.astype(np.float32), {"mean": mean, "trend": trend, "amplitude": size, "phase": phase}


@pytest.mark.parametrize(("years", "period", "began"), [(4, 12, 0.0), (21, 4, -0.08), (2, 23, 0.5)])
@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_sines_are_found_again_with_and_without_gaps(years: int, period: int, began: float, gaps: float) -> None:
    rng = np.random.default_rng(3)
    values, truth = sines(years * period, period, rng, began)
    values[rng.random(values.shape) < gaps] = np.nan
    found = harmonic_fit(values, period, began)
    assert set(found) == set(truth)
    for name, expected in truth.items():
        known = np.isfinite(found[name])
        assert known.mean() > 0.9
        np.testing.assert_allclose(found[name][known], expected[known], atol=2e-4)


def test_the_fit_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0, 1, (36, 1, 1)).astype(np.float32)
    t = (np.arange(36) + 0.5) / 12 - 1.5
    turn = 2 * np.pi * (t + 1.5)
    a, *_ = np.linalg.lstsq(np.stack([np.ones(36), t, np.cos(turn), np.sin(turn)], axis=1), values[:, 0, 0], rcond=None)
    found = harmonic_fit(values, 12)
    assert found["mean"].item() == pytest.approx(a[0], abs=1e-6)
    assert found["trend"].item() == pytest.approx(a[1], abs=1e-6)
    assert found["amplitude"].item() == pytest.approx(np.hypot(a[2], a[3]), abs=1e-6)


def test_gaps_that_leave_the_year_undetermined_are_no_data() -> None:
    values, _ = sines(48, 12, np.random.default_rng(0))
    summers = values.copy()
    summers[np.arange(48) % 12 > 1] = np.nan  # two months of each year
    assert all(np.isnan(part).all() for part in harmonic_fit(summers, 12).values())
    values[:, 0, 0] = np.nan
    found = harmonic_fit(values, 12)
    assert np.isnan(found["mean"]).sum() == 1
    assert np.isnan(found["mean"][0, 0])


def test_a_few_years_of_a_long_series_have_a_year_but_no_trend() -> None:
    """Scenes of three years in a series of twenty-one: their mean and season are what they are, a trend would be guessed."""
    values, truth = sines(84, 4, np.random.default_rng(1))
    t = ((np.arange(84) + 0.5) / 4)[:, None, None]
    values -= (truth["trend"] * (t - 10.5)).astype(np.float32)
    values[:40], values[52:] = np.nan, np.nan
    found = harmonic_fit(values, 4)
    assert np.isnan(found["trend"]).all()
    for name in ("mean", "amplitude", "phase"):
        np.testing.assert_allclose(found[name], truth[name], atol=2e-4)


def test_one_year_has_no_trend_and_yearly_steps_have_no_season() -> None:
    assert set(harmonic_fit(np.ones((12, 1, 1), np.float32), 12)) == {"mean", "amplitude", "phase"}
    assert set(harmonic_fit(np.ones((6, 1, 1), np.float32), 1)) == {"mean", "trend"}
    flat = harmonic_fit(np.ones((12, 1, 1), np.float32), 12)
    assert flat["amplitude"].item() == pytest.approx(0, abs=1e-6)


def write_series(folder: Path, years: int, first: int = 1) -> dict[str, Array]:
    """Monthly rasters of 1 km from 2010 on; returns what the sines were made from."""
    rng = np.random.default_rng(7)
    mean, peak = rng.uniform(5, 9, (10, 10)), rng.uniform(0, 1, (10, 10))
    for step in range(12 * years):
        month = step + first - 1
        values = mean + 2 * np.cos(2 * np.pi * ((month + 0.5) / 12 - peak))
        write_bands(folder / f"{2010 + month // 12}-{month % 12 + 1:02d}.tif", values.astype(np.float32), REGION.transform(1000))
    return {"mean": mean, "phase": np.stack([np.cos(2 * np.pi * peak), np.sin(2 * np.pi * peak)])}


@pytest.mark.parametrize("first", [1, 7])
def test_layers_of_a_series_are_read_with_its_names_units_and_times(tmp_path: Path, first: int) -> None:
    """Phase counts from 1 January whichever month the series begins in."""
    truth = write_series(tmp_path, 2, first)
    source = {
        "layer": "warmth",
        "raster": "{year}-{month}.tif",
        "units": "degC",
        "derive": ["mean", "phase", "amplitude", "trend"],
    }
    config = write_config(tmp_path, sources=[source], region=REGION)
    reader = open_sources(config, REGION)[0]
    layers = {layer.name: layer for layer in reader.layers}
    assert set(layers) == {"warmth", "warmth_mean", "warmth_phase", "warmth_amplitude", "warmth_trend"}
    assert [layers[f"warmth_{name}"].units for name in ("mean", "phase", "amplitude", "trend")] == ["degC", "1", "K", "K year-1"]
    assert layers["warmth_phase"].labels == {"warmth_phase_band": ("cosine", "sine")}
    values = reader.read(REGION, next(REGION.units()))
    for name, layer in layers.items():
        assert values[name].shape == (*(len(layer.labels[dim]) for dim in layer.dims), 10, 10)
    np.testing.assert_allclose(values["warmth_mean"], truth["mean"], atol=1e-4)
    np.testing.assert_allclose(values["warmth_phase"], truth["phase"], atol=0.02)  # a month is not a twelfth of a year
    np.testing.assert_allclose(values["warmth_amplitude"], 2, atol=1e-4)
    np.testing.assert_allclose(values["warmth_trend"], 0, atol=1e-4)


SERIES = Layer(
    "a", "inputs/50m", "float32", np.nan, "A", "m", ("a_band", "a_step"), {"a_band": ("a",), "a_step": ("1",) * 12}, period=12
)
YEARLY = Layer(
    "a", "inputs/50m", "float32", np.nan, "A", "m", ("a_band", "a_step"), {"a_band": ("a",), "a_step": ("1",) * 9}, period=1
)
PLAIN = Layer("a", "inputs/10m", "float32", np.nan, "A", "m")
FEET = Layer("a", "inputs/50m", "float32", np.nan, "A", "ft")


@pytest.mark.parametrize(
    ("layer", "name", "words"),
    [
        (SERIES, "trend", "'trend' needs two years or more, and a has 1"),
        (YEARLY, "phase", "'phase' needs three steps a year or more, and a has 1"),
        (SERIES, "slope", "derived from one band of elevation in metres, and a is a series"),
        (PLAIN, "mean", "'mean' is derived from a series, and a is none"),
        (PLAIN, "wetness", "'wetness' is computed on cells of 50 m, and a has 10 m"),
        (FEET, "slope", "in metres, and a is of 1 bands in 'ft'"),
        (FEET.at("inputs/1km"), "topographic_position_300m", "in metres"),
    ],
)
def test_what_cannot_be_derived_is_refused_with_its_place(layer: Layer, name: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("title: t\n")
    config = write_config(tmp_path, sources=[{"layer": "x", "raster": "x.tif", "units": "m", "derive": [name]}], region=REGION)
    with pytest.raises(ConfigError, match=r"sources\[0\]\.derive: ") as found:
        derived_layers(config.sources[0], layer, "c.yaml: sources[0]")
    assert words in str(found.value)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("[relief]", "write topographic_position_500m"),
        ("[steepness]", "'steepness' cannot be derived; known are slope"),
        ("[topographic_position_20000m]", "cannot be derived"),
        ("[topographic_position_8000m]", "at most 5000 m"),
        ("[slope, slope]", "names 'slope' twice"),
    ],
)
def test_names_that_no_layer_has_are_refused(tmp_path: Path, names: str, words: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "{title: t, cube: c.zarr, region: {west_km: 4700, south_km: 2850, east_km: 4710, north_km: 2860}, unit_km: 10,"
        f" sources: [{{layer: elevation, raster: a.tif, derive: {names}}}]}}"
    )
    with pytest.raises(ConfigError) as found:
        load_config(path)
    assert words in str(found.value)
