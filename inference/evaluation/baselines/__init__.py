"""What the network must beat, on the same inputs as a table: forests, boosting, MaxEnt, frequency by region."""

from typing import Final

from inference.evaluation.baselines.forest import forest_probability
from inference.evaluation.baselines.table import table_of

LEAVES: Final = (5, 20)  # min_samples_leaf of the two forests, each a row of its own

__all__ = ["LEAVES", "forest_probability", "table_of"]
