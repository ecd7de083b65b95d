"""Writes the landscape as sources (what a builder may read) and, apart from them, as truth (what only tests may read)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.grid import CELL
from demo.coarse import (
    write_climate,
    write_elevation,
    write_footprint,
    write_landcover,
    write_landsat,
    write_soil,
    write_surface,
)
from demo.flora import AXES, Species
from demo.habitats import CODES, SCHEME
from demo.landscape import Landscape
from demo.noise import stream
from demo.scenes import write_scenes
from demo.surveys import presence_absence, presence_only, vegetation_plots

TITLES: Final = {  # of columns, where they are not those of `Species`
    "species_id": "speciesId",
    "name": "scientificName",
    "vernacular": "vernacularName",
    "growth_form": "growthForm",
    "sensitive_km": "sensitiveKm",
}


def _red_list(flora: list[Species], prevalence: NDArray[np.floating], seed: int) -> list[str]:
    """IUCN categories: the rarer, the more threatened; a few data deficient; aliens are of least concern."""
    rng = stream(seed, "red list")
    steps = np.array([0.0015, 0.004, 0.009, 0.018])
    names = np.array(["CR", "EN", "VU", "NT", "LC"])
    luck = prevalence * np.exp(rng.normal(0, 0.4, len(flora)))
    category = names[np.searchsorted(steps, luck)]
    category[rng.random(len(flora)) < 0.03] = "DD"
    category[[s.invasive for s in flora]] = "LC"
    return [str(c) for c in category]


def species_table(landscape: Landscape) -> pd.DataFrame:
    """One row a species: names, status, growth form, indicator values, the km its maps are blurred to."""
    flora, land = landscape.flora, landscape.site.land
    prevalence = np.array([p[land].mean(dtype=np.float64) for p in landscape.probability])
    table = pd.DataFrame([vars(s) for s in flora]).astype(dict.fromkeys(("invasive", "protected", "endemic"), int))
    table["iucn"] = _red_list(flora, prevalence, landscape.spec.seed)
    table[[*AXES]] = [s.ellenberg for s in flora]
    names = ["species_id", "name", "vernacular", "family", "iucn", "invasive", "protected", "endemic", "growth_form"]
    return table[[*names, *AXES, "sensitive_km"]].rename(columns=TITLES)


def _write_tables(landscape: Landscape, sources: Path) -> None:
    for name in ("PresenceAbsenceSurveys", "PresenceOnlyOccurrences"):
        (sources / "geoplant" / name).mkdir(parents=True, exist_ok=True)
    (sources / "vegetation").mkdir(parents=True, exist_ok=True)
    geoplant = sources / "geoplant"
    presence_absence(landscape).to_csv(geoplant / "PresenceAbsenceSurveys" / "PA_metadata_train.csv", index=False)
    presence_only(landscape).to_csv(geoplant / "PresenceOnlyOccurrences" / "PO_metadata_train.csv", index=False)
    species_table(landscape).to_csv(sources / "species.csv", index=False)
    plots, covers = vegetation_plots(landscape)
    plots.to_csv(sources / "vegetation" / "plots.csv", index=False)
    covers.to_csv(sources / "vegetation" / "plot_species.csv", index=False)
    SCHEME.to_csv(sources / "vegetation" / "habitats.csv", index=False)


def write_sources(landscape: Landscape, folder: Path, progress: Callable[[str], None] | None = None) -> None:
    """Write folder/sources: rasters in the projections they come in, scenes, surveys, records, plots."""
    sources = Path(folder) / "sources"
    steps: list[tuple[str, Callable[[Landscape, Path], None]]] = [
        ("surveys, records and plots", _write_tables),
        ("elevation", lambda land, path: write_elevation(land, path / "elevation")),
        ("climate", lambda land, path: write_climate(land, path / "climate")),
        ("soil", lambda land, path: write_soil(land, path / "soil")),
        ("land cover", lambda land, path: write_landcover(land, path / "landcover")),
        ("surface", lambda land, path: write_surface(land, path / "landcover")),
        ("human footprint", lambda land, path: write_footprint(land, path / "footprint")),
        ("Landsat series", lambda land, path: write_landsat(land, path / "landsat")),
        ("Sentinel-2 scenes", lambda land, path: write_scenes(land, path / "sentinel2")),
    ]
    for name, step in steps:
        if progress is not None:
            progress(name)
        step(landscape, sources)


def write_truth(landscape: Landscape, folder: Path) -> None:
    """Write the truth of the region (without margin) into `folder`: probabilities, habitats, drivers, grid.

    probability.npy (species, y, x) float16, on 100 m2 of land, 0 on water and sealed ground; habitat.npy
    (y, x) uint8, an index into grid.json's "habitats", 255 none; drivers.npz, (y, x) float32 each.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    region = landscape.domain.region
    spec, site = landscape.spec, landscape.site
    np.save(folder / "probability.npy", landscape.probability[(slice(None), *region)])
    np.save(folder / "habitat.npy", landscape.habitat[region])
    drivers = {name: site.values[k][region] for k, name in enumerate(AXES)}
    drivers |= {f"home_{k}": home[region] for k, home in enumerate(site.homes)}
    drivers["elevation"] = landscape.terrain.elevation[region]
    drivers["closure"] = landscape.land.closure[region]
    drivers["management"] = landscape.land.management[region]
    np.savez_compressed(folder / "drivers.npz", land=site.land[region], **drivers)
    facts = {
        "epsg": 3035,
        "west": spec.west_km * 1000,
        "north": (spec.south_km + spec.size_km) * 1000,
        "cell": CELL,
        "reference_area_m2": 100,
        "seed": spec.seed,
        "species": [s.name for s in landscape.flora],
        "species_id": [s.species_id for s in landscape.flora],
        "habitats": list(CODES),
    }
    (folder / "grid.json").write_text(json.dumps(facts, indent=1))
