"""Groups of products: coarser levels are means of the cells with a value, titles say what the numbers state."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cube.engine.workers import Workers
from cube.grid import Region
from cube.pyramids.overviews import Overviews, build_overviews
from cube.pyramids.squares import tree
from cube.storage.ledger import Ledger
from cube.storage.store import create_cube
from inference.cascade import products
from inference.cascade.indicators import INDICATORS
from inference.training.assembly import RELATIVE

NAMES = ("cwm_light", "lcbd", "richness")


def test_a_coarser_cell_is_the_mean_of_the_valid_cells_below_it(tmp_path: Path) -> None:
    region = Region(4800, 2890, 4820, 2900, 10)  # two units, one level above
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    chosen = [i for i in INDICATORS if i.name in NAMES]
    products.make_indicators(cube, "v1", chosen, {})
    rng = np.random.default_rng(0)
    ledger, stored = Ledger(cube, "predict/v1", "hash"), {}
    for unit in region.units():
        for name in NAMES:
            # Patches without data of the size of a cell, of a coarser cell, and one value alone in a coarser cell.
            values = rng.integers(0, 60_000, (3, 200, 200)).astype(np.uint16)
            values[:, rng.random((200, 200)) < 0.4] = 65535
            values[:, :10, :10] = 65535
            values[:, 0, 0] = (7, 6, 9)
            if name == "lcbd":
                values[1:] = 65535  # an indicator without an interval
            cube.write_unit(f"products/indicators/v1/0/{name}", unit, values)
            stored.setdefault(name, {})[unit.name] = values
        ledger.sign(unit, 0.0)
    units = tuple(region.units())
    above = Overviews(
        "predict/v1", products.pyramids({"indicators": "v1"}, 100.0, chosen, {}), units, ledger.index().fingerprints
    )
    steps = list(build_overviews(cube.url, region, [above], Workers()))
    assert all(step.is_built for step in steps)
    assert cube.list_json("ledger/predict/v1/overviews") == sorted(square.name for square in tree(region, units))
    for name in NAMES:
        fine = np.asarray(cube.array(f"products/indicators/v1/0/{name}")[:]).astype(float)
        fine[fine == 65535] = np.nan
        cells = fine.reshape(3, fine.shape[1] // 2, 2, -1, 2).transpose(0, 1, 3, 2, 4).reshape(3, fine.shape[1] // 2, -1, 4)
        count = np.isfinite(cells).sum(-1)
        mean = np.nansum(cells, -1) / np.maximum(count, 1)
        seen = np.asarray(cube.array(f"products/indicators/v1/1/{name}")[:]).astype(float)[:, : mean.shape[1], : mean.shape[2]]
        np.testing.assert_array_equal(seen == 65535, count == 0)
        np.testing.assert_allclose(seen[count > 0], np.floor(mean[count > 0] + 0.5))
        low, high = (0, 0) if name == "lcbd" else (1, 2)
        assert tuple(seen[[0, low, high], 0, 0]) == ((7, 7, 7) if name == "lcbd" else (7, 6, 9))


def test_what_no_survey_has_told_is_called_a_relative_intensity_everywhere(tmp_path: Path) -> None:
    cube = create_cube(str(tmp_path / "c.zarr"), Region(4800, 2890, 4820, 2900, 10), "t")
    chosen = [i for i in INDICATORS if i.name in NAMES]
    titles: dict[str, list[str]] = {}
    for version, about in (("v1", {}), ("v2", {products.OUTPUT_KIND: RELATIVE})):
        products.make_species(cube, version, ("Carex alba",), np.ones(1, np.float32), 100.0, about)
        products.make_composition(cube, version, about)
        products.make_indicators(cube, version, chosen, about)
        for path in ("species/{}/0/occurrence", "species/{}/1/occurrence", "composition/{}/probability", "indicators/{}/1/lcbd"):
            titles.setdefault(version, []).append(str(cube.array("products/" + path.format(version)).attrs["long_name"]))
    assert titles["v1"][0] == "Probability of occurrence in a plot of 100 m2"
    assert all("elative intensit" in title and "robability" not in title for title in titles["v2"]), titles
    assert not any("elative" in title for title in titles["v1"])
