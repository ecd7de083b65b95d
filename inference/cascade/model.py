"""Everything that a prediction needs, as one folder: the deep-SDM, its species, its intervals and its habitats reader.

<model>/sdm/          card.json and model.safetensors
<model>/species.csv   the species table
<model>/predict.json  recipe of the predictors, quantiles of the indicators' intervals
<model>/reference.safetensors   the composition that distinctness is measured against (absent without surveys)
<model>/ranges.geojson   ranges of species, where the configuration gave some
<model>/habitats/     readers of lists, Pl@ntBERT in the hub's layout, and of places (absent where no plots were given)
<model>/applicability.*  reference places of the area of applicability
<model>/explanation/  importance of inputs, response curves; odmap.md and odmap.csv are the protocol
<model>/checksums.json   size and SHA-256 of every file, compared whenever the model is loaded (habitats/ has one of its own)
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from cube.errors import ModelError
from cube.records.numbers import parse_presence
from cube.records.tables import read_table
from cube.records.traits import FLAG_TRAITS, NUMBER_TRAITS, TEXT_TRAITS
from cube.storage.identity import digest
from inference.calibration.applicability import CARD, TENSORS, Applicability, load_applicability
from inference.calibration.richness import Richness
from inference.cascade.areas import SurveyAreas
from inference.cascade.habitats import HabitatMapper
from inference.cascade.ranges import FILE as RANGES
from inference.cascade.ranges import Ranges, load_ranges
from inference.cascade.reference import FILE, load_reference
from inference.cascade.sums import SumPlan, plan_sums
from inference.data.recipe import Recipe
from inference.network import checkpoint
from inference.network.checksums import verify_checksums
from inference.network.ensemble import Ensemble
from inference.network.tensors import model_errors

FILES: Final = ("species.csv", FILE, TENSORS, CARD, RANGES)
"""Files beside the networks that a prediction depends on; all but the first may be absent."""


@dataclass(frozen=True)
class Model:
    """A loaded model folder."""

    ensemble: Ensemble
    card: checkpoint.Card
    recipe: Recipe
    traits: dict[str, Any]  # columns of the species table, by species of the ensemble
    quantiles: dict[str, float]  # of the intervals, by indicator
    habitats: HabitatMapper | None
    plan: SumPlan  # the sums that indicators are made from
    hash: str
    applicability: Applicability | None = None
    ranges: Ranges | None = None
    areas: SurveyAreas | None = None  # of the surveys; None without surveys, and of models of before they were kept

    @property
    def members(self) -> int:
        """Networks of the ensemble."""
        return len(self.ensemble.members)

    @property
    def available(self) -> frozenset[str]:
        """Named cell values that indicators can be made of: the sums, and what is computed beside them."""
        extra_values = {"dissimilarity"} if self.applicability is not None else set()
        return self.plan.available | extra_values | ({"member_spread"} if self.members > 1 else set())


def save_traits(folder: Path, names: tuple[str, ...], traits: dict[str, Any]) -> None:
    """Write the species table of a model."""
    pd.DataFrame({"scientific_name": list(names), **traits}).to_csv(folder / "species.csv", index=False)


def load_traits(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Names and trait columns of a model's species table. Raises `TableError` for a missing column."""
    columns = [*TEXT_TRAITS, *FLAG_TRAITS, *NUMBER_TRAITS]
    table = read_table(str(folder / "species.csv"), ["scientific_name", *columns], NUMBER_TRAITS)
    traits: dict[str, Any] = {name: table[name].fillna("").astype(str).to_numpy(object) for name in TEXT_TRAITS}
    traits |= {name: (parse_presence(table[name]) > 0).to_numpy() for name in FLAG_TRAITS}
    traits |= {name: table[name].to_numpy(np.float32) for name in NUMBER_TRAITS}
    return [str(name) for name in table["scientific_name"]], traits


def save_settings(
    folder: Path,
    what: Recipe,
    intervals: dict[str, Any],
    richness: Richness | None = None,
    areas: SurveyAreas | None = None,
) -> None:
    """Write what prediction must repeat of training."""
    document = {"recipe": what.to_json(), "intervals": intervals, "richness": asdict(richness or Richness())}
    document |= {} if areas is None else {"areas": areas.to_json()}
    (folder / "predict.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load_settings(folder: Path) -> tuple[Recipe, dict[str, float], Richness, dict[str, Any]]:
    """What `save_settings` wrote: recipe, quantiles by indicator, richness, and the document. Raises `ModelError`."""
    settings = folder / "predict.json"
    if not settings.is_file():
        raise ModelError(f"{folder}: there is no trained model here; run `floracube train` first.")
    with model_errors(settings):
        document = json.loads(settings.read_text(encoding="utf-8"))
        what = Recipe.from_json(document["recipe"])
        quantiles = {str(k): float(v) for k, v in document["intervals"]["quantiles"].items()}
        return what, quantiles, Richness(**document.get("richness", {})), document


def load_model(path: str | Path) -> Model:
    """Load a model folder. Raises `ModelError` where a part is absent, damaged or of another species table."""
    folder = Path(path)
    verify_checksums(folder, FILES)
    what, quantiles, richness, document = load_settings(folder)
    names, traits = load_traits(folder)
    ensemble, card = checkpoint.load(folder / "sdm", species=tuple(names))
    habitats = None
    if (folder / "habitats").is_dir():
        habitats = HabitatMapper.load(folder / "habitats", names, ensemble.network_dimension, ensemble.fingerprint)
    plan = plan_sums(traits, load_reference(folder, len(names)), richness.constants)
    fingerprint = digest((card.weights_sha256, document, habitats.hash if habitats else None, _file_hash(folder)))
    area, ranges = load_applicability(folder), load_ranges(folder, names)
    areas = SurveyAreas.from_json(document.get("areas"))
    return Model(ensemble, card, what, traits, quantiles, habitats, plan, fingerprint, area, ranges, areas)


def _file_hash(folder: Path) -> str:
    """Of what else a prediction depends on: species table, reference composition, area of applicability and ranges."""
    return digest([path.read_bytes() for name in FILES if (path := folder / name).is_file()])
