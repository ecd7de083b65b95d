"""The configuration: one YAML file, checked whole before any work starts; every complaint names file, key and fix."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from cube.config.cluster import ClusterConfig
from cube.config.learning import EvaluateDetails, NetworkConfig, ReaderOptions, TrainOptions
from cube.config.place import GridConfig, Window, check_grid, grid_of
from cube.config.records import Plots, RecordConfig, SpeciesConfig, SurveyConfig
from cube.config.sources import Source
from cube.config.strict import Strict
from cube.errors import ConfigError
from cube.grid import EUROPE, Grid, Region


class HabitatConfig(Strict):
    """Vegetation plots that teach Pl@ntBERT and the scheme of their classes."""

    plots: Plots = Field(
        description="two tables: vegetation plots with their habitat, species and covers in them; or one of `layout: wide`"
    )
    scheme: str | None = Field(None, description="table code, name, level, parent, colour; absent: a flat scheme")
    level: str = Field("level3", description="name of the finest level")
    names: dict[str, str] = Field({}, description="code -> name that people read, for schemes of a single level")
    min_plots: int = Field(10, description="habitats with fewer plots are not learned")
    exclude_surveys: dict[str, tuple[str, ...]] = Field({}, description="column -> values never trained on")
    reader: Literal["plantbert", "linear"] = Field(
        "plantbert",
        description="what reads habitats: Pl@ntBERT with a linear path and a hidden layer beside it, or these alone",
    )
    title: str = Field("Habitat", description="name of the layer")
    options: ReaderOptions = Field(ReaderOptions(), description="of the reader")

    @model_validator(mode="after")
    def _plots_of_two_tables(self) -> Self:
        c = self.plots.columns
        long = None not in (c.species, c.cover, self.plots.occurrences)
        if c.habitat is None or not (long or self.plots.layout == "wide"):
            raise ValueError(
                "plots takes two tables, 'table' of plots and 'occurrences' of their species, with the columns species, cover and"
                " habitat; or one with 'layout: wide' and the column habitat"
            )
        return self


class EvaluateConfig(Strict):
    """The folds of a training, and what is scored on them."""

    block_km: float | None = Field(
        None,
        gt=0,
        description="side of the squares that members leave out; left out, 50 or an eighth of the region's shorter side, or less",
    )
    groups: str | None = Field(
        None,
        description="column of the surveys' table: whole groups, such as countries, are left out in place of squares",
    )
    min_records: int | None = Field(
        None, ge=1, description="only species with as many surveys are scored; left out, 25 to 100 by the number of surveys"
    )
    truth: str | None = Field(None, description="folder with the true probabilities of a generated landscape")
    options: EvaluateDetails = Field(EvaluateDetails(), description="what is compared")


class PredictConfig(Strict):
    """What is predicted, where and for when."""

    region: Window | None = Field(None, description="a part of the region; left out, all of it")
    year: int = Field(2020, description="year that the maps are of")
    area_m2: float = Field(100.0, gt=0, description="size of the plot that probabilities and richness are of, square metres")
    extrapolate_area: bool = Field(
        False, description="map an `area_m2` more than 10 times outside the areas of the surveys; every layer then states it"
    )
    block: int = Field(192, description="species computed and written at a time, a multiple of 192")


class Config(Strict):
    """The whole configuration."""

    title: str = Field(description="name of the cube, on the map and in every file that leaves it")
    cube: str = Field(description="where the cube is written: a path or s3://, gs://, az://")
    data: str = Field(".", description="folder or URL below which the files of sources, surveys, species and habitats are found")
    model: str = Field("model", description="folder of the trained models")
    reports: str = Field("reports", description="folder of what the commands report")
    grid: GridConfig = Field(GridConfig(), description="the projection of the cells, where it is not Europe's")
    region: Window = Field(description="what the cube covers")
    unit_km: int = Field(
        description="side of the squares that work is cut into: 10, 20, 40 or 80; 10 for a district, 40 for a continent"
    )
    note: str = Field("", description="one line under every map: effective resolution, limits")
    license: str = Field("", description="terms of the maps; no release is published without")
    attribution: str = Field("", description="who is to be named beside the maps; no release is published without")
    sources: tuple[Source, ...] = Field(description="the input layers, one entry each")
    surveys: SurveyConfig | None = Field(None, description="presence-absence surveys: what the deep-SDM learns from")
    records: RecordConfig | None = Field(None, description="presence-only records, learned from beside the surveys")
    species: SpeciesConfig = Field(SpeciesConfig(), description="which species are modelled and what is known of them")
    habitats: HabitatConfig | None = Field(
        None, description="vegetation plots that teach Pl@ntBERT; left out, no habitats are mapped"
    )
    network: NetworkConfig = Field(NetworkConfig(), description="size of the deep-SDM")
    train: TrainOptions = Field(TrainOptions(), description="how to train, see train below")
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="spatial cross-validation")
    predict: PredictConfig = Field(PredictConfig(), description="what is predicted, where and for when")
    cluster: ClusterConfig = Field(ClusterConfig(), description="where units are computed")
    _path: Path = PrivateAttr(default=Path("configuration"))

    @property
    def path(self) -> Path:
        """The file that this was read from."""
        return self._path

    def whole_region(self) -> Region:
        """The region with its units. Raises `ConfigError` for one that leaves the grid."""
        r = self.region
        return Region(r.west_km, r.south_km, r.east_km, r.north_km, self.unit_km, Grid.of(self.grid.crs))

    def predict_region(self) -> Region:
        """The window that is predicted: `predict.region` or all."""
        w = self.predict.region
        region = self.whole_region()
        return region if w is None else region.crop(w.west_km, w.south_km, w.east_km, w.north_km)

    def source_path(self, name: str) -> str:
        """A path or URL of the `data` folder; absolute ones are left as they are."""
        return _resolve(name, _resolve(self.data, str(self._path.parent)))

    def own_path(self, name: str) -> str:
        """A path or URL relative to the configuration file."""
        return _resolve(name, str(self._path.parent))

    @property
    def cube_url(self) -> str:
        """Where the cube lies."""
        return self.own_path(self.cube)

    @property
    def model_path(self) -> Path:
        """Folder of the trained models."""
        return Path(self.own_path(self.model))

    def missing_terms(self) -> str:
        """A sentence on what a release will need and the configuration does not say; empty if nothing is missing."""
        lines = {"license": "license: CC-BY-4.0", "attribution": "attribution: Who made the data"}
        missing = [name for name in lines if not getattr(self, name)]
        if not missing:
            return ""
        verb = "is not said" if len(missing) == 1 else "are not said"
        return (
            f"{self._path.name}: {' and '.join(missing)} of the maps {verb}, and no release is published without; add to the"
            f" configuration {' and '.join(f'`{lines[name]}`' for name in missing)}."
        )

    @property
    def report_path(self) -> Path:
        """Folder of the reports that stages write."""
        return Path(self.own_path(self.reports))


def _resolve(name: str, base: str) -> str:
    if "://" in name or os.path.isabs(name):
        return name
    if "://" in base:
        return f"{base.rstrip('/')}/{name}"
    return os.path.normpath(os.path.join(base, name))


def _expand(text: str, path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise ConfigError(f"{path}: the environment variable {name} is not set; set it to the folder it stands for.")
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, text)


_KINDS = {str: "a line of text", list: "a list", type(None): "nothing", int: "a number", float: "a number"}


def _where(location: Sequence[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


HABITATS_ALONE: Final[dict[str, Any]] = {
    "title": "habitats",
    "cube": "",
    "region": {"west_km": 900, "south_km": 860, "east_km": 901, "north_km": 861},
    "unit_km": 10,
    "sources": [],
}
"""What stands in for the keys of a cube that `habitats train` does not need."""


_SENTENCES: Final = {  # in place of pydantic's own, by its type of an error
    "missing": "is missing; add it",
    "model_type": "must be a section with keys of its own",
    "dataclass_type": "must be a section with keys of its own",
    "tuple_type": "must be a list",
}


def load_config(path: str | Path, habitats_alone: bool = False) -> Config:
    """Read and check a configuration; raises `ConfigError` with one sentence that names the file and the key.

    `habitats_alone`: the keys of a cube (title, cube, region, unit_km, sources) may be missing.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such configuration file; check the path, or begin with one of examples/."
        ) from None
    except IsADirectoryError:
        names = ", ".join(sorted(p.name for p in path.iterdir() if p.suffix in (".yaml", ".yml"))[:5])
        raise ConfigError(f"{path}: is a folder; name a configuration file{f', in it are {names}' if names else ''}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error}); save it as UTF-8 text that you may read.") from None
    # A variable in a comment is nobody's setting.
    text = "\n".join(line if line.lstrip().startswith("#") else _expand(line, path) for line in text.splitlines())
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}:{line} is not YAML ({getattr(error, 'problem', error)}); correct that line.") from None
    if not isinstance(document, dict):
        kind = _KINDS.get(type(document), type(document).__name__)
        raise ConfigError(f"{path}: expected keys such as title, cube, region, sources; found {kind}.")
    if habitats_alone:
        document = {**HABITATS_ALONE, **document}
    try:
        config = Config.model_validate(document, context={"grid": grid_of(document)})
    except ValidationError as error:
        first = error.errors()[0]
        unknown = first["ctx"]["key"] if first["type"] == "unknown_key" else None
        key = _where(first["loc"] if unknown is None else (*first["loc"], unknown))
        message = _SENTENCES.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        # A whole section says nothing of what is wrong in it.
        if unknown is None and first["type"] != "missing" and not isinstance(first["input"], dict):
            message += f" (found {str(first['input'])[:60]!r})"
        end = "" if message.endswith("?") else "."
        raise ConfigError(f"{path}: {key or 'configuration'}: {message}{end}") from None
    config._path = path.resolve()
    try:
        config.predict_region()
        _check_geoplant(config, check_grid(config.whole_region()))
        _check_blocks(config)
        _check_folds(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def _check_geoplant(config: Config, grid: Grid) -> None:
    """Refuse GeoPlant's files on another grid than Europe's, which they are in."""
    if grid != EUROPE and any(part is not None and part.geoplant is not None for part in (config.surveys, config.records)):
        raise ConfigError(f"grid.crs: files of GeoPlant lie in {EUROPE.code}; leave `grid` out, or give tables of surveys.")


def _check_folds(config: Config) -> None:
    """Refuse what no member could be judged with."""
    if config.train.members < 2:
        raise ConfigError(
            f"train.members is {config.train.members}: each member is judged on the blocks that it leaves out, which takes two;"
            " set it to 2 or more."
        )


def _check_blocks(config: Config) -> None:
    """Refuse blocks larger than the region: all surveys would lie in one."""
    r, block_km = config.region, config.evaluate.block_km
    shorter = min(r.east_km - r.west_km, r.north_km - r.south_km)
    if block_km is not None and block_km > shorter:
        raise ConfigError(
            f"evaluate.block_km is {block_km:g}, more than the region's shorter side of {shorter} km; set it to {shorter / 8:g}"
            " or leave it out."
        )
