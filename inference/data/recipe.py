"""What a model reads: which layers of a cube, and which columns of the surveys' table. Reading them is `sampling.py`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from cube.errors import CubeError, ModelError
from cube.grid import CELL, COARSE
from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.records.raw import PREDICTOR
from cube.storage.store import CubeStore, resolution_of

IGBP: Final = tuple(range(1, 18))  # classes of MCD12Q1 LC_Type1, one column each
OWN_ENCODER: Final = {"sentinel2": "satellite", "landsat": "landsat", "climate": "climate"}


@dataclass(frozen=True)
class Recipe:
    """Which layers of a cube feed which modality, and the names of the columns that they give.

    `table_columns` are predictors that the surveys' table gives; they stand behind the columns of the 50 m layers.
    """

    modalities: tuple[str, ...]
    static_layers: tuple[str, ...]
    coarse_layers: tuple[str, ...]
    table_columns: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Every input layer that is read."""
        own = tuple(name for name, modality in OWN_ENCODER.items() if modality in self.modalities)
        return (*own, *self.static_layers, *self.coarse_layers)

    @property
    def static_names(self) -> tuple[str, ...]:
        """Columns of the 50 m layers, then those of the surveys' table."""
        return (*(name for layer in self.static_layers for name in columns_of(INPUTS[layer])), *self.table_columns)

    @property
    def coarse_names(self) -> tuple[str, ...]:
        """Columns of the 1 km layers other than the climate series."""
        return tuple(name for layer in self.coarse_layers for name in columns_of(INPUTS[layer]))

    @property
    def of_layers(self) -> Recipe:
        """The same without the predictors of the surveys' table."""
        modalities = tuple(m for m in self.modalities if m != "static" or self.static_layers)
        return replace(self, modalities=modalities, table_columns=())

    def require_maps(self) -> None:
        """Refuse a model that reads what is known at surveys alone. Raises: ModelError naming the columns."""
        if self.table_columns:
            names = ", ".join(name.removeprefix(PREDICTOR) for name in self.table_columns)
            raise ModelError(
                f"The model reads {names} from the surveys' table, which is known at surveys alone; to make maps, give rasters as"
                " `sources` in place of surveys.columns.predictors, and run `floracube build` and `floracube train` again."
            )


def columns_of(layer: Layer) -> list[str]:
    """Names of the columns that a layer gives."""
    if layer.name == "landcover":
        return [f"landcover.igbp{value}" for value in IGBP]
    if not layer.dims:
        return [layer.name]
    return [f"{layer.name}.{label}" for label in layer.labels[layer.dims[0]]]


def recipe(
    cube: CubeStore,
    wanted: tuple[str, ...] | None = None,
    offered: Collection[str] | None = None,
    table_columns: tuple[str, ...] = (),
) -> Recipe:
    """What the inputs of a cube offer; `wanted` keeps some modalities only. Raises `CubeError` if nothing is left.

    `offered` are the layers of another source that a model is to learn from: it can use what both have. `table_columns` are
    predictors of the surveys' table, part of the modality `static`.
    """
    present = [layer for layer in INPUTS.values() if layer.predictor and cube.has(layer.path)]
    if offered is not None:
        present = [layer for layer in present if layer.name in offered]
    static = tuple(x.name for x in present if x.name not in OWN_ENCODER and resolution_of(x) == CELL)
    coarse = tuple(x.name for x in present if x.name not in OWN_ENCODER and resolution_of(x) == COARSE)
    modalities = [OWN_ENCODER[x.name] for x in present if x.name in OWN_ENCODER]
    modalities += ["static"] if static or table_columns else []
    modalities += ["coarse"] if coarse else []
    kept = tuple(m for m in modalities if wanted is None or m in wanted)
    if not kept:
        raise CubeError(
            f"{cube.url}: has no inputs for the modalities {', '.join(wanted or ('any',))}; run `floracube build`"
            " or change network.modalities."
        )
    own, table_columns = (static, table_columns) if "static" in kept else ((), ())
    return Recipe(kept, own, coarse if "coarse" in kept else (), table_columns)
