"""Between the cascade and Pl@ntBERT: plots of a configuration in, a reader of ranked species out, classes as table rows."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.config import Config, HabitatConfig
from cube.errors import ConfigError, ModelError
from cube.records.tables import read_table
from inference.plantbert.plots import Columns, Plots, make_plots
from inference.plantbert.scheme import Scheme, flat_scheme, make_scheme, read_scheme, roll_up

if TYPE_CHECKING:  # transformers takes seconds to import: a model without habitats does without it
    from inference.plantbert.classify import HabitatReader
    from inference.plantbert.training import ReaderSpec

Progress = Callable[[int, int, str], None]
SCHEME = "habitats.csv"


def load_plots(config: Config, withhold: bool = True) -> tuple[Plots, pd.DataFrame, dict[str, Any]]:
    """Curated plots, their rows in the table of plots (by plot id), and a report; `withhold` leaves the excluded out.

    Raises `TableError` or `ConfigError` for what the configuration names wrongly.
    """
    habitats = _required(config)
    c = habitats.plots.columns
    if c.species is None or c.cover is None or c.habitat is None or habitats.plots.occurrences is None:
        raise ConfigError(f"{config.path}: habitats.plots: needs 'occurrences' and the columns species, cover and habitat.")
    path, species_path = config.source_path(habitats.plots.table), config.source_path(habitats.plots.occurrences)
    table = read_table(path, [c.survey, c.habitat, *habitats.exclude_surveys])
    covers = read_table(species_path, [c.survey, c.species, c.cover])
    left_out = pd.Series(False, index=table.index)
    for column, values in habitats.exclude_surveys.items():
        left_out |= table[column].astype(str).isin(values)
    if withhold:
        table = table[~left_out]
    covers = covers[covers[c.survey].isin(table[c.survey])]
    plots, report = make_plots(
        table, covers, Columns(c.survey, c.species, c.cover, c.habitat),
        min_records=10, min_plots=habitats.min_plots, names=(path, species_path),
    )  # fmt: skip
    kept = {"plots": len(plots), "records": int(plots.size.sum()), "species": len(plots.species),
            "habitats": len(plots.habitats)}  # fmt: skip
    report = {"title": "vegetation plots", "kept": kept,
              "remarks": _remarks(report, int(left_out.sum()) if withhold else 0)}  # fmt: skip
    return plots, table.set_index(table[c.survey].astype(str)), report


def _remarks(report: dict[str, Any], withheld: int) -> dict[str, Any]:
    """Counts of the plots' own report in the form that all tables share."""
    told = {"plots", "plots_read", "species", "records_read"}  # among what is kept
    counts = {str(k).replace("_", " "): v for k, v in report.items() if isinstance(v, int) and v and k not in told}
    if withheld:
        counts["plots withheld by exclude_surveys"] = withheld
    return {k: {"count": n, "first": []} for k, n in counts.items()}


def _required(config: Config) -> HabitatConfig:
    if config.habitats is None:
        raise ConfigError(f"{config.path}: habitats is missing; it names the vegetation plots to learn from.")
    return config.habitats


def reader_spec(config: Config) -> ReaderSpec:
    """`habitats.options` as the reader's size and schedule. Raises `ConfigError` for a wrong key."""
    from inference.plantbert.training import ReaderSpec

    options = _required(config).options
    known = {f.name for f in dataclasses.fields(ReaderSpec)} - {"augmentation"}
    for key in options:
        if key not in known:
            raise ConfigError(
                f"{config.path}: habitats.options.{key}: is not a key that is known here; known are {', '.join(sorted(known))}."
            )
    spec = ReaderSpec(**options)
    return dataclasses.replace(spec, base=Path(config.own_path(str(spec.base)))) if spec.base else spec


def train_habitats(config: Config, folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train the reader on all plots of the configuration into `folder`; returns (metrics, report of the plots)."""
    from inference.plantbert.training import train_reader

    habitats = _required(config)
    plots, _, report = load_plots(config)
    _, _, metrics = train_reader(
        plots, folder, reader_spec(config), lambda stage, step, total: progress(step, total, f"Pl@ntBERT {stage}")
    )
    if habitats.scheme is not None:
        scheme = restricted(read_scheme(Path(config.source_path(habitats.scheme))), plots.habitats)
        if scheme.levels[0] != habitats.level:
            raise ConfigError(
                f"{config.path}: habitats.level is '{habitats.level}', the finest level of the scheme is '{scheme.levels[0]}'."
            )
    else:
        scheme = flat_scheme(plots.habitats, habitats.names, habitats.level)
    rows = [dataclasses.asdict(h) for level in scheme.levels for h in scheme.classes[level]]
    pd.DataFrame(rows).to_csv(folder / SCHEME, index=False)
    return metrics, report


def restricted(scheme: Scheme, codes: Sequence[str]) -> Scheme:
    """The scheme with the finest classes `codes` and their parents alone. Raises `ModelError` for an unknown code."""
    by_code = {h.code: h for level in scheme.levels for h in scheme.classes[level]}
    kept: dict[str, dict[str, Any]] = {}
    for code in codes:
        if code not in scheme.codes():
            raise ModelError(
                f"the plots have the habitat '{code}', which level {scheme.levels[0]} of the scheme does not know;"
                " add it to the scheme's table."
            )
        while code and code not in kept:
            kept[code] = dataclasses.asdict(by_code[code])
            code = by_code[code].parent
    return make_scheme(list(kept.values()))


@dataclass(frozen=True)
class HabitatMapper:
    """A trained reader and the table whose rows its maps store."""

    reader: HabitatReader
    scheme: Scheme
    tokens: NDArray[np.int64]  # of the deep-SDM's species
    unknown: int  # of them the reader has never seen
    hash: str

    @classmethod
    def load(cls, folder: Path, species: Sequence[str]) -> HabitatMapper:
        """Load from a model folder, for species named as the deep-SDM names them."""
        from inference.plantbert.classify import HabitatReader

        reader = HabitatReader.load(folder)
        scheme = read_scheme(folder / SCHEME)
        if scheme.codes() != reader.habitats:
            raise ModelError(f"{folder}: {SCHEME} has other classes than the model; run `floracube habitats train`.")
        tokens, unknown = reader.tokens_of(species)
        content = b"".join((folder / name).read_bytes() for name in ("model.safetensors", SCHEME))
        return cls(reader, scheme, tokens, unknown, hashlib.sha256(content).hexdigest()[:16])

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels, finest first."""
        return self.scheme.levels

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """Columns of the habitat table: code, name, level, parent, colour; all classes, finest level first."""
        every = [h for level in self.levels for h in self.scheme.classes[level]]
        return {k: np.asarray([getattr(h, k) for h in every], object)
                for k in ("code", "name", "level", "parent", "colour")}  # fmt: skip

    def offset(self, level: str) -> int:
        """Row of the first class of a level in the table."""
        before = self.levels[: self.levels.index(level)]
        return sum(len(self.scheme.classes[x]) for x in before)

    @property
    def rows(self) -> NDArray[np.int64]:
        """(C,) table row of each class of the finest level."""
        return np.arange(len(self.scheme.codes()))

    def flags(self) -> dict[str, tuple[tuple[int, str, str], ...]]:
        """CF flags of each level's map: (table row, code and name, colour)."""
        return {
            level: tuple(
                (self.offset(level) + i, f"{h.code} {h.name}" if h.name != h.code else h.code, h.colour)
                for i, h in enumerate(self.scheme.classes[level])
            )
            for level in self.levels
        }

    def classify(self, ranked: NDArray[np.int32], size: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """(n, C) probabilities of the finest classes from ranked species (n, K) and how many belong to each cell."""
        return self.reader.classify(ranked, size, self.tokens, deduplicate=True)

    def level_maps(self, probability: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
        """(n,) table row of the most probable class at each level; coarser levels sum the finest."""
        rolled = roll_up(probability, self.scheme)
        return {level: self.offset(level) + p.argmax(axis=1) for level, p in rolled.items()}
