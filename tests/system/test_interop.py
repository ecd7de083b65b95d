"""A cube opened by tools that never heard of us: nothing here reads it through our own code."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (the accessor)
import s3fs
import xarray as xr
import zarr
from rio_cogeo.cogeo import cog_validate

from cube.export.cog import export
from cube.storage.store import CubeStore
from tests.support.good_cube import REGION, SPECIES, copy_of
from tests.support.s3 import FaultyS3
from tests.support.web import served

ROOT = Path(__file__).parents[2]
CELL_TRANSFORM = (50.0, 0.0, 4800000.0, 0.0, -50.0, 2900000.0)


@pytest.fixture(scope="module")
def cube(good_cube: CubeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(copy_of(good_cube, tmp_path_factory.mktemp("interop")).url)


def leaves(cube: Path) -> list[Path]:
    """Groups that hold rasters, by their files; facts are figures of whole units."""
    arrays = [p for p in cube.rglob("zarr.json") if json.loads(p.read_text()).get("shape", [])[1:]]
    return sorted({p.parents[1] for p in arrays if p.parents[1].name != "facts"})


def slope(cube: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(cube / "inputs/50m/slope", mode="r")[:])


def test_nothing_of_ours_is_needed(cube: Path) -> None:
    """The whole of it in a process that has none of our rooms, nor GDAL's: xarray and zarr, as a stranger writes it."""
    code = """
import sys, xarray, zarr
data = xarray.open_zarr(sys.argv[1] + "/inputs/50m")
assert float(data.slope.max()) > 0 and data.slope.attrs["units"] == "degree"
assert zarr.open_group(sys.argv[1], mode="r")["products/habitats/v1/0/level3"].shape == (200, 400)
assert not [m for m in sys.modules if m.split(".")[0] in ("cube", "floracube", "inference", "server")]
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(cube)], check=True, cwd=cube.parent, timeout=120)


def test_every_leaf_opens_with_decoded_values_coordinates_and_crs(cube: Path) -> None:
    found = leaves(cube)
    assert len(found) > 12
    for leaf in found:
        data = xr.open_zarr(leaf, consolidated=True)
        rasters = [v for v in data.data_vars.values() if {"y", "x"} <= set(v.dims)]
        assert rasters, leaf
        for variable in rasters:
            assert variable.rio.crs.to_epsg() == 3035, leaf
            west, _, _, north = variable.rio.bounds()
            assert (west, north) == (REGION.grown_bounds[0], REGION.grown_bounds[3]), leaf
            assert variable.attrs["long_name"]
            assert variable.attrs.get("units") or all(band["units"] for band in variable.attrs["bands"])


def test_packed_values_come_out_in_their_units_and_gaps_as_nan(cube: Path) -> None:
    stored = slope(cube)
    seen = xr.open_zarr(cube / "inputs/50m").slope
    np.testing.assert_allclose(seen.values, np.where(stored == 65535, np.nan, stored * 0.01), rtol=1e-6)
    assert tuple(seen.rio.transform())[:6] == CELL_TRANSFORM
    assert tuple(seen.rio.bounds()) == (4800000, 2890000, 4820000, 2900000)


def test_the_whole_cube_is_one_tree(cube: Path) -> None:
    tree = xr.open_datatree(cube, engine="zarr", consolidated=False)
    for path, name in (
        ("inputs/10m", "sentinel2"),
        ("inputs/1km", "bioclim"),
        ("inputs/overviews/50m/1", "slope"),
        ("products/species/v1/0", "occurrence"),
        ("products/habitats/v1/1", "level3"),
    ):
        assert tree[path].dataset[name].rio.crs.to_epsg() == 3035, path
    assert [str(s) for s in tree["products/species/v1/0"].dataset["species"].values] == list(SPECIES)


def test_a_place_is_found_by_its_coordinates(cube: Path) -> None:
    seen = xr.open_zarr(cube / "inputs/50m").slope
    # The centre of row 40, column 60 from the corner (4800000, 2900000).
    value = seen.sel(x=4800000 + 60.5 * 50, y=2900000 - 40.5 * 50)
    assert float(value) == pytest.approx(slope(cube)[40, 60] * 0.01)


def test_gdal_names_what_it_cannot_read_and_reads_an_unsharded_copy_made_by_xarray(cube: Path, tmp_path: Path) -> None:
    version = tuple(int(n) for n in rasterio.__gdal_version__.split(".")[:2])
    if version < (3, 13):
        with pytest.raises(rasterio.errors.RasterioIOError, match="sharding_indexed"):
            rasterio.open(f'ZARR:"{cube}/inputs/50m":/slope')
    copy = tmp_path / "copy.zarr"
    data = xr.open_zarr(cube / "inputs/50m", mask_and_scale=False)[["slope"]].drop_encoding()
    # Zarr 2: GDAL before 3.13 knows only a draft of Zarr 3 ("Unsupported codec: bytes").
    data.to_zarr(copy, zarr_format=2, encoding={"slope": {"chunks": (200, 200), "compressors": numcodecs.Zlib(5)}})
    with rasterio.open(f'ZARR:"{copy}":/slope') as source:
        assert source.crs.to_epsg() == 3035
        assert tuple(source.transform)[:6] == CELL_TRANSFORM
        assert source.nodata == 65535
        np.testing.assert_array_equal(source.read(1), slope(cube))


def test_gdal_reads_what_we_export(cube: Path, tmp_path: Path) -> None:
    export(str(cube), "inputs.slope", tmp_path / "slope.tif")
    assert cog_validate(tmp_path / "slope.tif")[0]
    with rasterio.open(tmp_path / "slope.tif") as source:
        assert source.crs.to_epsg() == 3035
        t, left, top = source.transform, CELL_TRANSFORM[2], CELL_TRANSFORM[5]
        assert (t.a, t.b, t.d, t.e) == (50.0, 0.0, 0.0, -50.0)
        row, col = int((top - t.f) / 50), int((t.c - left) / 50)  # the file covers the region, the array whole units
        stored = slope(cube)[row : row + source.height, col : col + source.width]
        seen = source.read(1, masked=True)
        assert (np.ma.getmaskarray(seen) == (stored == 65535)).all()
        scale = source.scales[0] if source.dtypes[0] != "float32" else 1.0
        np.testing.assert_allclose(seen.compressed() * scale, stored[stored != 65535] * 0.01, rtol=1e-5)


def get(url: str, part: str | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"Range": f"bytes={part}"} if part else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_a_browser_needs_three_requests_for_one_chunk(cube: Path) -> None:
    """zarr.json, the index at the end of the shard by a suffix request, the chunk by its offset; an absent shard is a 404."""
    with served(cube) as url:
        path = "inputs/1km/bioclim"
        meta: dict[str, Any] = json.loads(get(f"{url}/{path}/zarr.json")[1])
        shard = meta["chunk_grid"]["configuration"]["chunk_shape"]
        codec = meta["codecs"][0]
        assert codec["name"] == "sharding_indexed"
        inner = codec["configuration"]["chunk_shape"]
        assert codec["configuration"]["index_location"] == "end"
        assert [c["name"] for c in codec["configuration"]["codecs"]] == ["bytes", "zstd", "crc32c"]
        assert [c["name"] for c in codec["configuration"]["index_codecs"]] == ["bytes", "crc32c"]
        chunks = [s // i for s, i in zip(shard, inner, strict=True)]
        status, index = get(f"{url}/{path}/c/0/0/0", f"-{16 * int(np.prod(chunks)) + 4}")
        assert status == 206
        wanted = (5, 0, 0)
        offset, length = struct.unpack_from("<QQ", index, 16 * int(np.ravel_multi_index(wanted, chunks)))
        status, data = get(f"{url}/{path}/c/0/0/0", f"{offset}-{offset + length - 1}")
        assert (status, len(data)) == (206, length)
        data, checksum = data[:-4], data[-4:]
        assert google_crc32c.value(data) == int.from_bytes(checksum, "little")
        values = np.frombuffer(numcodecs.Zstd().decode(data), meta["data_type"]).reshape(inner)
        expected = zarr.open_array(cube / path, mode="r")[5:6, :10, :10]
        np.testing.assert_array_equal(values, expected)
        assert get(f"{url}/{path}/c/0/9/9")[0] == 404


def test_a_leaf_needs_one_document_to_be_understood(cube: Path) -> None:
    document = json.loads((cube / "inputs/50m/zarr.json").read_text())
    held = document["consolidated_metadata"]["metadata"]
    assert {"x", "y", "spatial_ref", "slope"} < set(held) == {p.parent.name for p in (cube / "inputs/50m").glob("*/zarr.json")}
    for name, metadata in held.items():
        own = json.loads((cube / "inputs/50m" / name / "zarr.json").read_text())
        assert own == metadata, name


@pytest.mark.slow
def test_xarray_opens_it_from_s3_and_from_the_web(cube: Path, s3: FaultyS3) -> None:
    expected = xr.open_zarr(cube / "inputs/50m").load()
    s3fs.S3FileSystem().put(str(cube / "inputs/50m"), f"{s3.bucket}/50m", recursive=True)
    assert xr.open_zarr(f"{s3.url}/50m").load().identical(expected)
    with served(cube) as url:
        assert xr.open_zarr(f"{url}/inputs/50m").load().identical(expected)


def test_the_checksum_of_a_receipt_is_one_that_anybody_can_compute(cube: Path) -> None:
    """The CRC-32 of the stored values of the unit in C order."""
    receipt = json.loads((cube / "ledger/inputs/elevation/10kmE480N289.json").read_text())
    assert receipt["checksums"]["slope"] == zlib.crc32(np.ascontiguousarray(slope(cube)[:, :200]).data)
