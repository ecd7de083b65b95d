"""Training of the hidden layer that stands beside the linear path of habitats: which species together mean what.

Values are left out at random, so that no habitat hangs on one species: lists of maps and of botanists miss some. It is read
by `linear`, without torch.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import nn

WIDTH: Final = 256  # of the hidden layer
DROPPED_VALUES: Final = 0.3  # share of a list's values that a step does not see
DROPOUT: Final = 0.5  # of the hidden layer
PASSES: Final = 40  # through the plots, fewer where they give more than STEPS
STEPS: Final = 2_000
BATCH: Final = (32, 256)  # plots a step: a fortieth of them, within these bounds
RATE: Final = 2e-3  # the highest of the schedule
DECAY: Final = 1e-2  # of AdamW

Floats = NDArray[np.float32]


def fit_layers(x: csr_matrix, label: NDArray[np.integer[Any]], classes: int) -> tuple[Floats, Floats, Floats, Floats]:
    """(weight (V, H), bias (H), weight (H, C), bias (C)): log odds are those of relu(x @ weight + bias) @ weight + bias.

    x (n, V): vectors of species; label (n). A class without a row has a bias of minus infinity. The same rows give the same
    weights on one machine with the same number of threads. Raises: ValueError without any row.
    """
    if not len(label):
        raise ValueError("a hidden layer needs one labelled plot at least")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = nn.EmbeddingBag(x.shape[1], WIDTH, mode="sum"), nn.Linear(WIDTH, classes)
        nn.init.uniform_(first.weight, -(x.shape[1] ** -0.5), x.shape[1] ** -0.5)
        first_bias = nn.Parameter(torch.zeros(WIDTH))
        batch = min(len(label), int(np.clip(len(label) // 40, *BATCH)))
        steps = min(PASSES * (len(label) // batch), STEPS)
        optimiser = torch.optim.AdamW([*first.parameters(), first_bias, *second.parameters()], lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
        target, order = torch.from_numpy(np.asarray(label, np.int64)), torch.empty(0, dtype=torch.int64)
        for _ in range(steps):
            order = torch.randperm(len(label)) if len(order) < batch else order
            rows, order = order[:batch], order[batch:]
            part = x[rows.numpy()]
            column, start = (torch.from_numpy(np.asarray(values, np.int64)) for values in (part.indices, part.indptr[:-1]))
            value = nn.functional.dropout(torch.from_numpy(part.data), DROPPED_VALUES)
            hidden = (first(column, start, per_sample_weights=value) + first_bias).relu()
            loss = nn.functional.cross_entropy(second(nn.functional.dropout(hidden, DROPOUT)), target[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    parameters = (first.weight, first_bias, second.weight.T, second.bias)
    weight, bias, out_weight, out_bias = (values.detach().numpy().copy() for values in parameters)
    out_bias[~np.isin(np.arange(classes), label)] = -np.inf
    return weight, bias, out_weight, out_bias
