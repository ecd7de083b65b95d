"""The demo's first step: a landscape's sources on disk and the configuration that the other commands then read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console

from cube.errors import ConfigError
from cube.layers.inputs import CLIMATE_VARIABLES, LANDSAT_BANDS, SOIL_VARIABLES
from demo.landscape import LandscapeSpec, make_landscape
from demo.regions import write_regions
from demo.sources import write_sources, write_truth

TITLES: Final = ("sources -> inputs", "surveys and plots -> models", "inputs -> species, indicators, habitats")


def run_steps(out: Path, spec: LandscapeSpec, steps: Iterable[Callable[[Path], None]], terminal: Console) -> Path:
    """Write the landscape and its configuration into `out` and build, train and predict by the latter; returns its path."""
    config = prepare(out, spec, lambda text: terminal.print(f"landscape: {text}", highlight=False))
    for step, title in zip(steps, TITLES, strict=True):
        terminal.rule(f"[bold]{step.__name__}[/]: {title}")
        step(config)
    return config


def prepare(out: Path, spec: LandscapeSpec, say: Callable[[str], None]) -> Path:
    """Write `out`/sources, `out`/truth and `out`/config.yaml; returns the path of the configuration.

    A landscape of the same sizes and seed that is there already is left as it is. Raises `ConfigError` for a place that
    cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: the demo cannot be written there ({error.strerror}); choose another --out.") from None
    marker, fields = out / "landscape.json", asdict(spec)
    config = out / "config.yaml"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == fields:
        say("is there already")
    else:
        marker.unlink(missing_ok=True)
        say(f"{spec.size_km} x {spec.size_km} km, {spec.n_species} species, seed {spec.seed}")
        landscape = make_landscape(spec)
        write_sources(landscape, out, say)
        write_truth(landscape, out / "truth")
        write_regions(landscape.domain, out)
        marker.write_text(json.dumps(fields) + "\n", encoding="utf-8")
    config.write_text(yaml.safe_dump(configuration(spec), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return config


def configuration(spec: LandscapeSpec) -> dict[str, Any]:
    """The configuration of a landscape, every source named as a user would name a real one."""
    s = "sources"
    return {
        "title": "Demo landscape",
        "cube": "cube.zarr",
        "model": "model",
        "reports": "reports",
        "note": "A generated landscape: place, plants and satellites are invented, the truth is known.",
        "attribution": "floracube demo",
        "license": "CC0-1.0",
        "region": {
            "west_km": spec.west_km,
            "south_km": spec.south_km,
            "east_km": spec.west_km + spec.size_km,
            "north_km": spec.south_km + spec.size_km,
        },
        "unit_km": 10,
        "sources": [
            {
                "layer": "sentinel2",
                "stac": {
                    "catalog": f"{s}/sentinel2/catalog.json",
                    "start": "2019-01-01",
                    "end": "2024-12-31",
                    "months": [5, 6, 7, 8, 9],
                    "gaps": "accept",
                },
            },
            {"layer": "landsat", "raster": {b: f"{s}/landsat/{b}.tif" for b in LANDSAT_BANDS}, "stored": True},
            {
                "layer": "elevation",
                "raster": f"{s}/elevation/dem.tif",
                "derive": ["topographic_position_500m", "slope", "northness", "eastness"],
            },
            {"layer": "climate", "raster": {v: f"{s}/climate/{v}.tif" for v in CLIMATE_VARIABLES}},
            {"layer": "bioclim", "raster": f"{s}/climate/bioclim.tif"},
            {"layer": "soil", "raster": {v: f"{s}/soil/{v}.tif" for v in SOIL_VARIABLES}},
            {"layer": "landcover", "raster": f"{s}/landcover/mcd12q1.tif"},
            {"layer": "footprint", "raster": {v: f"{s}/footprint/{v}.tif" for v in ("hfp1993", "hfp2009")}},
            {"layer": "surface", "raster": f"{s}/landcover/surface.tif"},
        ],
        "surveys": {
            "table": f"{s}/geoplant/PresenceAbsenceSurveys/PA_metadata_train.csv",
            "columns": {
                "survey": "surveyId",
                "longitude": "lon",
                "latitude": "lat",
                "year": "year",
                "area_m2": "areaInM2",
                "species_id": "speciesId",
            },
        },
        "species": {
            "min_records": 5,
            "table": {"table": f"{s}/species.csv", "id": "speciesId", "name": "scientificName"},
            "traits": [
                {
                    "table": f"{s}/species.csv",
                    "name": "scientificName",
                    "columns": {
                        "vernacular_name": "vernacularName",
                        "family": "family",
                        "iucn": "iucn",
                        "invasive": "invasive",
                        "protected": "protected",
                        "endemic": "endemic",
                        "growth_form": "growthForm",
                        "sensitive_km": "sensitiveKm",
                        **{f"ellenberg_{k}": k for k in ("light", "temperature", "moisture", "reaction", "nutrients")},
                    },
                }
            ],
        },
        "habitats": {
            "title": "EUNIS habitat",
            "level": "level3",
            "scheme": f"{s}/vegetation/habitats.csv",
            "plots": {
                "table": f"{s}/vegetation/plots.csv",
                "occurrences": f"{s}/vegetation/plot_species.csv",
                "columns": {
                    "survey": "PlotObservationID",
                    "longitude": "Longitude",
                    "latitude": "Latitude",
                    "habitat": "Habitat",
                    "species": "Species",
                    "cover": "Cover",
                },
            },
            "options": {"mask_epochs": 2, "epochs": 5, "batch": 32, "learning_rate": 2e-3, "folds": 0},
        },
        "train": {"members": 3, "least_steps": 150, "epochs": 1},
        "evaluate": {"truth": "truth", "options": {"threads": 2}},
        "predict": {"year": 2020, "area_m2": 100.0},
    }
