"""What a configuration says of its tables: surveys, records, species and their traits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cube.config.strict import Strict


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


class SpeciesTable(Strict):
    """Names of numbered species (GeoPlant's ids)."""

    table: str
    id: str
    name: str


class Trait(Strict):
    """A table of traits: columns by our names, rows matched by exact scientific name; or a list that sets a flag."""

    table: str
    name: str
    where: dict[str, str] = {}
    columns: dict[str, str] = {}
    flag: Literal["invasive", "protected", "endemic"] | None = None


class SpeciesConfig(Strict):
    """Which species are modelled and what is known of them."""

    min_records: int = 10
    table: SpeciesTable | None = None
    traits: tuple[Trait, ...] = ()
