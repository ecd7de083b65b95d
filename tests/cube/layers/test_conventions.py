"""Attributes that others read: the GeoZarr conventions against their rules in our own words and against their authors' own
validator, CF against the rules that concern packed rasters and classes."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import zarr_cm
from pyproj import CRS

from cube.grid import CELL, COARSE, FINE, Region
from cube.layers import COMPOSITION, Layer, habitat_entropy, habitat_level, indicator, occurrence
from cube.layers.conventions import multiscale_attributes
from cube.layers.inputs import INPUTS
from cube.storage.leaves import set_attributes
from cube.storage.store import create_cube, resolution_of

REGION = Region(4455, 2663, 4498, 2680, 10)
RULES = {
    name: json.loads((Path(__file__).parent / "conventions" / f"{name}.json").read_text())
    for name in ("proj", "spatial", "multiscales")
}
AUTHORS = {"proj": zarr_cm.proj, "spatial": zarr_cm.spatial, "multiscales": zarr_cm.multiscales}
PRODUCT_LAYERS = (
    *COMPOSITION,
    indicator("richness", "", "Richness", "1", 0.01, 300, "viridis"),
    habitat_entropy(""),
    habitat_level("level1", "", ((0, "R", "#aabbcc"), (1, "T broad", "#112233")), "EUNIS"),
    occurrence("", 100),
)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conventions") / "cube.zarr"
    cube = create_cube(str(folder), REGION, "test")
    for group in sorted({layer.group for layer in INPUTS.values()}):
        layers = [layer for layer in INPUTS.values() if layer.group == group]
        cube.ensure_group(group, layers, resolution_of(layers[0]))
    names = np.asarray(["Planta a", "Planta b"], object)
    for level in range(3):
        cube.ensure_group(f"products/species/v1/{level}", [occurrence("", 100)], CELL, level, {"species": names})
    scales = multiscale_attributes(REGION, {CELL: ["0", "1", "2"]})
    set_attributes(cube.group("products/species/v1"), scales)
    set_attributes(cube.group("inputs"), multiscale_attributes(REGION, {FINE: ["10m"], CELL: ["50m"], COARSE: ["1km"]}))
    return folder


def nodes(cube: Path, convention: str) -> dict[str, dict[str, Any]]:
    """Every node of the cube that declares a convention, by its path."""
    found = {}
    for path in cube.rglob("zarr.json"):
        document = json.loads(path.read_text())
        document.pop("consolidated_metadata", None)
        if any(c["name"] == convention for c in document["attributes"].get("zarr_conventions", [])):
            found[str(path.parent.relative_to(cube))] = document
    return found


@pytest.mark.parametrize(("convention", "least"), [("proj", 30), ("spatial", 30), ("multiscales", 2)])
def test_every_node_obeys_the_conventions_that_it_declares(cube: Path, convention: str, least: int) -> None:
    found = nodes(cube, convention)
    assert len(found) >= least
    for path, document in found.items():
        jsonschema.validate(document, RULES[convention], cls=jsonschema.Draft202012Validator)
        AUTHORS[convention].validate_node_metadata(document)
        # The newest revision, not one of the drafts that its authors still read.
        declared = next(c for c in document["attributes"]["zarr_conventions"] if c["name"] == convention)
        assert declared == AUTHORS[convention].CMO, path


@pytest.mark.parametrize(
    ("convention", "path", "break_it"),
    [
        ("proj", "inputs/50m", lambda a: (a.pop("proj:code"), a.pop("proj:wkt2"))),
        ("proj", "inputs/50m", lambda a: a.update({"proj:code": "3035"})),
        ("spatial", "inputs/50m/slope", lambda a: a.pop("spatial:dimensions")),
        ("spatial", "inputs/50m/slope", lambda a: a["spatial:transform"].append(0)),
        ("spatial", "inputs/50m", lambda a: a.update({"spatial:registration": "centre"})),
        ("multiscales", "products/species/v1", lambda a: a["multiscales"]["layout"].clear()),
        ("multiscales", "products/species/v1", lambda a: a["multiscales"]["layout"][1].pop("transform")),
        ("multiscales", "products/species/v1", lambda a: a["multiscales"]["layout"][1].update(asset="../1")),
    ],
)
def test_what_breaks_a_rule_is_refused_by_our_words_and_by_the_authors(
    cube: Path, convention: str, path: str, break_it: Any
) -> None:
    document = copy.deepcopy(nodes(cube, convention)[path])
    break_it(document["attributes"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, RULES[convention], cls=jsonschema.Draft202012Validator)
    with pytest.raises((ValueError, TypeError)):
        AUTHORS[convention].validate_node_metadata(document)


def test_the_pyramid_lists_groups_that_are_there_with_their_own_shapes_and_transforms(cube: Path) -> None:
    for base in ("products/species/v1", "inputs"):
        attributes = json.loads((cube / base / "zarr.json").read_text())["attributes"]
        for entry in attributes["multiscales"]["layout"]:
            own = json.loads((cube / base / entry["asset"] / "zarr.json").read_text())["attributes"]
            assert own["spatial:shape"] == entry["spatial:shape"]
            assert own["spatial:transform"] == entry["spatial:transform"]
            if "derived_from" in entry:
                source = json.loads((cube / base / entry["derived_from"] / "zarr.json").read_text())["attributes"]
                ratio = own["spatial:transform"][0] / source["spatial:transform"][0]
                assert entry["transform"]["scale"] == [ratio, ratio]


def test_code_and_wkt_name_the_same_crs(cube: Path) -> None:
    for document in nodes(cube, "proj").values():
        attributes = document["attributes"]
        assert CRS.from_user_input(attributes["proj:code"]) == CRS.from_epsg(3035)
        if "proj:wkt2" in attributes:
            assert CRS.from_wkt(attributes["proj:wkt2"]) == CRS.from_epsg(3035)


def test_box_shape_and_transform_agree_with_each_other_and_with_the_array(cube: Path) -> None:
    for document in nodes(cube, "spatial").values():
        attributes = document["attributes"]
        if "spatial:transform" not in attributes:
            continue
        a, _, c, _, e, f = attributes["spatial:transform"]
        rows, cols = attributes["spatial:shape"]
        assert attributes["spatial:bbox"] == [c, f + rows * e, c + cols * a, f]
        if document["node_type"] == "array":
            assert document["shape"][-2:] == [rows, cols]
            assert document["dimension_names"][-2:] == attributes["spatial:dimensions"]


# CF 1.11, sections 2.5.1 (missing data), 3.1 (units), 3.5 (flags), 5.6 (grid mappings), 8.1 (packed data).


@pytest.mark.parametrize("layer", [*INPUTS.values(), *PRODUCT_LAYERS], ids=lambda layer: layer.name)
def test_ranges_and_flags_are_stored_values_of_the_layers_own_type(layer: Layer) -> None:
    attributes = layer.attributes()
    integral = not layer.dtype.startswith("float")
    bounds = (np.iinfo if integral else np.finfo)(layer.dtype)
    if "valid_range" in attributes:
        low, high = attributes["valid_range"]
        assert low < high
        assert bounds.min <= low
        assert high <= bounds.max
        assert not low <= layer.fill <= high
        assert not integral or (isinstance(low, int) and isinstance(high, int))
    if "flag_values" in attributes:
        values, meanings = attributes["flag_values"], attributes["flag_meanings"].split()
        assert len(values) == len(set(values)) == len(meanings) == len(attributes["flag_colors"].split())
        assert all(bounds.min <= v <= bounds.max and v != layer.fill for v in values)
        assert all(re.fullmatch(r"[A-Za-z0-9_.+@-]+", meaning) for meaning in meanings)
    assert attributes.get("units") or all(band["units"] for band in attributes["bands"])
    assert attributes["long_name"]


def test_every_raster_names_its_grid_mapping_and_its_fill(cube: Path) -> None:
    seen = 0
    for path in cube.rglob("zarr.json"):
        document = json.loads(path.read_text())
        if document["node_type"] == "array" and document.get("dimension_names", [])[-2:] == ["y", "x"]:
            attributes = document["attributes"]
            mapping = json.loads((path.parents[1] / attributes["grid_mapping"] / "zarr.json").read_text())["attributes"]
            assert mapping["grid_mapping_name"] == "lambert_azimuthal_equal_area"
            assert CRS.from_cf(mapping) == CRS.from_epsg(3035)
            if document["data_type"].startswith(("int", "uint")):
                assert attributes["_FillValue"] == document["fill_value"]
            seen += 1
    assert seen >= len(INPUTS) + 3
