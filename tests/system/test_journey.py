"""The whole way by the command line: sources to a published release, killed and resumed, alone and on dask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (the accessor)
import xarray as xr
import yaml
from rio_cogeo.cogeo import cog_validate

import floracube as front
from cube.storage import releases
from cube.storage.store import CubeStore, open_cube
from inference.calibration.richness import Richness
from tests.system.conftest import ROOT, copy_of, floracube

pytestmark = pytest.mark.slow


def values(cube: CubeStore, version: str) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Every array of a version, decoded from its shards."""
    out = {}
    for product in releases.PRODUCTS:
        base = f"products/{product}/{version}"
        groups = [f"{base}/{level}" for level in cube.groups(base)] or [base]
        for group in groups:
            for name, array in cube.group(group).arrays():
                out[f"{group.replace(version, 'V')}/{name}"] = np.asarray(array[...])
    return out


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:  # type: ignore[type-arg]
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_the_habitat_reader_learned_from_the_lists_predicted_for_its_plots_too(landscape: Path) -> None:
    learned = json.loads((landscape.parent / "model/metrics.json").read_text())["habitats"]
    assert 0.8 * learned["plots_labelled"] < learned["lists_predicted"] <= 300  # also of plots that curation found incomplete


def test_every_land_cell_has_species_indicators_and_habitats(predicted: Path) -> None:
    cube = open_cube(str(predicted))
    surface = np.asarray(cube.array("inputs/50m/surface")[:])
    land = surface == 0
    assert land.sum() > 4000
    species = np.asarray(cube.array("products/species/v1/0/occurrence")[:])
    assert ((species != 255).all(axis=0) == land).all()
    richness = np.asarray(cube.array("products/indicators/v1/0/richness")[:])
    assert ((richness[0] != 65535) == land).all()
    assert (richness[1][land] <= richness[0][land]).all()
    assert (richness[0][land] <= richness[2][land]).all()
    habitats = np.asarray(cube.array("products/habitats/v1/0/level3")[:])
    # Beyond the area of applicability nothing is claimed of habitats; the layer's step is a thousandth of the threshold.
    dissimilarity = np.asarray(cube.array("products/indicators/v1/0/applicability")[:])[0]
    inside = land & (dissimilarity <= 1000)
    assert inside.sum() > 0.8 * land.sum()
    assert (habitats[~inside] == 65535).all()
    assert (habitats[inside] != 65535).mean() > 0.99


def test_richness_is_the_calibrated_sum_of_the_probabilities_in_the_cube(predicted: Path) -> None:
    opened = front.open(str(predicted))
    metrics = json.loads((predicted.parent / "model/metrics.json").read_text())
    calibration = Richness(metrics.get("richness_level", 1.0), metrics.get("richness_exponent", 1.0))
    total = calibration.predict(sum(opened.species[name] for name in opened.species))  # type: ignore[arg-type]
    richness = opened.indicators["richness"].sel(bound="estimate")
    difference = abs(total - richness).values  # type: ignore[union-attr]
    steps = float(opened.species.data["scale"].sum()) / 2 + 0.01
    sensitive_and_clipped = np.nanquantile(difference, 0.95)
    assert sensitive_and_clipped < steps


def test_the_composition_is_the_ranking_of_the_species_maps(predicted: Path) -> None:
    cube = open_cube(str(predicted))
    occurrence = np.asarray(cube.array("products/species/v1/0/occurrence")[:])
    scale = np.asarray(cube.array("products/species/v1/0/scale")[:])
    first = np.asarray(cube.array("products/composition/v1/species_id")[0])
    land = first != 65535
    best = np.take_along_axis(occurrence * scale[:, None, None], np.where(land, first, 0)[None].astype(int), axis=0)[0]
    top = (occurrence * scale[:, None, None]).max(axis=0)
    assert (best[land] >= top[land] - scale.max()).all()


def test_levels_roll_up_to_their_parents(predicted: Path) -> None:
    opened = front.open(str(predicted))
    table = opened.table("habitats")
    code = {i: str(c) for i, c in enumerate(table["code"])}
    parent = {i: str(p) for i, p in enumerate(table["parent"])}
    maps = opened.habitats
    certain = (maps["probability"] > 0.55).values
    fine, middle = maps["level3"].values[certain].astype(int), maps["level2"].values[certain].astype(int)
    for f, m in set(zip(fine.tolist(), middle.tolist(), strict=True)):
        assert parent[f] == code[m]


def test_a_killed_prediction_goes_on_and_equals_the_undisturbed_one(predicted: Path, landscape: Path, tmp_path: Path) -> None:
    truth = values(open_cube(str(predicted)), "v1")
    folder = tmp_path / "killed"
    config = copy_of(landscape, folder, "sources", "truth", "products", "releases", "current.json", "predict")
    cube = folder / "cube.zarr"
    for begun in ("products/*/v1/**/c/*", "ledger/predict/v1/*.json"):  # values are being written; a unit is finished
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "floracube.py"), "predict", str(config)],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        while process.poll() is None and next(cube.glob(begun), None) is None:
            time.sleep(0.05)
        assert process.poll() is None, f"ended before there was {begun}"
        process.kill()
        process.wait()
        assert open_cube(str(cube)).read_json("current.json") is None
    floracube("predict", str(config))
    assert_same(values(open_cube(str(folder / "cube.zarr")), "v1"), truth)


def test_two_dask_workers_give_the_values_of_one_process(predicted: Path, landscape: Path, tmp_path: Path) -> None:
    truth = values(open_cube(str(predicted)), "v1")
    config = copy_of(landscape, tmp_path / "two", "sources", "truth")
    run = floracube("predict", str(config), "--workers", "2", "--version", "v1-again", "--no-publish")
    assert "v1-again" in run.stderr
    cube = open_cube(str(tmp_path / "two/cube.zarr"))
    assert releases.current(cube)["name"] == "v1"
    assert_same(values(cube, "v1-again"), truth)


def test_the_cube_opens_as_one_tree_with_coordinates_and_crs_in_every_leaf(predicted: Path) -> None:
    tree = xr.open_datatree(str(predicted), engine="zarr", consolidated=False)
    leaves = [node for node in tree.subtree if {"x", "y"} <= set(node.dataset.coords) and node.dataset.data_vars]
    assert len(leaves) >= 8
    for node in leaves:
        for variable in node.dataset.data_vars.values():
            if {"x", "y"} <= set(variable.dims):
                assert variable.rio.crs.to_epsg() == 3035, node.path


def test_a_layer_leaves_as_a_valid_cog_with_the_values_of_the_cube(predicted: Path, tmp_path: Path) -> None:
    name = next(iter(front.open(str(predicted)).species))
    layer = "species." + name.lower().replace(" ", "_").replace("-", "_")
    out = tmp_path / "layer.tif"
    floracube("export", str(predicted), layer, str(out))
    assert cog_validate(str(out))[0]
    expected = front.open(str(predicted)).species[name]
    with rasterio.open(out) as source:
        assert source.crs.to_epsg() == 3035
        seen = source.read(1, masked=True).astype(np.float32).filled(np.nan) * source.scales[0]
        left, bottom, right, top = source.bounds
    within = expected.sel(x=slice(left, right), y=slice(top, bottom))  # the file is cut to the region, arrays are not
    assert within.shape == (80, 80)
    np.testing.assert_allclose(seen, within.values, rtol=1e-6)


def test_info_tells_what_is_there_and_json_is_json(predicted: Path) -> None:
    document = json.loads(floracube("info", str(predicted), "--json").stdout)
    assert document["current"] == "v1"
    assert all(row["complete"] for row in document["inputs"].values())


def test_the_predicted_cube_keeps_every_promise(predicted: Path) -> None:
    document = json.loads(floracube("check", str(predicted), "--values", "--json").stdout)
    assert [row for row in document["promises"] if row["kept"] is not True] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "nowhere.yaml"], ["nowhere.yaml", "no such"]),
        (["predict", "{config}", "--version", "../x"], ["version"]),
        (["serve", "nowhere.zarr"], ["nowhere.zarr", "no cube"]),
        (["export", "{cube}", "species.nothing", "x.tif"], ["there is no species 'nothing'"]),
        (["publish", "{cube}", "v99"], ["v99"]),
    ],
)
def test_mistakes_end_with_one_sentence_and_exit_code_2(
    arguments: list[str], words: list[str], predicted: Path, landscape: Path
) -> None:
    filled = [a.format(config=landscape, cube=predicted) for a in arguments]
    run = floracube(*filled, check=False)
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in run.stderr


def test_a_wrong_key_ends_before_any_work(landscape: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(landscape.read_text())
    document["sources"][0]["stak"] = 1
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(document))
    run = floracube("build", str(path), check=False)
    assert run.returncode == 2
    assert "sources[0].stak" in run.stderr
    assert not (tmp_path / "cube.zarr").exists()


def test_evaluation_stands_beside_a_forest_and_the_truth(landscape: Path, tmp_path: Path) -> None:
    config = copy_of(landscape, tmp_path / "evaluated")
    rows = json.loads(floracube("evaluate", str(config), "--json").stdout)
    methods = {row["method"] for row in rows}
    assert any(m.startswith("random_forest") for m in methods)
    truth = {row["method"]: row for row in rows if "correlation" in row}
    assert len(truth) == 2
    assert -1 <= truth["floracube"]["correlation"] <= 1
    assert 0.3 < truth["floracube"]["richness_ratio"] < 3
    assert json.loads((config.parent / "reports" / "evaluation.json").read_text()) == rows


def test_what_was_left_out_is_counted_in_the_report(landscape: Path) -> None:
    reports = {r["title"]: r for r in json.loads((landscape.parent / "reports" / "tables.json").read_text())}
    surveys = reports["surveys"]
    assert surveys["kept"]["surveys"] > 200
    assert any("usable area" in reason for reason in surveys["remarks"])
