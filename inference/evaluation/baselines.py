"""What the network must beat: a random forest per species on the same inputs, as a table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from inference.data.samples import Predictors, Surveys
from inference.training.likelihood import clean_areas

LEAVES: Final = (5, 20)  # min_samples_leaf tried; the better one stands for the forest


def table_of(predictors: Predictors, surveys: Surveys | None = None, drop_constant: bool = True) -> NDArray[np.float32]:
    """(n, columns) of all that the network sees, flattened for a tabular model; NaN takes the column's mean.

    Satellite: mean and standard deviation per band of the patch, and mean of the cell; series: mean and standard
    deviation over years of every season or month; 1 km layers interpolated; the survey's log area and year. Constant
    columns are dropped unless two tables must have the same ones.
    """
    columns: list[NDArray[np.floating]] = []
    with np.errstate(all="ignore"):
        if predictors.satellite is not None:
            image = predictors.satellite
            middle = image.shape[-1] // 2
            cell = image[..., middle - 2 : middle + 3, middle - 2 : middle + 3]
            columns += [_mean(image, (2, 3)), _std(image, (2, 3)), _mean(cell, (2, 3))]
        for series, period in ((predictors.landsat, 4), (predictors.interpolated("climate"), 12)):
            if series is not None:
                years = series.reshape(len(series), series.shape[1], -1, period)
                columns += [
                    _mean(years, (2,)).reshape(len(series), -1),
                    _std(years, (2,)).reshape(len(series), -1),
                ]
        for table in (predictors.static, predictors.interpolated("coarse")):
            if table is not None:
                columns.append(table)
        if surveys is not None:
            columns += [clean_areas(surveys.area_m2).log_ratio[:, None], surveys.year[:, None]]
    values = np.concatenate(columns, 1).astype(np.float64)
    seen = np.isfinite(values)
    mean = np.where(seen, values, 0).sum(0) / np.maximum(seen.sum(0), 1)
    values = np.where(seen, values, mean)
    kept = values.std(0) > 1e-9 if drop_constant else slice(None)
    return values[:, kept].astype(np.float32)


def _mean(values: NDArray[np.floating], axes: tuple[int, ...]) -> NDArray[np.floating]:
    seen = np.isfinite(values)
    count = seen.sum(axes)
    mean = np.where(seen, values, 0).sum(axes) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, mean, np.nan))


def _std(values: NDArray[np.floating], axes: tuple[int, ...]) -> NDArray[np.floating]:
    mean, square = _mean(values, axes), _mean(np.square(values), axes)
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)))


def forest_probability(
    table: NDArray[np.float32],
    presence: NDArray[np.bool_],
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    leaf: int,
    trees: int = 100,
    threads: int = 1,
    seed: int = 0,
) -> NDArray[np.float32]:
    """(tests, S) probability of presence by one forest per species, sklearn's defaults but for `leaf` and `trees`."""
    seen_table, asked = table[train], table[test]
    truth = presence[train]

    def one(species: int) -> NDArray[np.float32]:
        target = truth[:, species]
        if target.all() or not target.any():
            return np.full(len(asked), float(target.any()), np.float32)
        forest = RandomForestClassifier(trees, min_samples_leaf=leaf, n_jobs=1, random_state=seed)
        return np.asarray(forest.fit(seen_table, target).predict_proba(asked)[:, 1], np.float32)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        return np.stack(list(pool.map(one, range(presence.shape[1]))), 1)
