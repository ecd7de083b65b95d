"""What training reads: predictors at places and the surveys made there, as plain arrays that know no cube."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import TableError
from inference.data.kilometres import known_mean

Floats = NDArray[np.float32]
Metres = NDArray[np.float64]
TABLES: Final = ("table_50m", "table_1km", "survey")  # modalities that are columns


@dataclass(frozen=True)
class Input:
    """An image or a series that has an encoder of its own: names of its channels; of a series how many steps there are.

    `period` is how many steps make a year, `resolution` that of a series: `50m` or `1km`; an image has neither.
    """

    channels: tuple[str, ...]
    steps: int = 0
    period: int = 0
    resolution: str = "10m"

    def fitted(self, shape: tuple[int, ...]) -> Input:
        """The same for arrays of `shape` (channels, ...), whose channels have numbers for names where they are others."""
        names = self.channels if len(self.channels) == shape[0] else tuple(str(i) for i in range(shape[0]))
        return replace(self, channels=names, steps=shape[1] if self.steps else 0)


def _band_names(layer: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{layer}.{name}" for name in names)


# Images and series of the published models, by modality.
PAPER: Final[Mapping[str, Input]] = {
    "satellite": Input(_band_names("sentinel2", "red", "green", "blue", "nir")),
    "landsat": Input(_band_names("landsat", "red", "green", "blue", "nir", "swir1", "swir2"), 84, 4, "50m"),
    "climate": Input(_band_names("climate", "pr", "tas", "tasmax", "tasmin"), 228, 12, "1km"),
}
_FIELDS: Final = ("satellite", "landsat", "table_50m", "climate", "table_1km")


def in_order(modalities: Collection[str]) -> tuple[str, ...]:
    """Modalities in the order in which a network has them: images and series by name behind those of the published models."""
    further = sorted(set(modalities) - {*_FIELDS, "survey"})
    return tuple(m for m in (*_FIELDS, *further, "survey") if m in modalities)


@dataclass(frozen=True)
class Predictors:
    """Predictors at n places, physical units, float32, NaN = missing.

    `corner` and `weight` name the four 1 km cells around each place (upper left, upper right, lower left,
    lower right; indices into the m cells of the 1 km modalities) and their bilinear weights (sum 1). `values` holds by
    modality, in the order of a network: images (n, C, P, P) with P = 5 x receptive field in cells, series (n, C, steps) or,
    of 1 km, (m, C, steps), tables `table_50m` (n, V) and `table_1km` (m, W). `inputs` says what images and series are.
    """

    values: Mapping[str, Floats]
    corner: NDArray[np.int64] | None = None  # (n, 4)
    weight: Floats | None = None  # (n, 4)
    table_50m_names: tuple[str, ...] = ()
    table_1km_names: tuple[str, ...] = ()
    inputs: Mapping[str, Input] = field(default_factory=lambda: dict(PAPER))  # of every image and series

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together; the message says which.

        Raises: TableError.
        """
        object.__setattr__(self, "values", {name: self.values[name] for name in in_order(self.values)})
        object.__setattr__(self, "inputs", {**PAPER, **self.inputs})
        lengths = {name: len(a) for name, a in self._per_place().items()}
        if not lengths:
            raise TableError("Predictors hold no modality at all; give at least one array of values.")
        if len(set(lengths.values())) > 1:
            raise TableError(f"Predictors disagree on the number of places: {lengths}.")
        for name, values in self.values.items():
            rank = 2 if name in TABLES else 3 if self.inputs[name].steps else 4
            if values.ndim != rank:
                raise TableError(f"Predictors '{name}' have {values.ndim} axes, expected {rank}.")
            if rank == 4 and values.shape[2] != values.shape[3]:
                raise TableError(f"Patches of {name} are not square: {values.shape[2:]} pixels.")
        self._check_names()
        self._check_corners()

    def get(self, name: str) -> Floats | None:
        """The array of one modality; None where there is none."""
        return self.values.get(name)

    def at_kilometres(self, name: str) -> bool:
        """Whether a modality is of 1 km cells and not of places."""
        return name == "table_1km" or (name in self.inputs and self.inputs[name].resolution == "1km")

    def _per_place(self) -> dict[str, NDArray[np.generic]]:
        place_values: dict[str, Any] = {name: array for name, array in self.values.items() if not self.at_kilometres(name)}
        return place_values | {name: getattr(self, name) for name in ("corner", "weight") if getattr(self, name) is not None}

    def _check_names(self) -> None:
        for what, values, names in (
            ("table_50m", self.get("table_50m"), self.table_50m_names),
            ("table_1km", self.get("table_1km"), self.table_1km_names),
        ):
            if values is not None and values.shape[1] != len(names):
                raise TableError(f"Predictors '{what}' have {values.shape[1]} columns but {len(names)} names are given.")

    def _check_corners(self) -> None:
        cells = {len(array) for name, array in self.values.items() if self.at_kilometres(name)}
        if len(cells) > 1:
            raise TableError(f"Layers of 1 km disagree on the number of 1 km cells: {cells}.")
        if not cells:
            return
        if self.corner is None or self.weight is None:
            raise TableError("Layers of 1 km need 'corner' and 'weight' for every place.")
        if self.corner.size and not 0 <= self.corner.min() <= self.corner.max() < min(cells):
            raise TableError(f"'corner' points outside the {min(cells)} cells of the 1 km layers.")

    def __len__(self) -> int:
        """Number of places."""
        return len(next(iter(self._per_place().values())))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities present, in the order of `in_order` (never `survey`)."""
        return tuple(self.values)

    def with_values(self, values: Mapping[str, Floats]) -> Predictors:
        """The same places with some modalities added, or in place of what they have."""
        return replace(self, values={**self.values, **values})

    def subset(self, index: NDArray[np.integer | np.bool_]) -> Predictors:
        """The places of `index` (positions or a mask); 1 km cells are shared, not copied."""
        subset_values = {name: values[index] for name, values in self._per_place().items()}
        corners: dict[str, Any] = {name: subset_values.pop(name) for name in ("corner", "weight") if name in subset_values}
        return replace(self, values={**self.values, **subset_values}, **corners)

    def without(self, *modalities: str) -> Predictors:
        """The same places with some modalities left out."""
        return replace(self, values={name: values for name, values in self.values.items() if name not in modalities})

    def with_columns(self, values: Floats, names: tuple[str, ...]) -> Predictors:
        """The same places with `values` (n, V) as further columns of `table_50m`, which `names` names."""
        table = self.get("table_50m")
        columns = values if table is None else np.concatenate([table[np.arange(len(values))], values], 1)
        return replace(self, values={**self.values, "table_50m": columns}, table_50m_names=(*self.table_50m_names, *names))

    def interpolated(self, name: str) -> Floats | None:
        """A 1 km modality at the places, (n, ...), bilinear over the 1 km cells that hold a value."""
        values = self.get(name)
        if values is None or self.corner is None or self.weight is None:
            return None
        mean = known_mean(values.reshape(len(values), -1), self.corner, self.weight)
        return mean.reshape(len(self), *values.shape[1:])


@dataclass(frozen=True)
class Surveys:
    """Presence-absence surveys, row for row with `Predictors`; surveys of one place share its number."""

    presence: NDArray[np.bool_]  # (n, S)
    area_m2: Floats  # (n,), NaN or not positive: unknown
    year: Floats  # (n,)
    place: NDArray[np.int64]  # (n,)
    x: NDArray[np.float64]  # (n,) metres
    y: NDArray[np.float64]
    species: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse columns of unequal length. Raises: TableError."""
        n = len(self.presence)
        for name in ("area_m2", "year", "place", "x", "y"):
            if len(getattr(self, name)) != n:
                raise TableError(f"Surveys: column '{name}' has {len(getattr(self, name))} rows, 'presence' has {n}.")
        if self.presence.ndim != 2 or self.presence.shape[1] != len(self.species):
            raise TableError(f"Surveys: 'presence' has shape {self.presence.shape} but {len(self.species)} species are named.")
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise TableError("Surveys: some coordinates are not finite; skip those rows when reading.")

    @classmethod
    def at(
        cls, x: Metres, y: Metres, species: tuple[str, ...] = (), area_m2: float = np.nan, year: float | Floats = 0
    ) -> Surveys:
        """Surveys (n) that found none of `species`, each at a place (x, y) metres of its own."""
        n = len(x)
        area, years = np.full(n, area_m2, np.float32), np.full(n, year, np.float32)
        return cls(np.zeros((n, len(species)), bool), area, years, np.arange(n), x, y, species)

    @classmethod
    def none(cls, species: tuple[str, ...]) -> Surveys:
        """No survey of these species."""
        return cls.at(np.zeros(0), np.zeros(0), species)

    def __len__(self) -> int:
        """Number of surveys."""
        return len(self.presence)

    def subset(self, index: NDArray[np.integer | np.bool_]) -> Surveys:
        """The surveys of `index` (positions or a mask)."""
        names = ("presence", "area_m2", "year", "place", "x", "y")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    @property
    def place_weight(self) -> Floats:
        """(n,) one over the number of surveys of the same place, so that every place weighs 1."""
        _, inverse, count = np.unique(self.place, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / count[inverse], np.float32)
