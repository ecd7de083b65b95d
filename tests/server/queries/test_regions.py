"""Named regions come from the operator's files, are found by name, code and kind, and lie where they lie."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cube.errors import ConfigError
from cube.storage.store import CubeStore
from server.errors import NotFoundError
from server.main import create_app
from server.queries import outline, regions
from server.queries.outline import OutlineError
from server.start import CUBES, prepare


def feature(west: float, south: float, side: float = 0.1, **properties: Any) -> dict[str, Any]:
    east, north = west + side, south + side
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}


def write(path: Path, *features: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


@pytest.fixture
def files(tmp_path: Path) -> str:
    countries = write(
        tmp_path / "countries.geojson",
        feature(16.7, 49.0, NAME="Lowland", ISO_A2="LL"),
        feature(16.8, 49.0, NAME="Highland", ISO_A2="-99"),
        feature(2, 48, NAME="Far"),
    )
    nature = write(
        tmp_path / "nature.geojson",
        feature(16.75, 49.02, name="Pannonian"),
        feature(16.9, 49.02, name="Pannonian"),
        feature(16.7, 49.0, name="Lowland"),
    )
    return f"{countries},biogeography={nature}"


def test_names_are_found_in_any_letters_by_code_and_by_kind(files: str) -> None:
    loaded = regions.read(files)
    assert [r.kind for r in loaded.entries] == ["countries"] * 3 + ["biogeography"] * 2
    assert loaded.find("hIGHLAND").name == "Highland"
    assert loaded.find("ll", "countries").name == "Lowland"
    assert loaded.find("Pannonian").shape.area == pytest.approx(0.02)  # two features, one region
    with pytest.raises(OutlineError, match="which kind: biogeography, countries"):
        loaded.find("Lowland")
    with pytest.raises(NotFoundError, match="close names are Highland"):
        loaded.find("Hihgland")
    with pytest.raises(NotFoundError, match="see /regions"):
        loaded.find("xxxxxxxx")
    with pytest.raises(NotFoundError, match="no named regions"):
        regions.Regions().find("Austria")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "not GeoJSON"),
        (b'{"type": "FeatureCollection", "features": []}', "no features"),
        (b"[]", "no features"),
        (json.dumps({"features": [feature(1, 1, other="x")]}).encode(), "feature 0 .* has no name"),
        (b"[" * 100_000, "not GeoJSON"),
        (b'{"features": [7]}', "feature 0 .* not a GeoJSON Feature"),
        (b'{"features": "abc"}', "feature 0 .* not a GeoJSON Feature"),
        (b'{"features": [{"properties": ["name"], "geometry": null}]}', "feature 0 .* not a GeoJSON Feature"),
        (json.dumps({"features": [feature(4_321_000, 3_210_000, name="Metres")]}).encode(), "'Metres' .* degrees"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong_in_it(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "some.geojson"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"some\.geojson.*{told}|{told}"):
        regions.read(str(path))


def test_a_file_that_cannot_be_read_is_blamed_on_what_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = str(tmp_path / "absent.geojson")
    monkeypatch.setenv(CUBES, "")
    monkeypatch.setenv("FLORACUBE_REGIONS", absent)
    with pytest.raises(ConfigError, match=rf"^FLORACUBE_REGIONS: {absent} cannot be read"):
        prepare([], "127.0.0.1", 0)
    with pytest.raises(ConfigError, match=rf"^--regions: {absent} cannot be read"):
        prepare([], "127.0.0.1", 0, [f"countries={absent}"])


def test_an_outline_that_touches_itself_is_mended(tmp_path: Path) -> None:
    bow = feature(16.7, 49.0, name="Bow")
    bow["geometry"]["coordinates"] = [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]
    loaded = regions.read(str(write(tmp_path / "bow.geojson", bow)))
    assert loaded.find("Bow").shape.area == pytest.approx(2.0)


def test_the_server_lists_them_and_reports_by_name(cube: CubeStore, files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLORACUBE_REGIONS", files)
    client = TestClient(create_app([cube.url]))
    listed = client.get("/regions").json()
    assert [(r["name"], r["kind"]) for r in listed["regions"]] == [
        ("Lowland", "countries"),
        ("Highland", "countries"),
        ("Pannonian", "biogeography"),
        ("Lowland", "biogeography"),
    ]
    named = client.post("/area", json={"region": "highland"}).json()
    drawn = client.post("/area", json=feature(16.8, 49.0)).json()
    assert named.pop("name") == "Highland"
    assert drawn.pop("name") == "Area"
    assert named == drawn
    linked = client.get("/area", params={"region": "Highland", "format": "html"})
    assert "<h1>Highland</h1>" in linked.text
    assert client.get("/area?region=Highland&format=html", headers={"If-None-Match": linked.headers["etag"]}).status_code == 304
    assert client.get("/area?region=Highland").headers["etag"] != linked.headers["etag"]
    assert client.post("/area", json={"region": "Lowland"}).status_code == 422
    assert client.post("/area", json={"region": "Far"}).status_code == 404


@pytest.mark.skipif(shutil.which("ogr2ogr") is None, reason="GDAL's command line is not installed")
def test_natural_earth_is_read_as_it_is_published(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "europe" / "naturalearth" / "ne_50m_admin_0_countries" / "ne_50m_admin_0_countries.shp"
    target = tmp_path / "countries.geojson"
    subprocess.run(["ogr2ogr", "-t_srs", "EPSG:4326", str(target), str(source)], check=True, capture_output=True)
    loaded = regions.read(f"countries={target}")
    assert len(loaded.entries) > 200
    austria = loaded.find("AUT")
    assert austria.name == "Austria"
    assert outline.square_kilometres(austria.shape) == pytest.approx(83_879, rel=0.01)  # Statistics Austria
    assert outline.square_kilometres(loaded.find("Czechia").shape) == pytest.approx(78_871, rel=0.01)  # Czech Statistical Office


def test_the_outline_of_a_region_is_given_as_it_was_read(cube: CubeStore, files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLORACUBE_REGIONS", files)
    client = TestClient(create_app([cube.url]))
    answer = client.get("/regions/highland")
    assert answer.headers["content-type"] == "application/geo+json"
    assert (answer.json()["type"], answer.json()["properties"]) == ("Feature", {"name": "Highland", "kind": "countries"})
    assert outline.parse(answer.json()).equals_exact(outline.parse(feature(16.8, 49.0)), 1e-5, normalize=True)
    assert client.get("/regions/lowland", params={"kind": "biogeography"}).json()["properties"]["kind"] == "biogeography"
    assert client.get("/regions/lowland").status_code == 422  # of two kinds
    assert client.get("/regions/Nowhere", headers={"If-None-Match": "*"}).status_code == 404
