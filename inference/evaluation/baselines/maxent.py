"""MaxEnt, one model per species, by elapid; imported with the first fit, since only benchmarks need it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import numpy as np

from cube.errors import ModelError
from inference.evaluation.baselines.scores import Flags, Scores, Table
from inference.evaluation.baselines.table import without_gaps

FOLDS: Final = 3  # of glmnet's choice of a penalty, each with a record


def solver() -> str:
    """What elapid solves MaxEnt with on this machine: `glmnet` or `liblinear`."""
    return "liblinear" if find_spec("glmnet") is None else "glmnet"


@dataclass(frozen=True)
class Maxent:
    """elapid's `MaxentModel` with its defaults: linear, product and hinge features, infinitely weighted regression, lasso.

    elapid solves the regression by glmnet with a penalty for each feature, as R's maxnet does; where the package
    python-glmnet is not installed, by sklearn's liblinear with one penalty for all, which takes many times longer (`solver`
    says which). So it does for a species of fewer than three records, since glmnet chooses its penalty on three folds.
    `tolerance` is where the solver stops (elapid: 2e-6). Levels of `categorical` columns that were never learned take the
    commonest one, since elapid refuses them.
    """

    categorical: tuple[int, ...] = ()
    tolerance: float = 2e-6

    def __call__(self, table: Table, target: Flags, query: Table, seed: int) -> Scores:
        """See `scores.Fit`. Raises: ModelError if elapid is not installed."""
        try:
            import elapid
        except ImportError as error:
            raise ModelError(f"The baseline maxent needs elapid ({error}); install it: pip install elapid.") from error
        filled_table, filled_query = without_gaps(table, query, self.categorical)
        solver_options = {"use_sklearn": True} if target.sum() < FOLDS else {}
        model = elapid.MaxentModel(convergence_tolerance=self.tolerance, n_cpus=1, random_state=seed, **solver_options)
        model.fit(filled_table, target.astype(np.int64), categorical=list(self.categorical) or None)
        return np.asarray(model.predict(filled_query), np.float32)
