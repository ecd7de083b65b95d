"""What a configuration says of its tables: surveys, records, species and their traits."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pyproj import CRS
from pyproj.exceptions import CRSError

from cube.config.strict import Strict

Split = Literal["train", "val", "test", "test_iid", "test_ood", "test_glc25"]


def _encoding(name: str | None) -> str | None:
    try:
        codecs.lookup(name or "utf-8")
    except LookupError:
        raise ValueError(f"'{name}' is no encoding; give one such as utf-8, cp1250, cp1252, utf-16") from None
    return name


def _crs(name: str | None) -> str | None:
    try:
        if name is not None:
            CRS.from_user_input(name)
    except CRSError:
        raise ValueError(f"'{name}' is no coordinate reference system; give one such as EPSG:25832") from None
    return name


Encoding = Annotated[str | None, AfterValidator(_encoding)]
Crs = Annotated[str | None, AfterValidator(_crs)]
CRS_HELP = "of longitude and latitude (easting and northing), such as EPSG:25832; left out, degrees (WGS 84)"
ENCODING = "of a text table that is neither UTF-8 nor UTF-16, such as cp1250"


class Columns(Strict):
    """Which column of a table holds what."""

    survey: str = Field(description="id of the survey, which joins the two tables")
    longitude: str | None = Field(None, description="degrees, or easting with crs")
    latitude: str | None = Field(None, description="degrees, or northing with crs")
    crs: Crs = Field(None, description=CRS_HELP)
    year: str | None = Field(None, description="year of the survey")
    area_m2: str | None = Field(None, description="size of the plot in square metres; missing ones take the median")
    place: str | None = Field(
        None, description="id of a place that was surveyed again; left out, surveys of one 50 m cell are of one place"
    )
    habitat: str | None = Field(None, description="habitat of the plot, for Pl@ntBERT")
    species: str | None = Field(None, description="scientific name")
    species_id: str | None = Field(None, description="number, named by species.table")
    cover: str | None = Field(None, description="percent, or codes of cover_scale; rows of zero or less are left out")
    presence: str | None = Field(None, description="1 or 0, TRUE or FALSE, present or absent; absences are left out")
    predictors: tuple[str, ...] = Field(
        (), description="numeric columns that the deep-SDM reads at surveys beside the cube's layers; such a model makes no map"
    )
    predictors_nodata: tuple[float, ...] = Field(
        (), description="numbers in the columns of predictors that mean no data, besides empty cells"
    )

    @model_validator(mode="after")
    def _of_predictors(self) -> Columns:
        if len(set(self.predictors)) < len(self.predictors):
            raise ValueError("'predictors' names a column twice; name each once")
        if self.predictors_nodata and not self.predictors:
            raise ValueError("'predictors_nodata' belongs to 'predictors'")
        return self


class _Tables(Strict):
    """How tables of surveys are laid out and what their cells mean."""

    layout: Literal["long", "wide"] = Field("long", description="wide: a row a survey, a column a species")
    species_columns: str | tuple[str, ...] | None = Field(
        None, description="of a wide table: First:Last, or a list; left out, all columns but those of columns and not_species"
    )
    not_species: tuple[str, ...] = Field((), description="columns of a wide table that are no species")
    cells: Literal["presence", "cover"] | None = Field(None, description="what the cells of a wide table hold, beyond 0 and 1")
    cover_scale: Literal["percent", "braun-blanquet", "domin", "londo", "van-der-maarel"] | None = Field(
        None, description="what covers are written in; left out, percent, and codes are refused"
    )
    max_unmatched: float = Field(0.2, ge=0, le=1, description="share of occurrences that may match no survey")

    @model_validator(mode="after")
    def _of_wide(self) -> _Tables:
        if self.layout == "long":
            for name in ("species_columns", "not_species", "cells"):
                if getattr(self, name):
                    raise ValueError(f"'{name}' belongs to 'layout: wide'")
        if isinstance(self.species_columns, str) and self.species_columns.count(":") != 1:
            raise ValueError("'species_columns' is First:Last, or a list of columns")
        return self


class Plots(_Tables):
    """Surveys: one table with a row per survey and species, or two tables joined by the survey's id."""

    table: str = Field(description="a row a plot, with its species as columns where `layout` is wide")
    occurrences: str | None = Field(
        None, description="a row a plot and species with its cover, joined by the plot's id; needed where `layout` is long"
    )
    encoding: Encoding = Field(None, description=ENCODING)
    columns: Columns = Field(description="which column holds what")


class _Origin(Strict):
    """Where observations come from: a table, a GeoPlant folder or a Darwin Core archive; one of them."""

    table: str | None = Field(None, description="a CSV or Parquet table, with columns")
    geoplant: str | None = Field(None, description="folder into which GeoPlant was unpacked, of any year")
    splits: tuple[Split, ...] = Field(("train",), description="tables of GeoPlant that are read")
    darwin_core: str | None = Field(None, description="a Darwin Core archive: a zip file or a folder")
    encoding: Encoding = Field(None, description=ENCODING)

    @model_validator(mode="after")
    def _one_origin(self) -> _Origin:
        origins = [name for name in ("table", "geoplant", "darwin_core") if getattr(self, name) is not None]
        if len(origins) != 1:
            raise ValueError("give one of 'table', 'geoplant' and 'darwin_core'")
        names_columns = getattr(self, "columns", None) is not None
        if names_columns != (origins == ["table"]):
            raise ValueError("'columns' belongs to 'table'" if names_columns else "'table' needs 'columns'")
        if self.encoding is not None and origins != ["table"]:
            raise ValueError("'encoding' belongs to 'table'")
        if "splits" in self.model_fields_set and origins != ["geoplant"]:
            raise ValueError("'splits' belongs to 'geoplant'")
        return self


class SurveyConfig(_Origin, _Tables):
    """Presence-absence surveys."""

    occurrences: str | None = Field(None, description="a second table with a row a survey and species")
    columns: Columns | None = Field(None, description="which column of the tables holds what")
    predictors: Literal["cube", "files"] = Field("cube", description="files: those that GeoPlant gives beside its surveys")

    @model_validator(mode="after")
    def _of_its_origin(self) -> SurveyConfig:
        if self.occurrences is not None and self.table is None:
            raise ValueError("'occurrences' belongs to 'table'")
        table_keys = self.model_fields_set & set(_Tables.model_fields)
        if table_keys and self.table is None:
            raise ValueError(f"'{min(table_keys)}' belongs to 'table'")
        if self.predictors == "files" and self.geoplant is None:
            raise ValueError("'predictors: files' belongs to 'geoplant'")
        return self

    @property
    def plots(self) -> Plots | None:
        """The tables, where surveys come from tables."""
        if self.table is None or self.columns is None:
            return None
        how = {name: getattr(self, name) for name in (*_Tables.model_fields, "encoding", "occurrences")}
        return Plots(table=self.table, columns=self.columns, **how)


class Corner(Strict):
    """Squares given by their lower left corner and their size."""

    west: str = Field(description="column of the left edge, metres of the columns' crs (EPSG:3035 where none is given)")
    south: str = Field(description="column of the lower edge, metres")
    size_m: str | float = Field(description="side of a square in metres: a number, or the column of it")


class RecordColumns(Strict):
    """Which column of a table of presence-only records holds what."""

    longitude: str | None = Field(None, description="degrees, or easting with crs")
    latitude: str | None = Field(None, description="degrees, or northing with crs")
    cells: str | Corner | None = Field(
        None, description="instead of a position, the square that a record lies in: a column of EEA or MGRS codes, or its corner"
    )
    crs: Crs = Field(None, description=CRS_HELP)
    species: str | None = Field(None, description="scientific name")
    species_id: str | None = Field(None, description="number, named by species.table")
    record: str | None = Field(None, description="id of the record; absent: the row's number")
    year: str | None = Field(None, description="year or date of the record")
    uncertainty_m: str | None = Field(None, description="how certain the position is, metres")

    @model_validator(mode="after")
    def _named(self) -> RecordColumns:
        if (self.species is None) == (self.species_id is None):
            raise ValueError("give 'species' (a name) or 'species_id' (a number)")
        if (self.longitude is None) != (self.latitude is None) or (self.longitude is None) == (self.cells is None):
            raise ValueError(
                "give 'longitude' and 'latitude', or 'cells'; of a table of points (GeoPackage, GeoParquet) they are"
                " geometry.longitude and geometry.latitude"
            )
        if isinstance(self.cells, str) and self.crs is not None:
            raise ValueError("'crs' belongs to 'longitude' and 'latitude' or to the corners of 'cells'; codes name their own")
        return self


Value = str | int | float | bool


class RecordConfig(_Origin):
    """Presence-only records: what somebody noted somewhere."""

    columns: RecordColumns | None = Field(None, description="which column of the table holds what")
    where: dict[str, Value | tuple[Value, ...]] = Field(
        {}, description="column or term -> value or values: only these records, in upper or lower case"
    )
    max_uncertainty_m: float | None = Field(None, gt=0, description="records of a less certain position are left out")
    assumed_uncertainty_m: float | None = Field(
        None, gt=0, description="uncertainty of records that state none; null: they are used, whatever max_uncertainty_m says"
    )
    effort_km: float | None = Field(2.0, gt=0, description="standard deviation of the smoothing of the layer effort; null: none")

    @model_validator(mode="after")
    def _filtered(self) -> RecordConfig:
        if self.where and self.geoplant is not None:
            raise ValueError("'where' belongs to 'table' and 'darwin_core'")
        return self

    @property
    def where_texts(self) -> dict[str, tuple[str, ...]]:
        """`where` with a tuple of texts for every column."""
        values = {k: v if isinstance(v, tuple) else (v,) for k, v in self.where.items()}
        return {k: tuple(str(value) for value in v) for k, v in values.items()}


class SpeciesTable(Strict):
    """Names of numbered species (GeoPlant's ids)."""

    table: str = Field(description="path of the table")
    id: str = Field(description="column of the number")
    name: str = Field(description="column of the scientific name")
    encoding: Encoding = Field(None, description=ENCODING)


class SynonymTable(Strict):
    """Synonyms and the names that they stand for, a pair a row."""

    table: str = Field(description="path of the table")
    name: str = Field(description="column of the synonym")
    accepted: str = Field(description="column of the name it stands for")
    encoding: Encoding = Field(None, description=ENCODING)


class Trait(Strict):
    """A table of traits: columns by our names, rows matched by scientific name; or a list that sets a flag.

    Names match exactly after normalisation and synonyms; `close` also takes the nearest spelling, and says so.
    """

    table: str = Field(description="path of the table")
    name: str = Field(description="column of the scientific name")
    where: dict[str, str] = Field({}, description="column -> value: only these rows")
    columns: dict[str, str] = Field({}, description="our name of the trait -> the table's column")
    flag: Literal["invasive", "protected", "endemic"] | None = Field(None, description="every species of the list gets this flag")
    close: bool = Field(False, description="also take the nearest spelling")
    encoding: Encoding = Field(None, description=ENCODING)


class SpeciesRanges(Strict):
    """Range maps: outside of its range a species' probability is 0; species without one are left as they are."""

    geojson: str = Field(description="a FeatureCollection of polygons, one feature or more a species")
    property: str = Field("species", description="the property of a feature that is the scientific name")


class SpeciesConfig(Strict):
    """Which species are modelled and what is known of them."""

    min_records: int = Field(10, description="species in fewer surveys are not modelled")
    table: SpeciesTable | None = Field(None, description="names of numbered species")
    synonyms: SynonymTable | None = Field(None, description="names that stand for others")
    traits: tuple[Trait, ...] = Field((), description="statuses, indicator values, vernacular names, sensitivity")
    ranges: SpeciesRanges | None = Field(None, description="range maps that cut the maps")
    responses: tuple[str, ...] = Field((), description="species whose response curves `train` draws; none: the commonest")
