"""Squares that records are published by: cells of the EEA's reference grid, of MGRS, or of a corner and a size.

A square stays in the coordinate system in which it is one; its centre and places within it are projected from there.
Sources: EEA, About the EEA reference grid (2011); DMA Technical Manual 8358.1 (MGRS).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.grid import EUROPE, Grid, transformer
from cube.square_names import eea_corner

Floats = NDArray[np.float64]

LARGEST_M: Final = 100_000  # a record of a larger square says nothing of where in a region a species grows
COLUMNS: Final = ("square_crs", "square_west", "square_south", "square_m")  # of a table of records, by the fields below

_EEA: Final = re.compile(r"(\d+)(km|m)E(\d+)N(\d+)", re.IGNORECASE)
_INSPIRE: Final = re.compile(r"(?:CRS3035)?(?:RES)?(\d+)(K?)MN(\d+)E(\d+)")
_METRES: Final = 100_000  # corners below are not in metres but in units of the size: LAEA Europe begins at 900 km
_MGRS: Final = re.compile(r"(\d{1,2})([NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])(\d*)")

_COLUMN_LETTERS: Final = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # of 100 km, by zone modulo 3
_ROW_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUV"  # of 100 km; zones of even numbers begin five letters on
_CYCLE_M: Final = 2_000_000  # after so many metres the letters of rows begin again
# Southern edges of the northern bands of 8 degrees, rounded down to 100 km.
_BAND_SOUTH_KM: Final = dict(zip("NPQRSTUVWX", (0, 800, 1_700, 2_600, 3_500, 4_400, 5_300, 6_200, 7_000, 7_900), strict=True))


def parse_cell(code: str) -> tuple[str, float, float, float] | None:
    """(coordinate system, west, south, size in metres) of the square that a code names; None where it names none.

    EEA (`1kmE4321N3210`, `250mE43210N32100`, `1kmN3210E4321`, `CRS3035RES1000mN3210000E4321000`) and MGRS of the northern
    hemisphere (`31UFS12` of 10 km, `31UFS1234` of 1 km, `31UFS` of 100 km), in upper or lower case, spaces ignored.
    """
    text = re.sub(r"\s+", "", code).upper()
    if match := _EEA.fullmatch(text):
        size, west, south = eea_corner(f"{match[1]}{match[2].lower()}E{match[3]}N{match[4]}")
    elif (match := _INSPIRE.fullmatch(text)) and int(match[4]) < _METRES:  # GEOSTAT's order of the EEA's names
        size, west, south = eea_corner(f"{match[1]}{match[2].lower()}mE{match[4]}N{match[3]}")
    elif match:
        size, west, south = int(match[1]) * (1000 if match[2] else 1), int(match[4]), int(match[3])
    else:
        return _of_mgrs(text)
    return (EUROPE.code, west, south, size) if 0 < size <= LARGEST_M else None


def _of_mgrs(text: str) -> tuple[str, float, float, float] | None:
    match = _MGRS.fullmatch(text)
    if match is None or len(match[5]) % 2 or len(match[5]) > 10:
        return None
    zone, half = int(match[1]), len(match[5]) // 2
    column = _COLUMN_LETTERS[zone % 3].find(match[3])
    if column < 0 or not 1 <= zone <= 60:
        return None
    row = (_ROW_LETTERS.index(match[4]) - (0 if zone % 2 else 5)) % len(_ROW_LETTERS)
    low = 1000 * _BAND_SOUTH_KM[match[2]]
    south = low + (row * 100_000 - low) % _CYCLE_M
    size = 10 ** (5 - half)
    west = (column + 1) * 100_000 + int(match[5][:half] or 0) * size
    return f"EPSG:{32600 + zone}", west, south + int(match[5][half:] or 0) * size, size


@dataclass(frozen=True)
class Squares:
    """n squares: lower left corner and side, in metres of a coordinate system each; a size of NaN: no square, a point."""

    crs: NDArray[np.object_]
    west: Floats
    south: Floats
    size_m: Floats

    def __len__(self) -> int:
        """Number of squares."""
        return len(self.west)

    @classmethod
    def of_codes(cls, codes: pd.Series) -> Squares:
        """The squares of cell codes; what is no code is NaN throughout, in the coordinate system ""."""
        numbers, different = pd.factorize(codes)
        none = ("", np.nan, np.nan, np.nan)
        cells = [parse_cell(str(code)) or none for code in different] + [none]  # the last, -1: missing
        crs, west, south, size = zip(*cells, strict=True)
        return cls(np.array(crs, object)[numbers], *(np.array(v, float)[numbers] for v in (west, south, size)))

    @classmethod
    def of_rows(cls, rows: pd.DataFrame) -> Squares:
        """The squares of a table with `COLUMNS`."""
        crs, *corner = (rows[name] for name in COLUMNS)
        return cls(crs.to_numpy(object), *(values.to_numpy(np.float64) for values in corner))

    def columns(self) -> dict[str, NDArray[np.object_] | Floats]:
        """The squares as `COLUMNS` of a table."""
        return {column: getattr(self, field.name) for column, field in zip(COLUMNS, fields(self), strict=True)}

    def at(self, right: Floats | float, up: Floats | float, grid: Grid = EUROPE) -> tuple[Floats, Floats]:
        """(x, y), (n,) metres of a grid, of the point that is these shares (0 to 1) of the side from the lower left corner."""
        x, y = self.west + right * self.size_m, self.south + up * self.size_m
        out_x, out_y = np.full(len(self), np.nan), np.full(len(self), np.nan)
        for crs in {str(name) for name in self.crs} - {""}:
            of_crs = self.crs == crs
            out_x[of_crs], out_y[of_crs] = transformer(crs, grid.epsg).transform(x[of_crs], y[of_crs])
        out_x[~np.isfinite(out_x)], out_y[~np.isfinite(out_y)] = np.nan, np.nan
        return out_x, out_y
