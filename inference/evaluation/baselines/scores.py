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

    def __call__(self, table: Table, target: Flags, asked: Table, seed: int) -> Scores:
        """(m,) scores, higher is more likely, of `asked` (m, C) after learning `target` (n,) from `table` (n, C).

        `target` is presence against absence, or record against background. NaN in a table is missing; categorical
        columns hold numbers for levels and are named by the options of the baseline. Never called with a target that
        is the same throughout.
        """


def survey_scores(fit: Fit, table: Table, presence: Flags, train: Flags, asked: Flags, threads: int = 1, seed: int = 0) -> Scores:
    """(asked, S) scores by one model per species, learned from the surveys `train` (n,) of `presence` (n, S).

    A species that no or every training survey holds scores 0 or 1 everywhere.
    """
    known, unknown, truth = table[train], table[asked], presence[train]

    def one(species: int) -> Scores:
        target = truth[:, species]
        if target.all() or not target.any():
            return np.full(len(unknown), float(target.any()), np.float32)
        return fit(known, target, unknown, seed)

    return np.stack(side_by_side(one, presence.shape[1], threads), 1)


def record_scores(
    fit: Fit,
    records: Table,
    species: NDArray[np.integer],
    background: Table,
    asked: Table,
    count: int,
    threads: int = 1,
    seed: int = 0,
) -> Scores:
    """(m, count) scores of `asked` (m, C) by one model per species, its records against the whole background.

    `records` (r, C) and `species` (r,), a number below `count`, row for row; `background` (b, C). A species without a
    record scores 0 everywhere.
    """

    def one(number: int) -> Scores:
        own = records[species == number]
        if not len(own):
            return np.zeros(len(asked), np.float32)
        target = np.arange(len(own) + len(background)) < len(own)
        return fit(np.concatenate([own, background]), target, asked, seed)

    return np.stack(side_by_side(one, count, threads), 1)


def side_by_side(one: Callable[[int], Any], count: int, threads: int) -> list[Any]:
    """`one` of every number below `count`, as many at a time as `threads`: none of them takes more cores than its own."""
    libraries = ThreadpoolController()
    openmp = partial(libraries.limit, limits=1, user_api="openmp")  # which counts threads for each thread of Python
    with libraries.limit(limits=1), ThreadPoolExecutor(max(1, threads), initializer=openmp) as pool:
        return list(pool.map(one, range(count)))
