"""One damage for every promise, and the words by which it must be named."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from cube.storage.leaves import INLINE
from cube.storage.store import CubeStore
from tests.cube.check.damage import SECOND, SQUARE, UNIT, attribute, climb, document, metadata, remove, values

Damage = Callable[[CubeStore], object]
Array = np.ndarray[Any, Any]
ELEVATION, SLOPE, SURFACE = "inputs/50m/elevation", "inputs/50m/slope", "inputs/50m/surface"
LEVEL1 = "inputs/overviews/50m/1"
SPECIES, COMPOSITION, HABITATS = "products/species/v1/0", "products/composition/v1", "products/habitats/v1/0"
INDICATORS = "products/indicators/v1/0"
MODEL = "products/species/v1/model"


def land(cube: CubeStore, unit: Any = UNIT) -> Array:
    rows, cols = cube.region.square(unit).slices
    return np.asarray(cube.array(SURFACE)[rows, cols]) == 0


def in_two_squares(cube: CubeStore) -> None:
    """Another value in one land cell of a sensitive species."""
    row, col = np.argwhere(land(cube))[0]

    def change(held: Array) -> None:
        held[2, row, col] = (int(held[2, row, col]) + 100) % 250

    values(cube, "predict/v1", "species 0", f"{SPECIES}/occurrence", change)


def swap_ranks(cube: CubeStore) -> None:
    """The two most probable species of one cell with unequal probabilities change places."""
    rows, cols = cube.region.square(UNIT).slices
    chance = np.asarray(cube.array(f"{COMPOSITION}/probability")[:, rows, cols]).astype(int)
    ids = np.asarray(cube.array(f"{COMPOSITION}/species_id")[:, rows, cols])
    usable = land(cube) & (chance[0] > chance[1]) & (ids[0] != 2) & (ids[1] != 2)
    row, col = np.argwhere(usable)[0]
    for name in ("species_id", "probability"):

        def change(held: Array) -> None:
            held[:2, row, col] = held[1::-1, row, col]

        values(cube, "predict/v1", f"composition {name}", f"{COMPOSITION}/{name}", change)


def twice(cube: CubeStore) -> None:
    rows, cols = cube.region.square(UNIT).slices
    ids = np.asarray(cube.array(f"{COMPOSITION}/species_id")[:, rows, cols])
    row, col = np.argwhere(land(cube) & (ids[0] != 2) & (ids[1] != 2))[0]

    def change(held: Array) -> None:
        held[1, row, col] = held[0, row, col]

    values(cube, "predict/v1", "composition species_id", f"{COMPOSITION}/species_id", change)


def at_land(cube: CubeStore, path: str, key: str, value: int, band: int | None = None) -> None:
    row, col = np.argwhere(land(cube))[0]

    def change(held: Array) -> None:
        held[(row, col) if band is None else (band, row, col)] = value

    values(cube, "predict/v1", key, path, change)


def off_land(cube: CubeStore) -> None:
    row, col = np.argwhere(~land(cube))[0]

    def change(held: Array) -> None:
        held[row, col] = 2

    values(cube, "predict/v1", "composition set_size", f"{COMPOSITION}/set_size", change)


def wrong_parent(cube: CubeStore) -> None:
    """The other class of level 1 in one certain cell."""
    row, col = np.argwhere(land(cube))[0]

    def change(held: Array) -> None:
        held[row, col] = 11 - held[row, col]

    values(cube, "predict/v1", "habitats level1", f"{HABITATS}/level1", change)


def unsharded(content: dict[str, Any]) -> None:
    content["chunk_grid"]["configuration"]["chunk_shape"] = [400, 400]


def without_crc(content: dict[str, Any]) -> None:
    """Chunks whose flipped bytes nobody would notice."""
    inner = content["codecs"][0]["configuration"]["codecs"]
    content["codecs"][0]["configuration"]["codecs"] = [codec for codec in inner if codec["name"] != "crc32c"]


def doubled_steps(cube: CubeStore) -> None:
    """A coarser level whose probabilities are twice those of level 0."""
    scale = cube.array("products/species/v1/1/scale")
    scale[:] = np.asarray(scale[:]) * 2


def other_inline_steps(cube: CubeStore) -> None:
    """Metadata of level 0 that promise other steps than its array holds."""
    attribute(cube, f"{SPECIES}/scale", INLINE, base64.b64encode(np.full(4, 0.001, "<f4").tobytes()).decode())


def renamed_labels(cube: CubeStore) -> None:
    cube.array("inputs/10m/sentinel2_band")[:] = np.asarray(["blue", "green", "red", "nir"], object)


def numbered_labels(cube: CubeStore) -> None:
    group = cube.group("inputs/10m")
    group.create_array("sentinel2_band", data=np.arange(4), dimension_names=("sentinel2_band",), overwrite=True)
    zarr.consolidate_metadata(cube.root.store, path="inputs/10m")


def moved(cube: CubeStore, axis: str) -> None:
    cube.array(f"inputs/50m/{axis}")[0] = 0.0


def overview(cube: CubeStore) -> None:
    array = cube.array(f"{LEVEL1}/elevation")
    array[50, 50] = array[50, 50] + 1


def other_surface(cube: CubeStore) -> None:
    """A land cell of the region without data: no product may be there, so one is taken that has water."""
    rows, cols = cube.region.square(UNIT).slices
    water = np.argwhere(np.asarray(cube.array(SURFACE)[rows, cols]) == 1)[0]

    def change(held: Array) -> None:
        held[tuple(water)] = 255

    values(cube, "inputs/surface", "surface", SURFACE, change)


def beyond_the_region(cube: CubeStore) -> None:
    rows, cols = cube.region.square(SECOND).slices
    outside = np.argwhere(np.asarray(cube.array(SURFACE)[rows, cols]) == 255)[0]

    def change(held: Array) -> None:
        held[tuple(outside)] = 1

    values(cube, "inputs/surface", "surface", SURFACE, change, SECOND)


def steep(held: Array) -> None:
    held[50, 50] = 9001  # of 0.01 degrees


def other_inputs(cube: CubeStore) -> None:
    document(cube, f"ledger/inputs/elevation/{UNIT.name}.json", lambda r: r.update(inputs="another"))
    climb(cube, "inputs/elevation")


def written_after(cube: CubeStore) -> None:
    """A unit built anew with other values, and nothing above it."""
    rows, cols = cube.region.square(UNIT).slices
    array = cube.array("inputs/50m/footprint")
    held = np.asarray(array[:, rows, cols])
    array[:, rows, cols] = held
    document(cube, f"ledger/inputs/footprint/{UNIT.name}.json", lambda r: r["checksums"].update(further=0))


def cut_off(cube: CubeStore, path: str) -> None:
    file = Path(cube.url) / path
    file.write_text(file.read_text()[:20])


def truncate(cube: CubeStore, path: str) -> None:
    file = Path(cube.url) / path
    file.write_bytes(file.read_bytes()[:-1])


BROKEN: list[tuple[str, str, Damage, str]] = [
    (
        "coverage",
        "counts",
        lambda c: document(
            c, f"ledger/inputs/footprint/{UNIT.name}.json", lambda r: r["counts"].update({"footprint no data": 7})
        ),
        "expected counts of footprint that add up to",
    ),
    (
        "coverage",
        "too few values",
        lambda c: attribute(c, "inputs/50m/footprint", "floracube_min_coverage", 1.0),
        "of the region, its source asks for 100 %",
    ),
    ("region", "root attribute", lambda c: attribute(c, "", "spatial:shape", [1, 2]), "spatial:shape"),
    (
        "metadata",
        "shape",
        lambda c: metadata(c, SLOPE, lambda d: d.update(shape=[200, 399])),
        "shape: expected [200, 400], found [200, 399]",
    ),
    ("metadata", "y", lambda c: moved(c, "y"), "inputs/50m/y"),
    ("metadata", "x", lambda c: moved(c, "x"), "inputs/50m/x"),
    (
        "metadata",
        "scale",
        lambda c: attribute(c, SLOPE, "scale_factor", 0.1),
        "inputs/50m/slope, scale_factor: expected 0.01, found 0.1",
    ),
    ("metadata", "offset", lambda c: attribute(c, SLOPE, "add_offset", 3.0), "add_offset"),
    ("metadata", "units", lambda c: attribute(c, SLOPE, "units", "percent"), "expected degree, found percent"),
    ("metadata", "kind", lambda c: attribute(c, f"{HABITATS}/level3", "floracube_kind", "continuous"), "floracube_kind"),
    (
        "metadata",
        "attribute",
        lambda c: attribute(c, SLOPE, "_FillValue", 0),
        "_FillValue: expected 65535, found 0",
    ),
    ("metadata", "float", lambda c: attribute(c, "inputs/1km/bioclim", "_FillValue", None), "inputs/1km/bioclim"),
    (
        "metadata",
        "shard",
        lambda c: metadata(c, f"{COMPOSITION}/set_size", unsharded),
        "chunks: expected ([200, 200], [200, 200]), found",
    ),
    ("metadata", "order", renamed_labels, "expected red, green, blue, nir, found blue, green, red, nir"),
    ("metadata", "type", numbered_labels, "expected data type string, found int64"),
    ("metadata", "grid mapping", lambda c: attribute(c, SLOPE, "grid_mapping", "crs"), "inputs/50m/slope, grid_mapping"),
    ("grid_mapping", "crs", lambda c: attribute(c, "inputs/50m/spatial_ref", "crs_wkt", "LOCAL"), "EPSG:3035, found EPSG:None"),
    (
        "metadata",
        "transform",
        lambda c: attribute(c, f"{LEVEL1}/spatial_ref", "GeoTransform", "0 1 0 0 0 -1"),
        "GeoTransform",
    ),
    (
        "metadata",
        "array",
        lambda c: attribute(c, SLOPE, "spatial:transform", [1, 0, 0, 0, -1, 0]),
        "slope, spatial:transform",
    ),
    (
        "metadata",
        "group",
        lambda c: attribute(c, f"{SPECIES}", "proj:code", "EPSG:4326"),
        "proj:code: expected EPSG:3035",
    ),
    (
        "multiscales",
        "product",
        lambda c: attribute(c, "products/habitats/v1", "multiscales", None),
        "products/habitats/v1, multiscales",
    ),
    ("multiscales", "inputs", lambda c: attribute(c, "inputs", "multiscales", {"layout": []}), "inputs, multiscales"),
    ("flags", "colours", lambda c: attribute(c, f"{HABITATS}/level3", "flag_colors", "#000000"), "found 3, 3 and 1"),
    (
        "flags",
        "no colour",
        lambda c: attribute(c, SURFACE, "flag_colors", "#000000 red #ffffff"),
        "colours as #rrggbb, found red",
    ),
    ("documented", "name", lambda c: attribute(c, SLOPE, "long_name", ""), "inputs/50m/slope, long_name"),
    ("documented", "licence", lambda c: attribute(c, "", "license", None), "license: expected a text, found nothing"),
    ("metadata", "valid range", lambda c: attribute(c, SLOPE, "valid_range", [0, 65_000]), "slope, valid_range"),
    ("metadata", "no checksum of chunks", lambda c: metadata(c, SLOPE, without_crc), "slope, codecs: expected"),
    ("metadata", "axis", lambda c: attribute(c, "inputs/50m/x", "units", "degrees_east"), "inputs/50m/x, units: expected"),
    ("steps", "zero", lambda c: c.array(f"{SPECIES}/scale").__setitem__(slice(None), 0.0), "found 0 of species 0"),
    ("steps", "inline", other_inline_steps, f"{SPECIES}/scale, {INLINE}: expected the values of the array, found others"),
    ("steps", "of a level", doubled_steps, "products/species/v1/1/scale: expected the steps of level 0, found others"),
    (
        "releases_and_current",
        "previous",
        lambda c: document(c, "current.json", lambda d: d.update(previous="lost")),
        "current.json, previous: expected one of first, found 'lost'",
    ),
    (
        "releases_and_current",
        "pointer",
        lambda c: document(c, "current.json", lambda d: d["content"]["products"].update(habitats="v0")),
        "current.json, content: expected what releases/first.json says",
    ),
    (
        "releases_and_current",
        "region",
        lambda c: document(c, "current.json", lambda d: d["cube"].update(unit_km=20)),
        "current.json, cube: expected what the root says",
    ),
    ("stale_receipts", "configuration", lambda c: attribute(c, SURFACE, "floracube_inputs", "another"), "inputs another"),
    ("receipts", "unknown", lambda c: attribute(c, SURFACE, "floracube_layers", None), "floracube_inputs: expected what its"),
    ("reference_area", "group", lambda c: attribute(c, COMPOSITION, "reference_area_m2", None), "square metres, found None"),
    (
        "consolidated",
        "another",
        lambda c: document(c, f"{SLOPE}/zarr.json", lambda d: d["attributes"].update(comment="x")),
        "the same metadata",
    ),
    (
        "consolidated",
        "none",
        lambda c: document(c, "inputs/10m/zarr.json", lambda d: d.pop("consolidated_metadata")),
        "found none",
    ),
    (
        "receipts",
        "one",
        lambda c: remove(c, f"ledger/inputs/bioclim/{UNIT.name}.json"),
        f"ledger/inputs/bioclim/{UNIT.name}.json",
    ),
    ("receipts", "half of one", lambda c: cut_off(c, f"ledger/predict/v1/{UNIT.name}.json"), "half of one"),
    (
        "stored_shards",
        "deleted",
        lambda c: remove(c, f"{SLOPE}/c/0/1"),
        f"found no file; write {{}} to ledger/inputs/elevation/{SECOND.name}.json and run `floracube build`",
    ),
    (
        "stored_shards",
        "overview",
        lambda c: remove(c, f"{LEVEL1}/elevation/c/0/0"),
        f"found no file; write {{}} to ledger/inputs/elevation/overviews/{SQUARE}.json and run `floracube build`",
    ),
    ("stored_shards", "truncated", lambda c: truncate(c, f"{SPECIES}/occurrence/c/0/0/0"), f"{SPECIES}/occurrence/c/0/0/0: exp"),
    ("stale_receipts", "sources", other_inputs, f"ledger/inputs/elevation/{UNIT.name}.json: expected inputs"),
    ("stale_receipts", "overviews", written_after, f"ledger/inputs/footprint/overviews/{SQUARE}.json"),
    ("overviews", "receipt", lambda c: remove(c, f"ledger/inputs/sentinel2/overviews/{SQUARE}.json"), "overviews"),
    ("leftovers", "partial", lambda c: (Path(c.url) / "inputs/50m/.x.partial").write_bytes(b""), "inputs/50m/.x.partial"),
    ("tables", "ids", lambda c: c.array("products/species/v1/table/species_id").__setitem__(0, 7), "0, 1, 2, ... in order"),
    (
        "tables",
        "names",
        lambda c: c.array("products/species/v1/table/scientific_name").__setitem__(slice(3, 4), np.asarray(["X y"], object)),
        "species of",
    ),
    (
        "tables",
        "habitats",
        lambda c: c.array("products/habitats/v1/table/code").__setitem__(slice(0, 1), np.asarray(["Z9"], object)),
        "products/habitats/v1/table, row 0",
    ),
    (
        "releases_and_current",
        "version",
        lambda c: document(c, "releases/first.json", lambda d: d["products"].update(habitats="v9")),
        "products/habitats/v9",
    ),
    (
        "releases_and_current",
        "release",
        lambda c: c.write_json("releases/lost.json", {"name": "lost", "products": {"indicators": "v7"}}),
        "releases/lost.json",
    ),
    (
        "model_documents",
        "names",
        lambda c: document(c, f"{MODEL}/species/0.json", lambda d: d["species"].reverse()),
        f"{MODEL}/species/0.json: expected the species of products/species/v1/0 in their order, found others",
    ),
    ("model_documents", "missing", lambda c: c.remove_json(f"{MODEL}/species/0.json"), f"{MODEL}/species/0.json"),
    (
        "model_documents",
        "card",
        lambda c: document(c, f"{MODEL}/card.json", lambda d: d.update(species=5)),
        "a card of 4 species",
    ),
]

BROKEN_VALUES: list[tuple[str, str, Damage, str]] = [
    (
        "checksums",
        "input",
        lambda c: c.array(f"{HABITATS}/top3_probability").__setitem__((2, *np.argwhere(land(c))[0]), 11),
        "checksum",
    ),
    ("pyramids", "mean", overview, f"{LEVEL1}/elevation in square {SQUARE}: expected what level 0 gives, found 1 of 20000"),
    (
        "facts",
        "figure",
        lambda c: c.array("products/species/v1/facts/0").__setitem__((1, 2, 0, 0), 7),
        f"products/species/v1/facts of {UNIT.name}: expected what the maps give, found 1 figures that differ",
    ),
    ("surface", "hole", other_surface, "land, water or sealed, found 1 cells"),
    ("surface", "outside", beyond_the_region, "255 outside the region, found 1 cells"),
    (
        "valid_values",
        "range",
        lambda c: values(c, "inputs/elevation", "slope", SLOPE, steep),
        "0 to 9000, found 1 values such as 9001",
    ),
    ("only_land", "water", off_land, "set_size in unit"),
    ("composition_order", "descending", swap_ranks, "1 cells where a less probable species comes first"),
    ("composition_order", "once", twice, "1 cells where a species comes twice"),
    ("sensitive_species", "map", in_two_squares, "of Adonis vernalis in unit"),
    (
        "indicator_bounds",
        "order",
        lambda c: at_land(c, f"{INDICATORS}/richness", "indicators richness", 350, 0),
        "richness in unit 10kmE480N289: expected lower <= estimate <= upper, found 1 cells where the estimate lies beyond",
    ),
    (
        "indicator_bounds",
        "pair",
        lambda c: at_land(c, f"{INDICATORS}/richness", "indicators richness", 65535, 1),
        "1 cells where there is one bound alone",
    ),
    ("habitat_levels", "parents", wrong_parent, "level1 in unit"),
    (
        "habitat_levels",
        "first of three",
        lambda c: at_land(c, f"{HABITATS}/top3_class", "habitats top3_class", 6, 0),
        "top3_class",
    ),
]
