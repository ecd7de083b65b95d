"""Each source is in the projection, type, scale and shape that its real counterpart comes in, and truth stays apart."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
from rasterio.warp import transform_bounds
from rio_cogeo.cogeo import cog_validate

from cube.grid import EUROPE
from cube.records.geoplant.dataset import GeoPlant
from cube.records.geoplant.metadata import raw_surveys, stream_metadata
from cube.records.report import Report
from demo.bioclim import bioclim
from demo.habitats import CODES
from demo.landscape import LandscapeSpec, make_landscape
from demo.sources import write_sources, write_truth

SPEC = LandscapeSpec(size_km=4, n_species=20, margin_km=2, n_surveys=80, n_records=300, n_plots=60, n_scenes=3)
UTM = "EPSG:32632"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources and truth of a small landscape."""
    out = tmp_path_factory.mktemp("demo")
    landscape = make_landscape(SPEC)
    said: list[str] = []
    write_sources(landscape, out, said.append)
    write_truth(landscape, out / "truth")
    assert len(said) >= 5
    return out


def items(folder: Path) -> list[pystac.Item]:
    """The scenes of the catalogue, oldest first."""
    catalog = pystac.Catalog.from_file(str(folder / "sources/sentinel2/catalog.json"))
    return sorted(catalog.get_items(recursive=True), key=lambda item: item.id[4:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "crs", "dtype", "nodata", "bands"),
    [
        ("elevation/dem.tif", "EPSG:4326", "float32", -9999, 1),
        ("climate/pr.tif", "EPSG:4326", "uint16", 65535, 228),
        ("climate/tasmin.tif", "EPSG:4326", "uint16", 65535, 228),
        ("climate/bioclim.tif", "EPSG:4326", "float32", -9999, 19),
        ("soil/phh2o.tif", "EPSG:4326", "int16", -32768, 1),
        ("landcover/mcd12q1.tif", "EPSG:4326", "uint8", 255, 13),
        ("landcover/surface.tif", UTM, "uint8", 255, 1),
        ("footprint/hfp2009.tif", "ESRI:54009", "float32", -9999, 1),
        ("landsat/swir2.tif", UTM, "uint8", 255, 84),
    ],
)
def test_rasters_come_as_the_real_ones_do(folder: Path, name: str, crs: str, dtype: str, nodata: float, bands: int) -> None:
    with rasterio.open(folder / "sources" / name) as src:
        assert src.crs == rasterio.crs.CRS.from_user_input(crs)
        assert src.dtypes[0] == dtype
        assert src.nodata == nodata
        assert src.count == bands
        west, south = SPEC.west_km * 1000 - 2000, SPEC.south_km * 1000 - 2000
        east, north = west + 8000, south + 8000
        need = transform_bounds("EPSG:3035", src.crs, west, south, east, north)
        slack = 2 * src.res[0]
        assert src.bounds.left <= need[0] + slack
        assert src.bounds.bottom <= need[1] + slack
        assert src.bounds.right >= need[2] - slack
        assert src.bounds.top >= need[3] - slack
        if name.startswith("climate/") and bands == 228:
            assert set(src.scales) == {0.1}


def test_all_soil_and_landsat_layers_are_there(folder: Path) -> None:
    soil = ["bdod", "cec", "cfvo", "clay", "sand", "silt", "nitrogen", "phh2o", "soc"]
    assert {p.stem for p in (folder / "sources/soil").glob("*.tif")} == set(soil)
    bands = ["red", "green", "blue", "nir", "swir1", "swir2"]
    assert {p.stem for p in (folder / "sources/landsat").glob("*.tif")} == set(bands)
    with rasterio.open(folder / "sources/soil/phh2o.tif") as src:
        ph = src.read(1, masked=True) / 10
        assert 3 < ph.min() < ph.max() < 9


def test_catalogue_is_self_contained_stac_of_cogs(folder: Path) -> None:
    scenes = items(folder)
    assert len(scenes) == SPEC.n_scenes
    for item in scenes:
        assert item.collection_id == "sentinel-2-l2a"
        assert item.datetime is not None
        assert 5 <= item.datetime.month <= 9
        assert set(item.assets) == {"red", "green", "blue", "nir", "scl"}
        assert 0 <= item.properties["eo:cloud_cover"] <= 100
        assert item.properties["proj:code"] == UTM
        for name, asset in item.assets.items():
            assert not asset.href.startswith("/")
            path = asset.get_absolute_href()
            assert path is not None
            assert cog_validate(path)[0]
            with rasterio.open(path) as src:
                assert src.crs == rasterio.crs.CRS.from_user_input(UTM)
                assert list(src.transform)[:6] == asset.extra_fields["proj:transform"]
                assert list(src.shape) == asset.extra_fields["proj:shape"]
                assert src.nodata == 0
                assert src.res[0] == (20 if name == "scl" else 10)


def test_offset_follows_the_processing_baseline(folder: Path) -> None:
    """The same water is as dark in the old scene as in the new ones, once each is decoded by its own offset."""
    by_baseline: dict[str, float] = {}
    for item in items(folder):
        baseline = item.properties["s2:processing_baseline"]
        band = item.assets["red"].extra_fields["raster:bands"][0]
        assert band["scale"] == 0.0001
        assert band["offset"] == (-0.1 if baseline >= "04.00" else 0.0)
        with rasterio.open(item.assets["red"].get_absolute_href()) as src:
            red = src.read(1, out_shape=(src.height // 2, src.width // 2))
        with rasterio.open(item.assets["scl"].get_absolute_href()) as src:
            scl = src.read(1)
        value = red[(scl == 4) & (red > 0)] * band["scale"] + band["offset"]
        by_baseline[baseline] = float(np.median(value))
    assert set(by_baseline) == {"03.01", "05.09"}
    assert all(0.01 < v < 0.09 for v in by_baseline.values())


def test_clouds_are_bright_and_marked(folder: Path) -> None:
    seen: set[int] = set()
    for item in items(folder):
        with rasterio.open(item.assets["scl"].get_absolute_href()) as src:
            scl = src.read(1)
        with rasterio.open(item.assets["blue"].get_absolute_href()) as src:
            blue = src.read(1)[::2, ::2].astype(float)
        seen |= set(np.unique(scl).tolist())
        assert np.median(blue[scl == 9]) > np.median(blue[scl == 4]) + 2_000
        if (scl == 3).any():
            assert np.median(blue[scl == 3]) < np.median(blue[scl == 4])
    assert seen >= {0, 3, 4, 5, 8, 9, 10}


def test_tables_are_read_as_geoplant_of_2026(folder: Path) -> None:
    geoplant = GeoPlant(folder / "sources/geoplant")
    assert {(t.what, t.observations, t.split) for t in geoplant.layout.tables} == {
        ("metadata", "PA", "train"),
        ("metadata", "PO", "train"),
    }
    report = Report("surveys")
    raw = raw_surveys(geoplant.layout, ("train",), report)
    table = pd.read_csv(folder / "sources/geoplant/PresenceAbsenceSurveys/PA_metadata_train.csv")
    assert len(raw.surveys) == table["surveyId"].nunique()
    assert len(raw.occurrences) == len(table)
    assert np.isneginf(raw.surveys["area_m2"]).any() or raw.surveys["area_m2"].isna().any()
    assert not report.remarks
    records = pd.concat(stream_metadata(geoplant.layout, "PO", ("train",)))
    assert len(records) == SPEC.n_records
    assert records["uncertainty_m"].between(0, 100).all()


def test_tables_have_geoplant_columns_and_lie_in_the_region(folder: Path) -> None:
    geoplant = folder / "sources/geoplant"
    pa = pd.read_csv(geoplant / "PresenceAbsenceSurveys/PA_metadata_train.csv")
    po = pd.read_csv(geoplant / "PresenceOnlyOccurrences/PO_metadata_train.csv")
    assert list(pa) == (["lon", "lat", "year", "geoUncertaintyInM", "areaInM2", "region", "country", "speciesId", "surveyId"])
    assert list(po) == (
        [
            "surveyId",
            "publisher",
            "year",
            "month",
            "day",
            "lat",
            "lon",
            "geoUncertaintyInM",
            "taxonRank",
            "date",
            "dayOfYear",
            "speciesId",
        ]
    )
    assert len(po) == SPEC.n_records
    species = pd.read_csv(folder / "sources/species.csv")
    assert set(pa.speciesId) | set(po.speciesId) <= set(species.speciesId)
    for table in (pa, po):
        x, y = EUROPE.project(table.lon.to_numpy(), table.lat.to_numpy())
        assert ((x > SPEC.west_km * 1000) & (x < (SPEC.west_km + 4) * 1000)).all()
        assert ((y > SPEC.south_km * 1000) & (y < (SPEC.south_km + 4) * 1000)).all()


def test_species_table_is_complete(folder: Path) -> None:
    species = pd.read_csv(folder / "sources/species.csv")
    assert len(species) == SPEC.n_species
    assert species.scientificName.is_unique
    assert species.speciesId.is_unique
    assert species.scientificName.str.fullmatch(r"[A-Z][a-z]+ [a-z]+(-[a-z]+)?").all()
    assert set(species.iucn) <= {"CR", "EN", "VU", "NT", "LC", "DD"}
    assert set(species.sensitiveKm) <= {0, 1, 10}
    for axis in ["light", "temperature", "moisture", "reaction", "nutrients"]:
        assert species[axis].between(1, 9).all()


def test_vegetation_tables_agree(folder: Path) -> None:
    vegetation = folder / "sources/vegetation"
    plots = pd.read_csv(vegetation / "plots.csv")
    covers = pd.read_csv(vegetation / "plot_species.csv")
    habitats = pd.read_csv(vegetation / "habitats.csv").set_index("code")
    assert list(plots) == ["PlotObservationID", "Habitat", "Longitude", "Latitude", "Year", "Area"]
    assert list(covers) == ["PlotObservationID", "Species", "Cover"]
    assert set(plots.Habitat) <= set(CODES)
    assert set(covers.PlotObservationID) == set(plots.PlotObservationID)
    assert covers.Cover.between(0.1, 100).all()
    for code in CODES:
        assert habitats.parent[code] == code[:2]
        assert habitats.parent[code[:2]] == code[0]
    assert habitats.colour.str.fullmatch("#[0-9a-f]{6}").all()


def test_truth_covers_the_region_and_no_source_names_it(folder: Path) -> None:
    facts = json.loads((folder / "truth/grid.json").read_text())
    p = np.load(folder / "truth/probability.npy")
    assert p.shape == (SPEC.n_species, 80, 80)
    assert p.dtype == np.float16
    assert facts["west"] == SPEC.west_km * 1000
    assert facts["north"] == (SPEC.south_km + 4) * 1000
    assert np.load(folder / "truth/habitat.npy").shape == (80, 80)
    assert {p.name for p in folder.iterdir()} == {"sources", "truth"}
    assert not [p for p in (folder / "sources").rglob("*") if "truth" in p.name]


@pytest.mark.slow
def test_written_sources_are_the_same_by_seed(folder: Path, tmp_path: Path) -> None:
    write_sources(make_landscape(SPEC), tmp_path)

    def digest(root: Path) -> dict[str, str]:
        names = [*root.rglob("*.csv"), *root.glob("sources/soil/*.tif"), *root.rglob("scl.tif")]
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in names}

    assert digest(folder) == digest(tmp_path)


def test_bioclim_follows_the_standard_definitions() -> None:
    """Against a plain month-by-month calculation of each variable for random stations."""
    rng = np.random.default_rng(1)
    pr = rng.gamma(2, 40, (12, 5))
    tas = rng.normal(8, 8, (12, 5))
    warm, cold = tas + rng.uniform(2, 6, (12, 5)), tas - rng.uniform(2, 6, (12, 5))
    got = bioclim(pr, tas, warm, cold)
    for k in range(5):
        p, t = pr[:, k], tas[:, k]
        quarters = [[(i + j) % 12 for j in range(3)] for i in range(12)]
        wet = max(quarters, key=lambda q: p[q].sum())
        dry = min(quarters, key=lambda q: p[q].sum())
        hot = max(quarters, key=lambda q: t[q].mean())
        ice = min(quarters, key=lambda q: t[q].mean())
        spread = warm[:, k].max() - cold[:, k].min()
        diurnal = np.mean(warm[:, k] - cold[:, k])
        want = [
            *[t.mean(), diurnal, 100 * diurnal / spread, 100 * np.std(t, ddof=1)],
            *[warm[:, k].max(), cold[:, k].min(), spread],
            *[t[wet].mean(), t[dry].mean(), t[hot].mean(), t[ice].mean()],
            *[p.sum(), p.max(), p.min(), 100 * np.std(p, ddof=1) / (1 + p.mean())],
            *[p[wet].sum(), p[dry].sum(), p[hot].sum(), p[ice].sum()],
        ]
        assert got[:, k] == pytest.approx(want, rel=1e-5)
