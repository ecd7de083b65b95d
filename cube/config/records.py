"""What a configuration says of its tables: surveys, records, species and their traits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cube.config.strict import Strict

Split = Literal["train", "val", "test", "test_iid", "test_ood", "test_glc25"]


class Columns(Strict):
    """Which column of a table holds what."""

    survey: str = Field(description="id of the survey, which joins the two tables")
    longitude: str | None = Field(None, description="degrees, WGS 84")
    latitude: str | None = Field(None, description="degrees, WGS 84")
    year: str | None = Field(None, description="year of the survey")
    area_m2: str | None = Field(None, description="size of the plot in square metres; missing ones take the median")
    place: str | None = Field(
        None, description="id of a place that was surveyed again; left out, surveys of one 50 m cell are of one place"
    )
    habitat: str | None = Field(None, description="habitat of the plot, for Pl@ntBERT")
    species: str | None = Field(None, description="scientific name")
    species_id: str | None = Field(None, description="number, named by species.table")
    cover: str | None = Field(None, description="percent; rows of zero or less are left out")


class Plots(Strict):
    """Surveys: one table with a row per survey and species, or two tables joined by the survey's id."""

    table: str = Field(description="a row a survey, or a row a survey and species")
    occurrences: str | None = Field(None, description="a row a survey and species, joined by the survey's id")
    columns: Columns = Field(description="which column holds what")


class _Origin(Strict):
    """Where observations come from: a table, a GeoPlant folder or a Darwin Core archive; one of them."""

    table: str | None = Field(None, description="a CSV or Parquet table, with columns")
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

    occurrences: str | None = Field(None, description="a second table with a row a survey and species")
    columns: Columns | None = Field(None, description="which column of the tables holds what")
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

    longitude: str = Field(description="degrees, WGS 84")
    latitude: str = Field(description="degrees, WGS 84")
    species: str | None = Field(None, description="scientific name")
    species_id: str | None = Field(None, description="number, named by species.table")
    record: str | None = Field(None, description="id of the record; absent: the row's number")
    year: str | None = Field(None, description="year of the record")
    uncertainty_m: str | None = Field(None, description="how certain the position is, metres")

    @model_validator(mode="after")
    def _named(self) -> RecordColumns:
        if (self.species is None) == (self.species_id is None):
            raise ValueError("give 'species' (a name) or 'species_id' (a number)")
        return self


class RecordConfig(_Origin):
    """Presence-only records: what somebody noted somewhere."""

    columns: RecordColumns | None = Field(None, description="which column of the table holds what")
    max_uncertainty_m: float | None = Field(None, description="records of a less certain position are left out")
    effort_km: float | None = Field(2.0, gt=0, description="standard deviation of the smoothing of the layer effort; null: none")


class SpeciesTable(Strict):
    """Names of numbered species (GeoPlant's ids)."""

    table: str = Field(description="path of the table")
    id: str = Field(description="column of the number")
    name: str = Field(description="column of the scientific name")


class SynonymTable(Strict):
    """Synonyms and the names that they stand for, a pair a row."""

    table: str = Field(description="path of the table")
    name: str = Field(description="column of the synonym")
    accepted: str = Field(description="column of the name it stands for")


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
