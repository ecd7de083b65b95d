"""How often the truth lies in the intervals of the indicators, on a generated landscape: a table, an indicator a row.

Surveys of 100 m2 are drawn from the true probabilities; a random forest on what maps could show (terrain, soil, land use;
not the unseen field) stands for any model; half of the other surveys calibrates the conformal intervals and the rest asks
them. `exchangeable` draws all surveys over the landscape, `blocks` keeps whole squares of --block-km for asking.

Columns: `lists` is the share of surveys whose list has the indicator within the interval, which is what is promised;
`expected` the share of places whose true expectation (the indicator of the true probabilities) lies within it; `width` the
median width of the intervals; `error` the median distance of the estimate to that of the true probabilities.

Examples:
  python -m benchmarks.indicators
  python -m benchmarks.indicators --size-km 20 --surveys 4000 --seeds 1,2,3 --json indicators.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL
from demo.flora import AXES
from demo.landscape import Landscape, LandscapeSpec, make_landscape
from inference.calibration.intervals import bounds, quantiles_of, residual_scores
from inference.cascade.indicators import applicable
from inference.cascade.reference import reference_of
from inference.cascade.sums import plan_sums

Array = NDArray[Any]
COVERAGE = 0.9


def traits_of(landscape: Landscape) -> dict[str, Array]:
    """Columns of the species table of a landscape; the rarest fifth is called vulnerable, every fourth value unknown."""
    flora = landscape.flora
    common = landscape.probability[:, ::4, ::4].astype(np.float32).mean(axis=(1, 2))
    columns: dict[str, Array] = {
        "iucn": np.where(common < np.quantile(common, 0.2), "VU", "LC").astype(object),
        **{name: np.array([getattr(s, name) for s in flora]) for name in ("invasive", "protected", "endemic")},
    }
    for axis, name in enumerate(AXES):
        values = np.array([s.ellenberg[axis] for s in flora], np.float64)
        values[::4] = np.nan
        columns[f"ellenberg_{name}"] = values
    return columns


def drawn(landscape: Landscape, surveys: int, seed: int) -> tuple[Array, Array, Array, Array]:
    """(predictors, true probabilities, lists, cell) of surveys at random land cells: (n, V), (n, S), (n, S), (n, 2)."""
    rng = np.random.default_rng(seed)
    inside = np.zeros(landscape.domain.shape, bool)
    inside[landscape.domain.region] = True
    cells = rng.permutation(np.argwhere(inside & landscape.site.land))[:surveys]
    row, col = cells.T
    t, s, u = landscape.terrain, landscape.soil, landscape.land
    fields = (t.elevation, t.slope, t.northness, t.wetness, t.position, s.ph, s.clay, s.depth, u.management, u.closure, *u.share)
    true = landscape.probability[:, row, col].astype(np.float64).T
    return np.stack([f[row, col] for f in fields], axis=1), true, rng.random(true.shape) < true, cells


def parts(cells: Array, how: str, block_km: float, seed: int) -> tuple[Array, Array, Array]:
    """Rows to learn from (half), to calibrate on and to ask (a quarter each); by surveys, or by whole blocks."""
    rng = np.random.default_rng(seed)
    unit = np.arange(len(cells))
    if how == "blocks":
        square = (cells * CELL // int(block_km * 1000)).astype(int)
        unit = np.unique(square[:, 0] * 100_000 + square[:, 1], return_inverse=True)[1]
    order = rng.permutation(unit.max() + 1)[unit] / (unit.max() + 1)
    return np.flatnonzero(order < 0.5), np.flatnonzero((order >= 0.5) & (order < 0.75)), np.flatnonzero(order >= 0.75)


def predicted(x: Array, lists: Array, learn: Array, trees: int, seed: int) -> Array:
    """(n, S) probabilities of a random forest that learned from the rows `learn`."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(trees, min_samples_leaf=10, max_features=0.5, random_state=seed)
    forest.fit(x[learn], lists[learn].astype(np.float32))
    return np.clip(np.asarray(forest.predict(x)), 1e-6, 1.0)


def rows_of(
    landscape: Landscape, surveys: int, seed: int, how: str, block_km: float = 2.0, trees: int = 40
) -> Iterator[dict[str, Any]]:
    """A row an indicator: how often its interval held the lists and the expectations of the places that were asked."""
    traits = traits_of(landscape)
    x, true, lists, cells = drawn(landscape, surveys, seed)
    learn, calibrate, ask = parts(cells, how, block_km, seed)
    p = predicted(x, lists, learn, trees, seed)
    one = np.ones(len(p))
    plan = plan_sums(traits, reference_of(p[learn].T, one[learn]))
    of_lists = plan_sums(traits, reference_of(lists[learn].T, one[learn]))
    quantiles = quantiles_of(residual_scores(p[calibrate].T, lists[calibrate].T, plan, of_lists), one[calibrate], COVERAGE)
    # Of the true probabilities, distinctness is against their own reference.
    of_truth = plan_sums(traits, reference_of(true[learn].T, one[learn]))
    sums, seen, truth = plan.of(p[ask].T), of_lists.of(lists[ask].T.astype(float)), of_truth.of(true[ask].T)
    for indicator in (i for i in applicable(plan.available) if i.spread is not None):
        three = bounds(indicator, sums, quantiles.get(indicator.name))
        listed, expected = indicator.function(seen), indicator.function(truth)
        known = np.isfinite(listed) & np.isfinite(three).all(axis=0)
        within = [(v >= three[1]) & (v <= three[2]) for v in (listed, expected)]
        yield {
            "split": how, "seed": seed, "indicator": indicator.name, "asked": int(known.sum()),
            "lists": float(within[0][known].mean()), "expected": float(within[1][known].mean()),
            "width": float(np.median((three[2] - three[1])[known])),
            "error": float(np.median(np.abs(three[0] - expected)[known])), "median": float(np.median(three[0][known])),
        }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-km", type=int, default=12)
    parser.add_argument("--species", type=int, default=100)
    parser.add_argument("--surveys", type=int, default=3000)
    parser.add_argument("--block-km", type=float, default=2.0)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in (int(s) for s in given.seeds.split(",")):
        spec = LandscapeSpec(size_km=given.size_km, n_species=given.species, seed=seed)
        landscape = make_landscape(spec)
        for how in ("exchangeable", "blocks"):
            rows += rows_of(landscape, given.surveys, seed, how, given.block_km)
    print(f"nominal {COVERAGE:.2f}; {given.surveys:,} surveys of 100 m2 in {given.size_km} x {given.size_km} km,"
          f" {given.species} species; mean (least) over seeds {given.seeds}")  # fmt: skip
    print(f"{'split':<13}{'indicator':<16}{'lists':>14}{'expected':>10}{'width':>9}{'error':>9}{'median':>9}")
    for how, name in dict.fromkeys((row["split"], row["indicator"]) for row in rows):
        some = [row for row in rows if (row["split"], row["indicator"]) == (how, name)]
        mean = {key: float(np.mean([row[key] for row in some])) for key in ("lists", "expected", "width", "error", "median")}
        least = min(row["lists"] for row in some)
        print(f"{how:<13}{name:<16}{mean['lists']:>7.3f} ({least:.2f}){mean['expected']:>9.3f}{mean['width']:>9.3g}"
              f"{mean['error']:>9.3g}{mean['median']:>9.3g}")  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
