"""Predictors as one table, which is how every baseline reads them. Models are beside this file, not in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer

from inference.data.samples import Predictors, Surveys
from inference.training.likelihood import clean_areas


def table_of(predictors: Predictors, surveys: Surveys | None = None, drop_constant: bool = True) -> NDArray[np.float32]:
    """(n, columns) of all that the network sees, flattened for a tabular model; NaN takes the column's mean.

    Images: mean and standard deviation per band of the patch, and mean of the cell; series: mean and standard
    deviation over years of every season or month; 1 km layers interpolated; the survey's log area and year. Constant
    columns are dropped unless two tables must have the same ones.
    """
    columns: list[NDArray[np.floating]] = []
    with np.errstate(all="ignore"):
        for name in predictors.values:
            values = predictors.interpolated(name) if predictors.at_kilometres(name) else predictors.values[name]
            assert values is not None
            if values.ndim == 4:
                middle = values.shape[-1] // 2
                cell = values[..., middle - 2 : middle + 3, middle - 2 : middle + 3]
                columns += [_mean(values, (2, 3)), _std(values, (2, 3)), _mean(cell, (2, 3))]
            elif values.ndim == 3:
                years = values.reshape(len(values), values.shape[1], -1, predictors.inputs[name].period)
                columns += [_mean(years, (2,)).reshape(len(values), -1), _std(years, (2,)).reshape(len(values), -1)]
            else:
                columns.append(values)
        if surveys is not None:
            columns += [clean_areas(surveys.area_m2).log_ratio[:, None], surveys.year[:, None]]
    table = np.concatenate(columns, 1).astype(np.float64)
    finite = np.isfinite(table)
    mean = np.where(finite, table, 0).sum(0) / np.maximum(finite.sum(0), 1)
    table = np.where(finite, table, mean)
    varying = table.std(0) > 1e-9 if drop_constant else slice(None)
    return table[:, varying].astype(np.float32)


def without_gaps(
    table: NDArray[np.floating], query: NDArray[np.floating], categorical: Sequence[int] = ()
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both tables (n, C), (m, C) without gaps: the mean of `table`'s column, of a categorical one its commonest level.

    A level that `table` does not hold is a gap of `query`.
    """
    filled_table, filled_query = np.array(table, np.float64), np.array(query, np.float64)
    for c in categorical:
        filled_query[~np.isin(filled_query[:, c], filled_table[:, c]), c] = np.nan
    plain = [c for c in range(table.shape[1]) if c not in categorical]
    for columns, strategy in ((plain, "mean"), (list(categorical), "most_frequent")):
        if columns:
            imputer = SimpleImputer(strategy=strategy, keep_empty_features=True).fit(filled_table[:, columns])
            for values in (filled_table, filled_query):
                values[:, columns] = imputer.transform(values[:, columns])
    return filled_table, filled_query


def one_hot(
    table: NDArray[np.floating], query: NDArray[np.floating], categorical: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both tables with a column of 0 and 1 per level of `table` in place of each categorical one.

    Gaps and levels that `table` does not hold are 0 in all of them.
    """
    plain = [c for c in range(table.shape[1]) if c not in categorical]
    levels = [np.unique(table[np.isfinite(table[:, c]), c]) for c in categorical]
    indicators = [[values[:, [c]] == level for c, level in zip(categorical, levels, strict=True)] for values in (table, query)]
    coded_table, coded_query = (
        np.concatenate([values[:, plain], *columns], 1).astype(np.float64)
        for values, columns in zip((table, query), indicators, strict=True)
    )
    return coded_table, coded_query


def _mean(values: NDArray[np.floating], axes: tuple[int, ...]) -> NDArray[np.floating]:
    finite = np.isfinite(values)
    count = finite.sum(axes)
    mean = np.where(finite, values, 0).sum(axes) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, mean, np.nan))


def _std(values: NDArray[np.floating], axes: tuple[int, ...]) -> NDArray[np.floating]:
    mean, square = _mean(values, axes), _mean(np.square(values), axes)
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)))
