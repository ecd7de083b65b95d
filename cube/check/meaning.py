"""Promises on what maps say of themselves: CRS, conventions, legends, units, licence, the plot that a probability is of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pyproj import CRS
from pyproj.exceptions import CRSError

from cube import conventions
from cube.check.house import House
from cube.check.promise import Finding, promise
from cube.grid import CELL, EPSG, RESOLUTIONS

AGAIN: Final = "run the command that writes it again"


@promise
def grid_mapping(house: House) -> Iterator[Finding]:
    """Every map names a grid mapping that is there and is EPSG:3035."""
    for leaf in house.leaves:
        t = house.cube.region.transform(leaf.resolution, leaf.level)
        wanted = f"{t.c} {t.a} {t.b} {t.f} {t.d} {t.e}"
        for name, array in leaf.maps():
            named = array.get("attributes", {}).get("grid_mapping")
            if named not in leaf.arrays:
                yield Finding(f"{leaf.path}/{name}, grid_mapping", "a variable of its group", str(named), AGAIN)
        mapping = leaf.arrays.get(conventions.GRID_MAPPING)
        if mapping is None:
            yield Finding(f"{leaf.path}/{conventions.GRID_MAPPING}", "the grid mapping", "nothing", AGAIN)
            continue
        attrs = mapping.get("attributes", {})
        for key in ("crs_wkt", "spatial_ref"):
            code = _epsg(attrs.get(key))
            if code != EPSG:
                yield Finding(f"{leaf.path}/{conventions.GRID_MAPPING}, {key}", f"EPSG:{EPSG}", f"EPSG:{code}", AGAIN)
        if attrs.get("GeoTransform") != wanted:
            found = str(attrs.get("GeoTransform"))
            yield Finding(f"{leaf.path}/{conventions.GRID_MAPPING}, GeoTransform", wanted, found, AGAIN)


def _epsg(wkt: Any) -> int | None:
    try:
        return CRS.from_wkt(str(wkt)).to_epsg()
    except CRSError:
        return None


@promise
def proj_and_spatial(house: House) -> Iterator[Finding]:
    """Groups and maps carry the proj and spatial conventions of their own resolution and level."""
    for leaf in house.leaves:
        wanted = conventions.spatial_attributes(house.cube.region, leaf.resolution, leaf.level)
        yield from _compared(leaf.path, wanted, leaf.attributes)
        of_arrays = {key: value for key, value in wanted.items() if key != "proj:wkt2"}
        for name, array in leaf.maps():
            yield from _compared(f"{leaf.path}/{name}", of_arrays, array.get("attributes", {}))


def _compared(path: str, wanted: dict[str, Any], found: Any) -> Iterator[Finding]:
    for key, value in wanted.items():
        if found.get(key) != value:
            yield Finding(f"{path}, {key}", str(value)[:80], str(found.get(key))[:80], AGAIN)


@promise
def multiscales(house: House) -> Iterator[Finding]:
    """Pyramids list their levels by the multiscales convention, and every level listed is there."""
    cube = house.cube
    levels = range(cube.region.levels() + 1)
    wanted: dict[str, dict[int, list[str]]] = {}
    for product in ("species", "indicators", "habitats"):
        for version in house.versions(product):
            wanted[f"products/{product}/{version}"] = {CELL: [str(level) for level in levels]}
    held = [name for name in RESOLUTIONS if cube.has(f"inputs/overviews/{name}/1")]
    if held:
        wanted["inputs"] = {
            RESOLUTIONS[name]: [name, *(f"overviews/{name}/{level}" for level in levels if level)] for name in held
        }
    for path, assets in wanted.items():
        layout = conventions.multiscale_attributes(cube.region, assets, "average")["multiscales"]["layout"]
        found = house.node(path).get("attributes", {}).get("multiscales", {}).get("layout", [])
        if found != layout:
            names = ", ".join(str(entry.get("asset")) for entry in found) or "nothing"
            asked = ", ".join(entry["asset"] for entry in layout)
            yield Finding(f"{path}, multiscales", f"levels {asked} with their transforms", names, AGAIN)


@promise
def flags(house: House) -> Iterator[Finding]:
    """Classes have a legend: as many values as meanings and colours, each value once."""
    for leaf in house.leaves:
        for name, array in leaf.maps():
            attrs, path = array.get("attributes", {}), f"{leaf.path}/{name}"
            values = attrs.get("flag_values", [])
            meanings, colours = str(attrs.get("flag_meanings", "")).split(), str(attrs.get("flag_colors", "")).split()
            layer = leaf.expected(name)
            if not len(values) == len(set(values)) == len(meanings) == len(colours):
                found = f"{len(set(values))}, {len(meanings)} and {len(colours)}"
                yield Finding(path, "as many flag_values, flag_meanings and flag_colors", found, AGAIN)
                continue
            wrong = [colour for colour in colours if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour)]
            if wrong:
                yield Finding(f"{path}, flag_colors", "colours as #rrggbb", wrong[0], AGAIN)
            if layer is not None and layer.flags and layer.attributes()["flag_values"] != values:
                yield Finding(f"{path}, flag_values", str(layer.attributes()["flag_values"])[:80], str(values)[:80], AGAIN)
            if attrs.get("floracube_palette") == "flags" and not values:
                yield Finding(f"{path}, flag_values", "a legend", "nothing", AGAIN)


@promise
def documented(house: House) -> Iterator[Finding]:
    """Every map has a name, units, a licence and an attribution."""
    root = house.node("").get("attributes", {})
    for leaf in house.leaves:
        for name, array in leaf.maps():
            attrs = array.get("attributes", {})
            for key in ("long_name", "units"):
                if not attrs.get(key):
                    yield Finding(f"{leaf.path}/{name}, {key}", "a text", "nothing", AGAIN)
            for key in ("license", "attribution"):
                # A map's own word, or that of its group, or that of the whole cube.
                if not (attrs.get(key) or leaf.attributes.get(key) or root.get(key)):
                    mend = f"add '{key}' to the source, or to the configuration for the whole cube, and run it again"
                    yield Finding(f"{leaf.path}/{name}, {key}", "a text", "nothing", mend)


@promise
def reference_area(house: House) -> Iterator[Finding]:
    """Every probability and richness says the area of the plot that it is of."""
    for leaf in house.leaves:
        if leaf.product not in ("species", "composition", "indicators"):
            continue
        for name, array in leaf.maps():
            area = array.get("attributes", {}).get("reference_area_m2", leaf.attributes.get("reference_area_m2"))
            if not isinstance(area, int | float) or area <= 0:
                yield Finding(f"{leaf.path}/{name}, reference_area_m2", "square metres", str(area), AGAIN)
