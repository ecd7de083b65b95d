"""The optimiser's loop of one member: steps, learning rate, early stopping. What is minimised is an `Objective`'s business."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch

from inference.network.deep_sdm import DeepSDM
from inference.training.objective import Objective
from inference.training.options import TrainOptions

Tell = Callable[[int, str], None]  # steps done of this member, a line for the person who waits
EVALUATIONS = 25  # of the stop blocks in a full run


def steps_of(objective: Objective, options: TrainOptions) -> int:
    """Steps of a member that is not stopped early."""
    return max(options.least_steps, options.epochs * objective.steps_per_epoch)


def fit_member(net: DeepSDM, objective: Objective, options: TrainOptions, seed: int, tell: Tell) -> list[dict[str, float]]:
    """Train `net` in place to its best state on the stop blocks, AdamW under one cycle of the learning rate.

    Returns a row per evaluation: seed, step, loss (running mean) and stop_loss where there are stop blocks.
    """
    generator = torch.Generator().manual_seed(seed)
    device = net.species_bias.device
    steps = steps_of(objective, options)
    groups = [{"lr": options.learning_rate, **group} for group in objective.parameter_groups(net, options)]
    optimiser = torch.optim.AdamW(groups, options.learning_rate, weight_decay=options.weight_decay)
    rates = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps, pct_start=0.1)
    every = max(steps // EVALUATIONS, 1)
    best, best_state, waited, running = np.inf, None, 0, 0.0
    history: list[dict[str, float]] = []
    for step in range(1, steps + 1):
        batch = objective.load(objective.draw(generator))
        net.train()
        loss = objective.loss(net, {name: values.to(device) for name, values in batch.items()})
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.9 * running + 0.1 * float(loss.detach()) if step > 1 else float(loss.detach())
        if step % every and step < steps:
            continue
        row = {"seed": float(seed), "step": float(step), "loss": running}
        stop_loss = objective.stop_loss(net)
        if stop_loss is not None:
            row["stop_loss"] = stop_loss
            if stop_loss < best:
                best, best_state, waited = stop_loss, copy.deepcopy(net.state_dict()), 0
            else:
                waited += 1
        history.append(row)
        tell(step, f"loss {row.get('stop_loss', running):.4f}")
        if waited >= options.patience:
            break
    if best_state is not None:
        net.load_state_dict(best_state)
    net.eval()
    return history
