"""Generated landscapes as arrays for benchmarks of skill: surveys, records and cells with their predictors and the truth.

A landscape's sources are written, its cube is built and sampled by the commands' own code; only the samples are kept, in a
file a seed. No benchmark of its own:

    python -m benchmarks.landscape_data --seeds 1,2 --cache DIR
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
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
from cube.storage.store import CubeStore, open_cube
from demo.flora import AXES, reporting_rates
from demo.journey import prepare
from demo.landscape import Landscape, LandscapeSpec, make_landscape
from inference.data.dataset import Dataset, load_dataset
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.data.sampling import sample

CACHE: Final = Path("work/landscapes")
CELLS: Final = 4_000  # of land, uniform, at which a model is compared with the truth
VERSION: Final = 1  # of the files: another number makes them anew
BESIDE: Final = ("corner", "weight", "static_names", "coarse_names")  # of predictors, beside their values
STORED: Final = {"satellite": 10_000.0, "landsat": 255.0}  # steps in which a cube holds them: exact as whole numbers


@dataclass(frozen=True)
class LandscapeData:
    """One landscape. Rows of `predictors`, `surveys` and `drivers` match, and those of `cells`, `truth` and `cell_drivers`.

    Surveys come in random order: the first 300 are a random 300. Species are in the order of `surveys.species`.
    """

    seed: int
    predictors: Predictors  # (n) at surveys
    surveys: Surveys  # (n), areas as written: NaN where lost
    truth_at_surveys: NDArray[np.float32]  # (n, S) true probability on 100 m2
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

    def cell_surveys(self, year: float = 2020, area_m2: float = 100.0) -> Surveys:
        """The cells as surveys of `area_m2` in `year` that found nothing: what `predict_surveys` asks for."""
        n, species = self.truth.shape
        return Surveys(
            np.zeros((n, species), bool), np.full(n, area_m2, np.float32), np.full(n, year, np.float32),
            np.arange(n), self.cell_x, self.cell_y, self.surveys.species,
        )  # fmt: skip


def landscape_data(seed: int, cache: Path = CACHE, say: Callable[[str], None] = print, **sizes: Any) -> LandscapeData:
    """The landscape of a seed with the demo's sizes (or `sizes` of LandscapeSpec), from `cache` where it is there.

    Making one takes about two minutes of one core and 1.5 GB; the file is 600 MB.
    """
    spec = LandscapeSpec(seed=seed, **sizes)
    label = "-".join(str(getattr(spec, f.name)) for f in fields(spec))
    path = cache / f"landscape-v{VERSION}-{label}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return _from_arrays(seed, {name: file[name] for name in file.files})
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        arrays = _make(spec, Path(folder), say)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    partial.rename(path)
    return _from_arrays(seed, arrays)


def _make(spec: LandscapeSpec, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    say(f"landscape {spec.seed}: sources")
    document = yaml.safe_load(prepare(folder, spec, lambda text: None).read_text(encoding="utf-8"))
    document["records"] = {"geoplant": "sources/geoplant"}
    document["species"]["min_records"] = 1
    (folder / "skill.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    config = load_config(folder / "skill.yaml")
    say(f"landscape {spec.seed}: cube")
    failures = build(config, lambda *_: None, Workers(retries=0))
    if failures:
        raise RuntimeError(f"landscape {spec.seed}: the cube is not complete: {failures}")
    cube = open_cube(config.cube_url)
    say(f"landscape {spec.seed}: samples")
    data = load_dataset(config, cube)
    return _samples(make_landscape(spec), cube, data)


def _samples(landscape: Landscape, cube: CubeStore, data: Dataset) -> dict[str, Any]:
    species = data.surveys.species
    position = {s.name: i for i, s in enumerate(landscape.flora)}
    columns = np.array([position[name] for name in species])
    x, y = _cells(landscape)
    satellite = data.predictors.values["satellite"]
    assert satellite is not None
    field = satellite.shape[-1] // 5
    out: dict[str, Any] = {"cell_x": x, "cell_y": y, "species": np.array(species)}
    for prefix, places in (("p", data.predictors), ("r", data.record_predictors), ("c", sample(cube, data.recipe, x, y, field))):
        assert places is not None
        out |= {f"{prefix}_{key}": value for key, value in _of_predictors(places).items()}
    for f in fields(Surveys):
        if f.name != "species":
            out[f"surveys_{f.name}"] = getattr(data.surveys, f.name)
    for f in fields(Records):
        if getattr(data.records, f.name) is not None:
            out[f"records_{f.name}"] = getattr(data.records, f.name)
    for name, px, py in (("_at_surveys", data.surveys.x, data.surveys.y), ("", x, y)):
        row, col = _index(landscape, px, py)
        out[f"truth{name}"] = landscape.probability[:, row, col][columns].T.astype(np.float32)
        out[f"drivers{name}"] = _drivers(landscape, row, col)
    how = landscape.spec.observed
    rates = reporting_rates(landscape.flora, landscape.spec.seed, how.rate_sd, how.family_share)
    out["rates"] = rates[columns].astype(np.float32)
    out["family"] = np.array([landscape.flora[i].family for i in columns])
    return out


def _cells(landscape: Landscape) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of uniform cells of land of the region, without replacement."""
    domain = landscape.domain
    mask = np.zeros(domain.shape, bool)
    mask[domain.region] = True
    land = np.flatnonzero(mask & landscape.site.land)
    picked = np.random.default_rng(landscape.spec.seed).choice(land, min(CELLS, len(land)), replace=False)
    row, col = np.unravel_index(picked, domain.shape)
    return domain.west + (col + 0.5) * CELL, domain.north - (row + 0.5) * CELL


def _index(landscape: Landscape, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    domain = landscape.domain
    return ((domain.north - y) // CELL).astype(np.int64), ((x - domain.west) // CELL).astype(np.int64)


def _drivers(landscape: Landscape, row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, V) the site values and homes from which the landscape makes its niches: all that is not the unseen field."""
    site = landscape.site
    assert len(site.values) == len(AXES)
    return np.concatenate([site.values[:, row, col], site.homes[:, row, col]]).T.astype(np.float32)


def _of_predictors(places: Predictors) -> dict[str, Any]:
    out: dict[str, Any] = {name: getattr(places, name) for name in BESIDE if getattr(places, name) is not None}
    for name, value in places.values.items():
        steps = np.rint(value * STORED.get(name, 1.0))
        out[name] = np.where(np.isfinite(steps), steps, 65535).astype(np.uint16) if name in STORED else value
    return {name: np.array(value) if isinstance(value, tuple) else value for name, value in out.items()}


def _to_predictors(prefix: str, arrays: Mapping[str, Any]) -> Predictors:
    found = {key.removeprefix(f"{prefix}_"): value for key, value in arrays.items() if key.startswith(f"{prefix}_")}
    beside: dict[str, Any] = {name: found.pop(name) for name in BESIDE if name in found}
    beside = {name: tuple(map(str, value)) if name.endswith("_names") else value for name, value in beside.items()}
    for name in STORED.keys() & found.keys():
        values = found[name].astype(np.float32) / np.float32(STORED[name])
        values[found[name] == 65535] = np.nan
        found[name] = values
    return Predictors(found, **beside)


def _from_arrays(seed: int, a: Mapping[str, Any]) -> LandscapeData:
    species = tuple(str(s) for s in a["species"])
    return LandscapeData(
        seed=seed,
        predictors=_to_predictors("p", a),
        surveys=Surveys(**{f.name: a[f"surveys_{f.name}"] for f in fields(Surveys) if f.name != "species"}, species=species),
        truth_at_surveys=a["truth_at_surveys"],
        drivers=a["drivers_at_surveys"],
        records=Records(**{f.name: a[f"records_{f.name}"] for f in fields(Records) if f"records_{f.name}" in a}),
        record_predictors=_to_predictors("r", a),
        cells=_to_predictors("c", a),
        cell_x=a["cell_x"],
        cell_y=a["cell_y"],
        truth=a["truth"],
        cell_drivers=a["drivers"],
        rates=a["rates"],
        family=a["family"],
    )


def main() -> None:
    """Make the landscapes of some seeds, so that benchmarks find them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1", help="comma-separated; 1 to 40 are for development, 101 to 105 for figures")
    parser.add_argument("--cache", type=Path, default=CACHE)
    args = parser.parse_args()
    for seed in args.seeds.split(","):
        data = landscape_data(int(seed), args.cache)
        print(f"{seed}: {len(data.surveys):,} surveys, {len(data.records):,} records, {len(data.surveys.species)} species")


if __name__ == "__main__":
    main()
