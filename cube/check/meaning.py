"""Rules on what maps say of themselves: CRS, conventions, legends, units, licence, the plot that a probability is of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from cube.check.inspection import Inspection
from cube.check.rules import Finding, rule
from cube.grid import CELL, RESOLUTIONS
from cube.layers import PROBABILITY_STEPS, conventions
from cube.layers.layer import COLOUR
from cube.storage.leaves import INLINE, inline_text

REWRITE: Final = "run the command that writes it again"
LARGEST_STEP: Final = np.float32(1 / PROBABILITY_STEPS)


@rule
def grid_mapping(inspection: Inspection) -> Iterator[Finding]:
    """Every group of maps has a grid mapping that is the CRS of the cube."""
    epsg = inspection.cube.region.grid.epsg
    for leaf in inspection.leaves:
        path, mapping = f"{leaf.path}/{conventions.GRID_MAPPING}", leaf.arrays.get(conventions.GRID_MAPPING)
        if mapping is None:
            yield Finding(path, "the grid mapping", "nothing", REWRITE)
            continue
        for key in ("crs_wkt", "spatial_ref"):
            code = _epsg(mapping.get("attributes", {}).get(key))
            if code != epsg:
                yield Finding(f"{path}, {key}", f"EPSG:{epsg}", f"EPSG:{code}", REWRITE)


def _epsg(wkt: Any) -> int | None:
    try:
        return CRS.from_wkt(str(wkt)).to_epsg()
    except CRSError:
        return None


@rule
def multiscales(inspection: Inspection) -> Iterator[Finding]:
    """Pyramids list their levels by the multiscales convention, and every level listed is there."""
    cube = inspection.cube
    levels = range(cube.region.levels() + 1)
    paths_by_level: dict[str, dict[int, list[str]]] = {}
    for product in ("species", "indicators", "habitats"):
        for version in inspection.versions(product):
            paths_by_level[f"products/{product}/{version}"] = {CELL: [str(level) for level in levels]}
    resolutions = [name for name in RESOLUTIONS if cube.has(f"inputs/overviews/{name}/1")]
    if resolutions:
        paths_by_level["inputs"] = {
            RESOLUTIONS[name]: [name, *(f"overviews/{name}/{level}" for level in levels if level)] for name in resolutions
        }
    for path, assets in paths_by_level.items():
        layout = conventions.multiscale_attributes(cube.region, assets)["multiscales"]["layout"]
        declared_layout = inspection.node(path).get("attributes", {}).get("multiscales", {}).get("layout", [])
        if declared_layout != layout:
            names = ", ".join(str(entry.get("asset")) for entry in declared_layout) or "nothing"
            expected_assets = ", ".join(entry["asset"] for entry in layout)
            yield Finding(f"{path}, multiscales", f"levels {expected_assets} with their transforms", names, REWRITE)


@rule
def flags(inspection: Inspection) -> Iterator[Finding]:
    """Classes have a legend: as many values as meanings and colours, each value once."""
    for leaf in inspection.leaves:
        for name, array in leaf.maps():
            attrs, path = array.get("attributes", {}), f"{leaf.path}/{name}"
            values = attrs.get("flag_values", [])
            meanings, colours = str(attrs.get("flag_meanings", "")).split(), str(attrs.get("flag_colors", "")).split()
            if not len(values) == len(set(values)) == len(meanings) == len(colours):
                lengths_text = f"{len(set(values))}, {len(meanings)} and {len(colours)}"
                yield Finding(path, "as many flag_values, flag_meanings and flag_colors", lengths_text, REWRITE)
                continue
            wrong = [colour for colour in colours if not COLOUR.fullmatch(colour)]
            if wrong:
                yield Finding(f"{path}, flag_colors", "colours as #rrggbb", wrong[0], REWRITE)
            if attrs.get("floracube_palette") == "flags" and not values:
                yield Finding(f"{path}, flag_values", "a legend", "nothing", REWRITE)


@rule
def documented(inspection: Inspection) -> Iterator[Finding]:
    """Every map has a name, units (or each of its bands has), a licence and an attribution."""
    root = inspection.node("").get("attributes", {})
    for leaf in inspection.leaves:
        for name, array in leaf.maps():
            attrs = array.get("attributes", {})
            bands = attrs.get("bands", ())
            by_band = bool(bands) and all(band.get("long_name") and band.get("units") for band in bands)
            for key in ("long_name", "units"):
                if not attrs.get(key) and not (key == "units" and by_band):
                    yield Finding(f"{leaf.path}/{name}, {key}", "a text", "nothing", REWRITE)
            for key in ("license", "attribution"):
                # A map's own word, or that of its group, or that of the whole cube.
                if not (attrs.get(key) or leaf.attributes.get(key) or root.get(key)):
                    fix = f"add '{key}' to the source, or to the configuration for the whole cube, and run it again"
                    yield Finding(f"{leaf.path}/{name}, {key}", "a text", "nothing", fix)


@rule
def reference_area(inspection: Inspection) -> Iterator[Finding]:
    """Every probability and richness says the area of the plot that it is of."""
    for leaf in inspection.leaves:
        if leaf.product not in ("species", "composition", "indicators"):
            continue
        for name, array in leaf.maps():
            area = array.get("attributes", {}).get("reference_area_m2", leaf.attributes.get("reference_area_m2"))
            if not isinstance(area, int | float) or area <= 0:
                yield Finding(f"{leaf.path}/{name}, reference_area_m2", "square metres", str(area), REWRITE)


@rule
def steps(inspection: Inspection) -> Iterator[Finding]:
    """The probability of one stored step of each species is the same at every level, above 0 and at most 1/250."""
    for version in inspection.versions("species"):
        base = f"products/species/{version}"
        finest = inspection.leaf(f"{base}/0")
        if finest is None or "scale" not in finest.arrays:
            yield Finding(f"{base}/0/scale", "the probability of one step of each species", "nothing", REWRITE)
            continue
        scale = inspection.values(finest, "scale")
        text = finest.arrays["scale"].get("attributes", {}).get(INLINE)
        if text is not None and text != inline_text(scale):
            yield Finding(f"{base}/0/scale, {INLINE}", "the values of the array", "others", REWRITE)
        wrong = ~((scale > 0) & (scale <= LARGEST_STEP))
        if wrong.any():
            wrong_text = f"{scale[wrong][0]:g} of species {int(np.flatnonzero(wrong)[0])}"
            yield Finding(f"{base}/0/scale", f"steps above 0 and at most {LARGEST_STEP:g}", wrong_text, REWRITE)
        for level in inspection.levels(base)[1:]:
            leaf = inspection.leaf(f"{base}/{level}")
            if leaf is None or "scale" not in leaf.arrays:
                yield Finding(f"{base}/{level}/scale", "the steps of level 0", "nothing", REWRITE)
            elif not leaf.from_consolidated and not np.array_equal(inspection.values(leaf, "scale"), scale):
                yield Finding(f"{base}/{level}/scale", "the steps of level 0", "others", REWRITE)
