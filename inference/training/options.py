"""How to train: the key `train` of a configuration, whose fields and defaults are declared in `cube.config.learning`."""

from __future__ import annotations

from typing import Any

from cube.config.learning import Likelihood, Precision, TrainOptions

__all__ = ["Likelihood", "Precision", "TrainOptions", "options_document"]


def options_document(options: TrainOptions) -> dict[str, Any]:
    """The options as plain JSON values."""
    return vars(options) | {"search": [network.model_dump(exclude_none=True) for network in options.search]}
