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
from cube.display import species_range
from cube.errors import CubeError
from cube.layers import BOUNDS, PROBABILITY_STEPS
from cube.storage import releases
from cube.storage.store import CubeStore
from server.drawing import palettes
from server.reading.layers import HabitatClass, MapLayer, slug

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

    def find(self, search: str = "", product: str = "") -> list[MapLayer]:
        """Listed layers of `product` (all if empty) whose names hold every word of `search`; name starts first."""
        words = search.lower().split()
        found = [
            layer
            for layer in self.layers
            if layer.listed and (not product or layer.product == product) and all(word in layer.search_text for word in words)
        ]
        if words:
            start = " ".join(words)
            found.sort(key=lambda a: not (a.title.lower().startswith(start) or a.subtitle.lower().startswith(start)))
        return found


def text(table: Table, column: str, row: int) -> str:
    """The cell of a table as text, empty where it has no such column."""
    values = table.get(column)
    return "" if values is None else str(values[row])


def read_table(cube: CubeStore, name: str) -> Table:
    """The table `name`, or an empty one where the cube has none."""
    try:
        return cube.read_table(f"tables/{name}")
    except CubeError:
        return {}


def build(cube: CubeStore, release: Mapping[str, Any]) -> Catalogue:
    """The catalogue of `release`; a product that cannot be read is an error, one that is not named is left out."""
    species, habitats = read_table(cube, "species"), read_table(cube, "habitats")
    versions: Mapping[str, str] = release["products"]
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


def _maps(cube: CubeStore, group: str) -> Iterator[tuple[str, Mapping[str, Any], float, tuple[str, ...]]]:
    """Name, attributes, fill and leading dimensions of each map array of a group, by name."""
    for name, array in sorted(cube.group(group).arrays()):
        dims = tuple(str(d) for d in array.metadata.dimension_names or ())  # type: ignore[union-attr]
        if dims[-2:] == ("y", "x"):
            yield name, dict(array.attrs), float(array.fill_value), dims[:-2]


def _common(cube: CubeStore, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that come from a layer's CF attributes."""
    root = cube.root.attrs
    return {
        "units": str(attrs.get("units", "1")),
        "kind": "class" if attrs.get("floracube_kind") == "class" else "continuous",
        "scale": float(attrs.get("scale_factor", 1.0)),
        "offset": float(attrs.get("add_offset", 0.0)),
        "attribution": str(attrs.get("attribution") or attrs.get("references") or root.get("attribution", "")),
        "license": str(attrs.get("license") or root.get("license", "")),
        "note": str(attrs.get("note", "")),
    }


def _palette(attrs: Mapping[str, Any], default: str = "viridis") -> str:
    """The layer's palette if we have it; classes without colours of their own say `flags` or `categories`."""
    name = str(attrs.get("floracube_palette", default))
    known = ("flags", "categories") if attrs.get("floracube_kind") == "class" else palettes.NAMES
    return name if name in known else default


def _flags(attrs: Mapping[str, Any]) -> tuple[HabitatClass, ...]:
    """Classes from the CF flag attributes; empty where there are none."""
    values: Sequence[int] = attrs.get("flag_values", ())
    names = str(attrs.get("flag_meanings", "")).split()
    colours = str(attrs.get("flag_colors", "")).split()
    return tuple(
        HabitatClass(
            int(value),
            "",
            (names[i] if i < len(names) else f"class {value}").replace("_", " "),
            palettes.valid_colour(colours[i] if i < len(colours) else "", int(value)),
        )
        for i, value in enumerate(values)
    )


def _indicators(cube: CubeStore, version: str) -> Iterator[MapLayer]:
    levels = _levels(cube, "indicators", version)
    for name, attrs, fill, dims in _maps(cube, levels[0]):
        title = str(attrs.get("long_name", name))
        bounds = ("", ".lower", ".upper") if dims == ("bound",) else ("",)
        for index, suffix in enumerate(bounds):
            shown = MapLayer(
                id=f"indicators.{name}{suffix}",
                product="indicators",
                title=title + {".lower": ", lower bound", ".upper": ", upper bound"}.get(suffix, ""),
                interval=bool(dims),
                subtitle=name.replace("_", " "),
                palette=_palette(attrs),
                paths=tuple(f"{level}/{name}" for level in levels),
                lead=(index,) if dims else (),
                resolution=grid.CELL,
                fill=fill,
                range_of=f"indicators.{name}",
                listed=not suffix,
                **_common(cube, attrs),
            )
            yield shown
        if dims:
            yield _width(shown, title)


def _width(upper: MapLayer, title: str) -> MapLayer:
    """Upper less lower bound of an indicator, in its units: how unsure the map is of it."""
    # Another palette than the indicator's: where this one is bright the map is unsure, not the plants many.
    return replace(upper, id=upper.id.replace(".upper", ".width"), title=f"{title}, width of the interval", palette="magma",
                   minus=(BOUNDS.index("lower"),), offset=0.0, range_of="")  # fmt: skip


def _habitats(cube: CubeStore, version: str, table: Table) -> Iterator[MapLayer]:
    levels = _levels(cube, "habitats", version)
    maps = [m for m in _maps(cube, levels[0]) if not m[3]]
    # The most detailed level first (level3 before level2), then classes before probability and entropy.
    maps.sort(key=lambda m: m[0], reverse=True)
    maps.sort(key=lambda m: m[1].get("floracube_kind") != "class")
    for name, attrs, fill, _ in maps:
        common = _common(cube, attrs)
        classes = _habitat_classes(table, name, attrs) if common["kind"] == "class" else ()
        yield MapLayer(
            id=f"habitats.{name}",
            product="habitats",
            title=str(attrs.get("long_name", name)),
            subtitle=name,
            palette="flags" if classes else _palette(attrs),
            paths=tuple(f"{level}/{name}" for level in levels),
            lead=(),
            resolution=grid.CELL,
            fill=fill,
            range=None if classes else (0.0, 1.0),
            classes=classes,
            **common,
        )


def _habitat_classes(table: Table, level: str, attrs: Mapping[str, Any]) -> tuple[HabitatClass, ...]:
    """Classes of one level: from the habitat table (row = stored value), else from the flags of the array."""
    rows = [i for i, own in enumerate(table.get("level", ())) if str(own) == level]
    flags = _flags(attrs)
    if not rows:
        return flags
    flagged = {entry.value: entry.colour for entry in flags}
    return tuple(
        HabitatClass(
            row,
            text(table, "code", row),
            text(table, "name", row),
            palettes.valid_colour(text(table, "colour", row) or flagged.get(row, ""), row),
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
    group = cube.group(levels[0])
    names = [str(n) for n in np.asarray(cube.array(f"{levels[0]}/species")[:])]
    scales = np.asarray(cube.array(f"{levels[0]}/scale")[:], float)
    attrs = dict(group["occurrence"].attrs)
    rows = {str(n): i for i, n in enumerate(table.get("scientific_name", ()))}
    paths = tuple(f"{level}/occurrence" for level in levels)
    common = {**_common(cube, attrs), "kind": "continuous", "units": "1"}
    taken: set[str] = set()
    for index in sorted(range(len(names)), key=lambda i: names[i].lower()):
        name, row = names[index], rows.get(names[index])
        key = slug(name)
        # Two names may differ in their punctuation only; the later one is told apart by its number.
        key = f"{key}_{index}" if key in taken else key
        taken.add(key)
        top = float(scales[index]) * PROBABILITY_STEPS
        yield MapLayer(
            id=f"species.{key}",
            product="species",
            title=name,
            subtitle="" if row is None else text(table, "vernacular_name", row),
            palette="species",
            paths=paths,
            lead=(index,),
            resolution=grid.CELL,
            fill=255,
            range=species_range(top),
            status=species_status(table, row) if row is not None else species_status({}, 0),
            **{**common, "scale": float(scales[index]), "offset": 0.0},
        )


def _shown(labels: Sequence[str]) -> set[str]:
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
        for name, attrs, fill, dims in _maps(cube, group):
            labels = [[str(v) for v in np.asarray(cube.array(f"{group}/{dim}")[:])] for dim in dims]
            shown = [set(axis) if i == 0 else _shown(axis) for i, axis in enumerate(labels)]
            common = _common(cube, attrs)
            if folder == "1km":
                common["note"] = common["note"] or "Effective resolution 1 km."
            above = takewhile(lambda level: name in level[1], overviews)  # noqa: B023  used up in this turn of the loop
            paths = (f"{group}/{name}", *(f"{level}/{name}" for level, _ in above))
            classes = _flags(attrs)
            if common["kind"] == "class" and not classes:
                classes = tuple(HabitatClass(v, "", f"class {v}", palettes.class_colour(v)) for v in range(255))
            for lead in combinations(*(range(len(axis)) for axis in labels)):
                parts = [axis[i] for axis, i in zip(labels, lead, strict=True)]
                title = str(attrs.get("long_name", name))
                yield MapLayer(
                    id=".".join(("inputs", name, *(slug(p).replace("_", "-") for p in parts))),
                    product="inputs",
                    title=f"{title}: {' '.join(parts)}" if parts else title,
                    subtitle=" ".join((name, *parts)),
                    palette=_palette(attrs),
                    paths=paths,
                    lead=lead,
                    resolution=grid.RESOLUTIONS[folder],
                    fill=fill,
                    classes=classes if common["kind"] == "class" else (),
                    listed=all(part in axis for part, axis in zip(parts, shown, strict=True)),
                    **common,
                )
