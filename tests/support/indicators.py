"""All indicators of some probabilities, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.cascade.indicators import applicable
from inference.cascade.sums import SumPlan


def indicators_of(probability: NDArray[np.floating[Any]], plan: SumPlan) -> dict[str, NDArray[np.float64]]:
    """Every applicable indicator of (species, cells) probabilities: (cells,) by name."""
    sums = plan.sums(probability)
    return {i.name: i.function(sums) for i in applicable(plan.available)}
