"""When a label of a series begins and ends: quarters and months as CF time coordinates."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# The seasons of EcoDataCube, from which GeoPlant took its series: a quarter begins on that day, the first one in the
# year before (Witjes et al. 2023, doi:10.7717/peerj.15478; Zenodo 10.5281/zenodo.4725429).
SEASONS: Final = ((12, 2), (3, 21), (6, 25), (9, 13))
PERIOD: Final = re.compile(r"\d{4}(Q[1-4]|-(0[1-9]|1[0-2]))")  # a label that names a time: `2018Q3`, `2018-07`
EPOCH: Final = datetime.date(1970, 1, 1)


def are_periods(labels: Sequence[str]) -> bool:
    """Whether all labels of an axis name quarters, or all months."""
    return bool(labels) and all(PERIOD.fullmatch(label) for label in labels) and len({label[4] for label in labels}) == 1


def parts(label: str) -> tuple[int, str, int]:
    """(year, `quarter` or `month`, its number) of the label of a period."""
    return int(label[:4]), "month" if label[4] == "-" else "quarter", int(label[5:])


def first_day(label: str) -> datetime.date:
    """The day on which a quarter or month begins: `2000Q1` on 2 December 1999, `2000-03` on 1 March 2000."""
    year, kind, number = parts(label)
    return datetime.date(year, number, 1) if kind == "month" else datetime.date(year - (number == 1), *SEASONS[number - 1])


def following(label: str) -> str:
    """The label of the next quarter or month."""
    year, kind, number = parts(label)
    year, number = (year, number + 1) if number < (12 if kind == "month" else 4) else (year + 1, 1)
    return f"{year}-{number:02d}" if kind == "month" else f"{year}Q{number}"


def without_gaps(labels: Sequence[str]) -> tuple[str, ...]:
    """The periods from the first of `labels` to the last, in order of time; labels that name no periods as they are."""
    if not are_periods(labels):
        return tuple(labels)
    out = [min(labels)]
    while out[-1] != max(labels):
        out.append(following(out[-1]))
    return tuple(out)


def days(labels: Sequence[str]) -> NDArray[np.int32]:
    """(labels, 2) days since 1970-01-01 on which each period begins and on which it is over."""
    return np.array([[(first_day(label) - EPOCH).days, (first_day(following(label)) - EPOCH).days] for label in labels], np.int32)


def time_name(dim: str) -> str:
    """The coordinate that gives the times of a series: `quarter_time`."""
    return f"{dim}_time"


def bounds_name(dim: str) -> str:
    """The variable that gives both ends of the periods: `quarter_bounds`, of the axes (quarter, end)."""
    return f"{dim}_bounds"


def time_attributes(dim: str) -> dict[str, Any]:
    """CF attributes of the coordinate; its bounds take units and calendar from it."""
    return {
        "standard_name": "time",
        "long_name": "First day of the period",
        "units": f"days since {EPOCH}",
        "calendar": "standard",
        "axis": "T",
        "bounds": bounds_name(dim),
    }
