"""The nineteen bioclimatic variables from monthly means, by their standard definitions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def bioclim(pr: Array, tas: Array, tasmax: Array, tasmin: Array) -> NDArray[np.float32]:
    """bio1..bio19 (19, ...) from monthly means (12, ...): mm a month and degC.

    Definitions of O'Donnell and Ignizio (2012, USGS Data Series 691), with the monthly mean temperature
    given. Temperatures in degC (bio4 in degC x 100), isothermality and rain seasonality in percent, rain in
    mm; quarters are any three months in a row, around the turn of the year too.
    """
    three = [np.roll(pr, -i, axis=0) for i in range(3)]
    rain = three[0] + three[1] + three[2]
    warmth = np.mean([np.roll(tas, -i, axis=0) for i in range(3)], axis=0)

    def at_months(values: Array, index: NDArray[np.intp]) -> Array:
        return np.asarray(np.take_along_axis(values, index[None], axis=0)[0])

    wettest, driest = rain.argmax(0), rain.argmin(0)
    warmest, coldest = warmth.argmax(0), warmth.argmin(0)
    diurnal = (tasmax - tasmin).mean(0)
    highest, lowest = tasmax.max(0), tasmin.min(0)
    spread = highest - lowest
    layers = [
        tas.mean(0),
        diurnal,
        100 * diurnal / spread,
        100 * tas.std(0, ddof=1),
        highest,
        lowest,
        spread,
        at_months(warmth, wettest),
        at_months(warmth, driest),
        at_months(warmth, warmest),
        at_months(warmth, coldest),
        pr.sum(0),
        pr.max(0),
        pr.min(0),
        100 * pr.std(0, ddof=1) / (1 + pr.mean(0)),
        at_months(rain, wettest),
        at_months(rain, driest),
        at_months(rain, warmest),
        at_months(rain, coldest),
    ]
    return np.stack(layers).astype(np.float32)
