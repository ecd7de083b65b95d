"""The optimiser's loop of one member: a fixed number of steps, one cycle of the learning rate, resuming after an interruption.

What is minimised is an `Objective`'s business, files that of `resume.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.data.loader import Batch, batches
from inference.network.deep_sdm import DeepSDM
from inference.training.objective import Draw, Objective
from inference.training.resume import Checkpoint

Tell = Callable[[int, str], None]  # steps done of this member, a line for the person who waits
Watch = Callable[[dict[str, float]], None]  # is shown each row of the history
Cursor = dict[str, Tensor]  # where drawing resumes: the generator and the objective's order
ROWS: Final = 25  # of the history in a full run
SHORTEST: Final = 11  # steps of a cycle: one of 10 divides by its warm-up of no length
FEEDING: Final = 4  # threads that keep a GPU, or a disk, busy
WARM_UP: Final = 0.1  # share of the steps in which the learning rate rises


def device_of(options: TrainOptions) -> torch.device:
    """The device of `options.device`. Raises: ModelError for a name that torch does not know or a GPU that is not there."""
    if options.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(options.device)
    except RuntimeError:
        raise ModelError(f"train.device is '{options.device}', expected auto, cpu, cuda or cuda:1.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"train.device is '{options.device}' but torch sees {torch.cuda.device_count()} GPUs; choose auto or cpu."
        )
    return device


def steps_of(objective: Objective, options: TrainOptions) -> int:
    """Steps of a member: `epochs` passes over the larger kind of data, and `least_steps` where that is fewer.

    Few surveys alone, or few records alone, get fewer: see `Objective.most_steps`.
    """
    return max(min(options.least_steps, objective.most_steps), options.epochs * objective.steps_per_epoch)


def _low_precision(options: TrainOptions, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16; weights, likelihood and optimiser stay in float32."""
    if options.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return options.precision == "bfloat16"


def _loaders_of(options: TrainOptions, device: torch.device, on_disk: bool) -> int:
    """Threads that read batches ahead."""
    if options.loaders is not None:
        return options.loaders
    return FEEDING if on_disk or device.type == "cuda" else 0


def decay_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups of an optimiser that decays matrices (and kernels, and species' embeddings) alone.

    Biases, gains of norms, absent vectors and the exponent of the area have no reason to be 0: decay would make rare species
    commoner, the more the longer the training.
    """
    parameters = [p for p in net.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _optimiser_of(groups: list[dict[str, Any]], learning_rate: float, device: torch.device) -> torch.optim.AdamW:
    """AdamW; on a GPU as one kernel for all parameters, and what stays in float32 is multiplied in TF32."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.backends.cuda.matmul.allow_tf32 = True
    return torch.optim.AdamW(groups, learning_rate, fused=True if on_gpu else None)


@dataclass
class _Progress:
    """How far a member is; plain values, so that a checkpoint's header can hold it."""

    step: int = 0
    running: float = 0.0
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


def fit_member(
    net: DeepSDM,
    objective: Objective,
    options: TrainOptions,
    seed: int,
    tell: Tell,
    *,
    checkpoint: Checkpoint | None = None,
    watch: Watch = lambda row: None,
    on_disk: bool = False,
) -> list[dict[str, float]]:
    """Train `net` in place by AdamW and one cycle of the learning rate; it stays where it is (CPU or GPU).

    With a `checkpoint` the state is saved from time to time and at the end, and training resumes from what is there: weights
    are those of an undisturbed run on the same kind of device. `on_disk`: samples are read from files.
    Returns some rows of the course: seed, step, rate, loss (running mean). Raises: ModelError for a checkpoint of another
    number of steps.
    """
    device = net.species_bias.device
    steps = steps_of(objective, options)
    groups = decay_groups(net, options.weight_decay) + objective.own_groups(options)
    optimiser = _optimiser_of(groups, options.learning_rate, device)
    rates = [group["lr"] for group in optimiser.param_groups]
    schedule = OneCycleLR(optimiser, rates, total_steps=max(steps, SHORTEST), pct_start=WARM_UP)
    state = _State(net, objective, optimiser, schedule, torch.Generator().manual_seed(seed))
    saved_state = checkpoint.read() if checkpoint is not None else None
    if saved_state is not None and checkpoint is not None:
        state.restore(*saved_state)
        planned_steps = state.progress.step if state.progress.finished else schedule.total_steps
        if planned_steps not in (steps, max(steps, SHORTEST)):  # the rate was to fall to 0 over as many
            raise ModelError(
                f"{checkpoint.path} was begun with {planned_steps} steps, and a member makes {steps} now; remove"
                f" {checkpoint.path.parent} to train anew, or finish it with the version of floracube that began it."
            )
    if state.progress.finished:
        net.eval()
        return state.progress.history
    half = _low_precision(options, device)
    every = max(steps // ROWS, 1)
    feed = batches(state.draws(), objective.load, device, _loaders_of(options, device, on_disk))
    progress = state.progress
    try:
        while progress.step < steps:
            state.note(_step(net, objective, state, feed, half))
            if progress.step % every == 0 or progress.step == steps:
                progress.running = float(state.running)  # here a GPU is waited for, and in no other step
                rate = float(optimiser.param_groups[0]["lr"])
                row = {"seed": float(seed), "step": float(progress.step), "loss": progress.running, "rate": rate}
                progress.history.append(row)
                watch(row)
                tell(progress.step, f"loss {progress.running:.4f}")
            if checkpoint is not None and checkpoint.due:
                state.save(checkpoint)
    finally:
        feed.close()  # type: ignore[attr-defined]
    progress.finished = True
    net.eval()
    if checkpoint is not None:
        state.save(checkpoint)
    return progress.history


def _step(
    net: DeepSDM,
    objective: Objective,
    state: _State,
    feed: Iterator[tuple[Batch, Cursor]],
    half: bool,
) -> Tensor:
    """One step of the optimiser; returns its loss, which may still be in the making on the device."""
    net.train()
    state.optimiser.zero_grad()
    batch, state.cursor = next(feed)
    with torch.autocast(net.species_bias.device.type, torch.bfloat16, enabled=half):
        loss = objective.loss(net, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    state.optimiser.step()
    state.schedule.step()
    state.progress.step += 1
    return loss.detach()


class _State:
    """All that changes while a member trains, and its form on disk."""

    def __init__(
        self, net: DeepSDM, objective: Objective, optimiser: Optimizer, schedule: OneCycleLR, generator: torch.Generator
    ) -> None:
        self.net, self.objective, self.optimiser, self.schedule = net, objective, optimiser, schedule
        self.generator, self.progress = generator, _Progress()
        self.cursor: Cursor = {}
        self.running = torch.zeros((), dtype=torch.float64, device=net.species_bias.device)

    def note(self, loss: Tensor) -> None:
        """Add the loss of a step to the running mean, on the device."""
        self.running = 0.9 * self.running + 0.1 * loss.double() if self.progress.step > 1 else loss.double()

    def draws(self) -> Iterator[tuple[Draw, Cursor]]:
        """Draws without end, each with where drawing resumes after it."""
        while True:
            draw = self.objective.draw(self.generator)
            order = {f"order.{name}": values for name, values in self.objective.state().items()}
            yield draw, {"generator": self.generator.get_state()} | order

    def weights(self) -> dict[str, Tensor]:
        """All that is learned: the network's, and what the objective has beside it. The tensors themselves, no copies."""
        tensors = {f"net.{name}": values for name, values in self.net.state_dict().items()}
        network_parameters = {id(p) for p in self.net.parameters()}
        other_parameters = (
            p for group in self.optimiser.param_groups for p in group["params"] if id(p) not in network_parameters
        )
        return tensors | {f"other.{i}": p.detach() for i, p in enumerate(other_parameters)}

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, values in self.weights().items():
            if name in weights:
                values.copy_(weights[name])

    def save(self, checkpoint: Checkpoint) -> None:
        """Write everything; a finished member needs its weights and torch's generators alone."""
        self.progress.running = float(self.running)
        tensors = {f"now.{name}": values for name, values in self.weights().items()} | _torch_generators(self.net)
        document: dict[str, Any] = {"member": asdict(self.progress)}
        if not self.progress.finished:
            tensors |= {f"cursor.{name}": values for name, values in self.cursor.items()}
            optimiser_state = self.optimiser.state_dict()
            for index, values in optimiser_state["state"].items():
                tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
            document |= {"groups": optimiser_state["param_groups"], "schedule": self.schedule.state_dict()}
        checkpoint.save(tensors, document)

    def restore(self, tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
        """Resume from what `save` wrote."""
        self.progress = _Progress(**document["member"])
        self.running.fill_(self.progress.running)
        parts: dict[str, dict[str, Tensor]] = {}
        for name, values in tensors.items():
            head, _, parameter_name = name.partition(".")
            parts.setdefault(head, {})[parameter_name] = values
        if not self.progress.finished:
            adam: dict[int, dict[str, Tensor]] = {}
            for name, values in parts.get("adam", {}).items():
                index, _, key = name.partition(".")
                adam.setdefault(int(index), {})[key] = values
            fused_groups = [
                {**group, "fused": self.optimiser.defaults["fused"]} for group in document["groups"]
            ]  # may be of a CPU
            self.optimiser.load_state_dict({"state": adam, "param_groups": fused_groups})
            self.schedule.load_state_dict(document["schedule"])
            self.cursor = parts["cursor"]
            self.generator.set_state(self.cursor["generator"])
            order = {name.removeprefix("order."): v for name, v in self.cursor.items() if name.startswith("order.")}
            self.objective.restore(order)
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
