"""The peers of the tile benchmark get what they are said to get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from benchmarks import tile_cube


@pytest.mark.filterwarnings("ignore:This module is experimental")
def test_a_reader_that_follows_the_convention_finds_every_level_and_takes_the_one_that_fits(tmp_path: Path) -> None:
    pytest.importorskip("isochron")  # of rio-tiler's extra for Zarr, which the benchmark alone needs
    from rio_tiler.experimental.zarr import GroupReader

    cube = tile_cube.make(str(tmp_path / "cube.zarr"), 80, 20)
    reader = GroupReader(input=zarr.open_group(f"{cube.url}/products/habitats/v1", mode="r"))
    levels = reader.get_group_metadata()["arrays"][tile_cube.VARIABLE]
    assert [level["width"] for level in levels] == [1600 // 2**n for n in range(cube.region.levels() + 1)]
    for level, found in enumerate(levels):
        assert np.array_equal(
            found["array"][:50, :50], cube.array(f"products/habitats/v1/{level}/{tile_cube.VARIABLE}")[:50, :50]
        )
    web = reader.tms.rasterio_crs
    fine, coarse = ({"bounds": (1.1e6, 6.1e6, 1.1e6 + side, 6.1e6 + side), "width": 256, "height": 256} for side in (1e4, 6e5))
    assert reader.select_variable(levels, dst_crs=web, **fine)["width"] == 1600
    assert reader.select_variable(levels, dst_crs=web, **coarse)["width"] == levels[-1]["width"]
