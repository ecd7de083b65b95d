"""What a configuration says of its tables: surveys, records, species and their traits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cube.config.strict import Strict

Split = Literal["train", "val", "test", "test_iid", "test_ood", "test_glc25"]


class Columns(Strict):
    """Which column of a table holds what."""

    survey: str
    longitude: str | None = None
    latitude: str | None = None
    year: str | None = None
    area_m2: str | None = None
    place: str | None = None
    habitat: str | None = None
    species: str | None = Field(None, description="scientific name")
    species_id: str | None = Field(None, description="number, named by species.table")
    cover: str | None = None


class Plots(Strict):
    """Surveys: one table with a row per survey and species, or two tables joined by the survey's id."""

    table: str
    occurrences: str | None = None
    columns: Columns


class _Origin(Strict):
    """Where observations come from: a table, a GeoPlant folder or a Darwin Core archive; one of them."""

    table: str | None = None
    geoplant: str | None = Field(None, description="folder into which GeoPlant was unpacked, of any year")
    splits: tuple[Split, ...] = Field(("train",), description="tables of GeoPlant that are read")
    darwin_core: str | None = Field(None, description="a Darwin Core archive: a zip file or a folder")

    @model_validator(mode="after")
    def _one_origin(self) -> _Origin:
        given = [name for name in ("table", "geoplant", "darwin_core") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give one of 'table', 'geoplant' and 'darwin_core'")
        mapped = getattr(self, "columns", None) is not None
        if mapped != (given == ["table"]):
            raise ValueError("'columns' belongs to 'table'" if mapped else "'table' needs 'columns'")
        if "splits" in self.model_fields_set and given != ["geoplant"]:
            raise ValueError("'splits' belongs to 'geoplant'")
        return self


class SurveyConfig(_Origin):
    """Presence-absence surveys."""

    occurrences: str | None = None
    columns: Columns | None = None
    predictors: Literal["cube", "files"] = Field("cube", description="files: those that GeoPlant gives beside its surveys")

    @model_validator(mode="after")
    def _of_its_origin(self) -> SurveyConfig:
        if self.occurrences is not None and self.table is None:
            raise ValueError("'occurrences' belongs to 'table'")
        if self.predictors == "files" and self.geoplant is None:
            raise ValueError("'predictors: files' belongs to 'geoplant'")
        return self

    @property
    def plots(self) -> Plots | None:
        """The tables, where surveys come from tables."""
        if self.table is None or self.columns is None:
            return None
        return Plots(table=self.table, occurrences=self.occurrences, columns=self.columns)


class RecordColumns(Strict):
    """Which column of a table of presence-only records holds what."""

    longitude: str
    latitude: str
    species: str | None = Field(None, description="scientific name")
    species_id: str | None = Field(None, description="number, named by species.table")
    record: str | None = Field(None, description="id of the record; absent: the row's number")
    year: str | None = None
    uncertainty_m: str | None = None

    @model_validator(mode="after")
    def _named(self) -> RecordColumns:
        if (self.species is None) == (self.species_id is None):
            raise ValueError("give 'species' (a name) or 'species_id' (a number)")
        return self


class RecordConfig(_Origin):
    """Presence-only records: what somebody noted somewhere."""

    columns: RecordColumns | None = None
    max_uncertainty_m: float | None = Field(None, description="records of a less certain position are left out")
    effort_km: float | None = Field(2.0, gt=0, description="standard deviation of the smoothing of the layer effort; null: none")


class SpeciesTable(Strict):
    """Names of numbered species (GeoPlant's ids)."""

    table: str
    id: str
    name: str


class SynonymTable(Strict):
    """Synonyms and the names that they stand for, a pair a row."""

    table: str
    name: str
    accepted: str


class Trait(Strict):
    """A table of traits: columns by our names, rows matched by scientific name; or a list that sets a flag.

    Names match exactly after normalisation and synonyms; `close` also takes the nearest spelling, and says so.
    """

    table: str
    name: str
    where: dict[str, str] = {}
    columns: dict[str, str] = {}
    flag: Literal["invasive", "protected", "endemic"] | None = None
    close: bool = False


class SpeciesRanges(Strict):
    """Range maps: outside of its range a species' probability is 0; species without one are left as they are."""

    geojson: str = Field(description="a FeatureCollection of polygons, one feature or more a species")
    property: str = Field("species", description="the property of a feature that is the scientific name")


class SpeciesConfig(Strict):
    """Which species are modelled and what is known of them."""

    min_records: int = 10
    table: SpeciesTable | None = None
    synonyms: SynonymTable | None = None
    traits: tuple[Trait, ...] = ()
    ranges: SpeciesRanges | None = None
    responses: tuple[str, ...] = Field((), description="species whose response curves `train` draws; none: the commonest")
