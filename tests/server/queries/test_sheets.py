"""Fact sheets: figures equal to xarray's, words of the model as the cube holds them, null where nothing was measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from starlette.testclient import TestClient

from cube import layers
from cube.storage import releases
from cube.storage.store import CubeStore, open_cube
from inference.cascade.fidelity import Fidelity
from server.main import create_app
from server.queries import tally
from server.queries.sheet_models import HabitatSheet, SpeciesSheet
from tests.server.conftest import HABITATS, SPECIES
from tests.support import model_documents
from tests.support.written_facts import write_facts


@pytest.fixture(scope="module")
def told(cube: CubeStore, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """The server on a copy of the cube that says what model made its species."""
    return TestClient(create_app([model_documents.copy_with_model(cube, tmp_path_factory.mktemp("told"), SPECIES).url]))


def opened(cube: CubeStore, product: str, level: int = 0) -> xr.Dataset:
    return xr.open_zarr(f"{cube.url}/products/{product}/v1/{level}".removesuffix("/0" if product == "composition" else ""))


def probabilities(cube: CubeStore, level: int = 0) -> NDArray[np.float64]:
    """(species, cells) of the mapped cells."""
    data = opened(cube, "species", level)
    p = (data["occurrence"].astype("float64") * data["scale"].astype("float64")).values.reshape(len(SPECIES), -1)
    return np.asarray(p[:, np.isfinite(p[0])])


@pytest.fixture(scope="module")
def older(cube: CubeStore, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """The server on a copy of the cube of before there were facts."""
    folder = tmp_path_factory.mktemp("older") / "c.zarr"
    shutil.copytree(cube.url, folder)
    for facts in folder.glob("products/*/v1/facts"):
        shutil.rmtree(facts)
    return TestClient(create_app([str(folder)]))


@pytest.mark.parametrize("level", [0, 2])
def test_figures_of_a_species_equal_xarrays_over_the_whole_map(
    client: TestClient, older: TestClient, cube: CubeStore, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    if level:
        monkeypatch.setattr(tally, "CHUNKS", 0)
        monkeypatch.setattr(tally, "SQUARES", 1)
    sheet = SpeciesSheet(**(older if level else client).get("/species/Carex alba").json())
    p = probabilities(cube, level)[SPECIES.index("Carex alba")]
    assert sheet.region is not None
    assert (sheet.region.level, sheet.region.cell_m, sheet.region.cells) == (level, 50 * 2**level, p.size * 4**level)
    found = (sheet.region.mean_probability, sheet.region.highest_probability, sheet.region.km2)
    assert found == pytest.approx((p.mean(), p.max(), p.size * (0.05 * 2**level) ** 2), rel=1e-5)
    for share in sheet.region.shares:
        assert share.share == pytest.approx((p >= share.least).mean(), abs=1e-6)
    if level:
        assert sheet.region.listed is None
        return
    lists = opened(cube, "composition")
    ids, size = lists["species_id"].values, lists["set_size"].values
    within = ((ids == SPECIES.index("Carex alba")) & (np.arange(len(ids))[:, None, None] < np.nan_to_num(size))).any(0)
    assert sheet.region.listed == pytest.approx(within[np.isfinite(size)].mean(), abs=1e-6)


def test_what_is_applicable_is_told_by_cells_and_by_expected_occurrences(cube: CubeStore, tmp_path: Path) -> None:
    shutil.copytree(cube.url, tmp_path / "c.zarr")
    copy = open_cube(str(tmp_path / "c.zarr"), writable=True)
    richness = copy.array("products/indicators/v1/0/richness")
    scale = 600.0 / 65000
    layer = layers.indicator("applicability", "products/indicators/v2/0", "Dissimilarity", "1", scale, 600.0, "viridis")
    copy.ensure_group(layer.group, [layer])
    copy.array(f"{layer.group}/applicability")[...] = richness[...]
    for product in ("species", "composition", "habitats"):
        shutil.copytree(
            tmp_path / f"c.zarr/products/{product}/v1",
            tmp_path / f"c.zarr/products/{product}/v2",
            ignore=shutil.ignore_patterns("facts"),
        )
    versions = dict.fromkeys(("species", "composition", "habitats", "indicators"), "v2")
    for level in range(1, copy.region.levels() + 1):
        copy.ensure_group(f"products/indicators/v2/{level}", [layer.at(f"products/indicators/v2/{level}")], level=level)
    write_facts(copy, versions)
    releases.write_release(copy, "r2", versions, {})
    sheet = SpeciesSheet(**TestClient(create_app([copy.url])).get("/species/Carex alba", params={"release": "r2"}).json())
    data = opened(cube, "species")
    p = data["occurrence"].values[SPECIES.index("Carex alba")] * float(data["scale"][SPECIES.index("Carex alba")])
    known, estimate = np.isfinite(p), np.asarray(richness[0])
    within = known & (estimate != 65535) & (estimate * scale <= 1)
    assert sheet.region is not None
    assert 0 < within.sum() < known.sum()
    assert sheet.region.applicable == pytest.approx(within.sum() / known.sum(), rel=1e-5)
    assert sheet.region.applicable_occurrences == pytest.approx(p[within].sum() / p[known].sum(), rel=1e-4)


def test_a_habitat_of_a_cube_without_facts_says_what_to_do(older: TestClient, client: TestClient) -> None:
    one, two = (HabitatSheet(**server.get("/habitats/t31").json()) for server in (older, client))
    assert one.region == two.region
    assert one.species == []
    assert any("floracube predict" in note for note in one.notes)
    assert not any("floracube predict" in note for note in two.notes)


def test_a_version_that_says_nothing_of_its_model_is_not_evaluated(client: TestClient) -> None:
    sheet = SpeciesSheet(**client.get("/species/species.adonis_vernalis").json())
    assert (sheet.name, sheet.vernacular, sheet.iucn, sheet.protected) == ("Adonis vernalis", "Pheasant's eye", "VU", True)
    assert sheet.skill is sheet.learned is sheet.model is None
    assert sheet.responses == sheet.importance == []
    assert not any("held-out" in note for note in sheet.notes)


def test_words_of_the_model_are_told_as_the_cube_holds_them(told: TestClient) -> None:
    for s, name in enumerate(SPECIES):
        sheet = SpeciesSheet(**told.get(f"/species/{name}").json())
        entry = model_documents.entries(SPECIES)[s]
        assert sheet.skill is not None
        assert sheet.learned is not None
        assert sheet.model is not None
        assert sheet.skill.model_dump() == {"surveys": 280, "blocks": 3, **entry["held_out"]}
        assert (sheet.learned.surveys, sheet.learned.records) == (entry["surveys"], entry["records"])
        (curve,) = sheet.responses
        assert [curve.mean, curve.lower, curve.upper] == model_documents.bell(s)
        assert (curve.title, curve.units, curve.values) == ("Annual mean temperature", "degC", model_documents.GRID)
        assert [row.title for row in sheet.importance] == [title for _, _, title, _ in model_documents.IMPORTANCE]
        assert sheet.model.metrics["calibration_slope"] == 0.97


def test_a_habitat_says_its_place_its_share_and_the_species_that_tell_it(told: TestClient, cube: CubeStore) -> None:
    sheet = HabitatSheet(**told.get("/habitats/t31").json())
    assert (sheet.code, sheet.label, sheet.level, sheet.id) == ("T31", "Spruce forest", "level3", "habitats.level3")
    assert [(up.code, up.label) for up in sheet.parents] == [("T", "Forests")]
    assert sheet.children == []
    data = opened(cube, "habitats")
    classes = data["level3"].values.ravel()
    known, here = np.isfinite(classes), classes == 1
    assert sheet.region is not None
    assert sheet.region.share == pytest.approx(here.sum() / known.sum(), rel=1e-5)
    assert sheet.region.habitat_km2 == pytest.approx(here.sum() * 0.0025, rel=1e-5)
    assert sheet.region.mean_probability == pytest.approx(data["probability"].values.ravel()[here].mean(), rel=1e-5)
    assert sheet.region.among_three == 1.0
    p, own = probabilities(cube), here[known]
    for one in sheet.species:
        values = p[SPECIES.index(one.name)]
        assert (one.inside, one.outside) == pytest.approx((values[own].mean(), values[~own].mean()), rel=1e-4)
    assert [one.fidelity for one in sheet.species] == sorted((one.fidelity for one in sheet.species), reverse=True)
    assert {one.name for one in sheet.species} == {n for n, v in zip(SPECIES, p, strict=True) if v[own].mean() > v[~own].mean()}
    assert sheet.metrics == {"accuracy": 0.8}


def test_fidelity_of_certain_species_is_the_phi_of_their_presences() -> None:
    """With probabilities of 0 and 1 it is Pearson's correlation of two yes-or-no variables."""
    rng = np.random.default_rng(0)
    of_class, seen = rng.integers(0, 3, 500), rng.random((4, 500)) < 0.3
    seen[3] = True  # everywhere: tells nothing
    expected = np.stack([seen[:, of_class == c].sum(1) for c in range(3)]).astype(float)
    told = Fidelity(np.bincount(of_class), expected)
    for c in range(3):
        phi = told.phi(c)
        for s in range(3):
            assert phi[s] == pytest.approx(np.corrcoef(of_class == c, seen[s])[0, 1])
        assert phi[3] == 0


def test_parents_have_children_and_shares_of_a_level_add_up(told: TestClient) -> None:
    forests = told.get("/habitats/T").json()
    assert [child["code"] for child in forests["children"]] == ["T17", "T31"]
    assert forests["parents"] == []
    shares = {code: told.get(f"/habitats/{code}").json()["region"]["share"] for code, *_ in HABITATS}
    assert sum(shares[code] for code in ("T17", "T31", "R22")) == pytest.approx(1, abs=1e-5)
    assert shares["T"] == pytest.approx(shares["T17"] + shares["T31"], abs=1e-5)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/species/Nusquam plantae", "There is no species 'Nusquam plantae' in release r1; see /layers?product=species&search=."),
        ("/habitats/Z99", "There is no habitat 'Z99' in release r1; known are T17, T31, R22, T, R."),
    ],
)
def test_what_is_not_there_is_told_in_the_houses_style(client: TestClient, path: str, hint: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"detail": hint, "error": "not_found", "status": 404}


def test_an_unchanged_sheet_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/species/fagus_sylvatica")
    again: Any = client.get("/species/fagus_sylvatica", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
