"""The ODMAP protocol of a training (Zurell et al. 2020): Overview, Data, Model, Assessment, Prediction, from the run itself.

Its elements and their sentences stand in `odmap.yaml`; here are the values of a run. What only a person can say is left open.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from cube.config import Config, Source
from cube.layers.inputs import INPUTS
from cube.yaml_tables import yaml_table
from inference.data.dataset import Dataset
from inference.training.assembly import RELATIVE
from inference.training.fit import TrainedModel

OPEN: Final = "(to be said by the authors)"
KINDS: Final = {
    "climate": "climatic",
    "bioclim": "climatic",
    "soil": "edaphic",
    "landcover": "habitat",
    "corine": "habitat",
    "elevation": "topographic",
    "terrain": "topographic",
    "srtm": "topographic",
    "footprint": "human pressure",
    "sentinel2": "spectral",
    "landsat": "spectral",
}
SKILL: Final = {"auc": "mean AUC of species within folds", "auc_against_background": "mean AUC of records against background"}


@dataclass(frozen=True)
class Run:
    """All that the protocol is filled from."""

    config: Config
    data: Dataset
    trained_model: TrainedModel
    importance: list[dict[str, Any]]
    threshold: float  # of the area of applicability, inputs, all modalities


@dataclass(frozen=True)
class Element:
    """One line of the protocol."""

    section: str
    subsection: str
    element: str
    value: str


def protocol(run: Run) -> list[Element]:
    """Every element of the protocol with its value."""
    values = {**_model(run), **_data(run), **_prediction(run)}
    document = yaml_table(__file__, "odmap.yaml")
    return [
        Element(section, subsection, name, sentence.format_map(values) or OPEN)
        for section, subsections in document.items()
        for subsection, elements in subsections.items()
        for name, sentence in elements.items()
    ]


def write_protocol(folder: Path, run: Run) -> None:
    """`odmap.csv` (section, subsection, element, value) and `odmap.md`."""
    elements = protocol(run)
    pd.DataFrame([vars(e) for e in elements]).to_csv(folder / "odmap.csv", index=False)
    reference = "Zurell et al. 2020, doi:10.1111/ecog.04960. Written by `floracube train`."
    lines = [f"# ODMAP protocol: {run.config.title}", "", reference]
    section = subsection = ""
    for e in elements:
        if e.section != section:
            lines += ["", f"## {e.section}"]
        if (e.section, e.subsection) != (section, subsection):
            lines += ["", f"### {e.subsection}", ""]
        section, subsection = e.section, e.subsection
        lines.append(f"- **{e.element}**: {e.value}")
    (folder / "odmap.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _model(run: Run) -> dict[str, Any]:
    """What the network is, how it was trained, and how good it is."""
    options, ensemble, metrics = run.trained_model.options, run.trained_model.ensemble, run.trained_model.metrics
    calibration = "none: intensities are relative"
    if not _alone(run):
        slope, pooling = metrics.get("calibration_slope", 1.0), metrics.get("calibration_pooling", 0.0)
        calibration = f"slope {slope:.3f}, pooling {pooling:g} (0: left as they are), by the out-of-fold scores"
    importance = [f"{r['modality']} {r['more_log_loss']:+.4f}" for r in run.importance if not r["channel"]]
    candidates = f"size of the network, {1 + len(options.search)} candidates by log loss on open blocks; "
    return {
        "statement": run.trained_model.output_kind,
        "species": len(ensemble.species),
        "modalities": ", ".join(ensemble.spec.modalities),
        "survey_likelihood": "" if _alone(run) else "; complementary log-log likelihood of surveys",
        "d": ensemble.spec.d,
        "weights": f"{sum(p.numel() for p in ensemble.parameters()):,}",
        "members": len(ensemble.members),
        "forest": ""
        if ensemble.forest is None
        else f", weighed with a forest of {ensemble.forest.sizes.trees} trees, by how common a species is",
        "floracube": _version("floracube"),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "options": ", ".join(f"{k}={v}" for k, v in vars(options).items()),
        "candidates": candidates if options.search else "",
        "calibration": calibration,
        "importance": ", ".join(importance),
        "skill": next((f"{words} {metrics[name]:.3f}" for name, words in SKILL.items() if name in metrics), "none"),
    }


def _data(run: Run) -> dict[str, Any]:
    """The surveys and records that were learned from, and how they were dealt to folds."""
    config, surveys, folds, records = run.config, run.data.surveys, run.trained_model.folds, run.data.records
    options, counts, year = run.trained_model.options, surveys.presence.sum(0), surveys.year
    s = config.surveys
    area = surveys.area_m2[np.isfinite(surveys.area_m2) & (surveys.area_m2 > 0)]
    background, data = "none", f"{len(surveys)} surveys"
    if records is not None:
        background = "none: species given record, so that effort cancels"
        if _alone(run):
            data = f"{len(records)} records"
            background = (
                f"sites of which {options.recorded_sites:.0%} are places of records of any species, the others drawn uniformly"
                " from the land"
            )
    remarks = [f"{name}: {note['count']}" for r in run.data.reports for name, note in r.document()["remarks"].items()]
    return {
        "years": f"{int(year.min())} to {int(year.max())}" if len(year) else "none",
        "origin": next((str(v) for v in (s.table, s.geoplant, s.darwin_core) if v), "none") if s is not None else "none",
        "surveys": len(surveys),
        "places": len(np.unique(surveys.place)),
        "prevalence": f"presences per species {counts.min()} to {counts.max()}, median {np.median(counts):g}"
        if len(surveys)
        else "no survey",
        "areas": f"; plots of {area.min():g} to {area.max():g} m2, median {np.median(area):g}" if len(area) else "",
        "and_records": "" if records is None else f"; {len(records)} records",
        "citizen_science": "" if records is None else "; citizen science",
        "presence_only": "" if records is None else "; presence-only",
        "record_likelihood": "" if records is None else f"; presence-only records, likelihood '{options.likelihood}'",
        "reporting": "" if records is None else "; reporting rates of species are estimated",
        "absences": "species that a survey does not list" if len(surveys) else "none",
        "background": background,
        "remarks": "; ".join(remarks) or "nothing was left out",
        "data": data,
        "folds": "none" if folds is None else f"{folds.count} folds of spatial blocks of {folds.block_km:g} km",
        "locked": f"{int(folds.locked.sum())} of them, " if folds is not None and len(folds.locked) else "",
    }


def _prediction(run: Run) -> dict[str, Any]:
    """What is read, and what maps are made of."""
    config, region, spec, recipe = run.config, run.config.whole_region(), run.trained_model.ensemble.spec, run.data.recipe
    w, s, e, n = region.bounds
    lon, lat = region.grid.unproject(np.array([w, e, w, e]), np.array([s, s, n, n]))
    image_titles = [f"{recipe.title(m)[0]} ({len(spec.channels(m))} bands)" for m in (*spec.images, *spec.series)]
    year = ["year of the survey"] if "survey" in spec.modalities else []
    novelty = "no threshold: one block of training places"
    if np.isfinite(run.threshold):
        novelty = (
            f"threshold {run.threshold:.3f} of the dissimilarity index of inputs; habitats are masked beyond the area of"
            " applicability"
        )
    return {
        "title": config.title,
        "attribution": config.attribution,
        "area_m2": f"{config.predict.area_m2:g}",
        "map_year": config.predict.year,
        "extent": f"longitude {lon.min():.2f} to {lon.max():.2f}, latitude {lat.min():.2f} to {lat.max():.2f} degrees",
        "crs": region.grid.code,
        "predictor_types": ", ".join(k for k in dict.fromkeys(KINDS.get(s.layer, "") for s in config.sources) if k),
        "predictors": "; ".join([*spec.table_50m_names, *spec.table_1km_names, *image_titles, *year]),
        "sources": "; ".join(_source(x) for x in config.sources),
        "source_years": "; ".join(y for x in config.sources if (y := x.reference_years)),
        "resolutions": ", ".join(dict.fromkeys(x.resolution for x in recipe.inputs)),
        "note": f"; {config.note}" if config.note else "",
        "ranges": "; species with a range map are 0 outside of it" if config.species.ranges is not None else "",
        "novelty": novelty,
    }


def _alone(run: Run) -> bool:
    """Whether the model learned from records alone."""
    return run.trained_model.output_kind == RELATIVE


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _source(source: Source) -> str:
    facts = [text for text in (source.attribution, source.references, source.reference_years, source.license) if text]
    preset = INPUTS.get(source.layer)
    return f"{source.layer}: {', '.join(facts) or (preset and preset.references) or 'no source is named'}"
