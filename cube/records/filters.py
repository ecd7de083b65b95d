"""Rows that a configuration asks for by the values of their columns: `where: {kingdom: Plantae}`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cube.records.report import Report


def keep_where(
    rows: pd.DataFrame, where: Mapping[str, tuple[str, ...]], names: pd.Series, report: Report, account: str
) -> pd.DataFrame:
    """The rows whose columns have one of the values; the others are left out of `account`, by the first column that differs.

    Upper and lower case are one, and so are 6 and 6.0. `names` names the rows in the report, with the same index.
    """
    for column, values in where.items():
        texts = {_text(value) for value in values}
        codes, different = pd.factorize(rows[column])
        matches = np.array([*(_text(value) in texts for value in different), "" in texts])[codes]
        reason = f"records where {column} is not {' or '.join(map(str, values))}"
        report.leave_out(account, reason, list(names[rows.index[~matches]]))
        rows = rows[matches]
    return rows


def _text(value: object) -> str:
    text = str(value).strip().casefold()
    return text[:-2] if text.endswith(".0") else text
