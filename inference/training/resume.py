"""The state of a training on disk: from which an interrupted run resumes, written whole or not at all, nothing pickled.

A run is a folder: `run.json` says of which data and options it is, and every member has one safetensors file with its
weights, optimiser, generators and order of rows, and its progress as JSON in the file's header.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from cube.storage.local_files import write_file
from inference.data.blocks import Folds
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.network.checkpoint import species_hash
from inference.network.deep_sdm import ModelSpec

FORMAT: Final = 1
# Options that change no number.
INDIFFERENT: Final = ("search", "device", "threads", "loaders", "checkpoint_seconds", "memory_gb")
ROWS: Final = 512  # of a large array that its fingerprint reads


class Checkpoint:
    """The file of one member."""

    def __init__(self, path: Path, every_seconds: float) -> None:
        """Nothing is read or written yet."""
        self.path, self._every, self._last = path, every_seconds, time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last save is `every_seconds` ago."""
        return time.monotonic() - self._last >= self._every

    def save(self, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
        """Replace the file. A kill at any moment leaves the one before or this one."""
        partial = self.path.with_suffix(".partial")
        contiguous = {name: values.detach().cpu().contiguous() for name, values in tensors.items()}
        text = json.dumps({"format": FORMAT, **progress})
        save_file(contiguous, partial, {"progress": text, "sha256": _sha256(contiguous, text)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(self.path)
        self._last = time.monotonic()

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """(tensors, progress), or None where nothing was saved. Raises: ModelError for a damaged file."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                progress = json.loads(metadata["progress"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
                if "sha256" in metadata and metadata["sha256"] != _sha256(tensors, metadata["progress"]):
                    raise ValueError("its checksum is another")
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ModelError(
                f"{self.path} is truncated or altered ({str(error).splitlines()[0]}); remove it and run again:"
                " this member is then trained anew, the others are kept."
            ) from error
        if progress.get("format") != FORMAT:
            raise ModelError(f"{self.path} is of another version of floracube; remove {self.path.parent} and train anew.")
        return tensors, progress


def _sha256(tensors: Mapping[str, Tensor], progress: str) -> str:
    """Of the values of a checkpoint and its progress: safetensors itself checks lengths alone."""
    total = hashlib.sha256(progress.encode())
    for name, values in sorted(tensors.items()):
        total.update(name.encode())
        total.update(values.contiguous().flatten().view(torch.uint8).numpy().data if values.numel() else b"")
    return total.hexdigest()


class Run:
    """The folder of a training that is under way."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], every_seconds: float) -> None:
        """Begin a run, or resume the one in `folder`.

        `identity`: plain values that must be the same for the numbers to be. Raises: ModelError where the folder holds a run
        of another identity; nothing of it is changed.
        """
        self.folder, self._every = folder, every_seconds
        path = folder / "run.json"
        expected = json.loads(json.dumps(identity))
        if path.exists():
            _compare(path, expected)
            return
        write_file(path, (json.dumps({"format": FORMAT, "identity": expected}, indent=1) + "\n").encode())

    def checkpoint(self, member: int) -> Checkpoint:
        """The file of one member."""
        return Checkpoint(self.folder / f"member{member}.safetensors", self._every)


def _compare(path: Path, expected: Mapping[str, Any]) -> None:
    try:
        saved_identity = json.loads(path.read_text(encoding="utf-8"))["identity"]
        differing = [key for key in sorted({*saved_identity, *expected}) if saved_identity.get(key) != expected.get(key)]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}); remove {path.parent} to train anew.") from error
    if differing:
        differences = "; ".join(
            f"{key}: {_short(saved_identity.get(key))} there, {_short(expected.get(key))} now" for key in differing[:3]
        )
        raise ModelError(
            f"{path.parent} holds an unfinished training of another kind ({differences}); run it again with what it was"
            " begun with to finish it, or remove the folder to train anew."
        )


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def fingerprint(**arrays: Any) -> str:
    """16 hexadecimal digits of named arrays (None is left out): shape, and all values or ROWS rows evenly spaced.

    So that samples of tens of gigabytes on disk are recognised without reading them.
    """
    total = hashlib.sha256()
    for name, values in arrays.items():
        if values is None:
            continue
        total.update(f"{name}{values.shape}".encode())
        is_small = len(values) * int(np.prod(values.shape[1:])) <= 1 << 24
        index = np.arange(len(values)) if is_small else np.unique(np.linspace(0, len(values) - 1, ROWS).astype(np.int64))
        total.update(np.ascontiguousarray(values[index]).tobytes())
    return total.hexdigest()[:16]


def identity_of(
    options: TrainOptions,
    device: torch.device,
    spec: ModelSpec,
    predictors: Predictors,
    surveys: Surveys,
    folds: Folds | None,
    records: Records | None,
    record_predictors: Predictors | None,
) -> dict[str, Any]:
    """What must be the same for a run to be resumed: options, kind of device, network, species, folds and data."""
    option_values = {f"train.{key}": value for key, value in asdict(options).items() if key not in INDIFFERENT}
    option_values |= {f"network.{key}": value for key, value in spec.to_json().items()}
    data = {f"survey {key}": getattr(surveys, key) for key in ("presence", "area_m2", "year", "place", "x", "y")}
    if folds is not None:
        option_values |= {"folds": folds.count, "reach_m": folds.reach_m, "block_km": folds.block_km}
        data["survey folds"] = folds.fold
    if records is not None:
        data |= {f"record {key}": getattr(records, key) for key in ("species", "row", "year", "background", "x", "y")}
        data["record certainty"] = records.weight
    for kind, predictors_of_kind in (("survey", predictors), ("record", record_predictors)):
        if predictors_of_kind is not None:
            data |= {f"{kind} {key}": values for key, values in predictors_of_kind.values.items()}
            data |= {f"{kind} corner": predictors_of_kind.corner, f"{kind} weight": predictors_of_kind.weight}
    return option_values | {"device": device.type, "species table": species_hash(surveys.species), "data": fingerprint(**data)}
