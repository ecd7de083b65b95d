"""What the model folder tells of a model, as the documents that travel with its species maps (`cube.storage.model_card`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.errors import ModelError
from cube.storage.model_card import SKILL
from inference.cascade.model import Model
from inference.explanation import responses, skill
from inference.explanation.responses import Response
from inference.network.tensors import model_errors

DIGITS = 4  # of every number: a curve is read by eye


def model_documents(folder: Path, model: Model) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(card, one entry a species) of a model folder, as `write_model` takes them; what was not measured is None.

    Raises: ModelError for a file of the folder `explanation` that is damaged or lists other species.
    """
    explanation_folder = folder / "explanation"
    with model_errors(explanation_folder):
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8")) if (folder / "metrics.json").is_file() else {}
        curves = responses.load_curves(explanation_folder)
        tables = (explanation_folder / name for name in (skill.FILE, "importance.csv"))
        table, importance = (pd.read_csv(path) if path.is_file() else None for path in tables)
    names = list(model.ensemble.species)
    if table is not None and [str(name) for name in table["scientific_name"]] != names:
        raise ModelError(f"{explanation_folder / skill.FILE}: lists other species than the model; run `floracube train` again.")
    if any(curve.mean.shape[1] != len(names) for curve in curves):
        raise ModelError(
            f"{explanation_folder / responses.TENSORS}: lists other species than the model; run `floracube train` again."
        )
    card = {
        "model": model.hash,
        "statement": str(model.card.training.get("statement", "probability")),
        "members": model.members,
        "survey_areas": None if model.areas is None else model.areas.to_json(),
        "modalities": [{"name": m, "title": model.recipe.title(m)[0]} for m in model.ensemble.spec.modalities],
        "species": len(names),
        "metrics": _scalars(metrics),
        "habitats": _scalars(metrics["habitats"]) if isinstance(metrics.get("habitats"), Mapping) else None,
        "importance": None if importance is None else [_importance(model, row) for row in importance.to_dict("records")],
        "responses": [_input(model, curve) for curve in curves],
    }
    rows: list[dict[str, Any]] = (
        [{} for _ in names] if table is None else [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    )
    has_skill = bool(metrics.get("held_out_surveys"))
    return card, [_species(name, row, has_skill, curves, s) for s, (name, row) in enumerate(zip(names, rows, strict=True))]


def _species(name: str, row: Mapping[str, Any], has_skill: bool, curves: list[Response], index: int) -> dict[str, Any]:
    return {
        "name": name,
        "surveys": _plain(row.get("surveys")),
        "records": _plain(row.get("records")),
        "held_out": {key: _plain(row[key]) for key in SKILL} if has_skill and row else None,
        "responses": [[_numbers(line[:, index]) for line in (c.mean, c.lower, c.upper)] for c in curves] or None,
    }


def _input(model: Model, curve: Response) -> dict[str, Any]:
    title, units = model.recipe.title(curve.modality, curve.channel)
    return {
        "modality": curve.modality,
        "input": curve.channel,
        "title": title,
        "units": units,
        "values": _numbers(curve.grid),
        "at_surveys": sorted(_numbers(curve.at_surveys)),
    }


def _importance(model: Model, row: Mapping[Any, Any]) -> dict[str, Any]:
    modality = str(row["modality"])
    channel = "" if pd.isna(row["channel"]) else str(row["channel"])
    title = model.recipe.title(modality, channel)[0]
    numbers = ("log_loss", "more_log_loss", "more_log_loss_sd", "auc", "less_auc")
    return {"modality": modality, "channel": channel, "title": title, **{key: _plain(row[key]) for key in numbers}}


def _scalars(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers among metrics."""
    return {str(k): _plain(v) for k, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _plain(value: Any) -> float | int | None:
    """A number of JSON: None for what is not finite or not there, whole numbers whole."""
    if value is None or not np.isfinite(float(value)):
        return None
    number = float(f"{float(value):.6g}")
    return int(number) if number == int(number) and abs(number) < 1e15 else number


def _numbers(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{float(v):.{DIGITS}g}") for v in values]
