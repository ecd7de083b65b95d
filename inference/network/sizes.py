"""Named sizes of the network, from one that trains in seconds on a CPU to one for all of GeoPlant; single keys override."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cube.errors import ConfigError

Shape = dict[str, Any]

# Dilations fix what a cell sees of the satellite image: 1 + 2 x their sum cells, of 50 m. A published patch of 128 pixels is
# 25 cells wide, one of 64 pixels 13. More data bear less dropout.
SIZES: Final[Mapping[str, Mapping[str, Any]]] = {
    "tiny": {"d": 24, "hidden": 48, "depth": 2, "width": 12, "dilations": (1,), "dropout": 0.1},
    "small": {"d": 64, "hidden": 128, "depth": 2, "width": 32, "dilations": (1, 1, 2), "dropout": 0.3},
    "medium": {"d": 128, "hidden": 256, "depth": 3, "width": 96, "dilations": (1, 2, 3), "dropout": 0.2},
    "geoplant": {"d": 256, "hidden": 512, "depth": 3, "width": 192, "dilations": (1, 2, 3, 6), "dropout": 0.1},
}
FIELDS: Final = {"d": int, "hidden": int, "depth": int, "width": int, "dilations": tuple, "dropout": float, "waves": int}


def shape_of(network: Mapping[str, Any], where: str = "network") -> Shape:
    """Fields of `ModelSpec` for the key `network` of a configuration, its `modalities` left aside.

    `size` names a row of SIZES, other keys override it; without a size the spec's own defaults ("small") hold.
    `where` begins the sentence of an error. Raises: ConfigError for an unknown size or key, or a value of another kind.
    """
    given = {key: value for key, value in network.items() if key not in ("size", "modalities")}
    size = network.get("size")
    if size is not None and size not in SIZES:
        raise ConfigError(f"{where}.size: '{size}' is not a size that is known here; known are {', '.join(SIZES)}.")
    for key, value in given.items():
        if key not in FIELDS:
            raise ConfigError(
                f"{where}.{key}: is not a key that is known here; known are modalities, size, {', '.join(sorted(FIELDS))}."
            )
        given[key] = _checked(f"{where}.{key}", key, value)
    return (dict(SIZES[size]) if size is not None else {}) | given


def _checked(where: str, key: str, value: Any) -> Any:
    if FIELDS[key] is tuple:
        if not isinstance(value, list | tuple) or not value or not all(_whole(v) for v in value):
            raise ConfigError(f"{where}: is {value!r}, expected a list of whole numbers from 1 on, such as [1, 1, 2].")
        return tuple(value)
    if FIELDS[key] is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ConfigError(f"{where}: is {value!r}, expected a share from 0 to below 1.")
        return float(value)
    if not _whole(value):
        raise ConfigError(f"{where}: is {value!r}, expected a whole number from 1 on.")
    return value


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
