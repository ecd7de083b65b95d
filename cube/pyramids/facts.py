"""Facts of whole maps, made with the version: the figures of every unit and of every square above it, one small chunk each.

    products/<product>/<version>/facts/<level>   (statistic, item, row, column) int64

Rows and columns count units (level 0) or squares (level n) from the corner of the region's arrays. The group's attributes name
the statistics (`cube.pyramids.figures`) and, of indicators, the items. What a unit's maps give is written by whoever writes
them, under the unit's receipt; a square puts together what is below it, under the square's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from cube.grid import Unit, Window
from cube.layers import BOUNDS
from cube.pyramids import figures
from cube.pyramids.figures import Figures
from cube.pyramids.squares import Square, extent
from cube.storage import shapes
from cube.storage.leaves import SPECIES_PER_SHARD, compressors, consolidate_if_changed, set_attributes
from cube.storage.ledger import checksum
from cube.storage.releases import group_of, table_path
from cube.storage.store import CubeStore, layer_of

APPLICABILITY: Final = "applicability"  # the indicator that is at most 1 where the model applies
_NAMES: Final = shapes.Key("a list of texts", shapes.is_list_of_texts, required=True)
_SHAPE: Final = {"statistics": _NAMES, "items": shapes.WHOLE_NUMBER, "names": _NAMES}  # of the group's attributes
Products = Mapping[str, str]  # version by product
Place = Unit | Square


@dataclass(frozen=True)
class Facts:
    """The facts of one version of a product: what is counted, of what, and where it lies."""

    product: str
    version: str
    statistics: tuple[str, ...]
    items: int
    names: tuple[str, ...] = ()  # of the items of indicators: `<name>.<bound>`

    @property
    def path(self) -> str:
        """Path of the group."""
        return f"products/{self.product}/{self.version}/facts"

    @property
    def levels(self) -> tuple[str, ...]:
        """Of habitats: the levels of the scheme, the finest first."""
        return self.statistics[: -len(figures.CERTAINTY)]

    def array(self, level: int) -> str:
        """Path of the array of a level."""
        return f"{self.path}/{level}"


def read_facts(cube: CubeStore, product: str, version: str) -> Facts | None:
    """The facts of a version; None where it was made before there were any. Raises `CubeError` for damaged ones."""
    path = f"products/{product}/{version}/facts"
    attributes: Any = cube.group(path).attrs.asdict() if cube.has(path) else {}
    if "statistics" not in attributes:
        return None
    attributes = shapes.require(
        f"{cube.url}/{path}/zarr.json, attributes", attributes, _SHAPE, "restore it, or predict another version"
    )
    return Facts(product, version, tuple(attributes["statistics"]), attributes["items"], tuple(attributes["names"]))


def all_facts(cube: CubeStore, products: Products) -> tuple[Facts, ...]:
    """The facts of those of the versions that have some."""
    return tuple(facts for product, version in products.items() if (facts := read_facts(cube, product, version)))


def make_facts(cube: CubeStore, stage: str, products: Products) -> None:
    """Make the empty arrays of all facts of versions that one run writes; their groups and tables are there.

    A version that has units already and no facts was begun before there were any: it is left so.
    """
    folder = f"ledger/{stage}"
    if cube.list_json(folder) or cube.folders(folder):
        return
    for product, version in products.items():
        facts = plan_facts(cube, product, version, products)
        add_arrays(cube, facts)
        announce(cube, facts)


def add_arrays(cube: CubeStore, facts: Facts) -> None:
    """Make those arrays of facts that are not there; nobody reads them before `announce`."""
    group, chunk = cube.root.require_group(facts.path), (len(facts.statistics), facts.items, 1, 1)
    for level in range(cube.region.levels() + 1):
        if str(level) not in group:
            group.create_array(
                str(level),
                shape=(*chunk[:2], *extent(cube.region, level)),
                dtype="int64",
                chunks=chunk,
                shards=chunk,
                fill_value=0,
                compressors=compressors(),
                dimension_names=("statistic", "item", f"row_{level}", f"column_{level}"),
                attributes={"long_name": f"Figures of each square of level {level}, of stored values"},
            )


def announce(cube: CubeStore, facts: Facts) -> None:
    """Say that a version has facts."""
    group = cube.group(facts.path)
    set_attributes(group, {"statistics": facts.statistics, "items": facts.items, "names": facts.names})
    consolidate_if_changed(cube.root.store, facts.path)
    if facts.path.startswith(f"{group_of(facts.product, facts.version)}/"):  # below the maps, and listed there
        consolidate_if_changed(cube.root.store, group_of(facts.product, facts.version))


def plan_facts(cube: CubeStore, product: str, version: str, versions: Products) -> Facts:
    """The facts that a version of a product would have; `versions` are the versions that one run writes with it."""
    if product == "composition":
        species = cube.array(f"{table_path(product, version)}/species_id").shape[0]
        return Facts(product, version, figures.COMPOSITION, species)
    group = group_of(product, version)
    if product == "species":
        has_applicability = "indicators" in versions and cube.has(
            f"{group_of('indicators', versions['indicators'])}/{APPLICABILITY}"
        )
        statistics = (*figures.SPECIES, *(figures.APPLICABLE if has_applicability else ()))
        return Facts(product, version, statistics, cube.array(f"{group}/occurrence").shape[0])
    maps = {layer.name: layer for _, array in cube.group(group).arrays() if array.ndim > 1 for layer in [layer_of(array)]}
    if product == "indicators":
        bound_layers = sorted(name for name, layer in maps.items() if layer.dims == ("bound",))
        names = tuple(f"{name}.{bound}" for name in bound_layers for bound in BOUNDS)
        return Facts(product, version, figures.INDICATORS, len(names), names)
    levels = sorted((name for name, layer in maps.items() if layer.kind == "class" and not layer.dims), reverse=True)
    return Facts(product, version, (*levels, *figures.CERTAINTY), cube.array(f"{table_path(product, version)}/name").shape[0])


class UnitFacts:
    """The figures of one unit, gathered from its maps in whatever order they come, and written once."""

    def __init__(self, cube: CubeStore, every: Sequence[Facts], unit: Unit) -> None:
        """Of the products of `every`; nothing is counted of maps that do not come: they are without data."""
        self._cube, self._unit = cube, unit
        self._facts = {facts.product: facts for facts in every}
        self._figures = {name: np.zeros((len(f.statistics), f.items), np.int64) for name, f in self._facts.items()}
        self._maps: dict[tuple[str, str], NDArray[Any]] = {}
        self._group = np.ones(unit.cells**2, np.uint8)
        self._scale: NDArray[np.floating[Any]] | None = None

    def set_applicable(self, within: NDArray[np.bool_]) -> None:
        """Say which cells (U * U,) lie within the area of applicability, before the species come."""
        self._group = 1 + within.astype(np.uint8)

    def see(self, path: str, values: NDArray[Any], lead: slice | None = None) -> None:
        """Count the stored `values` (..., U, U) of the map at `path`, or a block `lead` of its first axis, in place of before."""
        product, name = path.split("/")[1], path.rsplit("/", 1)[1]
        if product not in self._facts:
            return
        facts, product_figures, flat = self._facts[product], self._figures[product], values.reshape(*values.shape[:-2], -1)
        if product == "species":
            from cube.pyramids.counting import count_values  # compiled, and half a second to import

            if self._scale is None:
                self._scale = np.asarray(self._cube.array(f"{path.rsplit('/', 1)[0]}/scale")[:])
            block, applicable = lead or slice(0, len(flat)), figures.APPLICABLE[0] in facts.statistics
            for first in range(0, len(flat), SPECIES_PER_SHARD):
                species_values = flat[first : first + SPECIES_PER_SHARD]
                counts = np.zeros((2, len(species_values), figures.VALUES), np.int64)
                count_values(species_values, self._group, counts)
                rows = slice(block.start + first, block.start + first + len(species_values))
                product_figures[:, rows] = figures.of_species(counts, self._scale[rows], applicable)
        elif product == "indicators":
            first = facts.names.index(f"{name}.{BOUNDS[0]}")
            product_figures[:, first : first + len(BOUNDS)] = figures.of_indicator(flat)
        elif name in (("species_id", "set_size") if product == "composition" else ("probability", "top3_class", *facts.levels)):
            self._maps[product, name] = flat

    def figures(self) -> dict[str, Figures]:
        """By product: (statistic, item)."""
        if ("composition", "set_size") in self._maps:
            lists = self._maps["composition", "species_id"], self._maps["composition", "set_size"]
            self._figures["composition"] = figures.of_lists(*lists, self._facts["composition"].items)
        if "habitats" in self._facts:
            maps = {name: values for (product, name), values in self._maps.items() if product == "habitats"}
            facts = self._facts["habitats"]
            self._figures["habitats"] = figures.of_habitats(maps, facts.levels, facts.items)
        return self._figures

    def write(self) -> tuple[dict[str, int], dict[str, int]]:
        """(checksums, sizes in bytes) for the receipt of the unit, once its maps are written."""
        return _write(self._cube, self._facts, self.figures(), self._unit)


def write_square(cube: CubeStore, every: Sequence[Facts], square: Square) -> tuple[dict[str, int], dict[str, int]]:
    """Put the facts of a square together; (checksums, sizes in bytes) for its receipt."""
    figures_by_product = {facts.product: of_square(cube, facts, square) for facts in every}
    return _write(cube, {facts.product: facts for facts in every}, figures_by_product, square)


def of_square(cube: CubeStore, facts: Facts, square: Square) -> Figures:
    """(statistic, item) of a square from what is one level below it."""
    below = cube.array(facts.array(square.level - 1))
    child_figures = np.asarray(below[:, :, 2 * square.row : 2 * square.row + 2, 2 * square.col : 2 * square.col + 2])
    return figures.merged(facts.statistics, np.moveaxis(child_figures.reshape(*child_figures.shape[:2], -1), -1, 0))


def stored_figures(cube: CubeStore, facts: Facts, place: Place) -> Figures:
    """(statistic, item) of a unit or square as the cube has it."""
    level, window = position(cube, place)
    return np.asarray(cube.array(facts.array(level))[(..., *window.slices)])[..., 0, 0]


def position(cube: CubeStore, place: Place) -> tuple[int, Window]:
    """(level, window of one pixel) of a unit or square in the arrays of facts."""
    if isinstance(place, Square):
        return place.level, Window(place.row, place.col, 1, 1)
    square = cube.region.square(place)
    return 0, Window(square.row // square.height, square.col // square.width, 1, 1)


def _write(
    cube: CubeStore, every: Mapping[str, Facts], figures_by_product: Mapping[str, Figures], place: Place
) -> tuple[dict[str, int], dict[str, int]]:
    level, window = position(cube, place)
    checksums, sizes = {}, dict[str, int]()
    for product, facts in every.items():
        sizes |= cube.write(facts.array(level), (..., *window.slices), figures_by_product[product][..., None, None])
        checksums[f"facts {product}"] = checksum(figures_by_product[product])
    return checksums, sizes


def measured(cube: CubeStore, every: Sequence[Facts], unit: Unit) -> UnitFacts:
    """What the stored maps of a unit give."""
    facts, window = UnitFacts(cube, every, unit), cube.region.square(unit)
    products = {product_facts.product: product_facts.version for product_facts in every}
    if "indicators" in products and cube.has(path := f"{group_of('indicators', products['indicators'])}/{APPLICABILITY}"):
        facts.set_applicable(is_applicable(cube.array(path))(cube.read_window(path, window)[0].ravel()))
    for product, version in products.items():
        group = group_of(product, version)
        for name, array in cube.group(group).arrays():
            if array.ndim < 2:
                continue
            for first in range(0, array.shape[0], SPECIES_PER_SHARD) if name == "occurrence" else (0,):
                lead = slice(first, min(first + SPECIES_PER_SHARD, array.shape[0])) if name == "occurrence" else None
                values = array[(lead, ..., *window.slices)] if lead else array[(..., *window.slices)]
                facts.see(f"{group}/{name}", np.asarray(values), lead)
    return facts


def is_applicable(array: zarr.Array[Any]) -> Callable[[NDArray[Any]], NDArray[np.bool_]]:
    """Which stored estimates of the array of applicability say that the model applies: at most 1, and not without data."""
    layer = layer_of(array)
    return lambda values: (values != layer.fill) & (values <= np.rint(1 / layer.scale))
