"""How much of the region each input has values for: counts in receipts that add up, and what is made of them.

A pixel here is one band of one pixel of a layer's own grid (10 m, 50 m or 1 km) inside the region:
`pixels = used + no data + refused`. `clipped` are used ones whose value the layer's type could not store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import Region, Unit
from cube.layers import Layer
from cube.storage.store import resolution_of

MINIMUM: Final = "floracube_min_coverage"  # attribute of an input's array: the share that its source asks for
COMPLETE_SHARE: Final = 0.999  # below it a person is told in colour


def inside(region: Region, unit: Unit, size: int) -> NDArray[np.bool_]:
    """(rows, columns) of a unit's pixels of `size` metres: which have their centre in the region."""
    side = unit.km * 1000 // size
    x = unit.west + (np.arange(side) + 0.5) * size
    y = unit.north - (np.arange(side) + 0.5) * size
    return region.contains(x[None, :], y[:, None])


def counts_of(
    layer: Layer,
    stored_values: NDArray[Any],
    region: Region,
    unit: Unit,
    refused: NDArray[np.bool_] | None = None,
    clipped: NDArray[np.bool_] | None = None,
) -> dict[str, int]:
    """What a receipt says of one layer of a unit: `stored_values` is (axes, rows, columns), the masks are of its shape."""
    within = inside(region, unit, resolution_of(layer))
    empty = np.isnan(stored_values) if layer.dtype.startswith("float") else stored_values == layer.fill
    is_used = ~empty & within
    wrong = empty & within & refused.reshape(stored_values.shape) if refused is not None else np.zeros((), np.bool_)
    pixels = int(within.sum()) * (stored_values.size // within.size)
    n_used, n_refused = int(is_used.sum()), int(wrong.sum())
    counts = {
        f"{layer.name} pixels": pixels,
        f"{layer.name} valid": n_used,
        f"{layer.name} no data": pixels - n_used - n_refused,
        f"{layer.name} refused": n_refused,
        f"{layer.name} clipped": int((clipped.reshape(stored_values.shape) & is_used).sum()) if clipped is not None else 0,
    }
    if layer.dims:
        for label, band in zip(layer.labels[layer.dims[0]], is_used, strict=True):
            counts[f"{layer.name} valid of {label}"] = int(band.sum())
    return counts


@dataclass(frozen=True)
class Coverage:
    """What became of the pixels of a layer in the region; `bands` are the used ones by label of its first axis."""

    layer: str
    pixels: int
    used: int
    no_data: int
    refused: int
    clipped: int
    bands: Mapping[str, int]

    @property
    def share(self) -> float:
        """Used of all, 0 to 1."""
        return self.used / self.pixels if self.pixels else 0.0

    def least_covered(self) -> tuple[str, float]:
        """(label, share) of the band with the fewest values; an empty label for a layer without bands."""
        if not self.bands:
            return "", self.share
        label = min(self.bands, key=lambda name: self.bands[name])
        return label, self.bands[label] * len(self.bands) / self.pixels if self.pixels else 0.0

    def document(self) -> dict[str, Any]:
        """As JSON, with the shares."""
        label, share = self.least_covered()
        counts = {name: value for name, value in vars(self).items() if name != "bands"}
        return {**counts, "share": round(self.share, 6), "least_band": label, "least_share": round(share, 6)}

    def line(self) -> str:
        """One line for a person."""
        label, share = self.least_covered()
        band = f", {label} {percent(share)}" if label and share < self.share - 5e-4 else ""
        clipped = f" ({self.clipped:,} of the used clipped)" if self.clipped else ""
        return (
            f"{self.layer:18} {percent(self.share):>7} of the region{band}: {self.pixels:,} pixels = {self.used:,} used"
            f" + {self.no_data:,} no data + {self.refused:,} refused{clipped}"
        )

    def shortfall(self, minimum: float | None) -> str | None:
        """Why the coverage is not enough: a band below the share `minimum` (None: without any value); None where it is."""
        label, share = self.least_covered()
        name = f"band {label} of {self.layer}" if label else self.layer
        if not self.pixels or (share > 0 if minimum is None else share >= minimum):
            return None
        advice = "check the extent, the CRS and the no-data value of the file"
        if minimum is None:
            return f"{name} has no value anywhere in the region; {advice}, leave the layer out, or accept it by min_coverage: 0"
        demand = f"its source asks for {percent(minimum)}"
        return f"{name} has values in {percent(share)} of the region, {demand}; {advice}, or lower min_coverage"


def percent(share: float) -> str:
    """A share as text that never rounds up to everything or down to nothing."""
    if 0 < share < 1:
        share = min(max(share, 0.0001), 0.9999)
    return f"{100 * share:.4g} %"


def coverage_of(counts: Mapping[str, int]) -> list[Coverage]:
    """The coverage of every layer that the summed `counts` of receipts speak of, in their order."""
    rows = []
    for name in (key.removesuffix(" pixels") for key in counts if key.endswith(" pixels")):
        pixels, used, no_data, refused, clipped = (
            counts.get(f"{name} {what}", 0) for what in ("pixels", "valid", "no data", "refused", "clipped")
        )
        prefix = f"{name} valid of "
        bands = {key.removeprefix(prefix): count for key, count in counts.items() if key.startswith(prefix)}
        rows.append(Coverage(name, pixels, used, no_data, refused, clipped, bands))
    return rows
