"""What a model reads: which layers of a cube, and which columns of the surveys' table. Reading them is `sampling.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cube.errors import CubeError, ModelError
from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.records.raw import PREDICTOR
from cube.storage.store import CubeStore
from inference.data.channels import Channel, channels_of
from inference.data.samples import PAPER, Input
from inference.data.samples import TABLES as COLUMNS

TABLES: Final = {"50m": "table_50m", "1km": "table_1km"}  # modality of the layers that are columns of a table
TITLES: Final = {
    "table_50m": "Layers of 50 m",
    "table_1km": "Layers of 1 km",
    "survey": "Year and area of the survey",
}


@dataclass(frozen=True)
class Recipe:
    """Which layers of a cube feed which modality.

    An image (10 m) and a series are modalities of their own, by the layer's name; the other layers of 50 m are columns of
    `table_50m`, those of 1 km of `table_1km`. `table_columns` are predictors that the surveys' table gives; they stand behind the
    columns of the 50 m layers.
    """

    modalities: tuple[str, ...]
    inputs: tuple[Layer, ...]
    table_columns: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the input layers that are read."""
        return tuple(layer.name for layer in self.inputs)

    @property
    def groups(self) -> dict[str, tuple[Layer, ...]]:
        """The layers of each modality that has some, in the order of their channels."""
        by_modality = {m: tuple(layer for layer in self.inputs if modality_of(layer) == m) for m in self.modalities}
        return {modality: layers for modality, layers in by_modality.items() if layers}

    @property
    def places(self) -> dict[str, tuple[Layer, ...]]:
        """Those of `groups` that are read at 10 m and 50 m."""
        return {modality: layers for modality, layers in self.groups.items() if layers[0].resolution != "1km"}

    @property
    def kilometres(self) -> dict[str, tuple[Layer, ...]]:
        """Those of `groups` that are read at 1 km."""
        return {modality: layers for modality, layers in self.groups.items() if layers[0].resolution == "1km"}

    @property
    def encoded(self) -> dict[str, Input]:
        """What the network must know of the images and series."""
        return {modality: input_of(layers[0]) for modality, layers in self.groups.items() if modality not in TABLES.values()}

    def channels(self, modality: str) -> tuple[Channel, ...]:
        """The channels of a modality, without those of the surveys' table."""
        return tuple(channel for layer in self.groups.get(modality, ()) for channel in channels_of(layer))

    @property
    def table_50m_names(self) -> tuple[str, ...]:
        """Columns of the 50 m layers, then those of the surveys' table."""
        return (*(channel.name for channel in self.channels("table_50m")), *self.table_columns)

    @property
    def table_1km_names(self) -> tuple[str, ...]:
        """Columns of the 1 km layers that are no series."""
        return tuple(channel.name for channel in self.channels("table_1km"))

    def title(self, modality: str, channel: str = "") -> tuple[str, str]:
        """(title, units) of a modality, or of one of its channels; of an unknown one its own name."""
        if not channel:
            layers = self.groups.get(modality, ())
            return TITLES.get(modality) or (layers[0].long_name if layers else modality), ""
        if channel.startswith(PREDICTOR):
            return f"{channel.removeprefix(PREDICTOR)} (surveys' table)", ""
        if (modality, channel) == ("survey", "year"):
            return "Year of the survey", ""
        channels = {each.name: each for each in self.channels(modality)}
        title_and_units = channels.get(channel, Channel(channel, channel))
        return title_and_units.title.replace("of the month", "of months"), title_and_units.units

    def in_cube(self, cube: CubeStore) -> Recipe:
        """The same layers as a cube stores them: another cube may hold them in another type. Raises `CubeError`."""
        cube_layers = cube.layers()
        missing = [name for name in self.layers if name not in cube_layers]
        if missing:
            raise CubeError(f"{cube.url}: has no {', '.join(missing)}; add it to `sources` and run `floracube build`.")
        return replace(self, inputs=tuple(cube_layers[name] for name in self.layers))

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, units, bands and classes of the layers included; `from_json` gives the recipe back."""
        inputs = [
            {
                "path": layer.path,
                "dtype": layer.dtype,
                "fill": str(layer.fill),
                "dims": [*layer.dims, "y", "x"],
                "labels": {dim: list(labels) for dim, labels in layer.labels.items()},
                "attributes": layer.attributes(),
            }
            for layer in self.inputs
        ]
        return {"modalities": list(self.modalities), "inputs": inputs, "table_columns": list(self.table_columns)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_json`. Raises `KeyError`, `TypeError` or `ValueError` for something else."""
        layers = []
        for each in values["inputs"]:
            labels = {dim: tuple(names) for dim, names in each["labels"].items()}
            layers.append(
                Layer.from_metadata(each["path"], each["dtype"], each["fill"], each["dims"], each["attributes"], labels)
            )
        return cls(tuple(values["modalities"]), tuple(layers), tuple(values["table_columns"]))

    @property
    def of_layers(self) -> Recipe:
        """The same without the predictors of the surveys' table."""
        modalities = tuple(m for m in self.modalities if m in self.groups)
        return replace(self, modalities=modalities, table_columns=())

    def require_maps(self) -> None:
        """Refuse a model that reads what is known at surveys alone. Raises: ModelError naming the columns."""
        if self.table_columns:
            names = ", ".join(name.removeprefix(PREDICTOR) for name in self.table_columns)
            raise ModelError(
                f"The model reads {names} from the surveys' table, which is known at surveys alone; to make maps, give rasters as"
                " `sources` in place of surveys.columns.predictors, and run `floracube build` and `floracube train` again."
            )


def modality_of(layer: Layer) -> str:
    """The modality that a layer feeds."""
    if layer.resolution == "10m" or layer.period:
        return "satellite" if layer.name == "sentinel2" else layer.name
    return TABLES[layer.resolution]


def input_of(layer: Layer) -> Input:
    """What the network must know of an image or a series."""
    steps = len(layer.labels[layer.dims[-1]]) if layer.period else 0
    return Input(tuple(channel.name for channel in channels_of(layer)), steps, layer.period, layer.resolution)


def difference(layer: Layer, learned_layer: Layer) -> str | None:
    """In which way a layer means something else than the one that a model learned from, in words; None where it does not."""
    meaning, learned_meaning = _meaning(layer), _meaning(learned_layer)
    what = next((name for name, text in learned_meaning.items() if meaning[name] != text), None)
    return None if what is None else f"its {what}: {meaning[what]}, where the model learned from {learned_meaning[what]}"


def _meaning(layer: Layer) -> dict[str, str]:
    """What must be the same for a model to read a layer, in words."""
    return {
        "resolution": layer.resolution,
        "kind": layer.kind,
        "bands": ", ".join(layer.labels[layer.dims[0]]) if layer.dims else "one",
        "units": ", ".join(dict.fromkeys(band.units for band in layer.bands)) or layer.units,
        "steps a year": str(layer.period),
        "times": ", ".join(layer.labels[layer.dims[-1]]) if layer.period else "",
        "classes": ", ".join(f"{value} {meaning}" for value, meaning, _ in layer.flags),
    }


def recipe(
    cube: CubeStore,
    modalities: tuple[str, ...] | None = None,
    layer_names: Collection[str] | None = None,
    table_columns: tuple[str, ...] = (),
) -> Recipe:
    """What the inputs of a cube offer; `modalities` keeps some modalities only. Raises `CubeError` if nothing is left.

    `layer_names` are the layers of another source that a model is to learn from: it can use what both have. `table_columns` are
    predictors of the surveys' table, part of the modality `table_50m`.
    """
    present = list(cube.layers().values())
    if layer_names is not None:
        present = [layer for layer in present if layer.name in layer_names and layer.labels == INPUTS[layer.name].labels]
    usable = recipe_of(present, modalities, table_columns)
    available = recipe_of(present).modalities
    strange = [name for name in modalities or () if name not in {*PAPER, *COLUMNS, *available}]
    if strange or not usable.modalities:
        raise CubeError(
            f"{cube.url}: has no inputs for the modality {', '.join(strange or modalities or ('any',))} (it has"
            f" {', '.join(available) or 'none'}); run `floracube build` or change network.modalities."
        )
    return usable


def recipe_of(layers: Iterable[Layer], modalities: Collection[str] | None = None, table_columns: tuple[str, ...] = ()) -> Recipe:
    """What a model can learn from `layers`; `modalities` keeps some modalities only."""
    able = [layer for layer in layers if layer.predictor and (layer.kind != "class" or channels_of(layer))]
    tables = [table for table in TABLES.values() if any(modality_of(layer) == table for layer in able)]
    if table_columns and "table_50m" not in tables:
        tables.insert(0, "table_50m")
    separate = [modality_of(layer) for layer in able if modality_of(layer) not in tables]
    selection = tuple(m for m in (*separate, *tables) if modalities is None or m in modalities)
    inputs = tuple(layer for m in selection for layer in able if modality_of(layer) == m)
    return Recipe(selection, inputs, table_columns if "table_50m" in selection else ())
