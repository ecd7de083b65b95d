"""A unit's layer of applicability says of every cell what its place alone would say, and its spread is that of the members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.cascade_case import VERSION, Case, make_case
from cube.grid import Region
from cube.pyramids.facts import all_facts, make_facts, measured, stored_figures
from cube.storage.releases import ensure_table
from inference.calibration.applicability import fit_applicability, masks_of, present_in, save_applicability
from inference.calibration.columns import column_names, place_columns
from inference.calibration.members import common_species, member_spread
from inference.cascade import maps, versions
from inference.cascade.model import load_model
from inference.cascade.unit import _worker_context, run_unit
from inference.data.sampling import sample
from inference.network.batches import covariates_of, gather


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    region = Region(4800, 2890, 4810, 2891, 10)  # a strip: a row of cells is as good as a square
    made = make_case(
        tmp_path_factory.mktemp("area"),
        region,
        12,
        {"d": 8, "hidden": 8},
        ("surface", "elevation", "bioclim"),
        gaps=0.1,
        members=2,
    )
    model, rng = load_model(made.model), np.random.default_rng(0)
    # training places of the west alone: the east is where nobody has been
    x, y = rng.uniform(4_800_000, 4_803_000, 200), rng.uniform(2_890_000, 2_891_000, 200)
    places = sample(made.cube, model.recipe, x, y, 1)
    count = len(column_names(model.ensemble.spec)[1])
    area = fit_applicability(
        model.ensemble,
        places,
        covariates_of(np.full(200, 2020.0)),
        (x // 500).astype(np.int64),
        np.ones(count, np.float32),
        100,
    )
    save_applicability(made.model, area)
    assert load_model(made.model).hash != model.hash
    made.make("told")
    run_unit(made.job("told"), made.units[0])
    return made


def test_layers_of_a_unit_are_those_of_its_places(case):
    model = load_model(case.model)
    held = case.cube.root["products/indicators/told/0"]
    unlike, spread = held["applicability"][0].ravel(), held["spread"][0].ravel()
    assert (held["applicability"][1:] == 65535).all()
    at = np.flatnonzero(unlike != 65535)[::23]
    row, col = np.divmod(at, case.units[0].cells)
    x, y = case.units[0].west + 50 * (col + 0.5), case.units[0].north - 50 * (row + 0.5)
    places = sample(case.cube, model.recipe, x, y, 1)
    columns = torch.from_numpy(place_columns(places, model.ensemble.spec))
    covariates = covariates_of(np.full(len(at), 2020.0))
    with torch.inference_mode():
        z = model.ensemble.embed_places(gather(places, np.arange(len(at)), model.ensemble.spec.modalities, covariates))
    area = model.applicability
    assert area is not None
    mask = masks_of(area.modalities, present_in(area.modalities, area.column_modality, columns), len(at))
    wanted = area.ratio(columns, z, mask).numpy()
    np.testing.assert_allclose(unlike[at] * 0.001, wanted, atol=0.002, rtol=1e-3)
    assert wanted[x > 4_806_000].mean() > wanted[x < 4_803_000].mean()
    np.testing.assert_allclose(
        spread[at] * 1e-4, member_spread(model.ensemble, z, common_species(model.ensemble)).numpy(), atol=2e-4, rtol=1e-3
    )


def test_facts_of_a_unit_are_those_of_its_stored_maps(case):
    model, cube, unit = load_model(case.model), case.cube, case.units[0]
    case.make("counted")
    versions = dict.fromkeys(("species", "composition", "indicators"), "counted")
    names = np.asarray(model.ensemble.species, object)
    ensure_table(cube, "composition", "counted", {"species_id": np.arange(len(names), dtype=np.int32), "scientific_name": names})
    make_facts(cube, "predict/counted", versions)
    every = all_facts(cube, versions)
    receipt = run_unit(replace(case.job("counted"), facts=every), unit)
    given = measured(cube, every, unit).figures()
    assert {facts.product for facts in every} == set(versions)
    for facts in every:
        np.testing.assert_array_equal(stored_figures(cube, facts, unit), given[facts.product])
        assert receipt["sizes"][f"{facts.array(0)}/c/0/0/0/0"] > 0
        assert f"facts {facts.product}" in receipt["checksums"]
    species = dict(zip(every[0].statistics, given["species"], strict=True))
    unlike = cube.root["products/indicators/counted/0/applicability"][0]
    assert 0 < (unlike <= 1000).sum() == species["applicable_cells"][0] < species["cells"][0]


def test_a_model_without_an_area_has_no_such_layer(case):
    assert "applicability" not in case.cube.root[f"products/indicators/{VERSION}/0"]


class Reader:
    """Two habitats, told apart by the most probable species."""

    rows = np.arange(2)
    places = None

    def classify(self, ranked, size, of_place, threads):
        first = (ranked[:, 0] % 2).astype(np.float32)
        return np.stack([first, 1 - first], 1)

    def level_maps(self, probability):
        return {"habitat": probability.argmax(1)}


def test_habitats_alone_are_masked_as_in_a_whole_run(case, monkeypatch):
    """Read from the release, or computed where it has no such layer: the same cells are empty as in a run of everything."""
    written: dict[str, np.ndarray] = {}
    monkeypatch.setattr(
        "inference.cascade.writing.Writer.put",
        lambda self, name, path, values, lead=None, free=None: written.update({name: values}),
    )
    _worker_context.cache_clear()
    whole = case.job("told", products=("indicators", "habitats"))
    held = _worker_context(whole.cube_url, whole.model_path, whole.model_hash, whole.device, whole.area_m2)
    object.__setattr__(held, "model", replace(held.model, habitats=Reader()))
    runs = []
    for job in (
        whole,
        replace(whole, versions=(("habitats", "told"),), composition="told", applicability="told"),
        replace(whole, versions=(("habitats", "told"),), composition="told"),
    ):
        written.clear()
        run_unit(job, case.units[0])
        runs.append({name: values for name, values in written.items() if name.startswith("habitats")})
    _worker_context.cache_clear()
    unlike = case.cube.root["products/indicators/told/0/applicability"][0]
    empty = runs[0]["habitats habitat"] == 65535
    np.testing.assert_array_equal(empty, unlike > 1000)  # no data is greater still
    assert empty[unlike != 65535].any()
    assert not empty[unlike != 65535].all()
    for other in runs[1:]:
        assert other.keys() == runs[0].keys()
        for name, values in runs[0].items():
            np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_a_cell_at_the_edge_is_judged_by_what_its_layer_says():
    unlike = np.array([0.9996, 1.0, 1.0004, 1.0006, np.nan])
    np.testing.assert_array_equal(maps.is_beyond(unlike), [False, False, False, True, False])
    np.testing.assert_array_equal(maps.is_beyond(np.arange(2000) * 0.001), np.arange(2000) > 1000)


def test_the_release_tells_whether_it_holds_the_layer(case):
    assert versions.of_applicability(case.cube, {"indicators": "told", "composition": "told"}) == "told"
    assert versions.of_applicability(case.cube, {"indicators": VERSION}) is None
    assert versions.of_applicability(case.cube, {"composition": "told"}) is None
