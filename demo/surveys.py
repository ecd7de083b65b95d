"""What botanists write down: surveys of plots, biased chance records, vegetation plots with covers and habitats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.grid import CELL, EUROPE
from demo.flora import reporting_rates
from demo.habitats import CODES, NONE
from demo.landscape import Landscape
from demo.noise import Field, patches, standardise, stream

AREA_EXPONENT: Final = 0.2  # sightings scale with (area / 100 m2) to this power, on the cloglog
HOME_RANGE_M: Final = 4_000.0  # standard deviation of where an observer goes
KNOWN_SHARE: Final = 0.5  # share of the flora that an observer knows
LOGARITHMIC_M2: Final = 10.0
AREAS: Final = (1.0, 4.0, 10.0, 16.0, 25.0, 50.0, 100.0, 200.0, 400.0)
AREA_WEIGHTS: Final = (0.04, 0.08, 0.1, 0.13, 0.15, 0.14, 0.18, 0.1, 0.08)
REPEATED: Final = 0.12  # share of surveys made at the place of an earlier one
EFFORT_ELEVATION: Final = -0.6
GREGARIOUS: Final = {"tree": 45.0, "shrub": 14.0, "dwarf shrub": 22.0, "graminoid": 13.0}


@dataclass(frozen=True)
class Places:
    """Points on land in the region: cells of the domain's 50 m array and exact positions."""

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    x: NDArray[np.float64]  # m, EPSG:3035
    y: NDArray[np.float64]


def _places(landscape: Landscape, cells: NDArray[np.int64], rng: np.random.Generator) -> Places:
    domain = landscape.domain
    row, col = np.unravel_index(cells, domain.shape)
    off = rng.uniform(0.02, 0.98, (2, cells.size)) * CELL
    x = domain.west + col * CELL + off[0]
    y = domain.north - row * CELL - off[1]
    return Places(row.astype(np.int64), col.astype(np.int64), x, y)


def _open_ground(landscape: Landscape) -> NDArray[np.bool_]:
    """Cells on land inside the region (y, x)."""
    mask = np.zeros(landscape.domain.shape, bool)
    mask[landscape.domain.region] = True
    return mask & landscape.site.land


def sighting(probability: NDArray[np.floating], area: NDArray[np.floating], logarithmic: bool = False) -> NDArray[np.float64]:
    """Probability of a species on `area` m2, given that on 100 m2.

    The rate (cloglog) grows with the area to the power AREA_EXPONENT, or with log(1 + area / LOGARITHMIC_M2).
    """
    rate = -np.log1p(-np.minimum(probability.astype(np.float64), 0.9995))
    if logarithmic:
        return np.asarray(-np.expm1(-rate * np.log1p(area / LOGARITHMIC_M2) / np.log1p(100.0 / LOGARITHMIC_M2)))
    return np.asarray(-np.expm1(-rate * (area / 100.0) ** AREA_EXPONENT))


def _survey_cells(landscape: Landscape, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Cells of surveys: rare formations are sought out, fields and plain forest less so."""
    open_ground = _open_ground(landscape)
    habitat = landscape.habitat
    frequency = np.bincount(habitat[open_ground], minlength=256).astype(float)
    weight = np.where(open_ground, (frequency[habitat] + 1) ** -0.6, 0).ravel()
    return np.asarray(rng.choice(weight.size, count, p=weight / weight.sum()))


def presence_absence(landscape: Landscape) -> pd.DataFrame:
    """GeoPlant-shaped PA table: one row a species and survey, honest draws from the truth."""
    spec = landscape.spec
    rng = stream(spec.seed, "surveys")
    cells = _survey_cells(landscape, spec.n_surveys, rng)
    places = _places(landscape, cells, rng)
    x, y = places.x.copy(), places.y.copy()
    repeat_surveys = np.flatnonzero(rng.random(spec.n_surveys) < REPEATED)
    repeat_surveys = repeat_surveys[repeat_surveys > 0]
    origin = rng.integers(0, repeat_surveys) if repeat_surveys.size else repeat_surveys
    cells, year = cells.copy(), rng.integers(2005, 2022, spec.n_surveys)
    for i, j in zip(repeat_surveys, origin, strict=True):
        cells[i], x[i], y[i] = cells[j], x[j], y[j]
        year[i] = min(year[j] + int(rng.integers(1, 9)), 2022)
    area = rng.choice(AREAS, spec.n_surveys, p=AREA_WEIGHTS)
    row, col = np.unravel_index(cells, landscape.domain.shape)
    p = landscape.probability[:, row, col]
    present = rng.random(p.shape) < sighting(p, area, spec.observed.logarithmic_area)
    lon, lat = EUROPE.unproject(x, y)
    area_text = area.astype(float)
    missing_draw = rng.random(spec.n_surveys)
    area_text[missing_draw < 0.04] = np.nan
    area_text[missing_draw > 0.985] = -np.inf
    which, survey = np.nonzero(present)
    order = np.lexsort((which, survey))
    which, survey = which[order], survey[order]
    ids = rng.permutation(np.arange(10 * spec.n_surveys))[: spec.n_surveys] + 100
    species = np.array([s.species_id for s in landscape.flora])
    uncertainty = rng.choice([2.0, 5.0, 10.0, 25.0], spec.n_surveys)
    return pd.DataFrame(
        {
            "lon": np.round(lon[survey], 6),
            "lat": np.round(lat[survey], 6),
            "year": year[survey],
            "geoUncertaintyInM": uncertainty[survey],
            "areaInM2": area_text[survey],
            "region": "ALPINE",
            "country": "Landscape",
            "speciesId": species[which].astype(float),
            "surveyId": ids[survey],
        }
    )


def effort(landscape: Landscape) -> Field:
    """Sampling effort per cell (y, x), positive: its logarithm falls with elevation, the rest is hidden."""
    rng = stream(landscape.spec.seed, "effort")
    shape, part = landscape.domain.shape, _open_ground(landscape)
    height = standardise(landscape.terrain.elevation, part)
    near = -standardise(np.log(landscape.land.village_distance + 100), part)
    hidden = standardise(0.8 * patches(shape, 45, rng) + 0.35 * near + 0.3 * patches(shape, 14, rng), part)
    slope = float((height[part] * hidden[part]).mean())
    hidden = standardise(hidden - slope * height, part)
    log = EFFORT_ELEVATION * height + np.sqrt(1 - EFFORT_ELEVATION**2) * hidden
    return np.where(part, np.exp(1.1 * log), 0).astype(np.float32)


@dataclass(frozen=True)
class Recorders:
    """People of one kind: where they go, what they write down of what grows there, and how many of the records are theirs."""

    effort: NDArray[np.float64]  # (cells)
    rate: NDArray[np.float64]  # (S,)
    share: float


def _recorders(
    landscape: Landscape,
    effort: NDArray[np.float64],
    cells: NDArray[np.int64],
    rarity: NDArray[np.float64],
    commonness: NDArray[np.float64],
) -> list[Recorders]:
    """Who writes records: everybody alike, or experts beside them, each of them split into observers.

    `rarity` (cells): how much of what is rare grows at a cell, mean 1; `commonness` (S,): mean intensity of each species.
    """
    spec, how = landscape.spec, landscape.spec.observed
    rate = reporting_rates(landscape.flora, spec.seed, how.rate_sd, how.family_share)
    kinds = [Recorders(effort, rate, 1 - how.experts)]
    if how.experts:
        kinds.append(Recorders(effort**0.3 * rarity, rate / np.sqrt(np.maximum(commonness, 1e-6)), how.experts))
    if not how.observers:
        return kinds
    rng = stream(spec.seed, "observers")
    row, col = np.unravel_index(cells, landscape.domain.shape)
    out = []
    for kind in kinds:
        for home in rng.choice(len(cells), how.observers, p=kind.effort / kind.effort.sum()):
            distance = np.hypot(row - row[home], col - col[home]) * CELL / HOME_RANGE_M
            species_known_to = rng.random(len(rate)) < KNOWN_SHARE
            species_known_to[rng.integers(len(rate))] = True
            out.append(
                Recorders(kind.effort * np.exp(-0.5 * distance**2), kind.rate * species_known_to, kind.share / how.observers)
            )
    return out


def recorded(landscape: Landscape, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(cell (n,) of each record, species (n,)): who goes where, and what they write down there (`observation`)."""
    spec, how = landscape.spec, landscape.spec.observed
    weight = effort(landscape).ravel().astype(np.float64)
    open_cells = np.flatnonzero(weight)
    p = landscape.probability.reshape(len(landscape.flora), -1)[:, open_cells].astype(np.float32)
    rates = -np.log1p(-np.minimum(p, np.float32(0.9995)))
    commonness = rates.mean(1, dtype=np.float64)
    rare = (rates / np.maximum(commonness, 1e-6)[:, None].astype(np.float32)).mean(0, dtype=np.float64)
    people = _recorders(landscape, weight[open_cells], open_cells, rare / rare.mean(), commonness)
    counts = np.diff(np.rint(np.cumsum([0.0, *(kind.share for kind in people)]) * spec.n_records).astype(int))
    cells, species = [], []
    for kind, count in zip(people, counts, strict=True):
        intensity = rates * kind.rate[:, None].astype(np.float32)
        total = intensity.sum(0, dtype=np.float64) * kind.effort
        if how.checklist > 1:
            at, which = _checklists(intensity, total, int(count), how.checklist, rng)
        else:
            at = rng.choice(open_cells.size, count, p=total / total.sum())
            share = np.cumsum(intensity[:, at], axis=0, dtype=np.float64)
            which = (share < rng.random(count) * share[-1]).sum(0).clip(0, len(rates) - 1)
        cells.append(open_cells[at])
        species.append(which)
    return np.concatenate(cells), _misnamed(landscape, np.concatenate(species))


def _checklists(
    intensity: NDArray[np.float32], total: NDArray[np.float64], count: int, mean: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(positions (n,), species (n,)) of `count` records, in visits of about `mean` different species each."""
    at, which, records_left = [], [], count
    while records_left > 0:
        visit = int(rng.choice(len(total), p=total / total.sum()))
        visit_intensity = intensity[:, visit].astype(np.float64)
        size = min(1 + int(rng.poisson(mean - 1)), records_left, int((visit_intensity > 0).sum()))
        visits = rng.choice(len(visit_intensity), size, replace=False, p=visit_intensity / visit_intensity.sum())
        at.append(np.full(size, visit))
        which.append(visits)
        records_left -= size
    return (np.concatenate(at), np.concatenate(which)) if at else (np.zeros(0, np.int64), np.zeros(0, np.int64))


def _misnamed(landscape: Landscape, species: NDArray[np.int64]) -> NDArray[np.int64]:
    """The species (n,) as written: some as another of their family (of all, where a family has one species)."""
    rng = stream(landscape.spec.seed, "names")
    family = np.array([s.family for s in landscape.flora])
    recorded_species = species.copy()
    for i in np.flatnonzero(rng.random(len(species)) < landscape.spec.observed.misidentified):
        relatives = np.flatnonzero((family == family[species[i]]) & (np.arange(len(family)) != species[i]))
        recorded_species[i] = rng.choice(relatives if len(relatives) else len(family))
    return recorded_species


def presence_only(landscape: Landscape) -> pd.DataFrame:
    """GeoPlant-shaped PO table: where people go, and what they find worth reporting."""
    spec = landscape.spec
    rng = stream(spec.seed, "records")
    cells, which = recorded(landscape, rng)
    places = _places(landscape, cells, rng)
    fuzzy = np.minimum(np.exp(rng.normal(2.6, 1.0, spec.n_records)), 100.0)
    turn = rng.uniform(0, 2 * np.pi, spec.n_records)
    blur = np.where(fuzzy > 25, 0.4 * fuzzy, 0.0)
    region = landscape.domain.region
    west = landscape.domain.west + region[1].start * CELL
    north = landscape.domain.north - region[0].start * CELL
    side = spec.size_km * 1000
    x = np.clip(places.x + blur * np.cos(turn), west + 1, west + side - 1)
    y = np.clip(places.y + blur * np.sin(turn), north - side + 1, north - 1)
    lon, lat = EUROPE.unproject(x, y)
    year = rng.integers(2017, 2022, spec.n_records)
    day = np.clip(rng.normal(172, 38, spec.n_records), 60, 320).astype(int)
    date = pd.to_datetime(year.astype(str)) + pd.to_timedelta(day - 1, unit="D")
    publisher = np.array(["Citizen portal", "National herbarium", "Plant app"])
    ids = np.array([s.species_id for s in landscape.flora])
    return pd.DataFrame(
        {
            "surveyId": np.arange(spec.n_records) + 3_000_000,
            "publisher": publisher[rng.choice(3, spec.n_records, p=[0.35, 0.1, 0.55])],
            "year": year,
            "month": date.month,
            "day": date.day,
            "lat": np.round(lat, 6),
            "lon": np.round(lon, 6),
            "geoUncertaintyInM": np.round(fuzzy, 1),
            "taxonRank": "SPECIES",
            "date": date.strftime("%Y-%m-%d"),
            "dayOfYear": day,
            "speciesId": ids[which],
        }
    )


def vegetation_plots(landscape: Landscape) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Plots with their habitat, and the covers (percent, layers overlap) of the species in them."""
    spec = landscape.spec
    rng = stream(spec.seed, "plots")
    cells = _survey_cells(landscape, spec.n_plots, rng)
    places = _places(landscape, cells, rng)
    habitat = landscape.habitat.ravel()[cells]
    if (habitat == NONE).any():
        raise AssertionError("a plot fell on ground without a habitat")
    area = rng.choice([10.0, 16.0, 25.0, 100.0, 200.0], spec.n_plots)
    p = landscape.probability[:, places.row, places.col].astype(np.float64)
    present = rng.random(p.shape) < sighting(p, area, spec.observed.logarithmic_area)
    usual = np.array([GREGARIOUS.get(s.growth_form, 5.0) for s in landscape.flora])
    vigour = np.log(usual)[:, None] + 0.9 * np.log(p + 0.02) + rng.normal(0, 0.8, p.shape) + 0.5
    cover = np.clip(np.exp(vigour), 0.1, 95)
    lon, lat = EUROPE.unproject(places.x, places.y)
    present_species = present.any(0)
    number = np.arange(1, spec.n_plots + 1)
    plots = pd.DataFrame(
        {
            "PlotObservationID": number,
            "Habitat": np.array(CODES)[habitat],
            "Longitude": np.round(lon, 6),
            "Latitude": np.round(lat, 6),
            "Year": rng.integers(1990, 2022, spec.n_plots),
            "Area": area,
        }
    ).loc[pd.Series(present_species)]
    which, plot = np.nonzero(present)
    order = np.lexsort((-cover[which, plot], plot))
    which, plot = which[order], plot[order]
    rows = pd.DataFrame(
        {
            "PlotObservationID": number[plot],
            "Species": np.array([s.name for s in landscape.flora])[which],
            "Cover": np.round(cover[which, plot], 1),
        }
    )
    return plots, rows
