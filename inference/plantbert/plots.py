"""Vegetation plots: from a table of plots and a table of covers to ordered assemblages with habitat labels.

The curation follows Leblanc et al.; whatever is set aside is counted in a report.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.errors import TableError
from inference.plantbert.text import SEPARATOR, binomial

UNLABELLED: Final = frozenset({"", "~", "nan", "na", "none", "?"})


@dataclass(frozen=True)
class Columns:
    """The column names of the two tables."""

    plot: str = "PlotObservationID"
    species: str = "species_name"
    cover: str = "cover_perc"
    habitat: str = "veg_type0"


@dataclass(frozen=True)
class Plots:
    """Ordered assemblages of n plots over S species and C habitats.

    order (n, K): species indices by descending cover, -1 = unknown species, filler beyond `size`;
    size (n): species in the plot; label (n): habitat index, -1 = unlabelled; plot_id (n): strings.
    """

    plot_id: NDArray[np.str_]
    order: NDArray[np.int32]
    size: NDArray[np.int32]
    label: NDArray[np.int32]
    species: tuple[str, ...]
    habitats: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of plots."""
        return len(self.size)

    def take(self, index: NDArray[Any]) -> Plots:
        """Return the plots at `index` (integers or a mask); species and habitats stay."""
        per_plot = ("plot_id", "order", "size", "label")
        names = [f.name for f in fields(self) if f.name in per_plot]
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def sentence(self, row: int) -> str:
        """Write plot `row` as text; unknown species are written [UNK]."""
        index = self.order[row, : self.size[row]]
        return SEPARATOR.join("[UNK]" if i < 0 else self.species[i] for i in index)

    def presence(self) -> NDArray[np.float32]:
        """Return the species vector of each plot, (n, S), 1 = present."""
        table = np.zeros((len(self), len(self.species)), dtype=np.float32)
        row, rank = np.nonzero(np.arange(self.order.shape[1]) < self.size[:, None])
        index = self.order[row, rank]
        table[row[index >= 0], index[index >= 0]] = 1.0
        return table


def read_plots(
    plots: Path,
    covers: Path,
    columns: Columns = Columns(),
    *,
    min_records: int = 10,
    min_plots: int = 10,
) -> tuple[Plots, dict[str, Any]]:
    """Read both tables from CSV (UTF-8 with or without BOM, or Latin-1) and curate them; see `make_plots`."""
    return make_plots(
        _read_csv(plots),
        _read_csv(covers),
        columns,
        min_records=min_records,
        min_plots=min_plots,
        names=(str(plots), str(covers)),
    )


def make_plots(
    plots: pd.DataFrame,
    covers: pd.DataFrame,
    columns: Columns = Columns(),
    *,
    min_records: int = 10,
    min_plots: int = 10,
    names: tuple[str, str] = ("plots", "covers"),
) -> tuple[Plots, dict[str, Any]]:
    """Curate vegetation plots into ordered assemblages and a report of what was set aside.

    Covers that are missing or <= 0 and names without a binomial are dropped; several records of a
    species in a plot are summed; species with fewer than `min_records` plots become unknown; labels
    of habitats with fewer than `min_plots` plots, and `~` or empty labels, become unlabelled (such
    plots serve fill-mask alone); plots without any species are dropped. Rows keep the order of the
    table of plots. Raises TableError for a missing column, a repeated plot or an empty result.
    """
    _require(plots, [columns.plot, columns.habitat], names[0])
    _require(covers, [columns.plot, columns.species, columns.cover], names[1])
    plot_id = plots[columns.plot].astype(str)
    if plot_id.duplicated().any():
        raise TableError(
            f"{names[0]}: column {columns.plot!r} must be unique, but "
            f"{plot_id[plot_id.duplicated()].iloc[0]!r} stands there more than once."
        )
    report: dict[str, Any] = {"plots_read": len(plots), "records_read": len(covers)}

    records = pd.DataFrame(
        {
            "plot": covers[columns.plot].astype(str).to_numpy(),
            "name": covers[columns.species].astype(str).to_numpy(),
            "cover": pd.to_numeric(covers[columns.cover], errors="coerce").to_numpy(float),
        }
    )
    spelling = {name: binomial(name) for name in records["name"].unique()}
    records["name"] = records["name"].map(spelling)
    orphan = ~records["plot"].isin(set(plot_id))
    no_cover = ~(records["cover"] > 0) | ~np.isfinite(records["cover"])
    nameless = records["name"] == ""
    report["records_of_no_plot"] = int(orphan.sum())
    report["records_without_cover"] = int((no_cover & ~orphan).sum())
    report["records_without_binomial"] = int((nameless & ~no_cover & ~orphan).sum())
    report["names_without_binomial"] = sorted(n for n, b in spelling.items() if not b)[:20]
    records = records[~orphan & ~no_cover & ~nameless]
    summed = records.groupby(["plot", "name"], as_index=False)["cover"].sum()
    report["duplicates_summed"] = len(records) - len(summed)

    per_species = summed["name"].value_counts()
    kept = sorted(per_species.index[per_species >= min_records])
    report["species"] = len(kept)
    report["species_too_rare"] = int((per_species < min_records).sum())
    if not kept:
        raise TableError(
            f"{names[1]}: no species has {min_records} records with a cover above 0 in plots of "
            f"{names[0]}; check column {columns.plot!r} in both, or lower min_records."
        )
    summed = summed.sort_values(["plot", "cover", "name"], ascending=[True, False, True])
    index = summed["name"].map({name: i for i, name in enumerate(kept)}).fillna(-1)
    report["records_of_unknown_species"] = int((index < 0).sum())

    present = plot_id.isin(set(summed["plot"])).to_numpy()
    report["plots_without_species"] = int((~present).sum())
    plot_id, plots = plot_id[present], plots[present]
    row = summed["plot"].map({p: i for i, p in enumerate(plot_id)}).to_numpy(int)
    rank = summed.groupby("plot").cumcount().to_numpy(int)
    size = np.bincount(row, minlength=len(plot_id)).astype(np.int32)
    order = np.full((len(plot_id), int(size.max())), -1, dtype=np.int32)
    order[row, rank] = index.to_numpy(np.int32)

    text = plots[columns.habitat].fillna("").astype(str).str.strip()
    text = text.where(~text.str.lower().isin(UNLABELLED), "")
    per_habitat = text[text != ""].value_counts()
    habitats = sorted(per_habitat.index[per_habitat >= min_plots])
    aside = {str(k): int(v) for k, v in per_habitat[per_habitat < min_plots].items()}
    report["habitats"] = {h: int(per_habitat[h]) for h in habitats}
    report["habitats_too_rare"] = aside
    label = text.map({h: i for i, h in enumerate(habitats)}).fillna(-1).to_numpy(np.int32)
    report["plots"] = len(label)
    report["plots_unlabelled"] = int((label < 0).sum())
    made = Plots(np.asarray(plot_id, dtype=np.str_), order, size, label, tuple(kept), tuple(habitats))
    return made, report


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise TableError(f"{path}: this table does not exist; mend the path.")
    try:
        return pd.read_csv(path, encoding="utf-8-sig", low_memory=False)
    except UnicodeDecodeError:
        return pd.read_csv(path, encoding="latin-1", low_memory=False)


def _require(table: pd.DataFrame, columns: list[str], name: str) -> None:
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise TableError(f"{name}: column {missing[0]!r} is missing; the table has {', '.join(map(str, table.columns[:12]))}.")
