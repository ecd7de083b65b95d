"""Generated landscapes as arrays for benchmarks of skill: surveys, records and cells with their predictors and the truth.

A landscape's sources are written, its cube is built and sampled by the commands' own code. Sources and cube stay in a folder a
seed, and are not made again. No benchmark of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from cube.config import load_config
from cube.engine.build import build
from cube.engine.workers import Workers
from cube.grid import CELL
from cube.storage.store import open_cube
from demo.flora import AXES, reporting_rates
from demo.journey import prepare
from demo.landscape import Landscape, LandscapeSpec, make_landscape
from inference.data.dataset import load_dataset
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.data.sampling import sample

CACHE: Final = Path("work/landscapes")
CELLS: Final = 4_000  # of land, uniform, at which a model is compared with the truth


@dataclass(frozen=True)
class LandscapeData:
    """One landscape. Rows of `predictors`, `surveys` and `drivers` match, and those of `cells`, `truth` and `cell_drivers`.

    Surveys come in random order: the first 300 are a random 300. Species are in the order of `surveys.species`.
    """

    seed: int
    predictors: Predictors  # (n) at surveys
    surveys: Surveys  # (n), areas as written: NaN where lost
    drivers: NDArray[np.float32]  # (n, V) what plants really answer to, at surveys
    records: Records
    record_predictors: Predictors  # (m) distinct cells of records and background
    cells: Predictors  # (c) uniform over land
    cell_x: NDArray[np.float64]  # (c) metres, EPSG:3035
    cell_y: NDArray[np.float64]
    truth: NDArray[np.float32]  # (c, S) true probability on 100 m2
    cell_drivers: NDArray[np.float32]  # (c, V)
    rates: NDArray[np.float32]  # (S,) how readily each species is reported
    family: NDArray[np.str_]  # (S,)

    def cell_surveys(self) -> Surveys:
        """The cells as surveys of 100 m2 in 2020 that found nothing: what `predict_surveys` asks for."""
        return Surveys.at(self.cell_x, self.cell_y, self.surveys.species, 100, 2020)


def landscape_data(seed: int, cache: Path = CACHE, say: Callable[[str], None] = print, **sizes: Any) -> LandscapeData:
    """The landscape of a seed with the demo's sizes (or `sizes` of LandscapeSpec), its cube in `cache` or made there.

    Making one takes about two minutes of one core and 1.5 GB.
    """
    spec = LandscapeSpec(seed=seed, **sizes)
    folder = cache / f"landscape-{'-'.join(str(getattr(spec, f.name)) for f in fields(spec))}"
    say(f"landscape {seed}: {folder}")
    document = yaml.safe_load(prepare(folder, spec, lambda text: None).read_text(encoding="utf-8"))
    document["records"] = {"geoplant": "sources/geoplant"}
    document["species"]["min_records"] = 1
    (folder / "skill.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    config = load_config(folder / "skill.yaml")
    failures = build(config, lambda *_: None, Workers(retries=0))
    if failures:
        raise RuntimeError(f"landscape {seed}: the cube is not complete: {failures}")
    cube = open_cube(config.cube_url)
    data, landscape = load_dataset(config, cube), make_landscape(spec)
    assert data.records is not None
    assert data.record_predictors is not None
    position = {s.name: i for i, s in enumerate(landscape.flora)}
    columns = np.array([position[name] for name in data.surveys.species])
    x, y = _cells(landscape)
    row, col = _index(landscape, x, y)
    rates = reporting_rates(landscape.flora, seed, spec.observed.rate_sd, spec.observed.family_share)
    return LandscapeData(
        seed=seed,
        predictors=data.predictors,
        surveys=data.surveys,
        drivers=_drivers(landscape, *_index(landscape, data.surveys.x, data.surveys.y)),
        records=data.records,
        record_predictors=data.record_predictors,
        cells=sample(cube, data.recipe, x, y, data.predictors.values["satellite"].shape[-1] // 5),
        cell_x=x,
        cell_y=y,
        truth=landscape.probability[:, row, col][columns].T.astype(np.float32),
        cell_drivers=_drivers(landscape, row, col),
        rates=rates[columns].astype(np.float32),
        family=np.array([landscape.flora[i].family for i in columns]),
    )


def _cells(landscape: Landscape) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of uniform cells of land of the region, without replacement."""
    domain = landscape.domain
    mask = np.zeros(domain.shape, bool)
    mask[domain.region] = True
    land = np.flatnonzero(mask & landscape.site.land)
    cells = np.random.default_rng(landscape.spec.seed).choice(land, min(CELLS, len(land)), replace=False)
    row, col = np.unravel_index(cells, domain.shape)
    return domain.west + (col + 0.5) * CELL, domain.north - (row + 0.5) * CELL


def _index(landscape: Landscape, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    domain = landscape.domain
    return ((domain.north - y) // CELL).astype(np.int64), ((x - domain.west) // CELL).astype(np.int64)


def _drivers(landscape: Landscape, row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, V) the site values and homes from which the landscape makes its niches: all that is not the unseen field."""
    site = landscape.site
    assert len(site.values) == len(AXES)
    return np.concatenate([site.values[:, row, col], site.homes[:, row, col]]).T.astype(np.float32)
