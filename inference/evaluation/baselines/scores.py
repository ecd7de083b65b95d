"""The one interface of all baselines: a table and what was seen in, scores out, one species at a time.

A baseline is a `Fit`. `survey_scores` sets it on presences and absences, `record_scores` on records against
background; what a `Fit` is made of stands in the files beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Table = NDArray[np.floating]
Flags = NDArray[np.bool_]
Scores = NDArray[np.float32]


class Fit(Protocol):
    """One species: learn from rows of a table, score others."""

    def __call__(self, table: Table, target: Flags, query: Table, seed: int) -> Scores:
        """(m,) scores, higher is more likely, of `query` (m, C) after learning `target` (n,) from `table` (n, C).

        `target` is presence against absence, or record against background. NaN in a table is missing; categorical
        columns hold numbers for levels and are named by the options of the baseline. Never called with a target that
        is the same throughout.
        """


def survey_scores(fit: Fit, table: Table, presence: Flags, train: Flags, query: Flags, threads: int = 1, seed: int = 0) -> Scores:
    """(query, S) scores by one model per species, learned from the surveys `train` (n,) of `presence` (n, S).

    A species that no or every training survey holds scores 0 or 1 everywhere.
    """
    train_table, query_table, truth = table[train], table[query], presence[train]

    def fit_species(species: int) -> Scores:
        target = truth[:, species]
        if target.all() or not target.any():
            return np.full(len(query_table), float(target.any()), np.float32)
        return fit(train_table, target, query_table, seed)

    return np.stack(side_by_side(fit_species, presence.shape[1], threads), 1)


def record_scores(
    fit: Fit,
    records: Table,
    species: NDArray[np.integer],
    background: Table,
    query: Table,
    count: int,
    threads: int = 1,
    seed: int = 0,
) -> Scores:
    """(m, count) scores of `query` (m, C) by one model per species, its records against the whole background.

    `records` (r, C) and `species` (r,), a number below `count`, row for row; `background` (b, C). A species without a
    record scores 0 everywhere.
    """

    def fit_species(number: int) -> Scores:
        species_records = records[species == number]
        if not len(species_records):
            return np.zeros(len(query), np.float32)
        target = np.arange(len(species_records) + len(background)) < len(species_records)
        return fit(np.concatenate([species_records, background]), target, query, seed)

    return np.stack(side_by_side(fit_species, count, threads), 1)


def side_by_side(compute: Callable[[int], Any], count: int, threads: int) -> list[Any]:
    """`compute` of every number below `count`, as many at a time as `threads`: none of them takes more cores than its own."""
    libraries = ThreadpoolController()
    openmp = partial(libraries.limit, limits=1, user_api="openmp")  # which counts threads for each thread of Python
    with libraries.limit(limits=1), ThreadPoolExecutor(max(1, threads), initializer=openmp) as pool:
        return list(pool.map(compute, range(count)))
