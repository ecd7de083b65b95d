"""A model on disk: `model.safetensors` (all numbers, calibration included) beside `card.json`; nothing is pickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file

from cube.errors import ModelError
from inference.network.checksums import sha256_of
from inference.network.deep_sdm import ModelSpec
from inference.network.ensemble import Ensemble
from inference.network.forest import Forest, ForestSizes
from inference.network.tensors import write_tensors

FORMAT: Final = 3  # 2: the area is no predictor, and members' intensities are averaged; 3: names of the tables
WEIGHTS: Final = "model.safetensors"
CARD: Final = "card.json"


@dataclass(frozen=True)
class Card:
    """What a person or a program must know of a model before loading it."""

    spec: ModelSpec
    members: int
    species: tuple[str, ...]
    weights_sha256: str = ""
    forest: ForestSizes | None = None  # of the forest beside the networks; its arrays stand among their weights
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data_hashes: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def species_hash(self) -> str:
        """Fingerprint of the species table, see `species_hash`."""
        return species_hash(self.species)


def species_hash(species: Sequence[str]) -> str:
    """Fingerprint of a list of species, order included: 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(species).encode()).hexdigest()[:16]


def save(
    folder: str | Path,
    ensemble: Ensemble,
    *,
    metrics: Mapping[str, Any] | None = None,
    data_hashes: Mapping[str, str] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Card:
    """Write an ensemble as one checkpoint folder; the card is written last, so a folder with a card is whole.

    `metrics`, `data_hashes` and `training` are any JSON values worth keeping beside it.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / CARD).unlink(missing_ok=True)
    state = {name: values.detach().cpu().contiguous() for name, values in ensemble.state_dict().items()}
    write_tensors(target / WEIGHTS, state)
    spec = ensemble.spec
    card = Card(
        spec=spec,
        members=len(ensemble.members),
        species=ensemble.species,
        weights_sha256=sha256_of(target / WEIGHTS),
        forest=None if ensemble.forest is None else ensemble.forest.sizes,
        metrics=dict(metrics or {}),
        data_hashes=dict(data_hashes or {}),
        training=dict(training or {}),
    )
    document = {
        "format": FORMAT,
        "model": "floracube deep-SDM",
        "modalities": list(spec.modalities),
        "layers": {name: list(spec.channels(name)) for name in spec.modalities if name != "survey"},
        "receptive_field_cells": spec.receptive_field,
        "spec": spec.to_json(),
        "members": card.members,
        "species": list(card.species),
        "species_hash": card.species_hash,
        "weights_sha256": card.weights_sha256,
        "forest": None if card.forest is None else card.forest.to_json(),
        "calibration": {"slope": ensemble.slope.item(), "area_exponent": ensemble.beta.item()},
        "median_area_m2": ensemble.median_area_m2.item(),
        "metrics": card.metrics,
        "data_hashes": card.data_hashes,
        "training": card.training,
    }
    (target / CARD).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return card


def read_card(folder: str | Path) -> Card:
    """The card alone. Raises: ModelError where it is absent, damaged or of another version."""
    path = Path(folder) / CARD
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"There is no model at {folder}: {CARD} is missing; run `floracube train`.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is damaged ({error}); train again or copy the model anew.") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ModelError(f"{path} is not a model card of format {FORMAT}; train again with this version.")
    try:
        card = Card(
            spec=ModelSpec.from_json(document["spec"]),
            members=int(document["members"]),
            species=tuple(document["species"]),
            weights_sha256=document["weights_sha256"],
            forest=ForestSizes(**document["forest"]) if document.get("forest") else None,
            metrics=document["metrics"],
            data_hashes=document["data_hashes"],
            training=document["training"],
        )
        expected_hash = document["species_hash"]
    except KeyError as error:
        raise ModelError(f"{path} lacks the field {error}; copy the model anew.") from error
    except TypeError as error:
        raise ModelError(f"{path} is damaged ({error}); copy the model anew.") from error
    if card.species_hash != expected_hash or card.spec.species != len(card.species):
        raise ModelError(f"{path}: the species table is not the one that the model was trained on; copy the model again.")
    return card


def load(folder: str | Path, species: Sequence[str] | None = None) -> tuple[Ensemble, Card]:
    """The ensemble, ready to predict on the CPU, and its card.

    `species`: the table that the caller goes by; another one than the model's is refused.
    Raises: ModelError for a missing, truncated or altered file, or another species table.
    """
    card = read_card(folder)
    if species is not None and species_hash(species) != card.species_hash:
        raise ModelError(
            f"The model at {folder} was trained on another species table ({len(card.species)} species, "
            f"hash {card.species_hash}) than the one given ({len(species)} species, hash {species_hash(species)}); "
            "use the table of the model or train again."
        )
    path = Path(folder) / WEIGHTS
    if not path.exists():
        raise ModelError(f"{path} is missing; copy the model anew or train again.")
    if sha256_of(path) != card.weights_sha256:
        raise ModelError(f"{path} is truncated or altered: its checksum is not the card's; copy it anew.")
    ensemble = Ensemble(card.spec, card.members, card.species, None if card.forest is None else Forest(card.forest))
    try:
        ensemble.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} does not fit its card ({str(error).splitlines()[0]}); train again.") from error
    ensemble.eval()
    return ensemble, card
