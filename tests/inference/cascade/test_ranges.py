"""Outside of its range a species is nowhere: not in its map, not in sums, not in ranks; inside nothing changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cascade_case import VERSION, Case, make_case, species_names
from cube.config import load_config
from cube.errors import ConfigError, ModelError
from cube.grid import EUROPE, Region
from inference.cascade.cells import blur
from inference.cascade.device import Device
from inference.cascade.indicators import INDICATORS
from inference.cascade.model import load_model
from inference.cascade.ranges import FILE, load_ranges, read_ranges, save_ranges
from inference.cascade.unit import _worker_context, run_unit

SPECIES, SIDE = 12, 200
WEST, SENSITIVE, FAR, EVERYWHERE = 3, 0, 5, 7  # species by their range
NAMES = species_names(SPECIES)


def square(west: float, south: float, east: float, north: float) -> dict:
    """A polygon in longitude and latitude from km of the grid, with a point a km, since its edges bend there."""
    corners = np.array([[west, south], [east, south], [east, north], [west, north], [west, south]]) * 1000.0
    x, y = (np.interp(np.linspace(0, 4, 801), range(5), values) for values in corners.T)
    return {"type": "Polygon", "coordinates": [np.stack(EUROPE.unproject(x, y), 1).tolist()]}


def collection(**ranges: dict) -> dict:
    features = [{"type": "Feature", "properties": {"binomial": name}, "geometry": g} for name, g in ranges.items()]
    return {"type": "FeatureCollection", "features": features}


RANGES = collection(
    **{
        NAMES[WEST]: square(4700, 2800, 4805, 3000),
        NAMES[SENSITIVE]: square(4700, 2800, 4802.5, 3000),
        NAMES[FAR]: square(5000, 2800, 5100, 3000),
        NAMES[EVERYWHERE]: square(4700, 2800, 4900, 3000),
        "Another plant": square(4700, 2800, 4900, 3000),
    }
)


def config(folder: Path, ranges: dict | str | None, key: str = "binomial"):
    text = ranges if isinstance(ranges, str) else json.dumps(ranges)
    if ranges is not None:
        (folder / "r.geojson").write_text(text)
    (folder / "c.yaml").write_text(
        f"title: a\ncube: c\nunit_km: 10\nsources: []\nregion: {{west_km: 4800, east_km: 4810, south_km: 2890, north_km: 2900}}\n"
        f"species: {{ranges: {{geojson: r.geojson, property: {key}}}}}\n"
    )
    return load_config(folder / "c.yaml")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Predicted once without ranges (v1) and once with them."""
    folder = tmp_path_factory.mktemp("ranges")
    made = make_case(
        folder, Region(4800, 2890, 4810, 2892, 10), SPECIES, {"d": 8, "hidden": 8}, ("surface", "elevation"), sensitive=1
    )
    run_unit(made.job(), made.units[0])
    before = load_model(made.model).hash
    save_ranges(made.model, read_ranges(config(folder, RANGES), NAMES))
    assert load_model(made.model).hash != before
    made.make("cut")
    _worker_context.cache_clear()
    run_unit(made.job("cut"), made.units[0])
    return made


def maps(case: Case, version: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(occurrence (S, n), richness (n,), columns (n,)) of the predicted cells."""
    root = case.cube.root["products"]
    occurrence = root[f"species/{version}/0/occurrence"][:].reshape(SPECIES, -1)
    at = np.flatnonzero(occurrence[1] != 255)
    return occurrence[:, at].astype(int), root[f"indicators/{version}/0/richness"][0].ravel()[at].astype(int), at


@pytest.mark.slow
def test_probabilities_end_at_the_range_and_sums_with_them(case):
    whole, richness, at = maps(case, VERSION)
    cut, less, _ = maps(case, "cut")
    column = at % SIDE
    assert (cut[WEST][column >= 100] == 0).all()  # E 4,805 km is 100 cells from the unit's edge
    moved = (cut[WEST] - whole[WEST])[column < 100]
    assert np.abs(moved).max() <= 1  # a rounding tie
    assert (moved != 0).mean() < 0.01
    assert (cut[FAR] == 0).all()
    others = np.setdiff1d(np.arange(SPECIES), [WEST, SENSITIVE, FAR])
    np.testing.assert_array_equal(cut[others], whole[others])
    scale = load_model(case.model).ensemble.scale
    lost = scale @ (whole - cut)
    step = next(i.scale for i in INDICATORS if i.name == "richness")
    np.testing.assert_allclose((richness - less) * step, lost, atol=step + 2 * scale[[WEST, SENSITIVE, FAR]].sum())


def test_a_sensitive_species_is_cut_before_it_is_averaged(case):
    """Its square of 1 km that the range halves holds half of what it held; no edge is seen within a square."""
    exact, _, at = maps(case, VERSION)
    cut, _, _ = maps(case, "cut")
    square_of = (at // SIDE) // 20 * 100 + at % SIDE // 20
    for number in np.unique(square_of):
        assert len(np.unique(cut[SENSITIVE, square_of == number])) == 1
    assert (cut[SENSITIVE][at % SIDE >= 60] == 0).all()
    np.testing.assert_allclose(cut[SENSITIVE][at % SIDE < 40], exact[SENSITIVE][at % SIDE < 40], atol=1)  # a rounding tie
    halved = (at % SIDE >= 40) & (at % SIDE < 60)
    share = blur((at % SIDE < 50).astype(float), at, SIDE, 1)[halved]
    assert np.allclose(share, 0.5)
    ratio = cut[SENSITIVE][halved].mean() / exact[SENSITIVE][halved].mean()
    assert 0.2 < ratio < 0.8


def test_ranks_hold_no_species_out_of_its_range(case):
    held = case.cube.root["products/composition/cut"]
    _, _, at = maps(case, "cut")
    ids = held["species_id"][:].reshape(64, -1)[:, at]
    chance = held["probability"][:].reshape(64, -1)[:, at]
    assert (chance[ids == FAR] == 0).all()
    east = np.broadcast_to(at % SIDE >= 100, ids.shape)
    assert (chance[(ids == WEST) & east] == 0).all()
    assert (chance[(ids == WEST) & ~east] > 0).any()


def test_the_way_of_a_gpu_cuts_the_same(case, monkeypatch):
    case.make("torch")
    _worker_context.cache_clear()
    monkeypatch.setattr(Device, "compiled", property(lambda self: False))
    run_unit(case.job("torch"), case.units[0])
    _worker_context.cache_clear()
    for here, there in zip(maps(case, "cut"), maps(case, "torch"), strict=True):
        assert np.abs(here - there).max() <= 1


@pytest.mark.parametrize(
    ("ranges", "key", "message"),
    [
        (None, "binomial", r"c\.yaml: species\.ranges\.geojson: there is no file .*r\.geojson"),
        ("{", "binomial", r"r\.geojson: is not a GeoJSON FeatureCollection"),
        ({"type": "Polygon"}, "binomial", "is not a GeoJSON FeatureCollection"),
        (RANGES, "name", r"no feature has the property 'name'.*there are: binomial"),
        (collection(Other=square(1, 1, 2, 2)), "binomial", "no range of any of the 12 modelled species"),
        (collection(**{NAMES[1]: {"type": "Polygon", "coordinates": [[[1], [2]]]}}), "binomial", "plantaaaaab' is not made"),
        (collection(**{NAMES[1]: {"type": "Point", "coordinates": [15, 49]}}), "binomial", f"range of '{NAMES[1]}' has no area"),
        (RANGES | {"crs": {"properties": {"name": "nonsense"}}}, "binomial", "'crs' is not known"),
    ],
)
def test_a_bad_file_is_told_in_one_sentence(tmp_path, ranges, key, message):
    with pytest.raises(ConfigError, match=message):
        read_ranges(config(tmp_path, ranges, key), NAMES)


def test_without_the_key_there_are_no_ranges_and_a_damaged_copy_is_told(tmp_path):
    made = config(tmp_path, RANGES)
    object.__setattr__(made.species, "ranges", None)
    assert read_ranges(made, NAMES) is None
    save_ranges(tmp_path, None)
    assert load_ranges(tmp_path, NAMES) is None
    (tmp_path / FILE).write_text('{"features": [3]}')
    with pytest.raises(ModelError, match=r"ranges\.geojson: is damaged"):
        load_ranges(tmp_path, NAMES)
