"""The loop of one member against a plain loop that is written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cube.config.learning import TrainOptions
from inference.data.blocks import make_folds
from inference.network.batches import covariates_of, gather
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.normalisation import set_normalisation
from inference.training import loop
from inference.training.fit import spec_for, train
from inference.training.likelihood import clean_areas, cloglog, cloglog_probability, survey_loss
from inference.training.loop import fit_member
from inference.training.objective import Draw
from tests.inference.training.test_fit import landscape


def by_hand(predictors, surveys, learned, o: TrainOptions) -> DeepSDM:
    """The first member of `train` on surveys alone, as one page of plain torch."""
    own = np.flatnonzero(learned)
    log_ratio = clean_areas(surveys.area_m2).log_ratio
    covariates = covariates_of(surveys.year)
    weight = torch.from_numpy(surveys.place_weight / surveys.place_weight[own].mean())
    presence = torch.from_numpy(surveys.presence.astype(np.float32))
    seed = 1000 * o.seed
    torch.manual_seed(seed)
    net = DeepSDM(spec := spec_for(predictors, surveys))
    set_normalisation(net, predictors, own, covariates)
    w = weight.numpy()[own]
    prevalence = np.clip((w @ surveys.presence[own] + 0.25) / (w.sum() + 1), 1e-6, 0.98)
    start = cloglog(prevalence.astype(np.float64)) - 0.2 * log_ratio[own].mean()
    net.area_exponent.requires_grad_(False)  # all surveys are of one area
    net.species_bias.data.copy_(torch.from_numpy(start.astype(np.float32)))

    def loss_of(batch, rows, keep=None):
        eta = net(batch, keep) + net.beta * torch.from_numpy(log_ratio[rows])[:, None]
        return (survey_loss(eta, presence[rows]).mean(1) * weight[rows]).sum() / weight[rows].sum()

    generator = torch.Generator().manual_seed(seed)
    size = min(o.batch, len(own))
    steps = max(o.least_steps, o.epochs * (len(own) // size))
    matrices = [p for p in net.parameters() if p.ndim > 1]
    others = {"params": [p for p in net.parameters() if p.ndim < 2], "weight_decay": 0.0}
    optimiser = torch.optim.AdamW([{"params": matrices}, others], o.learning_rate, weight_decay=o.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, o.learning_rate, total_steps=steps, pct_start=0.1)
    order = []
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(len(own), generator=generator).tolist()
        rows, order = own[np.sort(order[:size])], order[size:]
        batch = gather(predictors, rows, spec.modalities, covariates)
        turn = int(torch.randint(8, (1,), generator=generator))
        image = torch.rot90(batch["satellite"], turn % 4, (2, 3))
        batch["satellite"] = image.flip(3) if turn >= 4 else image
        columns = batch["table_1km"].shape[1]
        noise = torch.randn(size, 1, columns, generator=generator)
        sigma = o.coarse_noise * (columns / 50) ** 0.5 * net.encoders["table_1km"].normalisation.std
        batch["table_1km"] = batch["table_1km"] + (sigma * noise).expand(-1, 4, -1).reshape(-1, columns)
        keep = torch.rand(size, len(net.encoders), generator=generator) >= o.modality_dropout
        net.train()
        optimiser.zero_grad()
        loss_of(batch, rows, keep | ~keep.any(1, keepdim=True)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return net


def test_training_on_surveys_equals_a_plain_loop_bit_for_bit():
    predictors, surveys, _ = landscape(200)
    folds = make_folds(surveys, 5, 2)
    options = TrainOptions(members=2, epochs=1, least_steps=40, batch=32, learning_rate=0.02, seed=2, threads=1)
    with torch.random.fork_rng(devices=[]):
        expected = by_hand(predictors, surveys, folds.surveys_without(0, surveys), options).state_dict()
    found = train(predictors, surveys, options=options, folds=folds).ensemble.networks[0].state_dict()
    assert all(torch.equal(found[name], values) for name, values in expected.items())


@pytest.mark.parametrize("steps", [1, 10])
def test_a_training_of_few_steps_has_a_rate(steps):
    predictors, surveys, _ = landscape(40)
    options = TrainOptions(members=1, epochs=1, least_steps=steps, batch=40, threads=1)
    trained = train(predictors.without("satellite"), surveys, options=options)
    assert trained.history[-1]["step"] == steps


class ShareOfPlaces:
    """An objective without places: each species is in a known share of all surveys, found in every tenth batch of them."""

    steps_per_epoch = 1
    most_steps = 10_000

    def __init__(self, share: np.ndarray) -> None:
        self.share = torch.from_numpy(10 * share.astype(np.float32))
        self.batches = 0

    def draw(self, generator):
        return Draw(np.zeros(1, np.int64), 0, None, torch.ones(1, 1, dtype=torch.bool))

    def load(self, draw):
        return {"table_50m": torch.zeros(1, 1)}

    def loss(self, net, batch):
        self.batches += 1
        share = self.share if self.batches % 10 == 0 else 0 * self.share
        eta = net(batch)[0]
        present, absent = (survey_loss(eta, torch.full_like(eta, seen)) for seen in (1.0, 0.0))
        return (share * present + (1 - share) * absent).mean()

    def own_groups(self, options):
        return []

    def state(self):
        return {}

    def restore(self, state):
        pass


@pytest.mark.parametrize("steps", [100, 3000])
def test_prevalences_of_rare_species_are_recovered_however_long_the_training(steps):
    share = np.array([1e-4, 1e-3, 1e-2])
    torch.manual_seed(0)
    net = DeepSDM(ModelSpec(modalities=("table_50m",), table_50m_names=("a",), species=3, d=2, hidden=2))
    net.requires_grad_(False)  # all that remains to be learned are the species' biases
    net.species_embedding.zero_()
    net.species_bias.copy_(torch.from_numpy(cloglog(share)))
    net.species_bias.requires_grad_(True)
    options = TrainOptions(epochs=1, least_steps=steps, batch=1)
    fit_member(net, ShareOfPlaces(share), options, 0, lambda step, text: None)
    p = cloglog_probability(net.species_bias.detach()).numpy()
    np.testing.assert_allclose(p, share, rtol=0.02)


def test_the_loss_is_asked_of_the_device_only_where_a_row_is_kept(monkeypatch):
    torch.manual_seed(0)
    net = DeepSDM(ModelSpec(modalities=("table_50m",), table_50m_names=("a",), species=3, d=2, hidden=2))
    asked = []
    number = torch.Tensor.__float__
    monkeypatch.setattr(torch.Tensor, "__float__", lambda self: asked.append(self.shape) or number(self))
    options = TrainOptions(epochs=1, least_steps=500, batch=1)
    rows = fit_member(net, ShareOfPlaces(np.full(3, 0.01)), options, 0, lambda step, text: None)
    assert len(rows) == 25
    assert len(asked) <= 2 * len(rows)


@pytest.mark.parametrize(("device", "fused"), [("cuda", True), ("cpu", None)])
def test_adamw_is_one_kernel_on_a_gpu(device, fused):
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = False
        optimiser = loop._optimiser_of([{"params": [torch.nn.Parameter(torch.zeros(2))]}], 1e-3, torch.device(device))
        assert optimiser.defaults["fused"] is fused
        assert torch.backends.cuda.matmul.allow_tf32 == (device == "cuda")
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
