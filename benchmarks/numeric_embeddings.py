"""Piecewise-linear embeddings of numeric columns (Gorishniy et al. 2022) in front of the encoders of tables, and the default.

    python -m benchmarks.numeric_embeddings examples/moravia.yaml       (after `floracube build`; five minutes)

Both learn from the same surveys in three draws of the folds. The embeddings are not in the package: they lost AUC.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from cube.config import load_config
from cube.storage.store import open_cube
from inference.data.dataset import load_dataset, split_network_options
from inference.data.holdout import plan_folds
from inference.evaluation.folds import FLORACUBE, skill_report
from inference.network import deep_sdm
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.encoders import TableEncoder
from inference.network.normalisation import set_normalisation
from inference.training.fit import spec_for, train

BINS, WIDTH = 16, 8  # bins of a column, between quantiles of its training values, and length of its embedding


class PiecewiseLinearTable(TableEncoder):
    """Each column as how far its value fills each bin (0 to 1), a linear map of its own and ReLU; then the usual perceptron."""

    def __init__(self, columns: int, spec: ModelSpec) -> None:
        """As many columns as the modality has, sizes of the network's own tables."""
        super().__init__(columns, spec.hidden, spec.depth, spec.d, spec.dropout)
        self.layers[0] = nn.Linear(columns * (WIDTH + 1), spec.hidden)
        self.edges = nn.Buffer(torch.zeros(columns, BINS + 1))
        self.weight = nn.Parameter(torch.randn(columns, BINS, WIDTH) / BINS**0.5)
        self.bias = nn.Parameter(torch.zeros(columns, WIDTH))

    def forward(self, columns: Tensor) -> Tensor:
        """(n, columns) to (n, out)."""
        bin_share = ((columns[..., None] - self.edges[:, :-1]) / self.edges.diff(dim=1).clamp_min(1e-6)).clamp(0, 1)
        embedded = (torch.einsum("ncb,cbw->ncw", bin_share.nan_to_num(0.0), self.weight) + self.bias).relu()
        missing = ~torch.isfinite(columns)[..., None]
        return torch.as_tensor(self.layers(torch.cat([embedded.masked_fill(missing, 0.0), missing], -1).flatten(1)))


def fit_edges(net: DeepSDM, predictors: Any, rows: Any, covariates: Any) -> None:
    """Normalise as always, and put the edges of bins at quantiles of the training rows."""
    set_normalisation(net, predictors, rows, covariates)
    for name, table in net.encoders.items():
        if isinstance(table, PiecewiseLinearTable):
            used = predictors.corner[rows].reshape(-1) if name in net.spec.kilometres else rows
            values = torch.from_numpy(predictors.values[name][used]).double()
            table.edges.copy_(values.nanquantile(torch.linspace(0, 1, BINS + 1).double(), 0).T)


def main() -> None:
    config = load_config(Path(sys.argv[1]))
    data, plain = load_dataset(config, open_cube(config.cube_url)), deep_sdm._encoder
    spec = spec_for(data.predictors, data.surveys, **split_network_options(config)[1])

    def encoder(modality: str, spec: ModelSpec) -> nn.Module:
        is_table = modality == "table_1km"
        return PiecewiseLinearTable(len(spec.channels(modality)), spec) if is_table else plain(modality, spec)

    for seed in range(3):
        options = replace(config.train, seed=seed)
        plan = plan_folds(config.model_copy(update={"train": options}), data.surveys, spec.reach_m, data.groups, data.records)
        scores: dict[str, Any] = {"default": train(data.predictors, data.surveys, spec, options, plan.folds).out_of_fold}
        with patch.object(deep_sdm, "_encoder", encoder), patch("inference.training.assembly.set_normalisation", fit_edges):
            scores = {FLORACUBE: train(data.predictors, data.surveys, spec, options, plan.folds).out_of_fold} | scores
        what = f"open blocks, draw {seed}"
        report = skill_report(scores, data.surveys, plan.folds, plan.min_records, ~plan.folds.locked, what)
        print("\n\n".join(table.text() for table in report.tables[:3]), flush=True)


if __name__ == "__main__":
    main()
