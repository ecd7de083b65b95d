"""The published way to predict species at a place: a network per modality on a patch of its own, joined by one layer.

ResNet-6 on the Landsat and climate cubes, Swin-v2-T on the image, their features side by side (GeoPlant, Picek et al. 2024,
section 4; plantnet/GeoPlant `baselines/MME`, read for the shapes). Each branch is trained apart with a head of its own, then
the joint layer with all of them. Cells share nothing here. As a baseline it learns from the surveys and patches that the network
learned from, a batch at a time, so that memory does not grow with surveys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cube.errors import ModelError
from inference.data.samples import Predictors
from inference.evaluation.baselines.scores import Flags, Scores
from inference.network.batches import gather

NAME: Final = "multimodal"
LANDSAT: Final = (6, 4, 21)  # bands, quarters, years
CLIMATE: Final = (4, 19, 12)  # variables, years, months
IMAGE: Final = (4, 128, 128)  # red, green, blue, near infrared at 10 m
MODALITIES: Final = ("landsat", "climate", "satellite")
FIRST_LAYER: Final = "embeddings.patch_embeddings.projection.weight"
PATIENCE: Final = 1  # evaluations without gain before the learning rate falls, as published
ENDS_AFTER: Final = 5  # evaluations without gain that end a phase


@dataclass(frozen=True)
class EnsembleSpec:
    """Shape of the ensemble; the defaults are the published ones, smaller ones are for tests."""

    species: int
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)  # channels of ResNet-6
    image: tuple[int, int, int] = IMAGE
    embed: int = 96  # Swin-v2-T (Liu et al. 2022)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 8
    stochastic_depth: float = 0.2


class ResNet6(nn.Module):
    """Four 3 x 3 convolutions with batch norm, pooling after two and after four, the mean over what is left."""

    def __init__(self, channels: int, widths: tuple[int, int, int, int]) -> None:
        """Features of length `widths[-1]`."""
        super().__init__()
        sizes = (channels, *widths)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.features = widths[-1]

    def forward(self, cube: Tensor) -> Tensor:
        """(n, channels, h, w), h and w 4 or more, to (n, features)."""
        x = cube
        for at, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = nn.functional.relu(norm(convolution(x)))
            if at % 2:
                x = nn.functional.max_pool2d(x, 2)
        return x.mean((2, 3))


class SwinImage(nn.Module):
    """Swin-v2 on an image, from `transformers`: nothing is downloaded."""

    def __init__(self, spec: EnsembleSpec, weights: Path | None = None) -> None:
        """Features of length `embed` x 2^(stages - 1): 768 for Swin-v2-T.

        `weights`: a folder in the form of `transformers` of a Swin-v2 of this shape that was trained on red, green and blue, as
        published on ImageNet; near infrared begins as a copy of red. Without one the weights are random. Raises: ModelError
        where the folder cannot be read or holds another shape.
        """
        super().__init__()
        from transformers import Swinv2Config, Swinv2Model

        channels, side, _ = spec.image
        config = Swinv2Config(
            image_size=side,
            patch_size=4,
            num_channels=channels,
            embed_dim=spec.embed,
            depths=list(spec.depths),
            num_heads=list(spec.heads),
            window_size=spec.window,
            drop_path_rate=spec.stochastic_depth,
        )
        self.swin = Swinv2Model(config)
        if weights is not None:
            try:
                state = Swinv2Model.from_pretrained(str(weights), local_files_only=True).state_dict()  # nosec B615
                state[FIRST_LAYER] = torch.cat([state[FIRST_LAYER], state[FIRST_LAYER][:, :1]], 1)
                self.swin.load_state_dict(state)
            except (OSError, RuntimeError, ValueError, KeyError) as error:
                raise ModelError(
                    f"{weights}: holds no weights of this image network ({str(error).splitlines()[0]}); give a folder of"
                    " Swin-v2-T with three channels, patches of 4 and windows of 8."
                ) from error
        self.features = spec.embed * 2 ** (len(spec.depths) - 1)

    def forward(self, image: Tensor) -> Tensor:
        """(n, channels, side, side) to (n, features)."""
        return torch.as_tensor(self.swin(pixel_values=image).pooler_output)


class MultimodalEnsemble(nn.Module):
    """Branches by modality with a head each, and the joint layer on their features side by side."""

    def __init__(self, spec: EnsembleSpec, weights: Path | None = None) -> None:
        """Random weights, but for those of the image network where `weights` gives them; see `SwinImage`."""
        super().__init__()
        self.spec = spec
        self.branches = nn.ModuleDict(
            {
                "landsat": ResNet6(LANDSAT[0], spec.widths),
                "climate": ResNet6(CLIMATE[0], spec.widths),
                "satellite": SwinImage(spec, weights),
            }
        )
        sizes = {name: cast(Any, branch).features for name, branch in self.branches.items()}
        self.heads = nn.ModuleDict({name: nn.Linear(size, spec.species) for name, size in sizes.items()})
        self.joint = nn.Linear(sum(sizes.values()), spec.species)

    def prepared(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs as the branches take them; missing values are 0, as published.

        `batch` holds landsat (n, 6, 84) or (n, 6, 4, 21), climate (n, 4, 228) or (n, 4, 19, 12) and satellite (n, 4, s, s)
        reflectance, which is put on -1..1. Raises `ModelError` for a modality that is absent or of another size.
        """
        out = {}
        layouts = {"landsat": LANDSAT, "climate": CLIMATE, "satellite": self.spec.image}
        for name, shape in layouts.items():
            if name not in batch:
                raise ModelError(f"The ensemble needs '{name}'; every branch has a patch of its own.")
            values = batch[name]
            if values[0].numel() != int(np.prod(shape)):
                raise ModelError(f"The ensemble's '{name}' has shape {tuple(values.shape[1:])}, expected {shape}.")
            if name == "landsat" and values.ndim == 3:  # 84 quarters in order of time: years outside, quarters inside
                values = values.reshape(len(values), LANDSAT[0], LANDSAT[2], LANDSAT[1]).transpose(2, 3)
            values = torch.nan_to_num(values.reshape(-1, *shape))
            out[name] = 2 * values - 1 if name == "satellite" else values
        return out

    def branch_logits(self, name: str, batch: Mapping[str, Tensor]) -> Tensor:
        """(n, species) of one branch and its own head: what is trained first."""
        return torch.as_tensor(self.heads[name](self.branches[name](self.prepared(batch)[name])))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(n, species) logits of the joint layer."""
        inputs = self.prepared(batch)
        return torch.as_tensor(self.joint(torch.cat([branch(inputs[name]) for name, branch in self.branches.items()], 1)))

    @torch.inference_mode()
    def probability(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(n, species) in evaluation mode."""
        self.eval()
        return torch.sigmoid(self(batch))


@dataclass(frozen=True)
class EnsembleOptions:
    """Training as published: AdamW, plateau schedule. `epochs` are the most of each phase."""

    learning_rate: float = 1e-4
    epochs: int = 20
    batch: int = 32
    stop_share: float = 0.05  # of the surveys, at random as published
    seed: int = 0
    device: str = "cpu"
    weights: Path | None = None  # of the image network, as `SwinImage` takes them


Gather = Callable[[Tensor], Mapping[str, Tensor]]  # rows of surveys (b,) to the inputs of those surveys


def train_ensemble(
    net: MultimodalEnsemble, inputs: Gather, presence: Tensor, options: EnsembleOptions
) -> list[dict[str, float | str]]:
    """Train each branch apart with its own head, then all of them through the joint layer; the best weights are kept.

    `inputs(rows)` gives those of some of the n surveys, `presence` (n, species) is 0 or 1. Returns the history: phase, epoch,
    train loss and stop loss. Raises `ModelError` with fewer than two surveys.
    """
    n = len(presence)
    if n < 2:
        raise ModelError(f"{n} surveys cannot train the ensemble; it needs two at least, one of them to stop on.")
    generator = torch.Generator().manual_seed(options.seed)
    order = torch.randperm(n, generator=generator)
    stop_count = max(1, round(options.stop_share * n))
    stop, train_rows = order[:stop_count], order[stop_count:]
    net.to(options.device)
    history: list[dict[str, float | str]] = []
    for phase in [*net.branches, "joint"]:
        history += _train_phase(net, phase, inputs, presence, train_rows, stop, options, generator)
    return history


def _train_phase(
    net: MultimodalEnsemble,
    phase: str,
    inputs: Gather,
    presence: Tensor,
    train_rows: Tensor,
    stop: Tensor,
    options: EnsembleOptions,
    generator: torch.Generator,
) -> list[dict[str, float | str]]:
    parts = [net] if phase == "joint" else [net.branches[phase], net.heads[phase]]
    parameters = [p for part in parts for p in part.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, patience=PATIENCE, factor=0.9)

    def loss_of(rows: Tensor) -> Tensor:
        batch = {k: v.to(options.device) for k, v in inputs(rows).items()}
        targets = presence[rows].to(options.device, torch.float32)
        logits = net(batch) if phase == "joint" else net.branch_logits(phase, batch)
        return nn.functional.binary_cross_entropy_with_logits(logits, targets)

    history: list[dict[str, float | str]] = []
    best, best_state, waited = float("inf"), {k: v.clone() for k, v in net.state_dict().items()}, 0
    for epoch in range(options.epochs):
        net.train()
        losses = []
        for rows in train_rows[torch.randperm(len(train_rows), generator=generator)].split(options.batch):
            if len(rows) == 1 and len(train_rows) > 1:
                continue  # batch norm over one survey alone is no statistic
            optimiser.zero_grad()
            loss = loss_of(rows)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        net.eval()
        with torch.no_grad():
            stopping = float(np.mean([float(loss_of(rows)) for rows in stop.split(options.batch)]))
        schedule.step(stopping)
        history.append({"phase": phase, "epoch": epoch + 1, "loss": float(np.mean(losses)), "stop loss": stopping})
        if stopping < best:
            best, best_state, waited = stopping, {k: v.clone() for k, v in net.state_dict().items()}, 0
        else:
            waited += 1
            if waited >= ENDS_AFTER:
                break
    net.load_state_dict(best_state)
    net.eval()
    return history


def patches(predictors: Predictors, rows: NDArray[np.int64]) -> dict[str, Tensor]:
    """The ensemble's inputs of some places: landsat (n, 6, 84), climate (n, 4, 228) of the place, satellite (n, 4, P, P)."""
    batch = gather(predictors, rows, MODALITIES)
    if "climate" in batch:
        around = batch["climate"].reshape(len(rows), 4, *batch["climate"].shape[1:])
        batch["climate"] = (around * batch["weight"][:, :, None, None]).sum(1)
    return {name: batch[name] for name in MODALITIES if name in batch}


def need_patches(predictors: Predictors) -> None:
    """Raises: ModelError where a modality of the ensemble is missing."""
    missing = [name for name in MODALITIES if predictors.get(name) is None]
    if missing:
        raise ModelError(
            f"The baseline '{NAME}' needs satellite, Landsat and climate patches of every survey; missing: {', '.join(missing)}."
            " Fetch them, or leave the baseline out."
        )


def multimodal_scores(
    predictors: Predictors,
    presence: Flags,
    train_rows: NDArray[np.int64],
    query: NDArray[np.int64],
    options: EnsembleOptions,
    **shape: object,
) -> Scores:
    """(query, S) probabilities of an ensemble trained on the rows `train_rows` of `predictors` and `presence` (n, S).

    `shape` overrides fields of EnsembleSpec (tests do); the image is as large as the predictors' patches. Raises: ModelError
    where a modality is missing, or with fewer than two surveys.
    """
    need_patches(predictors)
    assert "satellite" in predictors.values
    torch.manual_seed(options.seed)
    image = tuple(int(size) for size in predictors.values["satellite"].shape[1:])
    spec = EnsembleSpec(**{"species": presence.shape[1], "image": image, **shape})  # type: ignore[arg-type]
    net = MultimodalEnsemble(spec, options.weights)
    train_ensemble(
        net, lambda rows: patches(predictors, train_rows[rows.numpy()]), torch.from_numpy(presence[train_rows]), options
    )
    out = np.empty((len(query), presence.shape[1]), np.float32)
    for start in range(0, len(query), options.batch):
        part = query[start : start + options.batch]
        batch = {name: values.to(options.device) for name, values in patches(predictors, part).items()}
        out[start : start + len(part)] = net.probability(batch).cpu().numpy()
    return out
