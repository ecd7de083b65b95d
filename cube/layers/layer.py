"""What a layer is: its name, dimensions, storage type, units and colours; and the layers of the products.

The inputs have a table of their own, `cube.layers.inputs`. What a layer means is stored with its array (`attributes`), and
read from there by one function (`from_metadata`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from cube.grid import RESOLUTIONS

Kind = Literal["continuous", "class"]

BOUNDS: Final = ("estimate", "lower", "upper")
RANKS: Final = 64
NO_SPECIES: Final = 65535
PROBABILITY_STEPS: Final = 250  # of a stored probability, from 0 to 1 or to a species' own ceiling
COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")  # of a legend, as readers may put it into a style sheet
ENCODE_BLOCK: Final = 2**16  # values: their float64 stays in a core's cache
INDICATOR_STEPS: Final = 65_000  # of a stored indicator, from 0 to the largest value of its map


@dataclass(frozen=True)
class Band:
    """One label of a layer's first axis: its title, its units as UDUNITS spells them, its CF standard name (may be empty)."""

    name: str
    long_name: str
    units: str = "1"
    standard_name: str = ""


@dataclass(frozen=True)
class Layer:
    """One array of the cube: where it lies, how it is stored, what it means.

    A stored value v stands for `v * scale + offset` in `units`; `fill` stands for no data.
    """

    name: str
    group: str
    dtype: str
    fill: int | float
    long_name: str
    units: str  # of all bands; empty where each has units of its own
    dims: tuple[str, ...] = ()  # before (y, x)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scale: float = 1.0
    offset: float = 0.0
    valid_range: tuple[float, float] | None = None  # in units
    kind: Kind = "continuous"
    palette: str = "viridis"
    flags: tuple[tuple[int, str, str], ...] = ()  # value, meaning, #rrggbb
    references: str = ""
    order: int = 99  # among the maps of its product; a map page lists the lowest first
    standard_name: str = ""  # of the CF table
    bands: tuple[Band, ...] = ()  # of the first axis, in the order of its labels
    predictor: bool = True  # of an input: whether models learn from it (masks and counts tell them nothing)
    period: int = 0  # of a series: how many of its steps (the labels of the last axis before y, x) make a year

    @property
    def path(self) -> str:
        """Group and name, such as `inputs/50m/slope`."""
        return f"{self.group}/{self.name}"

    @property
    def resolution(self) -> str:
        """`10m`, `50m` or `1km`: the part of an input's group that says it, in its overviews too; products are 50 m."""
        parts = self.group.split("/")
        return next((part for part in parts if part in RESOLUTIONS), "50m") if parts[0] == "inputs" else "50m"

    @property
    def limits(self) -> tuple[float, float]:
        """(lowest, highest) value in `units` that the type can store."""
        if self.dtype.startswith("float"):
            return -math.inf, math.inf
        low, high = self._steps()
        return low * self.scale + self.offset, high * self.scale + self.offset

    def _steps(self) -> tuple[int, int]:
        info = np.iinfo(self.dtype)
        return int(info.min) + (self.fill == info.min), int(info.max) - (self.fill == info.max)

    def clipped(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of `values` (in `units`) `encode` clips, by more than the rounding to a step."""
        low, high = self.limits
        with np.errstate(invalid="ignore"):
            return np.asarray((values < low - self.scale / 2) | (values > high + self.scale / 2))

    def encode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values in `units` (NaN: no data) to stored values; out of range is clipped to what the type holds."""
        if self.dtype.startswith("float"):
            return np.asarray(values, self.dtype)
        low, high = self._steps()
        # Through a buffer: beside the input lies the result alone, not one array of float64 for each step.
        with np.nditer(
            [np.asarray(values), None],
            ["external_loop", "buffered", "zerosize_ok"],
            [["readonly"], ["writeonly", "allocate"]],
            [np.dtype(np.float64), np.dtype(self.dtype)],
            order="C",
            casting="unsafe",
            buffersize=ENCODE_BLOCK,
        ) as blocks:
            for numbers, stored_values in blocks:
                raw = (numbers - self.offset) / self.scale
                stored_values[...] = np.where(np.isfinite(raw), np.clip(np.rint(raw), low, high), self.fill)
            return blocks.operands[1]

    def decode(self, stored_values: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values to values in `units`, float32, NaN where there is no data."""
        if self.dtype.startswith("float"):
            return np.asarray(stored_values, np.float32)
        values = stored_values.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        values[stored_values == self.fill] = np.nan
        return values

    def attributes(self) -> dict[str, Any]:
        """CF attributes of the array."""
        attrs: dict[str, Any] = {"long_name": self.long_name}
        attrs |= {key: value for key in ("units", "standard_name") if (value := getattr(self, key))}
        if self.bands:
            attrs["bands"] = [{key: value for key, value in vars(band).items() if value} for band in self.bands]
        if self.scale != 1.0 or self.offset != 0.0:
            attrs |= {"scale_factor": self.scale, "add_offset": self.offset}
        if self.valid_range is not None:
            low, high = ((v - self.offset) / self.scale for v in self.valid_range)
            integral = not self.dtype.startswith("float")
            # CF: valid_range is in the packed unit of the stored data.
            attrs["valid_range"] = [round(low), round(high)] if integral else [low, high]
        if self.flags:
            attrs |= {
                "flag_values": [v for v, _, _ in self.flags],
                "flag_meanings": " ".join(m.replace(" ", "_") for _, m, _ in self.flags),
                "flag_colors": " ".join(c for _, _, c in self.flags),
            }
        if self.references:
            attrs["references"] = self.references
        if not self.predictor:
            attrs["floracube_predictor"] = False
        if self.period:
            attrs["floracube_period"] = self.period
        attrs["floracube_kind"] = self.kind
        attrs["floracube_palette"] = self.palette
        attrs["floracube_order"] = self.order
        return attrs

    @classmethod
    def from_metadata(
        cls,
        path: str,
        dtype: str,
        fill: int | float | str,
        dims: Sequence[str],
        attributes: Mapping[str, Any],
        labels: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Layer:
        """The layer that an array describes: `fill` and `attributes` as its `zarr.json` has them, `dims` all its axes.

        `labels` of its axes are arrays beside it.
        """
        group, _, name = path.rpartition("/")
        scale, offset = (float(attributes.get(key, plain)) for key, plain in (("scale_factor", 1.0), ("add_offset", 0.0)))
        ends = attributes.get("valid_range")
        values = [int(value) for value in attributes.get("flag_values", ())]
        meanings = [meaning.replace("_", " ") for meaning in str(attributes.get("flag_meanings", "")).split()]
        colours = [text if COLOUR.fullmatch(text) else "" for text in str(attributes.get("flag_colors", "")).split()]
        bands = tuple(
            Band(**{entry.name: str(band[entry.name]) for entry in fields(Band) if entry.name in band})
            for band in attributes.get("bands", ())
        )
        return cls(
            name,
            group,
            dtype,
            float(fill) if dtype.startswith("float") else int(fill),
            str(attributes.get("long_name", name)),
            str(attributes.get("units", "" if bands else "1")),
            tuple(dims[:-2]),
            labels or {},
            scale=scale,
            offset=offset,
            valid_range=(ends[0] * scale + offset, ends[1] * scale + offset) if ends else None,
            kind="class" if attributes.get("floracube_kind") == "class" else "continuous",
            palette=str(attributes.get("floracube_palette", "viridis")),
            # A legend that lost meanings or colours (one that is no #rrggbb is lost, too) still names its values.
            flags=tuple((v, m, c) for v, m, c in zip_longest(values, meanings, colours, fillvalue="") if isinstance(v, int)),
            references=str(attributes.get("references", "")),
            order=int(attributes.get("floracube_order", 99)),
            standard_name=str(attributes.get("standard_name", "")),
            bands=bands,
            predictor=bool(attributes.get("floracube_predictor", True)),
            period=int(attributes.get("floracube_period", 0)),
        )

    def band(self, label: str) -> Band:
        """Title and units of one label of the first axis; those of the layer where it says nothing of its bands."""
        found_band = next((band for band in self.bands if band.name == label), None)
        return found_band or Band(label, f"{self.long_name}: {label.replace('_', ' ')}", self.units or "1", self.standard_name)

    def at(self, group: str) -> Layer:
        """The same layer in another group (a version, a level)."""
        return replace(self, group=group)


def occurrence(group: str, reference_area_m2: float) -> Layer:
    """Probability of each species in a plot: `occurrence * scale[species]`, uint8 in 250 steps, 255 no data."""
    area = f"{reference_area_m2:g} m2"
    return Layer(
        "occurrence",
        group,
        "uint8",
        255,
        f"Probability of occurrence in a plot of {area}",
        "1",
        ("species",),
        palette="species",
        valid_range=(0.0, float(PROBABILITY_STEPS)),
    )


COMPOSITION: Final = (
    Layer(
        "species_id",
        "",
        "uint16",
        NO_SPECIES,
        "Species of the cell by descending probability (index into the species table)",
        "1",
        ("rank",),
        {},
        kind="class",
        palette="none",
    ),
    Layer(
        "probability",
        "",
        "uint8",
        255,
        "Probability of occurrence of the ranked species",
        "1",
        ("rank",),
        {},
        1 / PROBABILITY_STEPS,
        valid_range=(0.0, 1.0),
    ),
    Layer("set_size", "", "uint16", 65535, "Species in the set that maximises expected F1", "1"),
)


def indicator(
    name: str,
    group: str,
    long_name: str,
    units: str,
    scale: float,
    top: float,
    palette: str,
    references: str = "",
    order: int = 99,
) -> Layer:
    """A biodiversity indicator with its bounds, uint16 in steps of `scale`, values 0 to `top`."""
    return Layer(
        name,
        group,
        "uint16",
        65535,
        long_name,
        units,
        ("bound",),
        {"bound": BOUNDS},
        scale,
        valid_range=(0.0, top),
        palette=palette,
        references=references,
        order=order,
    )


def habitat_level(name: str, group: str, flags: tuple[tuple[int, str, str], ...], long_name: str) -> Layer:
    """A map of habitat classes at one level of a scheme; values index the habitat table."""
    return Layer(name, group, "uint16", 65535, long_name, "1", kind="class", palette="flags", flags=flags)


def habitat_probability(group: str) -> Layer:
    """Probability of the most probable class."""
    return Layer(
        "probability",
        group,
        "uint8",
        255,
        "Probability of the most probable habitat",
        "1",
        scale=1 / PROBABILITY_STEPS,
        valid_range=(0.0, 1.0),
        palette="cividis",
    )


def habitat_entropy(group: str) -> Layer:
    """Shannon entropy of the class probabilities divided by its maximum."""
    return Layer(
        "entropy",
        group,
        "uint8",
        255,
        "Entropy of the habitat probabilities, 0 certain to 1 uniform",
        "1",
        scale=1 / PROBABILITY_STEPS,
        valid_range=(0.0, 1.0),
        palette="magma",
    )
