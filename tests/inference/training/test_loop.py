"""The loop of one member against a plain loop that is written out by hand."""

from __future__ import annotations

import copy

import numpy as np
import torch

from inference.data.blocks import assign_roles
from inference.network.batches import covariates_of, gather
from inference.network.deep_sdm import DeepSDM
from inference.network.normalisation import set_normalisation
from inference.training.fit import spec_for, train
from inference.training.likelihood import clean_areas, cloglog, survey_loss
from inference.training.options import TrainOptions
from tests.inference.training.test_fit import landscape


def by_hand(predictors, surveys, roles, o: TrainOptions) -> DeepSDM:
    """The first member of `train` on surveys alone, as one page of plain torch."""
    rows_of = {role: np.flatnonzero(roles == role) for role in ("train", "stop")}
    own, stop = rows_of["train"], rows_of["stop"]
    log_ratio = clean_areas(surveys.area_m2, clean_areas(surveys.area_m2[own]).median_m2).log_ratio
    covariates = covariates_of(surveys.year, log_ratio)
    weight = torch.from_numpy(surveys.place_weight / surveys.place_weight[own].mean())
    presence = torch.from_numpy(surveys.presence.astype(np.float32))
    seed = 1000 * o.seed
    torch.manual_seed(seed)
    net = DeepSDM(spec := spec_for(predictors, surveys))
    set_normalisation(net, predictors, own, covariates)
    w = weight.numpy()[own]
    prevalence = np.clip((w @ surveys.presence[own] + 0.25) / (w.sum() + 1), 1e-6, 0.98)
    start = cloglog(prevalence.astype(np.float64)) - 0.2 * log_ratio[own].mean()
    net.species_bias.data.copy_(torch.from_numpy(start.astype(np.float32)))

    def loss_of(batch, rows, keep=None):
        eta = net(batch, keep) + net.beta * torch.from_numpy(log_ratio[rows])[:, None]
        return (survey_loss(eta, presence[rows]).mean(1) * weight[rows]).sum() / weight[rows].sum()

    generator = torch.Generator().manual_seed(seed)
    size = min(o.batch, len(own))
    steps = max(o.least_steps, o.epochs * (len(own) // size))
    optimiser = torch.optim.AdamW(net.parameters(), o.learning_rate, weight_decay=o.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, o.learning_rate, total_steps=steps, pct_start=0.1)
    order, best, kept, waited = [], np.inf, None, 0
    for step in range(1, steps + 1):
        if len(order) < size:
            order = torch.randperm(len(own), generator=generator).tolist()
        rows, order = own[np.sort(order[:size])], order[size:]
        batch = gather(predictors, rows, spec.modalities, covariates)
        turn = int(torch.randint(8, (1,), generator=generator))
        image = torch.rot90(batch["satellite"], turn % 4, (2, 3))
        batch["satellite"] = image.flip(3) if turn >= 4 else image
        columns = batch["coarse"].shape[1]
        noise = torch.randn(size, 1, columns, generator=generator)
        sigma = o.coarse_noise * (columns / 50) ** 0.5 * net.encoders["coarse"].normalisation.std
        batch["coarse"] = batch["coarse"] + (sigma * noise).expand(-1, 4, -1).reshape(-1, columns)
        keep = torch.rand(size, len(net.encoders), generator=generator) >= o.modality_dropout
        net.train()
        optimiser.zero_grad()
        loss_of(batch, rows, keep | ~keep.any(1, keepdim=True)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % max(steps // 25, 1) == 0 or step == steps:
            net.eval()
            with torch.no_grad():
                now = float(loss_of(gather(predictors, stop, spec.modalities, covariates), stop))
            waited = 0 if now < best else waited + 1
            if now < best:
                best, kept = now, copy.deepcopy(net.state_dict())
            if waited >= o.patience:
                break
    net.load_state_dict(kept)
    return net


def test_training_on_surveys_equals_a_plain_loop_bit_for_bit():
    predictors, surveys, _ = landscape(200)
    roles = assign_roles(surveys, 5)
    options = TrainOptions(members=1, epochs=1, least_steps=60, batch=32, learning_rate=0.02, patience=3, seed=2, threads=1)
    with torch.random.fork_rng(devices=[]):
        expected = by_hand(predictors, surveys, roles, options).state_dict()
    found = train(predictors, surveys, options=options, roles=roles).ensemble.networks[0].state_dict()
    assert all(torch.equal(found[name], values) for name, values in expected.items())
