"""A checkpoint gives back the same model, or says in one sentence why it cannot."""

from __future__ import annotations

import json

import pytest
import torch

from cube.errors import ModelError
from inference.calibration.calibrate import Calibration
from inference.network import checkpoint
from inference.network.deep_sdm import ModelSpec
from inference.network.ensemble import Ensemble
from tests.support.dense import embed_cells

SPECIES = ("Poa annua", "Fagus sylvatica", "Carex nigra")


@pytest.fixture
def ensemble() -> Ensemble:
    torch.manual_seed(0)
    spec = ModelSpec(modalities=("table_50m", "survey"), species=3, table_50m_names=("slope", "elevation"), d=8)
    made = Ensemble(spec, 2, SPECIES)
    made.calibrate(Calibration(0.8, torch.tensor([0.1, -0.2, 0.3]).numpy(), 50))
    made.ceiling.copy_(torch.tensor([0.01, 0.5, 1.0]))
    made.networks[0].encoders["table_50m"].normalisation.mean.fill_(3.0)
    return made


@pytest.fixture
def folder(ensemble, tmp_path):
    checkpoint.save(tmp_path / "model", ensemble, metrics={"auc_test": 0.7}, data_hashes={"plots.csv": "ab"})
    return tmp_path / "model"


def test_round_trip_predicts_the_same_and_keeps_the_card(ensemble, folder):
    again, card = checkpoint.load(folder, SPECIES)
    window = {"table_50m": torch.randn(2, 6, 6)}
    p = [e.probability(embed_cells(e, window, 2015), 50.0) for e in (ensemble, again)]
    assert torch.equal(*p)
    assert p[0].shape == (36, 3)
    assert (again.scale == ensemble.scale).all()
    assert card.species == SPECIES
    assert card.metrics == {"auc_test": 0.7}
    assert card.data_hashes == {"plots.csv": "ab"}
    assert card.spec == ensemble.spec
    assert card.members == 2


def test_card_tells_modalities_layers_and_species_without_weights(folder):
    document = json.loads((folder / "card.json").read_text())
    assert document["modalities"] == ["table_50m", "survey"]
    assert document["layers"]["table_50m"] == ["slope", "elevation"]
    assert document["species"] == list(SPECIES)
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "model.safetensors"]


def test_a_block_of_species_equals_the_whole(ensemble):
    z = torch.randn(5, ensemble.dimension)
    whole = ensemble.probability(z, 20.0)
    torch.testing.assert_close(ensemble.probability(z, 20.0, slice(1, 3)), whole[:, 1:3])


def test_intensities_of_members_are_averaged_not_their_logarithms(ensemble):
    z = torch.randn(5, ensemble.dimension)
    each = [net.head(part) for net, part in zip(ensemble.networks, z.split(8, 1), strict=True)]
    torch.testing.assert_close(ensemble.head(z), torch.stack(each).exp().mean(0).log())


def test_missing_model_is_told(tmp_path, folder):
    with pytest.raises(ModelError, match="no model at"):
        checkpoint.load(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors is missing"):
        checkpoint.load(folder)


def test_truncated_weights_are_told(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="truncated or altered"):
        checkpoint.load(folder)


def test_another_species_table_is_refused(folder):
    with pytest.raises(ModelError, match="another species table"):
        checkpoint.load(folder, ("Poa annua", "Carex nigra", "Fagus sylvatica"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d | {"species": ["Poa annua"]}, "species table"),
        (lambda d: d | {"format": 99}, "format 3"),
        (lambda d: {k: v for k, v in d.items() if k != "members"}, "lacks the field 'members'"),
        (lambda d: d | {"members": 3}, "does not fit its card"),
        (lambda d: d | {"spec": d["spec"] | {"later": 1}}, "another version"),
    ],
)
def test_damaged_card_is_told(folder, damage, message):
    path = folder / "card.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(ModelError, match=message):
        checkpoint.load(folder)


def test_half_a_card_is_told(folder):
    path = folder / "card.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(folder)
