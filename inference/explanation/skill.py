"""Species by species: what a model learned from, and how well it does on surveys that its members left out in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from inference.evaluation.metrics import FEWEST, log_losses, species_auc

FILE: Final = "species.csv"


def species_skill(
    names: tuple[str, ...],
    presence: NDArray[np.bool_],
    measured_rows: NDArray[np.bool_],
    p: NDArray[np.floating],
    records: NDArray[np.int64] | None = None,
) -> pd.DataFrame:
    """One row a species, in the order of `names` (S,).

    `presence` (n, S) of all surveys and `measured_rows` (n,) those that count here; `p` (m, S) their probabilities by the members
    that did not learn from their fold, calibrated on other folds. `records` (S,): presence-only records that were learned from.

    Columns: `scientific_name`; `surveys` and `records` learned from; on the surveys judged `present` (observed), `expected`
    (sum of p), `auc` with its standard error `auc_se` (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747, surveys
    taken as independent), mean `log_loss` and that of telling every survey the share of surveys that have the species,
    `log_loss_of_prevalence`. What cannot be said is NaN: an AUC of fewer than 5 presences or absences, everything where no
    survey is judged.
    """
    presences, count = presence[measured_rows], int(measured_rows.sum())
    columns = {
        "scientific_name": list(names),
        "surveys": presence.sum(0),
        "records": np.zeros(len(names), np.int64) if records is None else records,
    }
    if not count:
        unknown = ("present", "expected", "auc", "auc_se", "log_loss", "log_loss_of_prevalence")
        return pd.DataFrame(columns | dict.fromkeys(unknown, np.nan))
    auc = species_auc(p, presences, FEWEST)
    prevalence = (presence.sum(0) + 0.5) / (len(presence) + 1.0)
    return pd.DataFrame(
        columns
        | {
            "present": presences.sum(0),
            "expected": np.sum(p, 0, dtype=np.float64),
            "auc": auc,
            "auc_se": auc_error(auc, presences.sum(0), count - presences.sum(0)),
            "log_loss": log_losses(p, presences).mean(0),
            "log_loss_of_prevalence": log_losses(np.broadcast_to(prevalence, presences.shape), presences).mean(0),
        }
    )


def auc_error(auc: NDArray[np.floating], present: NDArray[np.integer], absent: NDArray[np.integer]) -> NDArray[np.float64]:
    """(S,) standard error of areas under the curve of as many presences and absences (Hanley and McNeil 1982, equation 2)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = auc * (1 - auc) + (present - 1) * (q1 - auc**2) + (absent - 1) * (q2 - auc**2)
        return np.asarray(np.sqrt(spread / (present * absent)), np.float64)


def write_skill(folder: Path, table: pd.DataFrame) -> None:
    """`species.csv` in a folder that is there."""
    table.to_csv(folder / FILE, index=False, float_format="%.6g")
