"""Any file that GDAL writes, whole or damaged: the values of rasterio, or a refusal, or counts that say what is missing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.errors import SourceError
from cube.layers.inputs import INPUTS
from cube.sources.coverage import counts_of
from cube.sources.reader import UnitValues
from tests.cube.sources.test_rasters import REGION, UNIT, read
from tests.support.rasters import Array, layer_values, names_of, write_bands

TYPES = {"int16": -32768, "int32": -9999, "uint16": 65535, "float32": -9999, "float64": np.nan}
FILLS = (-9999.0, -32768.0, 0.0, 1e20, -3.4e38, np.inf, 65535.0)


def oracle(path: str, order: tuple[int, ...]) -> Array:
    """(bands, rows, columns) float32 as rasterio reads them, scale and offset of the file applied, NaN without data."""
    with rasterio.open(path) as source:
        values = np.ma.filled(source.read(masked=True).astype(np.float64), np.nan)
        values = values * np.array(source.scales)[:, None, None] + np.array(source.offsets)[:, None, None]
    return values[list(order)].astype(np.float32)


def outcome(folder: Path, layer: str) -> UnitValues | str:
    """What was read, or the sentence of the refusal."""
    try:
        return read(folder, layer=layer, raster="x.tif")
    except SourceError as error:
        return str(error)


def counts(layer: str, seen: Any) -> dict[str, int]:
    return counts_of(INPUTS[layer], np.asarray(seen[layer]), REGION, UNIT, seen.refused.get(layer), seen.clipped.get(layer))


@settings(max_examples=20)
@given(
    layer=st.sampled_from(["srtm", "terrain", "bioclim"]),
    dtype=st.sampled_from(sorted(TYPES)),
    scale=st.sampled_from([1.0, 0.5]),
    seed=st.integers(0, 1000),
    holes=st.floats(0, 0.5),
    flip=st.booleans(),
    fill=st.sampled_from((None, *FILLS)),
    damaged=st.integers(0, 30),
)
def test_values_are_rasterios_or_the_file_is_refused_or_its_pixels_are_counted(
    layer: str, dtype: str, scale: float, seed: int, holes: float, flip: bool, fill: float | None, damaged: int
) -> None:
    rng = np.random.default_rng(seed)
    values = layer_values(layer, 10, 10, seed)
    if dtype == "uint16":
        values = np.abs(values)
    count = len(values)
    order = rng.permutation(count)
    stored = values / scale if not dtype.startswith("float") else values / np.float32(scale)
    stored = (np.rint(stored) if not dtype.startswith("float") else stored).astype(dtype)
    stored[rng.random(stored.shape) < holes] = TYPES[dtype]
    bad = np.zeros((10, 10), bool)
    if fill is not None and (dtype.startswith("float") or (np.isfinite(fill) and abs(fill) < 1e9)):
        info = None if dtype.startswith("float") else np.iinfo(dtype)
        if info is None or info.min <= fill <= info.max:
            bad.ravel()[rng.permutation(100)[:damaged]] = True
            stored[:, bad] = np.asarray(fill, dtype)
    transform = REGION.transform(1000)
    if flip:  # south up
        stored = stored[:, ::-1]
        transform = Affine(transform.a, 0, transform.c, 0, -transform.e, transform.f + 10 * transform.e)
    names = names_of(layer)
    with tempfile.TemporaryDirectory() as folder:
        path = write_bands(
            Path(folder) / "x.tif", stored[order], transform, tuple(names[i] for i in order) if names else (), TYPES[dtype]
        )
        with rasterio.open(path, "r+") as target:
            target.scales = (scale,) * count
        seen = outcome(Path(folder), layer)
        if isinstance(seen, str):
            assert "lie outside" in seen
            # A file that is as it should be is never refused; the noise of whole numbers leaves a range by half a step.
            assert bad.any() or not dtype.startswith("float")
            return
        truth = oracle(path, tuple(int(i) for i in np.argsort(order)))
        truth = truth[:, ::-1] if flip else truth
    got = np.asarray(seen[layer], np.float32).reshape(truth.shape)
    refused = np.asarray(seen.refused.get(layer, np.zeros(truth.shape, bool))).reshape(truth.shape)
    np.testing.assert_array_equal(got[~refused], truth[~refused])
    assert np.isnan(got[refused]).all()
    told = counts(layer, seen)
    assert told[f"{layer} pixels"] == truth.size
    assert told[f"{layer} refused"] == refused.sum()
    assert told[f"{layer} valid"] == np.isfinite(got).sum()
    assert told[f"{layer} valid"] + told[f"{layer} no data"] + told[f"{layer} refused"] == truth.size


@settings(max_examples=10)
@given(cut=st.integers(0, 4000), seed=st.integers(0, 1000))
def test_a_file_that_was_cut_off_is_refused_or_read_whole(cut: int, seed: int) -> None:
    values = layer_values("srtm", 10, 10, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(write_bands(Path(folder) / "x.tif", values, REGION.transform(1000), nodata=-9999))
        whole = path.read_bytes()
        path.write_bytes(whole[: max(0, len(whole) - cut)])
        seen = outcome(Path(folder), "srtm")
        if isinstance(seen, str):
            assert "x.tif" in seen
            return
        np.testing.assert_array_equal(seen["srtm"], values[0])
