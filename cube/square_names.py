"""Names of squares by size and lower left corner, as the EEA writes them; other grids than Europe's are named alike."""

from __future__ import annotations

import re

from cube.errors import ConfigError


def eea_name(size: int, x: float, y: float) -> str:
    """Name of the square of `size` metres that holds the point (x, y) metres, as the EEA names it on its own grid.

    The size, then the lower left corner divided by the power of ten in the size:
    `eea_name(1_000, 4_321_999, 3_210_000) == "1kmE4321N3210"`.
    """
    return square_name(size, int(x // size) * size, int(y // size) * size)


def square_name(size: int, east: int, north: int) -> str:
    """Name of the square of `size` metres whose lower left corner is (east, north) metres.

    Units of 20 km and more are counted from the corner of the grid, not from zero:
    `square_name(40_000, 900_000, 5_460_000) == "40kmE90N546"`.
    """
    power = 10 ** (len(str(size)) - len(str(size).rstrip("0")))
    label = f"{size // 1000}km" if size % 1000 == 0 else f"{size}m"
    return f"{label}E{east // power}N{north // power}"


def eea_corner(name: str) -> tuple[int, int, int]:
    """(size, x, y) in metres of the square called `name`: the inverse of `square_name`."""
    match = re.fullmatch(r"(\d+)(km|m)E(-?\d+)N(-?\d+)", name)
    if match is None:
        raise ConfigError(f"'{name}' is not the name of an EEA grid square; write size, E and N, such as 10kmE452N271.")
    size = int(match[1]) * (1000 if match[2] == "km" else 1)
    power = 10 ** (len(str(size)) - len(str(size).rstrip("0")))
    return size, int(match[3]) * power, int(match[4]) * power
