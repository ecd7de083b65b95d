"""The optimiser's loop of one member: steps, learning rate, early stopping, going on after a kill.

What is minimised is an `Objective`'s business, how the rate runs that of `schedules.py`, files that of `resume.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from inference.data.loader import Batch, batches
from inference.network.deep_sdm import DeepSDM
from inference.training.hardware import loaders_of, low_precision
from inference.training.objective import Draw, Objective
from inference.training.options import TrainOptions
from inference.training.resume import Checkpoint
from inference.training.schedules import Schedule

Tell = Callable[[int, str], None]  # steps done of this member, a line for the person who waits
Watch = Callable[[dict[str, float]], None]  # is shown each row of the history
Cursor = dict[str, Tensor]  # where drawing goes on: the generator and the objective's order
EVALUATIONS = 25  # of the stop blocks in a full run


def steps_of(objective: Objective, options: TrainOptions) -> int:
    """Steps of a member that is not stopped early."""
    return max(options.least_steps, options.epochs * objective.steps_per_epoch // options.accumulate)


@dataclass
class _Progress:
    """How far a member is; plain values, so that a checkpoint's header can hold it."""

    step: int = 0
    best: float | None = None
    waited: int = 0
    running: float = 0.0
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


def _silent(row: dict[str, float]) -> None:
    pass


def fit_member(
    net: DeepSDM,
    objective: Objective,
    options: TrainOptions,
    seed: int,
    tell: Tell,
    *,
    checkpoint: Checkpoint | None = None,
    watch: Watch = _silent,
    on_disk: bool = False,
) -> list[dict[str, float]]:
    """Train `net` in place to its best state on the stop blocks, with AdamW; it stays where it is (CPU or GPU).

    With a `checkpoint` the state is saved from time to time and at the end, and training goes on from what is there: weights
    are those of an undisturbed run on the same kind of device. `on_disk`: samples are read from files.
    Returns a row per evaluation: seed, step, rate, loss (running mean) and stop_loss where there are stop blocks.
    """
    device = net.species_bias.device
    steps = steps_of(objective, options)
    groups = [{"lr": options.learning_rate, **group} for group in objective.parameter_groups(net, options)]
    optimiser = torch.optim.AdamW(groups, options.learning_rate, weight_decay=options.weight_decay)
    state = _State(net, objective, optimiser, Schedule(optimiser, options, steps), torch.Generator().manual_seed(seed))
    saved = checkpoint.read() if checkpoint is not None else None
    if saved is not None:
        state.restore(*saved)
    if state.progress.finished:
        return _over(state, net)
    half = low_precision(options, device)
    every = max(steps // EVALUATIONS, 1)
    feed = batches(state.draws(), objective.load, device, loaders_of(options, device, on_disk))
    progress = state.progress
    try:
        while progress.step < steps and progress.waited < options.patience:
            loss = _step(net, objective, state, feed, options, half)
            progress.running = 0.9 * progress.running + 0.1 * loss if progress.step > 1 else loss
            if progress.step % every == 0 or progress.step == steps:
                row = state.evaluate(seed)
                watch(row)
                tell(progress.step, f"loss {row.get('stop_loss', progress.running):.4f}")
            if checkpoint is not None and checkpoint.due:
                state.save(checkpoint)
    finally:
        feed.close()  # type: ignore[attr-defined]
    progress.finished = True
    history = _over(state, net)
    if checkpoint is not None:
        state.save(checkpoint)
    return history


def _step(
    net: DeepSDM,
    objective: Objective,
    state: _State,
    feed: Iterator[tuple[Batch, Cursor]],
    options: TrainOptions,
    half: bool,
) -> float:
    """One step of the optimiser on `options.accumulate` batches; returns their mean loss."""
    net.train()
    state.optimiser.zero_grad()
    total = 0.0
    for _ in range(options.accumulate):
        batch, state.cursor = next(feed)
        with torch.autocast(net.species_bias.device.type, torch.bfloat16, enabled=half):
            loss = objective.loss(net, batch)
        share = loss / options.accumulate
        share.backward()  # type: ignore[no-untyped-call]
        total += float(share.detach())
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    state.optimiser.step()
    state.schedule.after_step()
    state.progress.step += 1
    return total


def _over(state: _State, net: DeepSDM) -> list[dict[str, float]]:
    """Take the best state and leave training mode."""
    state.take_best()
    net.eval()
    return state.progress.history


class _State:
    """All that changes while a member trains, and its form on disk."""

    def __init__(
        self, net: DeepSDM, objective: Objective, optimiser: Optimizer, schedule: Schedule, generator: torch.Generator
    ) -> None:
        self.net, self.objective, self.optimiser, self.schedule = net, objective, optimiser, schedule
        self.generator, self.progress = generator, _Progress()
        self.cursor: Cursor = {}
        self.best: dict[str, Tensor] = {}

    def draws(self) -> Iterator[tuple[Draw, Cursor]]:
        """Draws without end, each with where drawing goes on after it."""
        while True:
            draw = self.objective.draw(self.generator)
            order = {f"order.{name}": values for name, values in self.objective.state().items()}
            yield draw, {"generator": self.generator.get_state()} | order

    def weights(self) -> dict[str, Tensor]:
        """All that is learned: the network's, and what the objective has beside it. The tensors themselves, no copies."""
        own = {f"net.{name}": values for name, values in self.net.state_dict().items()}
        known = {id(p) for p in self.net.parameters()}
        others = (p for group in self.optimiser.param_groups for p in group["params"] if id(p) not in known)
        return own | {f"other.{i}": p.detach() for i, p in enumerate(others)}

    def evaluate(self, seed: int) -> dict[str, float]:
        """A row of the history; the weights are kept where they are the best so far."""
        progress = self.progress
        row = {"seed": float(seed), "step": float(progress.step), "loss": progress.running}
        row["rate"] = float(self.optimiser.param_groups[0]["lr"])
        stop_loss = self.objective.stop_loss(self.net)
        if stop_loss is not None:
            row["stop_loss"] = stop_loss
            if stop_loss < (np.inf if progress.best is None else progress.best):
                progress.best, progress.waited = stop_loss, 0
                self.best = {name: values.clone() for name, values in self.weights().items()}
            else:
                progress.waited += 1
        self.schedule.after_evaluation(row.get("stop_loss", progress.running))
        progress.history.append(row)
        return row

    @torch.no_grad()
    def take_best(self) -> None:
        """Put the best weights in the place of the last, where there were stop blocks."""
        self._put(self.best)

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, values in self.weights().items():
            if name in weights:
                values.copy_(weights[name])

    def save(self, checkpoint: Checkpoint) -> None:
        """Write everything; a finished member needs its weights and torch's generators alone."""
        tensors = {f"now.{name}": values for name, values in self.weights().items()} | _torch_generators(self.net)
        document: dict[str, Any] = {"member": asdict(self.progress)}
        if not self.progress.finished:
            tensors |= {f"best.{name}": values for name, values in self.best.items()}
            tensors |= {f"cursor.{name}": values for name, values in self.cursor.items()}
            held = self.optimiser.state_dict()
            for index, values in held["state"].items():
                tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
            document |= {"groups": held["param_groups"], "schedule": self.schedule.state()}
        checkpoint.save(tensors, document)

    def restore(self, tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.progress = _Progress(**document["member"])
        parts: dict[str, dict[str, Tensor]] = {}
        for name, values in tensors.items():
            head, _, rest = name.partition(".")
            parts.setdefault(head, {})[rest] = values
        if not self.progress.finished:
            adam: dict[int, dict[str, Tensor]] = {}
            for name, values in parts.get("adam", {}).items():
                index, _, key = name.partition(".")
                adam.setdefault(int(index), {})[key] = values
            self.optimiser.load_state_dict({"state": adam, "param_groups": document["groups"]})
            self.schedule.restore(document["schedule"])
            self.cursor = parts["cursor"]
            self.generator.set_state(self.cursor["generator"])
            order = {name.removeprefix("order."): v for name, v in self.cursor.items() if name.startswith("order.")}
            self.objective.restore(order)
            device = self.net.species_bias.device
            self.best = {name: values.to(device) for name, values in parts.get("best", {}).items()}
        self._put(parts["now"])
        torch.set_rng_state(parts["torch"]["cpu"])
        if "cuda" in parts["torch"] and self.net.species_bias.is_cuda:
            torch.cuda.set_rng_state(parts["torch"]["cuda"], self.net.species_bias.device)


def _torch_generators(net: DeepSDM) -> dict[str, Tensor]:
    """States of the generators that dropout draws from."""
    states = {"torch.cpu": torch.get_rng_state()}
    if net.species_bias.is_cuda:
        states["torch.cuda"] = torch.cuda.get_rng_state(net.species_bias.device)
    return states
