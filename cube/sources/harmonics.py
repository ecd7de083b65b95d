"""The year of a series: its mean, linear trend, amplitude and the time of its maximum, by least squares over what is known."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Smallest eigenvalue of the normal matrix a value: below it gaps leave the year or the trend undetermined.
MIN_EIGENVALUE: Final = 0.01
PIXEL_BLOCK: Final = 2**15  # pixels whose normal matrices lie in memory: 4 MB of 4 x 4 float64
Floats = NDArray[np.float32]


def harmonic_fit(values: Floats, period: int, began: float = 0.0) -> dict[str, Floats]:
    """`mean`, `trend` (a year), `amplitude` (rows, columns) and `phase` (2, rows, columns) of a series.

    `values` is (steps, rows, columns), NaN where unknown, `period` how many steps make a year, `began` the share of the year (0
    to 1) that was over when the first step began. The model is mean + trend t + a cos(2 pi t) + b sin(2 pi t), t years from
    the middle of the series (Verbesselt et al. 2010 with one harmonic); a trend is fitted to two years or more, a harmonic to
    three steps a year or more. Amplitude is hypot(a, b); phase is the cosine and sine of the angle, a turn a year from 1
    January (or the first step, where it names no time), at which the harmonic is highest.
    Where gaps leave the trend undetermined, as three years out of twenty-one do, it is NaN and the others are fitted without it;
    where they leave the year undetermined, all are NaN. Phase is NaN also where there is no amplitude.
    """
    steps, shape = len(values), values.shape[1:]
    years = (np.arange(steps) + 0.5) / period
    columns = {"mean": np.ones(steps)}
    half = steps / period / 2
    if half >= 1:
        columns["trend"] = (years - half) / half
    if period >= 3:
        angle = 2 * np.pi * (years + began)
        columns |= {"cosine": np.cos(angle), "sine": np.sin(angle)}
    design = np.stack(list(columns.values()), axis=1)
    flat = values.reshape(steps, -1)
    coefficients = np.concatenate(
        [_fit(flat[:, i : i + PIXEL_BLOCK], design, half >= 1) for i in range(0, flat.shape[1], PIXEL_BLOCK)]
    )
    parts = dict(zip(columns, coefficients.T.reshape(len(columns), *shape), strict=True))
    out = {"mean": parts["mean"]}
    if "trend" in parts:
        out["trend"] = parts["trend"] / half
    if "cosine" in parts:
        a, b = parts["cosine"], parts["sine"]
        out["amplitude"] = np.hypot(a, b)
        with np.errstate(invalid="ignore", divide="ignore"):
            out["phase"] = np.stack([a, b]) / out["amplitude"]
    return {name: part.astype(np.float32) for name, part in out.items()}


def _fit(values: Floats, design: NDArray[np.float64], has_trend: bool) -> NDArray[np.float64]:
    """(pixels, parameters), the trend being the second parameter; `values` is (steps, pixels)."""
    coefficients = _solve(values, design)
    unsolved = np.flatnonzero(np.isnan(coefficients[:, 0]) & np.isfinite(values).any(axis=0))
    if has_trend and len(unsolved):
        without_column = np.delete(np.arange(design.shape[1]), 1)
        coefficients[np.ix_(unsolved, without_column)] = _solve(values[:, unsolved], design[:, without_column])
    return coefficients


def _solve(values: Floats, design: NDArray[np.float64]) -> NDArray[np.float64]:
    """(pixels, parameters) by the normal equations of the known steps of each pixel; `values` is (steps, pixels)."""
    count = design.shape[1]
    valid = np.isfinite(values)
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    normal = (valid.T.astype(np.float64) @ products).reshape(-1, count, count)
    right = np.where(valid, values, 0).T.astype(np.float64) @ design
    smallest_eigenvalue = np.linalg.eigvalsh(normal)[:, 0]
    is_determined = smallest_eigenvalue > MIN_EIGENVALUE * np.maximum(valid.sum(axis=0), 1)
    normal[~is_determined] = np.eye(count)
    coefficients = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
    return np.where(is_determined[:, None], coefficients, np.nan)
