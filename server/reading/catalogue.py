"""Which layers a release offers, in order, and how to find one by id, product or name (scientific and vernacular)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product as combinations
from itertools import takewhile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube import grid
from cube.errors import CubeError
from cube.layers import BOUNDS, PROBABILITY_STEPS, Layer
from cube.layers.display import species_range
from cube.layers.ids import input_id, species_ids
from cube.storage import releases
from cube.storage.store import CubeStore, layer_of
from server import palettes
from server.reading.layers import HabitatClass, MapLayer

TITLES: Final = {
    "indicators": "Biodiversity indicators",
    "habitats": "Habitats",
    "species": "Plant species",
    "inputs": "Inputs of the model",
}
_STATUS: Final = ("invasive", "protected", "endemic")
Table = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Catalogue:
    """All layers of one release of one cube."""

    layers: tuple[MapLayer, ...]
    species: Table
    habitats: Table

    @cached_property
    def by_id(self) -> dict[str, MapLayer]:
        """Layers by their id."""
        return {layer.id: layer for layer in self.layers}

    @cached_property
    def species_by_name(self) -> dict[str, MapLayer]:
        """Species layers by scientific name."""
        return {layer.title: layer for layer in self.layers if layer.product == "species"}

    @cached_property
    def species_scales(self) -> NDArray[np.float64]:
        """(species,) probability of one stored step, by the species' index in the maps."""
        species = sorted((layer for layer in self.layers if layer.product == "species"), key=lambda layer: layer.lead)
        return np.array([layer.scale for layer in species])

    def find(self, search: str = "", product: str = "") -> list[MapLayer]:
        """Listed layers of `product` (all if empty) whose names hold every word of `search`; name starts first."""
        words = search.lower().split()
        matches = [
            layer
            for layer in self.layers
            if layer.in_catalogue
            and (not product or layer.product == product)
            and all(word in layer.search_text for word in words)
        ]
        if words:
            start = " ".join(words)
            matches.sort(key=lambda a: not (a.title.lower().startswith(start) or a.subtitle.lower().startswith(start)))
        return matches


def text(table: Table, column: str, row: int) -> str:
    """The cell of a table as text, empty where it has no such column."""
    values = table.get(column)
    return "" if values is None else str(values[row])


def build(cube: CubeStore, release: Mapping[str, Any]) -> Catalogue:
    """The catalogue of `release`, with the tables of its own versions; a product that it does not name is left out.

    Raises `CubeError` for a product or a table that cannot be read.
    """
    versions: Mapping[str, str] = release["products"]
    path = releases.species_table(versions)
    species = cube.read_table(path) if path else {}
    habitats = cube.read_table(releases.table_path("habitats", versions["habitats"])) if "habitats" in versions else {}
    layers: list[MapLayer] = []
    if "indicators" in versions:
        layers += _indicators(cube, versions["indicators"])
    if "habitats" in versions:
        layers += _habitats(cube, versions["habitats"], habitats)
    if "species" in versions:
        layers += _species(cube, versions["species"], species)
    layers += _inputs(cube)
    return Catalogue(tuple(layers), species, habitats)


def _levels(cube: CubeStore, product: str, version: str) -> list[str]:
    """Groups of the pyramid levels 0, 1, ... that are there without a gap."""
    base = releases.group_of(product, version, None)
    levels: list[str] = []
    # Asked for one by one: a web server does not list what it has.
    while cube.has(f"{base}/{len(levels)}"):
        levels.append(f"{base}/{len(levels)}")
    if not levels:
        raise CubeError(f"{cube.url}: {base} has no level 0; write the product again or roll the release back.")
    return levels


def _maps(cube: CubeStore, group: str) -> Iterator[tuple[Layer, dict[str, Any]]]:
    """Each map of a group, in the order that it has for people (else by name), as it describes itself; and what all that is
    shown of it has in common.
    """
    root = cube.root.attrs
    arrays = [array for _, array in cube.group(group).arrays()]
    maps = [(layer_of(array), array.attrs) for array in arrays if _dims(array)[-2:] == ("y", "x")]
    for layer, attrs in sorted(maps, key=lambda pair: (pair[0].order, pair[0].name)):
        yield (
            layer,
            {
                "units": layer.units or "1",
                "kind": layer.kind,
                "scale": layer.scale,
                "offset": layer.offset,
                "fill": float(layer.fill),
                "attribution": str(attrs.get("attribution") or layer.references or root.get("attribution", "")),
                "license": str(attrs.get("license") or root.get("license", "")),
                "note": str(attrs.get("note", "")),
            },
        )


def _dims(array: Any) -> tuple[str, ...]:
    return tuple(array.metadata.dimension_names or ())


def _palette(layer: Layer) -> str:
    """The layer's palette if we have it; classes without colours of their own say `flags` or `categories`."""
    names = ("flags", "categories") if layer.kind == "class" else palettes.OF_LAYERS
    return layer.palette if layer.palette in names else "viridis"


def _classes(layer: Layer) -> tuple[HabitatClass, ...]:
    """Classes of the layer's legend; empty where it has none."""
    return tuple(
        HabitatClass(value, "", meaning or f"class {value}", palettes.valid_colour(colour, value))
        for value, meaning, colour in layer.flags
    )


def _indicators(cube: CubeStore, version: str) -> Iterator[MapLayer]:
    levels = _levels(cube, "indicators", version)
    for layer, common in _maps(cube, levels[0]):
        name, title = layer.name, layer.long_name
        bounds = ("", ".lower", ".upper") if layer.dims == ("bound",) else ("",)
        for index, suffix in enumerate(bounds):
            map_layer = MapLayer(
                id=f"indicators.{name}{suffix}",
                product="indicators",
                title=title + {".lower": ", lower bound", ".upper": ", upper bound"}.get(suffix, ""),
                interval=bool(layer.dims),
                subtitle=name.replace("_", " "),
                palette=_palette(layer),
                paths=tuple(f"{level}/{name}" for level in levels),
                lead=(index,) if layer.dims else (),
                resolution=grid.CELL,
                range_of=f"indicators.{name}",
                in_catalogue=not suffix,
                **common,
            )
            yield map_layer
        if layer.dims:
            yield _width(map_layer, title)


def _width(upper: MapLayer, title: str) -> MapLayer:
    """Upper less lower bound of an indicator, in its units: how unsure the map is of it."""
    # Another palette than the indicator's: where this one is bright the map is unsure, not the plants many.
    return replace(
        upper,
        id=upper.id.replace(".upper", ".width"),
        title=f"{title}, width of the interval",
        palette="magma",
        minus=(BOUNDS.index("lower"),),
        offset=0.0,
        range_of="",
    )


def _habitats(cube: CubeStore, version: str, table: Table) -> Iterator[MapLayer]:
    levels = _levels(cube, "habitats", version)
    maps = [(layer, common) for layer, common in _maps(cube, levels[0]) if not layer.dims]
    # The most detailed level first (level3 before level2), then classes before probability and entropy.
    maps.sort(key=lambda m: m[0].name, reverse=True)
    maps.sort(key=lambda m: m[0].kind != "class")
    for layer, common in maps:
        name, classes = layer.name, _habitat_classes(table, layer) if layer.kind == "class" else ()
        yield MapLayer(
            id=f"habitats.{name}",
            product="habitats",
            title=layer.long_name,
            subtitle=name,
            palette="flags" if classes else _palette(layer),
            paths=tuple(f"{level}/{name}" for level in levels),
            lead=(),
            resolution=grid.CELL,
            range=None if classes else (0.0, 1.0),
            classes=classes,
            **common,
        )


def _habitat_classes(table: Table, layer: Layer) -> tuple[HabitatClass, ...]:
    """Classes of one level: from the habitat table (row = stored value), else from the flags of the array."""
    rows = [i for i, level in enumerate(table.get("level", ())) if str(level) == layer.name]
    flags = _classes(layer)
    if not rows:
        return flags
    colour_of_flag = {entry.value: entry.colour for entry in flags}
    return tuple(
        HabitatClass(
            row,
            text(table, "code", row),
            text(table, "name", row),
            palettes.valid_colour(text(table, "colour", row) or colour_of_flag.get(row, ""), row),
        )
        for row in rows
    )


def species_status(table: Table, row: int) -> dict[str, Any]:
    """Red list category and yes-or-no traits of a species, as far as the table has them."""
    status: dict[str, Any] = {}
    iucn = text(table, "iucn", row)
    status["iucn"] = iucn or None
    for name in _STATUS:
        values = table.get(name)
        status[name] = False if values is None else str(values[row]).lower() in ("1", "true", "yes")
    return status


def _species(cube: CubeStore, version: str, table: Table) -> Iterator[MapLayer]:
    levels = _levels(cube, "species", version)
    names = [str(n) for n in np.asarray(cube.array(f"{levels[0]}/species")[:])]
    scales = np.asarray(cube.array(f"{levels[0]}/scale")[:], float)
    if not all(names) or not scales.all():  # Zarr takes what the store does not find for empty names and zeros
        raise CubeError(f"{cube.url}: {levels[0]} has species without a name or a scale; see whether the store is mounted.")
    common = next(common for layer, common in _maps(cube, levels[0]) if layer.name == "occurrence")
    product = cube.group(f"products/species/{version}").attrs
    if product.get("floracube_statement", "probability") != "probability":  # no survey told how common plants are
        common["note"] = str(product.get("note", "Relative intensity, not probability."))
    rows = {str(n): i for i, n in enumerate(table.get("scientific_name", ()))}
    paths = tuple(f"{level}/occurrence" for level in levels)
    ids = species_ids(names)
    for index in sorted(range(len(names)), key=lambda i: names[i].lower()):
        name, row = names[index], rows.get(names[index])
        top = float(scales[index]) * PROBABILITY_STEPS
        yield MapLayer(
            id=ids[index],
            product="species",
            title=name,
            subtitle="" if row is None else text(table, "vernacular_name", row),
            palette="species",
            paths=paths,
            lead=(index,),
            resolution=grid.CELL,
            range=species_range(top),
            status=species_status(table, row) if row is not None else species_status({}, 0),
            **{**common, "scale": float(scales[index]), "offset": 0.0},
        )


def _default_labels(labels: Sequence[str]) -> set[str]:
    """Of a long second axis (quarters, months), the one that the catalogue lists: the last summer."""
    summer = [label for label in labels if label.endswith(("Q3", "-07"))]
    return {summer[-1] if summer else labels[-1]}


def _overviews(cube: CubeStore, folder: str) -> list[tuple[str, set[str]]]:
    """Group and layers of each overview level of the inputs in `folder`, from level 1."""
    levels: list[tuple[str, set[str]]] = []
    while cube.has(group := f"inputs/overviews/{folder}/{len(levels) + 1}"):
        levels.append((group, {name for name, _ in cube.group(group).arrays()}))
    return levels


def _inputs(cube: CubeStore) -> Iterator[MapLayer]:
    for folder in ("50m", "1km", "10m"):
        group = f"inputs/{folder}"
        if not cube.has(group):
            continue
        overviews = _overviews(cube, folder)
        for layer, common in _maps(cube, group):
            name, dims = layer.name, layer.dims
            labels = [[str(v) for v in np.asarray(cube.array(f"{group}/{dim}")[:])] for dim in dims]
            listed_labels = [set(axis) if i == 0 else _default_labels(axis) for i, axis in enumerate(labels)]
            if folder == "1km":
                common["note"] = common["note"] or "Effective resolution 1 km."
            above = takewhile(lambda level: name in level[1], overviews)  # noqa: B023  used up in this turn of the loop
            paths = (f"{group}/{name}", *(f"{level}/{name}" for level, _ in above))
            classes = _classes(layer)
            if layer.kind == "class" and not classes:
                classes = tuple(HabitatClass(v, "", f"class {v}", palettes.class_colour(v)) for v in range(255))
            for lead in combinations(*(range(len(axis)) for axis in labels)):
                parts = [axis[i] for axis, i in zip(labels, lead, strict=True)]
                title = layer.long_name
                properties = {**common, "units": layer.band(parts[0]).units} if parts else common
                yield MapLayer(
                    id=input_id(name, parts),
                    product="inputs",
                    title=f"{title}: {' '.join(parts)}" if parts else title,
                    subtitle=" ".join((name, *parts)),
                    palette=_palette(layer),
                    paths=paths,
                    lead=lead,
                    resolution=grid.RESOLUTIONS[folder],
                    classes=classes if layer.kind == "class" else (),
                    in_catalogue=all(part in axis for part, axis in zip(parts, listed_labels, strict=True)),
                    **properties,
                )
