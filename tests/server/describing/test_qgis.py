"""QGIS itself, offscreen, draws what we serve and what we export, and sees the colours of the map page.

Skipped where Debian's `qgis` and `python3-qgis` are not installed (too large for `make browser`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import morecantile
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from cube.export.cog import export
from cube.storage.store import CubeStore
from server import palettes
from server.drawing.tms import tile_matrix_set
from tests.server.conftest import HABITATS, REGION

PYTHON = "/usr/bin/python3"  # the Python that the package python3-qgis belongs to
SESSION = Path(__file__).parents[2] / "support/qgis_session.py"
CENTRE = (16.77, 49.02)
MERCATOR, ETRS = "WebMercatorQuad", "EuropeanETRS89_LAEAQuad"
OFF = (0, -1, 1)
NEAR = 10  # of 255: the ramp of a style has 24 straight pieces, the map's table 255 steps


def qgis_is_here() -> bool:
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", "import qgis.core, qgis.gui"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not qgis_is_here(), reason="QGIS is not installed (apt-get install qgis python3-qgis)")


class Asked(NamedTuple):
    """A layer that QGIS is to draw: over the whole of a tile, or over all cells of the region, one pixel each."""

    uri: str
    provider: str
    crs: str
    box: tuple[float, float, float, float]
    size: tuple[int, int]


def tile_of(tms: str, zoom: int) -> morecantile.Tile:
    return tile_matrix_set(tms).tile(*CENTRE, zoom)


def visible(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA with no colour where nothing is drawn."""
    return np.where(picture[..., 3:] > 0, picture, np.uint8(0))


def over_tile(uri: str, tms: str, zoom: int) -> Asked:
    box = tuple(tile_matrix_set(tms).xy_bounds(tile_of(tms, zoom)))
    return Asked(uri, "wms", "EPSG:3857" if tms == MERCATOR else "EPSG:3035", box, (256, 256))


def over_cells(path: Path) -> Asked:
    west, south, east, north = REGION.grown_bounds
    rows, cols = REGION.shape()
    return Asked(str(path), "gdal", "EPSG:3035", (west, south, east, north), (cols, rows))


def xyz(address: str, layer: str) -> str:
    url = f"{address}/layers/{layer}/tiles/{MERCATOR}/{{z}}/{{x}}/{{y}}.png"
    return f"type=xyz&url={quote(url, safe='')}&zmin=0&zmax=15"


def wmts(url: str, layer: str, tms: str) -> str:
    crs = "EPSG:3857" if tms == MERCATOR else "EPSG:3035"
    return f"crs={crs}&format=image/png&layers={layer}&styles=default&tileMatrixSet={tms}&url={quote(url, safe='')}"


class Seen(NamedTuple):
    """What QGIS said of a layer, and the picture as (rows, columns, 4) RGBA."""

    told: dict[str, Any]
    picture: NDArray[np.uint8]


class Session(NamedTuple):
    """One run of QGIS over everything that the tests look at."""

    seen: dict[str, Seen]
    connections: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def session(cube: CubeStore, address: str, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("qgis")
    for layer in ("habitats.level3", "indicators.richness", "species.fagus_sylvatica", "inputs.elevation", "inputs.sentinel2"):
        export(cube.url, layer, folder / f"{layer}.tif")
    shutil.copy(folder / "habitats.level3.tif", folder / "unstyled.tif")
    shutil.copy(folder / "habitats.level3.tif.aux.xml", folder / "unstyled.tif.aux.xml")
    bounds = "bbox=16.71,48.99,16.83,49.05"
    (folder / "window.tif").write_bytes(httpx.get(f"{address}/layers/indicators.richness.upper/cog?{bounds}", timeout=60).content)
    (folder / "window.qml").write_bytes(httpx.get(f"{address}/layers/indicators.richness.upper/style.qml", timeout=60).content)
    (folder / "connections.xml").write_bytes(httpx.get(f"{address}/qgis?layers=species.fagus_sylvatica", timeout=60).content)
    asked = {
        "xyz richness": over_tile(xyz(address, "indicators.richness"), MERCATOR, 12),
        "xyz habitats": over_tile(xyz(address, "habitats.level3"), MERCATOR, 13),
        "wmts plain": over_tile(wmts(f"{address}/wmts", "indicators.richness", MERCATOR), MERCATOR, 12),
        "wmts asked": over_tile(
            wmts(f"{address}/wmts?layers=species.fagus_sylvatica", "species.fagus_sylvatica", ETRS), ETRS, 10
        ),
        "wmts of a layer": over_tile(
            wmts(f"{address}/layers/habitats.level3/{ETRS}/WMTSCapabilities.xml", "habitats.level3", ETRS), ETRS, 10
        ),
        **{path.stem: over_cells(path) for path in sorted(folder.glob("*.tif"))},
    }
    document = {
        "layers": [{**one._asdict(), "out": str(folder / f"{i}.png")} for i, one in enumerate(asked.values())],
        "connections": str(folder / "connections.xml"),
    }
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    environment = {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime), "QGIS_CUSTOM_CONFIG_PATH": str(folder)}
    environment.pop("PYTHONPATH", None)
    run = subprocess.run(
        [PYTHON, str(SESSION)],
        input=json.dumps(document),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=environment,
    )
    answers = [line for line in run.stdout.splitlines() if line.startswith("ANSWER ")]
    assert answers, run.stderr[-2000:]
    answer = json.loads(answers[0][len("ANSWER ") :])
    seen = {}
    for i, (name, told) in enumerate(zip(asked, answer["layers"], strict=True)):
        assert told["valid"], (name, told)
        seen[name] = Seen(told, np.asarray(Image.open(folder / f"{i}.png").convert("RGBA")))
    return Session(seen, answer["connections"])


def tile_picture(address: str, layer: str, tms: str, zoom: int) -> NDArray[np.uint8]:
    tile = tile_of(tms, zoom)
    url = f"{address}/layers/{layer}/tiles/{tms}/{zoom}/{tile.x}/{tile.y}.png"
    with Image.open(httpx.get(url, timeout=60).raise_for_status()) as image:  # type: ignore[arg-type]
        return np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize(
    ("name", "layer", "tms", "zoom"),
    [
        ("xyz richness", "indicators.richness", MERCATOR, 12),
        ("xyz habitats", "habitats.level3", MERCATOR, 13),
        ("wmts plain", "indicators.richness", MERCATOR, 12),
        ("wmts asked", "species.fagus_sylvatica", ETRS, 10),
        ("wmts of a layer", "habitats.level3", ETRS, 10),
    ],
)
def test_qgis_draws_the_very_pixels_of_our_tiles(
    session: Session, address: str, name: str, layer: str, tms: str, zoom: int
) -> None:
    own, seen = visible(tile_picture(address, layer, tms, zoom)), visible(session.seen[name].picture)
    assert (own[..., 3] == 255).mean() > 0.5
    if tms == MERCATOR:
        np.testing.assert_array_equal(seen, own)
        return
    # In the set of 17.166 m QGIS takes about half of the pixels from the neighbour, as its rows and columns fall on their edges
    # (GDAL reads the very pixels, see test_wmts): nothing lies more than one off.
    same = [(seen[1:-1, 1:-1] == own[1 + dy : 255 + dy, 1 + dx : 255 + dx]).all(axis=2) for dy in OFF for dx in OFF]
    assert np.any(same, axis=0).all()


def values(cube: CubeStore, group: str, name: str, **at: object) -> NDArray[np.float64]:
    return np.asarray(xr.open_zarr(f"{cube.url}/{group}")[name].sel(at).values, np.float64)


def test_classes_open_with_their_colours_and_names_alone(session: Session, cube: CubeStore) -> None:
    told, picture = session.seen["habitats.level3"]
    own = [(code, name, colour) for code, name, level, _, colour in HABITATS if level == "level3"]
    assert told["renderer"] == "paletted"
    assert told["classes"] == [[i, name, colour] for i, (_, name, colour) in enumerate(own)]
    stored = values(cube, "products/habitats/v1/0", "level3")
    np.testing.assert_array_equal(picture[..., 3] == 255, np.isfinite(stored))
    for i, (_, _, colour) in enumerate(own):
        assert (picture[stored == i][:, :3] == palettes.rgb(colour)).all(), colour
    # Without the style GDAL's colour table and names remain, and the rows of a table of 256 that mean nothing.
    bare, same = session.seen["unstyled"]
    assert bare["renderer"] == "paletted"
    assert bare["classes"][: len(own)] == told["classes"]
    np.testing.assert_array_equal(same, picture)


@pytest.mark.parametrize(
    ("layer", "group", "name", "at"),
    [
        ("indicators.richness", "products/indicators/v1/0", "richness", {"bound": "estimate"}),
        ("species.fagus_sylvatica", "products/species/v1/0", "occurrence", {"species": "Fagus sylvatica"}),
        ("inputs.elevation", "inputs/50m", "elevation", {}),
    ],
)
def test_values_open_in_the_colours_and_the_range_of_the_map(
    session: Session, cube: CubeStore, address: str, layer: str, group: str, name: str, at: dict[str, str]
) -> None:
    told, picture = session.seen[layer]
    said = httpx.get(f"{address}/layers/{layer}", timeout=60).json()
    assert told["renderer"] == "singlebandpseudocolor"
    assert told["range"] == pytest.approx(said["range"])
    low, high = said["range"]
    shown = values(cube, group, name, **at)
    if name == "occurrence":
        shown = shown * float(xr.open_zarr(f"{cube.url}/{group}")["scale"].sel(at))
    there = np.isfinite(shown)
    np.testing.assert_array_equal(picture[..., 3] == 255, there)
    at_step = np.rint(255 * np.clip((shown[there] - low) / (high - low), 0, 1)).astype(int)
    expected = palettes.table(said["palette"])[at_step].astype(int)
    assert np.abs(picture[there][:, :3].astype(int) - expected).max() <= NEAR


def test_a_window_of_the_server_takes_the_style_of_the_server(session: Session, address: str) -> None:
    told, picture = session.seen["window"]
    assert told["renderer"] == "singlebandpseudocolor"
    assert told["range"] == pytest.approx(httpx.get(f"{address}/layers/indicators.richness.upper", timeout=60).json()["range"])
    assert 0.02 < (picture[..., 3] == 255).mean() < 0.5


def test_a_satellite_image_opens_as_one(session: Session, cube: CubeStore) -> None:
    told, picture = session.seen["inputs.sentinel2"]
    assert (told["renderer"], told["bands"]) == ("multibandcolor", 4)
    bands = values(cube, "inputs/10m", "sentinel2")[:3, 2::5, 2::5]  # the fine pixel in the middle of each cell
    for band in range(3):
        there = np.isfinite(bands[band])
        assert np.corrcoef(bands[band][there], picture[..., band][there])[0, 1] > 0.95


def test_qgis_imports_our_file_of_connections(session: Session, address: str) -> None:
    held = session.connections
    assert len(held) == 6
    for entry in held.values():
        assert entry["url"].startswith(f"{address}/layers/")
        assert 0 <= int(entry["zmin"]) < int(entry["zmax"]) <= 20
    assert held["Synthetic: Fagus sylvatica"]["url"].endswith("/species.fagus_sylvatica/tiles/WebMercatorQuad/{z}/{x}/{y}.png")
