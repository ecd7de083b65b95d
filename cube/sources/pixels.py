"""What a pixel's number means before anything is resampled, and the account of those that mean nothing.

A number that a layer cannot have is never stored: it becomes no data, is counted, and where more than a few are like it
the file is refused. Files are opened and resampled in `cube.sources.warp`; ranges stand in `cube.layers.inputs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from cube.errors import SourceError
from cube.layers import Layer
from cube.layers.inputs import Range, scale_that_fits
from cube.sources.coverage import percent

MAX_REFUSED_SHARE: Final = 0.01  # of the valid pixels of a band, in what is read at once; of classes none
EXAMPLES: Final = 1000  # refused numbers of a band that are remembered, to find a scale that would fit
# Numbers that programs write for "no data": of these the advice is `nodata:` and not `scale:`.
FILL_VALUES: Final = frozenset(
    {
        *(float(n) for n in (-128, -1, 127, 255, 32767, -32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1)),
        *(sign * float("9" * n) for sign in (-1, 1) for n in range(2, 8)),
    }
)
LARGEST: Final = 1e9  # beyond it every number is a fill value: 1e20, -3.4e38

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PixelRules:
    """What the numbers of a file mean.

    `nodata` are numbers that mean no data besides the file's own, `valid` is the range outside of which the publisher
    says that there is none either. `classes` says what every number means (None: no data); a number that is not listed
    is refused. `raw` leaves the file's own scale and offset unused. `zeros` is for Sentinel-2: of whole numbers 0 is no
    data, as ESA has it, of others where all of several bands are 0. `fills` is for layers whose range nobody states: -9999 and
    the ends of a file's type of whole numbers are refused, whatever scale the numbers have.
    """

    nodata: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None
    classes: Mapping[int, int | None] = field(default_factory=dict)
    raw: bool = False
    zeros: bool = False
    fills: bool = False

    def apply(self, values: Floats, whole_block: bool = False) -> tuple[Floats, Bools]:
        """Raw numbers (bands, rows, columns), NaN for the file's own no data, to (numbers that mean something, refused).

        NaN where there is no data; a refused pixel keeps its number. `whole_block`: the file's type holds whole numbers alone.
        """
        empty = np.isnan(values)
        for number in self.nodata:
            empty |= values == np.float32(number)
        if self.valid is not None:
            with np.errstate(invalid="ignore"):
                empty |= (values < self.valid[0]) | (values > self.valid[1])
        if self.zeros and whole_block:
            empty |= values == 0
        elif self.zeros and len(values) > 1:
            empty |= (values == 0).all(axis=0)
        values = np.where(empty, np.float32(np.nan), values)
        if not self.classes:
            return values, np.isinf(values)
        return self._classified(values)

    def _classified(self, values: Floats) -> tuple[Floats, Bools]:
        codes = np.array(sorted(self.classes), np.float32)
        meanings = np.array(
            [np.nan if self.classes[int(code)] is None else self.classes[int(code)] for code in codes], np.float32
        )
        place = np.clip(np.searchsorted(codes, values), 0, len(codes) - 1)
        is_refused = (codes[place] != values) & ~np.isnan(values)
        return np.where(is_refused, values, np.where(np.isnan(values), values, meanings[place])).astype(np.float32), is_refused


AS_FILED: Final = PixelRules()


def undeclared_fills(dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Numbers that files of a type hold for no data without saying so: -9999 and the ends of its range.

    The upper end of 8 bits is none of them, nor 0: both are common values.
    """
    if dtype.kind not in "iu":
        return (-9999.0,)
    info = np.iinfo(dtype)
    ends = ([info.min] if dtype.kind == "i" else []) + ([info.max] if dtype.itemsize > 1 else [])
    return (-9999.0, *map(float, ends))


def outside(values: Floats, ranges: Sequence[Range]) -> Bools:
    """Which of (bands, rows, columns) values lie beyond their band's (lowest, highest); a rounding error does not count."""
    out = np.zeros(values.shape, np.bool_)
    for band, (low, high) in enumerate(ranges):
        slack = 1e-5 * min(max(abs(low), abs(high)), 1e4)
        with np.errstate(invalid="ignore"):
            out[band] = (values[band] < low - slack) | (values[band] > high + slack)
    return out


@dataclass
class BandCount:
    """Pixels of one band of one file, margins and overlaps of windows included: shares are what it is for."""

    valid: int = 0
    refused: int = 0
    examples: list[float] = field(default_factory=list)  # raw numbers that were refused, the first ones

    @property
    def share(self) -> float:
        """Of the pixels that are not no data, how many were refused."""
        return self.refused / max(1, self.valid + self.refused)


@dataclass
class Account:
    """What became of the pixels of a reading, by file and band, and the cells that have no value because of it."""

    bands: dict[tuple[str, int], BandCount] = field(default_factory=dict)
    cells: Bools | None = None  # (bands, rows, columns) of the target, True where a value was refused

    def add(self, path: str, bands: Sequence[int], raw: Floats, values: Floats, is_refused: Bools) -> None:
        """Count one window: (bands, rows, columns) raw numbers, what they mean (NaN: no data), and which were refused."""
        for n, band in enumerate(bands):
            count = self.bands.setdefault((path, band), BandCount())
            bad = int(is_refused[n].sum())
            count.refused += bad
            count.valid += int((~np.isnan(values[n]) & ~is_refused[n]).sum())
            if bad and len(count.examples) < EXAMPLES:
                count.examples += [float(v) for v in raw[n][is_refused[n]][: EXAMPLES - len(count.examples)]]

    def refuse(self, top: int, left: int, cells: Bools, shape: tuple[int, int]) -> None:
        """Mark cells of the target, whose whole has `shape` (rows, columns), as refused."""
        if self.cells is None:
            self.cells = np.zeros((len(cells), *shape), np.bool_)
        self.cells[:, top : top + cells.shape[1], left : left + cells.shape[2]] |= cells


@dataclass(frozen=True)
class Judgement:
    """Turns an account into an error or a warning: what the layer can have, and how the file's numbers become its units."""

    layer: Layer
    where: str
    ranges: Mapping[int, Range]  # by band of the file, in the layer's units
    scale: Mapping[int, tuple[float, float]]  # by band: units = number x scale + offset
    max_share: float = MAX_REFUSED_SHARE
    unstated: bool = False  # nobody says which values the layer can have (`PixelRules.fills`)

    def check(self, account: Account) -> tuple[str, ...]:
        """One sentence for each band with a few refused pixels; raises `SourceError` for one with more than a few."""
        warnings = []
        for (path, band), count in account.bands.items():
            if count.refused and count.share > self.max_share:
                raise SourceError(f"{self._sentence(path, band, count)}; {self._fix(band, count)} ({self.where}).")
            if count.refused:
                fix = self._fix(band, count)
                warnings.append(f"{self._sentence(path, band, count)}; they became no data: {fix} ({self.where}).")
        return tuple(warnings)

    def _sentence(self, path: str, band: int, count: BandCount) -> str:
        first = count.examples[0]
        scale, offset = self.scale.get(band, (1.0, 0.0))
        units = "" if self.layer.units in ("", "1") else f" {self.layer.units}"
        meaning = f", that is {first * scale + offset:g}{units}" if (scale, offset) != (1.0, 0.0) else ""
        total = count.valid + count.refused
        much = f"{path}: {percent(count.share)} of the pixels of band {band} ({count.refused:,} of {total:,})"
        if band not in self.ranges:
            return f"{much} have a number that is no class of the layer {self.layer.name} (first value {first:g})"
        if self.unstated and _is_fill(first):
            return f"{much} are {first:.10g}, which many programs write for no data"
        low, high = self.ranges[band]
        return f"{much} lie outside [{low:g}, {high:g}]{units} of the layer {self.layer.name} (first value {first:g}{meaning})"

    def _fix(self, band: int, count: BandCount) -> str:
        first = count.examples[0]
        yaml_text, is_fill = as_yaml(first), _is_fill(first)
        if band not in self.ranges and abs(first) < LARGEST and first == round(first):
            return f"say what it means by `classes: {{{yaml_text}: ...}}`, or declare `nodata: [{yaml_text}]`"
        if band not in self.ranges or self.layer.kind == "class" or is_fill:
            value = ", or a `valid_range:` that holds it if it is a value" if self.unstated and abs(first) < LARGEST else ""
            return f"declare `nodata: [{yaml_text}]`{value}"
        examples, (low, high) = np.asarray(count.examples, np.float64), self.ranges[band]
        scale, offset = self.scale.get(band, (1.0, 0.0))
        if (scale, offset) != (1.0, 0.0) and ((low <= examples) & (examples <= high)).all():
            return f"the file's numbers fit as they are: leave out the scale {scale:g} and the offset {offset:g}"
        fitting = scale_that_fits(self.layer.name, examples, self.ranges[band])
        if fitting is not None:
            return f"declare {fitting} if the file stores its numbers so, or `nodata: [{yaml_text}]`"
        return (
            f"declare `nodata: [{yaml_text}]`, or the `scale:` and `offset:` that turn the file's numbers into the layer's units"
        )


def _is_fill(number: float) -> bool:
    """Whether a number of a file is one that programs write for no data."""
    return not np.isfinite(number) or abs(number) >= LARGEST or number in FILL_VALUES


def as_yaml(number: float) -> str:
    """A number of a file (float32) as a configuration must write it to mean just that number."""
    is_whole = np.isfinite(number) and number == int(number) and abs(number) < 1e7
    return str(yaml.safe_dump(int(number) if is_whole else float(str(np.float32(number)))).split()[0])


def file_ranges(ranges: Sequence[Range], scale: Sequence[float], offset: Sequence[float]) -> tuple[Range, ...]:
    """Ranges in a layer's units as ranges of numbers, of which number x scale + offset are units."""
    out = []
    for (low, high), s, o in zip(ranges, scale, offset, strict=True):
        ends = sorted(((low - o) / s, (high - o) / s))
        out.append((ends[0], ends[1]))
    return tuple(out)


def numbers_of(
    raw: NDArray[Any],
    path: str,
    bands: Sequence[int],
    rules: PixelRules,
    scales: Sequence[float],
    offsets: Sequence[float],
    ranges: Sequence[Range],
    account: Account,
) -> tuple[Floats, Bools]:
    """A masked window (bands, rows, columns) as numbers, NaN without data, and which pixels of those were refused.

    `scales` and `offsets` are the file's own, `ranges` bound the result, band by band (none: anything goes).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.ma.filled(np.ma.asanyarray(raw).astype(np.float32), np.float32(np.nan))
        dtype = np.asanyarray(raw).dtype
        values, is_refused = rules.apply(numbers, dtype.kind in "iu")
        if rules.fills and ranges:
            is_refused |= np.isin(values, np.asarray(undeclared_fills(dtype), np.float32))
        if not rules.raw and (any(s != 1.0 for s in scales) or any(o != 0.0 for o in offsets)):
            values = values * np.asarray(scales, np.float32)[:, None, None] + np.asarray(offsets, np.float32)[:, None, None]
    if ranges:
        is_refused |= outside(values, ranges)
    account.add(path, bands, numbers, values, is_refused)
    return np.where(is_refused, np.float32(np.nan), values), is_refused
