"""Effort: records per square kilometre, the same from unit to unit, without the places of sensitive species."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from scipy.ndimage import gaussian_filter

from cube import grid
from cube.config import load_config
from cube.engine.build import build
from cube.grid import Region
from cube.records.presence_only import read_records
from cube.sources import effort
from cube.sources.effort import EffortReader, open_effort, smoothed
from cube.sources.open import open_sources
from cube.sources.reader import inputs_of

REGION = Region(4100, 2600, 4130, 2617, 10)  # its units reach further south than it does


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(4.1e6, 4.13e6, 400), rng.uniform(2.6e6, 2.617e6, 400)
    lon, lat = grid.EUROPE.unproject(x, y)
    names = np.where(np.arange(400) < 300, "Aa bb", "Cc dd")
    lines = ["species,lon,lat"] + [f"{n},{a:.7f},{b:.7f}" for n, a, b in zip(names, lon, lat, strict=True)]
    (tmp_path / "records.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "traits.csv").write_text("name,km\nAa bb,\nCc dd,10\n")
    document = {
        "title": "t",
        "cube": "cube.zarr",
        "unit_km": 10,
        "sources": [],
        "region": {"west_km": 4100, "east_km": 4130, "south_km": 2600, "north_km": 2617},
        "records": {"table": "records.csv", "columns": {"longitude": "lon", "latitude": "lat", "species": "species"}},
        "species": {"traits": [{"table": "traits.csv", "name": "name", "columns": {"sensitive_km": "km"}}]},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "c.yaml"


def whole(reader: EffortReader) -> np.ndarray:
    height, width = REGION.shape(1000)
    out = np.full((height, width), np.inf, np.float32)
    for unit in REGION.units():
        window = REGION.square(unit, 1000)
        out[window.slices] = reader.near(unit).read(REGION, unit)["effort"]
    return out


def test_units_join_to_the_smoothed_counts_of_the_region(config):
    reader = open_effort(load_config(config), REGION).loaded(REGION)
    found = whole(reader)
    inside = reader.counts >= 0
    assert reader.counts[inside].sum() == 300  # the sensitive species' 100 records are not counted
    wanted = smoothed(np.where(inside, reader.counts, 0.0), 2) / smoothed(inside.astype(float), 2)
    np.testing.assert_allclose(found[inside], wanted[inside], rtol=1e-5)
    assert np.isnan(found[~inside]).all()
    assert (~inside).sum() == 3 * 30


def test_smoothing_is_that_of_scipy():
    values = np.random.default_rng(1).random((40, 30))
    np.testing.assert_allclose(smoothed(values, 1.5), gaussian_filter(values, 1.5, mode="constant", truncate=4), rtol=1e-6)


def test_the_layer_is_opened_with_the_sources_and_can_be_left_out(config):
    loaded = load_config(config)
    assert "effort" in {layer.name for reader in open_sources(loaded, REGION) for layer in reader.layers}
    document = yaml.safe_load(config.read_text())
    document["records"]["effort_km"] = None
    config.write_text(yaml.safe_dump(document))
    assert open_effort(load_config(config), REGION) is None


def test_other_records_are_another_layer(config):
    before = open_effort(load_config(config), REGION).depends_on()
    text = (config.parent / "records.csv").read_text()
    (config.parent / "records.csv").write_text(text + text.splitlines()[1] + "\n")
    assert open_effort(load_config(config), REGION).depends_on() != before


def test_records_are_read_only_by_a_build_that_misses_units(config, monkeypatch):
    passes = []
    monkeypatch.setattr(effort, "read_records", lambda c: passes.append(1) or read_records(c))
    assert build(load_config(config)) == []
    assert passes == [1]
    assert build(load_config(config)) == []
    assert passes == [1]


def test_a_vernacular_name_changes_nothing_and_a_sensitivity_does(config):
    before = inputs_of(open_effort(load_config(config), REGION))
    document = yaml.safe_load(config.read_text())
    (config.parent / "names.csv").write_text("name,text\nAa bb,ah\n")
    document["species"]["traits"].append({"table": "names.csv", "name": "name", "columns": {"vernacular_en": "text"}})
    config.write_text(yaml.safe_dump(document))
    assert inputs_of(open_effort(load_config(config), REGION)) == before
    (config.parent / "traits.csv").write_text("name,km\nAa bb,1\nCc dd,10\n")
    assert inputs_of(open_effort(load_config(config), REGION)) != before
