"""Named sizes of the network, from one that trains in seconds on a CPU to one for all of GeoPlant; single keys override."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Dilations fix what a cell sees of the satellite image: 1 + 2 x their sum cells, of 50 m. A published patch of 128 pixels is
# 25 cells wide, one of 64 pixels 13. More data bear less dropout.
SIZES: Final[Mapping[str, Mapping[str, Any]]] = {
    "tiny": {"d": 24, "hidden": 48, "depth": 2, "width": 12, "dilations": (1,), "dropout": 0.1},
    "small": {"d": 64, "hidden": 128, "depth": 2, "width": 32, "dilations": (1, 1, 2), "dropout": 0.3},
    "medium": {"d": 128, "hidden": 256, "depth": 3, "width": 96, "dilations": (1, 2, 3), "dropout": 0.2},
    "geoplant": {"d": 256, "hidden": 512, "depth": 3, "width": 192, "dilations": (1, 2, 3, 6), "dropout": 0.1},
}
FIELDS: Final = ("d", "hidden", "depth", "width", "dilations", "dropout")


def shape_of(network: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `ModelSpec` for the key `network` of a configuration, its `modalities` left aside.

    `size` names a row of SIZES, other keys override it; without a size the spec's own defaults ("small") hold.
    """
    fields = {key: value for key, value in network.items() if key not in ("size", "modalities")}
    return {**SIZES.get(network.get("size", ""), {}), **fields}
