"""One region of the NCEAS benchmark (Elith et al. 2020) as tables: records, background, independent tests by group.

File names are those of the R package disdat (its help pages `disData`, `NSW`, `AWT`), as CSV, gzipped or not:
`NZtrain_po`, `NZtrain_bg`, `NZtest_env`, `NZtest_pa`; a region whose groups were surveyed apart has suffixes, as in
`AWTtest_env_bird`; target-group backgrounds (Valavi et al. 2022) lie at `tgb/NSW/db/tgbsample.csv`. No model is in here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cube.errors import ConfigError, TableError

BACKGROUNDS: Final = ("random", "tgb")
CATEGORICAL: Final = ("age", "calc", "ontveg", "toxicats", "vegsys")  # of all regions, as disdat's vignette lists them
DEGREES: Final = 360.0
KM_PER_DEGREE: Final = 111.32  # of latitude
SITE: Final = ("group", "siteid", "spid", "x", "y", "occ")  # columns that are no predictor


@dataclass(frozen=True)
class Group:
    """What is fitted together: species that the same surveys test, their records, and the sites they are set against.

    Tables are (rows, predictors) float64, NaN where missing; `categorical` columns hold numbers of levels. Places are
    (rows, 2) x and y in the units of the files (metres or degrees).
    """

    region: str
    name: str
    species: tuple[str, ...]
    predictors: tuple[str, ...]
    categorical: tuple[int, ...]
    records: NDArray[np.float64]
    record_species: NDArray[np.int64]  # (records,) position in `species`
    record_places: NDArray[np.float64]
    background: NDArray[np.float64]
    background_places: NDArray[np.float64]
    test: NDArray[np.float64]
    test_places: NDArray[np.float64]
    presence: NDArray[np.bool_]  # (test sites, species)

    def subset(self, records: NDArray[np.bool_], background: NDArray[np.bool_]) -> Group:
        """The group with the records and the background sites of two masks alone."""
        return replace(
            self,
            records=self.records[records],
            record_species=self.record_species[records],
            record_places=self.record_places[records],
            background=self.background[background],
            background_places=self.background_places[background],
        )


def read_region(folder: Path, region: str, background: str) -> list[Group]:
    """All groups of a region with the background asked for, `random` or `tgb`.

    Raises: ConfigError for another background, TableError for files or columns that are absent or do not match.
    """
    if background not in BACKGROUNDS:
        raise ConfigError(f"--background {background}: expected one of {', '.join(BACKGROUNDS)}.")
    records = _read(folder, f"{region}train_po", ("spid", "x", "y", "group"))
    random = _read(folder, f"{region}train_bg", ("x", "y")) if background == "random" else None
    groups = []
    for suffix in _suffixes(folder, region):
        env = _read(folder, f"{region}test_env{suffix}", ("siteid", "x", "y"))
        pa = _read(folder, f"{region}test_pa{suffix}", ("siteid", "x", "y"))
        if len(env) != len(pa) or not (env["siteid"].to_numpy() == pa["siteid"].to_numpy()).all():
            raise TableError(f"{folder}: {region}test_env{suffix} and {region}test_pa{suffix} do not list the same sites.")
        group_records = records[records["group"] == suffix[1:]] if suffix else records
        for name, records_of_group in group_records.groupby("group", sort=True):
            species = tuple(s for s in dict.fromkeys(records_of_group["spid"]) if s in pa.columns)
            if not species:
                continue
            records_of_group = records_of_group[records_of_group["spid"].isin(species)]
            sites = random if random is not None else _target_group(folder, region, str(name))
            names = [c for c in env.columns if c not in SITE]
            for what, table in (("train_po", records_of_group), ("background", sites)):
                if absent := [c for c in names if c not in table.columns]:
                    raise TableError(
                        f"{region}, group {name}: {what} lacks the predictor '{absent[0]}' that the test sites have."
                    )
            tables = (records_of_group, sites, env)
            values = [table[names].to_numpy(np.float64) for table in tables]
            places = [table[["x", "y"]].to_numpy(np.float64) for table in tables]
            number = {s: i for i, s in enumerate(species)}
            groups.append(
                Group(
                    region=region,
                    name=str(name),
                    species=species,
                    predictors=tuple(names),
                    categorical=tuple(i for i, c in enumerate(names) if c in CATEGORICAL),
                    records=values[0],
                    record_species=records_of_group["spid"].map(number).to_numpy(np.int64),
                    record_places=places[0],
                    background=values[1],
                    background_places=places[1],
                    test=values[2],
                    test_places=places[2],
                    presence=pa[list(species)].to_numpy() > 0,
                )
            )
    if not groups:
        raise TableError(f"{folder}: no species of {region}train_po is a column of a table {region}test_pa.")
    return groups


def farther_than(group: Group, km: float) -> Group:
    """The group without the records and background sites within `km` of a test site.

    Places are metres, or degrees where no number is above 360.
    """
    places = [group.test_places, group.record_places, group.background_places]
    if max(np.abs(p).max() for p in places) <= DEGREES:
        north = np.cos(np.radians(group.test_places[:, 1].mean()))
        places = [p * KM_PER_DEGREE * 1000 * np.array([north, 1.0]) for p in places]
    near = cKDTree(places[0])
    return group.subset(*(near.query(p)[0] > km * 1000 for p in places[1:]))


def _suffixes(folder: Path, region: str) -> list[str]:
    """`_bird`, `_plant`, ... of a region with several test tables; one empty suffix otherwise."""
    stem = f"{region}test_pa"
    suffixes = sorted({path.name.split(".")[0][len(stem) :] for path in folder.glob(f"{stem}*.csv*")})
    if not suffixes:
        raise TableError(f"{folder}: there is no table {stem}.csv or {stem}_GROUP.csv (gzipped or not).")
    return suffixes


def _target_group(folder: Path, region: str, group: str) -> pd.DataFrame:
    return _read(folder / "tgb" / region / group, "tgbsample", ("x", "y"))


def _read(folder: Path, stem: str, columns: tuple[str, ...]) -> pd.DataFrame:
    for ending in (".csv", ".csv.gz"):
        path = folder / f"{stem}{ending}"
        if path.is_file():
            table = pd.read_csv(path, low_memory=False)
            if absent := [c for c in columns if c not in table.columns]:
                raise TableError(f"{path}: there is no column '{absent[0]}'; it has {', '.join(map(str, table.columns))}.")
            return table
    raise TableError(f"{folder / stem}.csv: there is no such table, gzipped or not.")
