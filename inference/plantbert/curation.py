"""From a table of plots and a table of covers to `Plots`: the curation of Leblanc et al., step by step.

Whatever is set aside is counted in a report. Names are read by the rules of `text.binomial`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.errors import TableError
from inference.plantbert.plots import Plots
from inference.plantbert.text import binomial

UNLABELLED: Final = frozenset({"", "~", "nan", "na", "none", "?"})


@dataclass(frozen=True)
class Columns:
    """The column names of the two tables."""

    plot: str = "PlotObservationID"
    species: str = "species_name"
    cover: str = "cover_perc"
    habitat: str = "veg_type0"


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
    table of plots. Which plots lost too much to train on tells `Plots.complete`.
    Raises TableError for a missing column, a repeated plot or an empty result.
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
    cover_sums = _sum_covers(covers, set(plot_id), columns, report)
    species, index = _frequent_species(cover_sums, min_records, report)
    if not species:
        raise TableError(
            f"{names[1]}: no species has {min_records} records with a cover above 0 in plots of "
            f"{names[0]}; check column {columns.plot!r} in both, or give more plots."
        )
    present = plot_id.isin(set(cover_sums["plot"])).to_numpy()
    report["plots_without_species"] = int((~present).sum())
    plot_id, plots = plot_id[present], plots[present]
    order, size, cover = _order_by_cover(cover_sums, index, plot_id)
    habitats, label = _label_plots(plots[columns.habitat], min_plots, report)
    curated = Plots(np.asarray(plot_id, dtype=np.str_), order, size, label, species, habitats, cover)
    report["plots_incomplete"] = int((~curated.complete()).sum())
    return curated, report


def _sum_covers(covers: pd.DataFrame, plots: set[str], columns: Columns, report: dict[str, Any]) -> pd.DataFrame:
    """Records as (plot, name, cover), one a plot and binomial, by plot and descending cover, equal ones by name."""
    records = pd.DataFrame(
        {
            "plot": covers[columns.plot].astype(str).to_numpy(),
            "name": covers[columns.species].astype(str).to_numpy(),
            "cover": pd.to_numeric(covers[columns.cover], errors="coerce").to_numpy(float),
        }
    )
    spelling = {name: binomial(name) for name in records["name"].unique()}
    records["name"] = records["name"].map(spelling)
    orphan = ~records["plot"].isin(plots)
    no_cover = ~(records["cover"] > 0) | ~np.isfinite(records["cover"])
    nameless = records["name"] == ""
    report["records_of_no_plot"] = int(orphan.sum())
    report["records_without_cover"] = int((no_cover & ~orphan).sum())
    report["records_without_binomial"] = int((nameless & ~no_cover & ~orphan).sum())
    report["names_without_binomial"] = sorted(n for n, b in spelling.items() if not b)[:20]
    records = records[~orphan & ~no_cover & ~nameless]
    cover_sums = records.groupby(["plot", "name"], as_index=False)["cover"].sum()
    report["duplicates_summed"] = len(records) - len(cover_sums)
    return cover_sums.sort_values(["plot", "cover", "name"], ascending=[True, False, True])


def _frequent_species(
    cover_sums: pd.DataFrame, min_records: int, report: dict[str, Any]
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Species with enough records, in alphabetical order, and the species of each record, -1 = unknown."""
    per_species = cover_sums["name"].value_counts()
    frequent_species = sorted(per_species.index[per_species >= min_records])
    index = cover_sums["name"].map({name: i for i, name in enumerate(frequent_species)}).fillna(-1).to_numpy(np.int32)
    report["species"] = len(frequent_species)
    report["species_too_rare"] = int((per_species < min_records).sum())
    report["records_of_unknown_species"] = int((index < 0).sum())
    return tuple(frequent_species), index


def _order_by_cover(
    cover_sums: pd.DataFrame, index: NDArray[np.int32], plot_id: pd.Series[str]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """(order (n, K), size (n), cover (n, K)) of the plots `plot_id` from records that are sorted within each plot."""
    row = cover_sums["plot"].map({p: i for i, p in enumerate(plot_id)}).to_numpy(int)
    rank = cover_sums.groupby("plot").cumcount().to_numpy(int)
    size = np.bincount(row, minlength=len(plot_id)).astype(np.int32)
    order = np.full((len(plot_id), int(size.max())), -1, dtype=np.int32)
    order[row, rank] = index
    cover = np.zeros(order.shape, np.float32)
    cover[row, rank] = cover_sums["cover"].to_numpy(np.float32)
    return order, size, cover


def _label_plots(
    habitat_names: pd.Series[Any], min_plots: int, report: dict[str, Any]
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Habitats with enough plots, in alphabetical order, and the habitat of each plot, -1 = unlabelled."""
    text = habitat_names.fillna("").astype(str).str.strip()
    text = text.where(~text.str.lower().isin(UNLABELLED), "")
    per_habitat = text[text != ""].value_counts()
    habitats = sorted(per_habitat.index[per_habitat >= min_plots])
    label = text.map({h: i for i, h in enumerate(habitats)}).fillna(-1).to_numpy(np.int32)
    report["habitats"] = {h: int(per_habitat[h]) for h in habitats}
    report["habitats_too_rare"] = {str(k): int(v) for k, v in per_habitat[per_habitat < min_plots].items()}
    report["plots"] = len(label)
    report["plots_unlabelled"] = int((label < 0).sum())
    return tuple(habitats), label


def _require(table: pd.DataFrame, columns: list[str], name: str) -> None:
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise TableError(f"{name}: column {missing[0]!r} is missing; the table has {', '.join(map(str, table.columns[:12]))}.")
