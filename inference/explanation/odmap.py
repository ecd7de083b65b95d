"""The ODMAP protocol of a training (Zurell et al. 2020): Overview, Data, Model, Assessment, Prediction, from the run itself.

Elements are those of the protocol's published dictionary, in its order. What only a person can say is left open and named.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from cube.config import Config, Source
from cube.layers.inputs import INPUTS
from inference.data.dataset import Dataset
from inference.training.assembly import RELATIVE
from inference.training.fit import Trained

OPEN: Final = "(to be said by the authors)"
KINDS: Final = {"climate": "climatic", "bioclim": "climatic", "soil": "edaphic", "landcover": "habitat", "corine": "habitat",
                "elevation": "topographic", "terrain": "topographic", "srtm": "topographic", "footprint": "human pressure",
                "sentinel2": "spectral", "landsat": "spectral"}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """All that the protocol is filled from."""

    config: Config
    data: Dataset
    trained: Trained
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
    out = []
    for section, subsections in _document(run).items():
        for subsection, elements in subsections.items():
            out += [Element(section, subsection, name, value or OPEN) for name, value in elements.items()]
    return out


def write_protocol(folder: Path, run: Run) -> None:
    """`odmap.csv` (section, subsection, element, value) and `odmap.md`."""
    elements = protocol(run)
    pd.DataFrame([vars(e) for e in elements]).to_csv(folder / "odmap.csv", index=False)
    about = "Zurell et al. 2020, doi:10.1111/ecog.04960. Written by `floracube train`."
    lines = [f"# ODMAP protocol: {run.config.title}", "", about]
    section = subsection = ""
    for e in elements:
        if e.section != section:
            lines += ["", f"## {e.section}"]
        if (e.section, e.subsection) != (section, subsection):
            lines += ["", f"### {e.subsection}", ""]
        section, subsection = e.section, e.subsection
        lines.append(f"- **{e.element}**: {e.value}")
    (folder / "odmap.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _document(run: Run) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    return {"Overview": _overview(run), "Data": _data(run), "Model": _model(run), "Assessment": _assessment(run),
            "Prediction": _prediction(run)}  # fmt: skip


def _extent(run: Run) -> str:
    region = run.config.whole_region()
    w, s, e, n = region.bounds
    lon, lat = region.grid.unproject(np.array([w, e, w, e]), np.array([s, s, n, n]))
    return f"longitude {lon.min():.2f} to {lon.max():.2f}, latitude {lat.min():.2f} to {lat.max():.2f} degrees"


def _years(run: Run) -> str:
    year = run.data.surveys.year
    return f"{int(year.min())} to {int(year.max())}" if len(year) else "none"


def _predictors(run: Run) -> list[str]:
    spec, what = run.trained.ensemble.spec, run.data.recipe
    others = [f"{what.title(m)[0]} ({len(spec.channels(m))} bands)" for m in (*spec.images, *spec.series)]
    year = ["year of the survey"] if "survey" in spec.modalities else []
    return [*spec.static_names, *spec.coarse_names, *others, *year]


def _overview(run: Run) -> Mapping[str, Mapping[str, str]]:
    config, options, spec = run.config, run.trained.options, run.trained.ensemble.spec
    weights = sum(p.numel() for p in run.trained.ensemble.parameters())
    kinds = dict.fromkeys(KINDS.get(s.layer, "") for s in config.sources)
    records = f"; presence-only records, likelihood '{options.likelihood}'" if run.data.records is not None else ""
    return {
        "Authorship": {"Study title": config.title, "Author names": "", "Contact": "", "Study link": ""},
        "Model objective": {"Model objective": "Prediction and mapping",
                            "Target output": f"{run.trained.statement} of each species in a plot of"
                                             f" {config.predict.area_m2:g} m2; indicators and habitats from them"},
        "Focal Taxon": {"Focal Taxon": f"vascular plants, {len(run.trained.ensemble.species)} species"},
        "Location": {"Location": config.title},
        "Scale of Analysis": {"Spatial extent": _extent(run), "Spatial resolution": "0.05 km",
                              "Temporal extent": _years(run), "Temporal resolution": "year",
                              "Boundary": "rectangle"},
        "Biodiversity data": {"Observation type": "field survey" + ("; citizen science" if records else ""),
                              "Response data type": "presence/absence" + ("; presence-only" if records else "")},
        "Predictors": {"Predictor types": ", ".join(k for k in kinds if k)},
        "Hypotheses": {"Hypotheses": ""},
        "Assumptions": {"Model assumptions": "species are at equilibrium with the predictors; surveys list all species that are"
                                             " there; records tell which species was noted, given that one was"},
        "Algorithms": {"Modelling techniques": "joint deep species distribution model, one network for all species"
                                               f" ({', '.join(spec.modalities)})"
                                               f"{'' if _alone(run) else '; complementary log-log likelihood of surveys'}"
                                               f"{records}",
                       "Model complexity": f"embedding of {spec.d}, {weights:,} weights; a fixed number of steps",
                       "Model averaging": f"mean of {len(run.trained.ensemble.members)} networks"},
        "Workflow": {"Model workflow": "harmonised inputs at 50 m; training of networks that each leave out one fold of spatial"
                                       " blocks; calibration, intervals, area of applicability and skill by the blocks left out;"
                                       " dense prediction"},
        "Software": {"Software": f"floracube {_version('floracube')}, Python {platform.python_version()},"
                                 f" torch {_version('torch')}",
                     "Code availability": "", "Data availability": config.attribution},
    }  # fmt: skip


def _alone(run: Run) -> bool:
    """Whether the model learned from records alone."""
    return run.trained.statement == RELATIVE


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _remarks(run: Run) -> str:
    remarks = [
        f"{name}: {remark['count']}" for report in run.data.reports for name, remark in report.document()["remarks"].items()
    ]
    return "; ".join(remarks) or "nothing was left out"


def _source(source: Source) -> str:
    about = [text for text in (source.attribution, source.references, source.reference_years, source.license) if text]
    preset = INPUTS.get(source.layer)
    return f"{source.layer}: {', '.join(about) or (preset and preset.references) or 'no source is named'}"


def _data(run: Run) -> Mapping[str, Mapping[str, str]]:
    config, surveys, folds = run.config, run.data.surveys, run.trained.folds
    presence_counts = surveys.presence.sum(0)
    parts = "none" if folds is None else f"{folds.count} folds of spatial blocks of {folds.block_km:g} km"
    locked = f"{int(folds.locked.sum())} of them, " if folds is not None and len(folds.locked) else ""
    s = config.surveys
    origin = next((str(v) for v in (s.table, s.geoplant, s.darwin_core) if v), "none") if s is not None else "none"
    prevalence = "no survey"
    if len(surveys):
        prevalence = (
            f"presences per species {presence_counts.min()} to {presence_counts.max()}, median {np.median(presence_counts):g}"
        )
    per_year = f"; {len(run.data.records)} records" if run.data.records is not None else ""
    area = surveys.area_m2[np.isfinite(surveys.area_m2) & (surveys.area_m2 > 0)]
    areas = f"; plots of {area.min():g} to {area.max():g} m2, median {np.median(area):g}" if len(area) else ""
    extent = {"Spatial extent": _extent(run)}
    background, data = "none", f"{len(surveys)} surveys"
    if _alone(run) and run.data.records is not None:
        share, data = run.trained.options.recorded_sites, f"{len(run.data.records)} records"
        background = f"sites of which {share:.0%} are places of records of any species, the others drawn uniformly from the land"
    elif per_year:
        background = "none: species given record, so that effort cancels"
    return {
        "Biodiversity data": {
            "Taxon names": "species.csv of the model folder", "Taxonomic reference system": "names as the tables give them",
            "Ecological level": "species, communities", "Data sources": f"{origin}{per_year}",
            "Sampling design": "",
            "Sample size": f"{len(surveys)} surveys at {len(np.unique(surveys.place))} places; {prevalence}{areas}",
            "Clipping": "region of the configuration; surveys on water left out", "Scaling": "a survey stands for its 50 m cell;"
            " surveys of one place share the weight of one", "Cleaning": _remarks(run),
            "Absence data": "species that a survey does not list" if len(surveys) else "none",
            "Background data": background,
            "Errors and biases": "areas that are unknown take the median; reporting rates of species are estimated" if per_year
            else "areas that are unknown take the median"},
        "Data partitioning": {"Training data": f"all {data}, {parts}; a member leaves one fold out",
                              "Validation data": f"{data}, each by the member that did not learn from its fold",
                              "Test data": f"{locked}those in locked blocks, by `evaluate --locked`"},
        "Predictor variables": {"Predictor variables": "; ".join(_predictors(run)),
                                "Data sources": "; ".join(_source(x) for x in config.sources), **extent,
                                "Spatial resolution": ", ".join(dict.fromkeys(x.resolution for x in run.data.recipe.inputs))
                                                      + f" as stored{'; ' + config.note if config.note else ''}",
                                "Coordinate reference system": config.whole_region().grid.code,
                                "Temporal extent": "; ".join(y for x in config.sources if (y := x.reference_years)),
                                "Temporal resolution": "climate by month, Landsat by quarter, others static",
                                "Data processing": "exact averages down, bilinear up, majority for classes; scaled by mean and"
                                                   " standard deviation of the training places, clipped at 4",
                                "Errors and biases": "", "Dimension reduction": "by the network's own embedding"},
        "Transfer data": {"Data sources": "as the predictors", **extent, "Spatial resolution": "0.05 km",
                          "Temporal extent": str(config.predict.year), "Temporal resolution": "one year",
                          "Models and scenarios": "none", "Data processing": "as the predictors",
                          "Quantification of Novelty": "dissimilarity index (Meyer and Pebesma 2021), layer"
                                                       " indicators.applicability"},
    }  # fmt: skip


def _model(run: Run) -> Mapping[str, Mapping[str, str]]:
    options, metrics = run.trained.options, run.trained.metrics
    chosen = f"size of the network, {1 + len(options.search)} candidates by log loss on open blocks; " if options.search else ""
    calibration = "none: intensities are relative"
    if not _alone(run):
        slope, pooling = metrics.get("calibration_slope", 1.0), metrics.get("calibration_pooling", 0.0)
        calibration = f"slope {slope:.3f}, pooling {pooling:g} (0: left as they are), by the out-of-fold scores"
    matter = [f"{r['modality']} {r['more_log_loss']:+.4f}" for r in run.importance if not r["channel"]]
    return {
        "Variable pre-selection": {"Variable pre-selection": "all inputs that the cube holds and the configuration asks for"},
        "Multicollinearity": {"Multicollinearity": "not removed; noise on coarse columns, weight decay and dropout regularise"},
        "Model settings": {"Model settings (fitting)": ", ".join(f"{k}={v}" for k, v in vars(options).items()),
                           "Model settings (extrapolation)": "inputs are clipped at 4 standard deviations of training places"},
        "Model estimates": {"Coefficients": "not interpreted",
                            "Parameter uncertainty": "spread between members, layer indicators.spread",
                            "Variable importance": "more log loss on blocks left out when permuted: " + ", ".join(matter)},
        "Model selection - model averaging - ensembles": {
            "Model selection": chosen + "the number of steps is fixed",
            "Model averaging": "equal weights", "Model ensembles": f"{len(run.trained.ensemble.members)} trainings, each without"
                                                                   " one fold of the blocks"},
        "Analysis and Correction of non-independence": {
            "Spatial autocorrelation": "folds of spatial blocks for calibration, intervals and skill",
            "Temporal autocorrelation": "the year is an input",
            "Nested data": "surveys of one place weigh one over their number"},
        "Threshold selection": {"Threshold selection": "a cell's set are the K most probable species of highest expected F1"},
        "Calibration": {"Probabilities": calibration},
    }  # fmt: skip


def _assessment(run: Run) -> Mapping[str, Mapping[str, str]]:
    metrics = run.trained.metrics
    named = {"auc": "mean AUC of species within folds", "auc_against_background": "mean AUC of records against background"}
    auc = next((f"{words} {metrics[name]:.3f}" for name, words in named.items() if name in metrics), "none")
    return {
        "Performance statistics": {"Performance on training data": "not reported",
                                   "Performance on validation data": f"{auc}, on open blocks, by the members without the fold",
                                   "Performance on test data": "see `floracube evaluate --locked`"},
        "Plausibility check": {"Response shapes": "explanation/response_*.png and responses.csv of the model folder",
                               "Expert judgement": ""},
    }  # fmt: skip


def _prediction(run: Run) -> Mapping[str, Mapping[str, str]]:
    config = run.config
    cut = "; species with a range map are 0 outside of it" if config.species.ranges is not None else ""
    novel = (f"threshold {run.threshold:.3f} of the dissimilarity index of inputs; habitats are masked beyond the area of"
             " applicability" if np.isfinite(run.threshold) else "no threshold: one block of training places")  # fmt: skip
    return {
        "Prediction output": {"Prediction unit": f"{run.trained.statement} in a plot of {config.predict.area_m2:g} m2, year"
                                                 f" {config.predict.year}, of each 50 m cell of land",
                              "Post-processing": f"sensitive species are averaged over 1 or 10 km{cut}"},
        "Uncertainty quantification": {"Algorithmic uncertainty": "spread between members", "Input data uncertainty": "",
                                       "Parameter uncertainty": "spread between members; intervals of indicators, out of fold",
                                       "Scenario uncertainty": "none", "Novel environments": novel},
    }  # fmt: skip
