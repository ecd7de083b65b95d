"""Schemes of EUNIS habitats, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from inference.plantbert.eunis import eunis_rows
from inference.plantbert.scheme import Scheme, make_scheme


def eunis_scheme(codes: Sequence[str]) -> Scheme:
    """Three levels of EUNIS from level-3 codes (`T17`, `MA221`)."""
    return make_scheme(eunis_rows(codes, {}), "EUNIS")
