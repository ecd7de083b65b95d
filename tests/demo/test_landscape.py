"""The landscape keeps its promises: the same by seed, and honest in every number that its users rely on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cube.errors import ConfigError
from cube.grid import EUROPE
from demo import landuse as lu
from demo.flora import reporting_rates
from demo.landscape import Landscape, LandscapeSpec, make_landscape
from demo.observation import OBSERVATIONS
from demo.surveys import _open_ground, effort, presence_absence, presence_only, recorded, sighting
from demo.vegetation import logits

SMALL = LandscapeSpec(size_km=4, n_species=12, margin_km=2, n_surveys=60, n_records=200, n_plots=50, n_scenes=2)


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    """The default landscape: what the demo shows and what skill is measured on."""
    return make_landscape(LandscapeSpec())


def explained(driver: NDArray[np.floating], p: NDArray[np.floating], bins: int = 400) -> float:
    """Correlation of `p` with its mean given `driver`: what perfect knowledge of the driver reaches."""
    rank = np.argsort(np.argsort(driver)) * bins // driver.size
    mean = np.bincount(rank, p) / np.bincount(rank)
    return float(np.corrcoef(mean[rank], p)[0, 1])


@pytest.mark.slow
def test_same_seed_gives_same_landscape_and_another_seed_another() -> None:
    one, two = make_landscape(SMALL), make_landscape(SMALL)
    assert np.array_equal(one.probability, two.probability)
    assert np.array_equal(one.land.cover, two.land.cover)
    assert presence_absence(one).equals(presence_absence(two))
    assert presence_only(one).equals(presence_only(two))
    other = make_landscape(LandscapeSpec(**{**SMALL.__dict__, "seed": 21}))
    assert not np.array_equal(one.terrain.elevation, other.terrain.elevation)


@pytest.mark.slow
def test_prevalences_and_richness_are_those_of_real_vegetation(landscape: Landscape) -> None:
    land = landscape.site.land
    prevalence = np.array([p[land].mean(dtype=np.float64) for p in landscape.probability])
    assert 0.02 <= np.median(prevalence) <= 0.06
    assert (prevalence < 0.005).mean() >= 0.10
    assert 15 <= prevalence.sum() <= 30


@pytest.mark.slow
def test_unseen_field_carries_thirty_percent_and_an_oracle_stays_below_certainty(
    landscape: Landscape,
) -> None:
    land, seed = landscape.site.land, landscape.spec.seed
    shares, skill = [], []
    each = logits(landscape.flora, landscape.domain, landscape.site, seed)
    for p, (_, seen, hidden) in zip(landscape.probability, each, strict=True):
        shares.append(hidden[land].var() / (seen + hidden)[land].var())
        skill.append(explained(seen[land], p[land].astype(np.float32)))
    assert np.mean(shares) == pytest.approx(0.30, abs=0.02)
    assert min(shares) > 0.22
    assert max(shares) < 0.38
    assert 0.75 <= np.mean(skill) <= 0.90


def test_responses_are_not_of_a_linear_shape(landscape: Landscape) -> None:
    """A logit linear in the site values leaves much of the seen part unexplained."""
    land = landscape.site.land
    rng = np.random.default_rng(0)
    cells = rng.permutation(np.flatnonzero(land.ravel()))[:4_000]
    x = landscape.site.values.reshape(5, -1)[:, cells].T
    design = np.column_stack([np.ones(len(cells)), x])
    left = []
    for _, seen, _ in logits(landscape.flora[:30], landscape.domain, landscape.site, 20):
        y = seen.ravel()[cells]
        fit = design @ np.linalg.lstsq(design, y, rcond=None)[0]
        left.append(1 - fit.var() / y.var())
    assert np.median(left) > 0.25


def test_management_is_seen_by_the_satellite_only(landscape: Landscape) -> None:
    """Within meadows, management follows from no mapped driver but shifts the plants' niches."""
    meadow = (landscape.land.share[lu.MEADOW] > 0.9) & landscape.site.land
    mapped = np.stack(
        [
            landscape.terrain.elevation,
            landscape.terrain.slope,
            landscape.terrain.wetness,
            landscape.soil.ph,
            landscape.climate.growing_temperature,
        ]
    )[:, meadow]
    design = np.column_stack([np.ones(mapped.shape[1]), mapped.T]).astype(np.float64)
    y = landscape.land.management[meadow]
    fit = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    assert fit.var() / y.var() < 0.2
    shift = [
        abs(np.corrcoef(y, p[meadow].astype(np.float32))[0, 1])
        for p, s in zip(landscape.probability, landscape.flora, strict=True)
        if s.homes[0] in "GD"
    ]
    assert np.mean(shift) > 0.15


def test_effort_falls_with_elevation_and_keeps_a_hidden_part(landscape: Landscape) -> None:
    part = _open_ground(landscape)
    log = np.log(effort(landscape)[part])
    r = np.corrcoef(log, landscape.terrain.elevation[part])[0, 1]
    assert r == pytest.approx(-0.6, abs=0.03)


def test_reporting_rates_have_log_sd_one_and_lean_on_families(landscape: Landscape) -> None:
    log = np.log(reporting_rates(landscape.flora, landscape.spec.seed))
    assert log.std() == pytest.approx(1.0, abs=0.01)
    family = np.array([s.family for s in landscape.flora])
    large = [f for f in np.unique(family) if (family == f).sum() >= 4]
    within = np.mean([log[family == f].var() for f in large])
    assert within < 0.85


def test_surveys_are_honest_draws(landscape: Landscape) -> None:
    """Sightings per species over all surveys agree with the truth at the surveyed places."""
    spec = landscape.spec
    table = presence_absence(landscape)
    surveys = table.drop_duplicates("surveyId")
    assert len(surveys) > 0.99 * spec.n_surveys
    assert surveys.areaInM2.isna().any()
    assert np.isneginf(surveys.areaInM2).any()
    usual = surveys[np.isfinite(surveys.areaInM2)]
    x, y = EUROPE.project(usual.lon.to_numpy(), usual.lat.to_numpy())
    col = ((x - landscape.domain.west) // 50).astype(int)
    row = ((landscape.domain.north - y) // 50).astype(int)
    expected = sighting(landscape.probability[:, row, col], usual.areaInM2.to_numpy()).sum(1)
    seen = table[table.surveyId.isin(usual.surveyId)].groupby("speciesId").size()
    counts = np.array([seen.get(float(s.species_id), 0) for s in landscape.flora])
    z = (counts - expected) / np.sqrt(expected + 1)
    assert abs(z.mean()) < 0.4
    assert np.abs(z).max() < 5


def test_sightings_scale_with_area() -> None:
    p = np.array([0.1, 0.4])
    assert sighting(p, np.array([100.0, 100.0])) == pytest.approx(p)
    double = sighting(p, np.array([400.0, 400.0]))
    assert double == pytest.approx(1 - (1 - p) ** 4**0.2)


@pytest.fixture(scope="module")
def small() -> Landscape:
    return make_landscape(replace(SMALL, n_species=40, n_records=2_000))


def observed(small: Landscape, observation: str) -> pd.DataFrame:
    return presence_only(replace(small, spec=replace(small.spec, observation=observation)))


def test_experts_write_down_rarer_species(small: Landscape) -> None:
    common = {s.species_id: float(p.mean(dtype=np.float64)) for s, p in zip(small.flora, small.probability, strict=True)}
    usual, expert = (np.mean([np.log(common[i]) for i in observed(small, name).speciesId]) for name in ("assumed", "experts"))
    assert expert < usual - 0.1


def test_observers_have_places_and_species_of_their_own(small: Landscape) -> None:
    def variation(table: pd.DataFrame) -> float:
        """How much the share of each species among the records varies between quarters of the region."""
        quarter = 2 * (table.lon > table.lon.median()) + (table.lat > table.lat.median())
        counts = pd.crosstab(quarter, table.speciesId, normalize="index")
        return float(counts.std().sum())

    assert variation(observed(small, "observers")) > 1.2 * variation(observed(small, "assumed"))


def test_a_checklist_leaves_several_records_of_different_species_at_one_place(small: Landscape) -> None:
    rows, species = recorded(replace(small, spec=replace(small.spec, observation="checklists")), np.random.default_rng(0))
    assert len(rows) == small.spec.n_records
    change = np.flatnonzero(np.diff(rows)) + 1
    visits = np.split(species, change)
    assert 7 < np.mean([len(v) for v in visits]) < 13
    assert sum(len(set(v)) == len(v) for v in visits) > 0.97 * len(visits)  # but for a place that was visited twice in a row


def test_a_tenth_of_the_records_names_another_species_of_the_family(small: Landscape) -> None:
    right, written = observed(small, "assumed").speciesId.to_numpy(), observed(small, "misidentified").speciesId.to_numpy()
    wrong = right != written
    assert wrong.mean() == pytest.approx(0.1, abs=0.03)
    family = {s.species_id: s.family for s in small.flora}
    sizes = pd.Series(family).value_counts()
    several = np.array([sizes[family[i]] > 1 for i in right])
    assert all(family[a] == family[b] for a, b in zip(right[wrong & several], written[wrong & several], strict=True))


def test_area_and_families_may_follow_another_law_than_the_models(small: Landscape) -> None:
    p = np.array([0.1])
    assert sighting(p, np.array([100.0]), logarithmic=True) == pytest.approx(p)
    power, logarithmic = (-np.log1p(-sighting(p, np.array([1.0]), law)) / -np.log1p(-p) for law in (False, True))
    assert logarithmic < 0.2 * power
    how = OBSERVATIONS["families"]
    assert np.log(reporting_rates(small.flora, 20, how.rate_sd, how.family_share)).std() == pytest.approx(2.0, abs=0.01)


def test_a_wrong_size_is_named() -> None:
    with pytest.raises(ConfigError, match="n_scenes"):
        LandscapeSpec(n_scenes=1)
    with pytest.raises(ConfigError, match="observation is 'guesses'; expected one of assumed, experts"):
        LandscapeSpec(observation="guesses")
    with pytest.raises(ConfigError, match="leaves the grid"):
        LandscapeSpec(west_km=7455)
