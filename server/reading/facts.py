"""What was made with a release of its whole maps: layouts of facts, display ranges, species that tell habitats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from cube.pyramids import ranges
from cube.pyramids.facts import Facts, all_facts, plan_facts
from cube.storage import shapes
from cube.storage.store import CubeStore


def _is_telling(rows: Any) -> bool:
    return isinstance(rows, dict) and all(
        isinstance(row, list) and all(shapes.is_list_of_numbers(species, 4) for species in row) for row in rows.values()
    )


_ENDS: Final = shapes.Key("[lowest, highest] or null", lambda ends: ends is None or shapes.is_list_of_numbers(ends, 2))
_TELLING: Final = {"species": shapes.Key("an object of lists of four numbers", _is_telling, required=True)}
_FIX: Final = "restore it, or remove it and run `floracube predict` again"


@dataclass(frozen=True)
class ReleaseFacts:
    """The facts of the versions of one release, by product."""

    cube: CubeStore
    products: Mapping[str, str]

    @cached_property
    def _planned(self) -> dict[str, Facts]:
        return {facts.product: facts for facts in all_facts(self.cube, self.products)}

    @property
    def present(self) -> bool:
        """Whether all versions were made with facts."""
        return len(self._planned) == len(self.products)

    @cached_property
    def layouts(self) -> dict[str, Facts]:
        """What the facts of each product count, or would count."""
        return {p: self._planned.get(p) or plan_facts(self.cube, p, v, self.products) for p, v in self.products.items()}

    @cached_property
    def telling_species(self) -> dict[str, list[list[float]]] | None:
        """By stored value of a habitat: [index, mean inside, mean outside, fidelity] of the species that tell it."""
        versions = [self.products.get(product) for product in ("habitats", "species")]
        path = f"products/habitats/{versions[0]}/facts/fidelity-{versions[1]}.json"
        document = self.cube.read_json(path) if all(versions) else None
        return None if document is None else shapes.require(f"{self.cube.url}/{path}", document, _TELLING, _FIX)["species"]

    @cached_property
    def _ranges(self) -> dict[str, list[float] | None]:
        by_layer: dict[str, list[float] | None] = {}
        for product, version in self.products.items():
            path = ranges.document_path(product, version)
            document = self.cube.read_json(path) or {}
            keys = dict.fromkeys(document if isinstance(document, dict) else (), _ENDS)
            shapes.require(f"{self.cube.url}/{path}", document, keys, _FIX)
            by_layer |= {f"{product}.{name}": ends for name, ends in document.items()}
        return by_layer

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Display ranges by layer; those of other layers are found from their values when first asked for."""
        return {layer: (ends[0], ends[1]) if ends else (0.0, 1.0) for layer, ends in self._ranges.items()}

    def without_values(self) -> set[str]:
        """The layers that held nothing, as bounds do where none were calibrated."""
        return {layer for layer, ends in self._ranges.items() if ends is None}
