"""What `/area` takes and answers."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from server.queries.point import Status

Format = Literal["json", "csv", "html"]

# The body is read by hand, checked before it becomes a million small objects. The models of GeoJSON are geojson-pydantic's, which
# titiler's routes bring into the OpenAPI document.
REQUEST_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        *({"$ref": f"#/components/schemas/{name}"} for name in ("Polygon", "MultiPolygon", "Feature", "FeatureCollection")),
        {
            "type": "object",
            "required": ["region"],
            "title": "Region",
            "additionalProperties": False,
            "properties": {
                "region": {"type": "string", "minLength": 1, "maxLength": 200, "description": "A name of /regions."},
                "kind": {"type": "string", "maxLength": 100, "description": "Such as countries."},
            },
        },
    ],
    "examples": [
        {"type": "Polygon", "coordinates": [[[16.7, 49.0], [16.8, 49.0], [16.8, 49.1], [16.7, 49.1], [16.7, 49.0]]]},
        {"region": "Austria"},
    ],
}


class Count(BaseModel):
    """How many species of a status an area has."""

    species: int = Field(description="Listed species of this status.")
    expected_per_plot: float = Field(description="Sum of their mean probabilities: how many of them a plot holds on average.")


class Counts(BaseModel):
    """Counts by status."""

    listed: Count
    threatened: Count = Field(description="Red list categories CR, EN and VU.")
    protected: Count
    invasive: Count
    endemic: Count


class AreaSpecies(Status):
    """One species of an area, over the mapped cells in it."""

    id: str
    name: str
    vernacular: str
    coverage: float | None = Field(
        description="Share of the mapped cells in whose most likely list the species is; null with a coarser edge: no lists."
    )
    mean_probability: float = Field(description="Mean over the mapped cells of the probability of occurrence in a plot.")
    highest_probability: float = Field(description="In the best cell.")
    expected_cells: float = Field(description="Sum over the cells of the probability: in how many of them a plot would hold it.")


class AreaIndicator(BaseModel):
    """An indicator over an area, in its units."""

    id: str
    title: str
    units: str
    cells: int
    mean: float
    lower: float | None = Field(description="Mean of the cells' lower bounds.")
    upper: float | None = Field(description="Mean of the cells' upper bounds.")
    lowest: float = Field(description="The smallest estimate of a cell.")
    highest: float = Field(description="The largest estimate of a cell.")


class HabitatShare(BaseModel):
    """One habitat of an area."""

    value: str | int
    label: str
    colour: str
    share: float = Field(description="Of the classified cells.")
    km2: float


class AreaHabitats(BaseModel):
    """The habitats of one level of the scheme."""

    level: str
    title: str
    cells: int
    shares: list[HabitatShare]


class AreaReport(BaseModel):
    """What the cube knows of an area."""

    name: str
    release: str
    level: int = Field(
        description="Pyramid level of the cells at the edge of a large area: 0 is 50 m, each further one twice as coarse."
    )
    cell_m: int = Field(description="Side of the cells at the edge, metres.")
    km2: float = Field(description="Of the outline, on the ellipsoid.")
    inside_km2: float = Field(description="Of the outline's part inside the mapped region.")
    cells: int = Field(description="Cells of 50 m whose centre lies in the area; a coarser one stands for those below it.")
    mapped_cells: int = Field(description="Those that carry predictions: land, not sealed, inside the region.")
    mapped_km2: float
    threshold: float = Field(description="A species is listed where its best cell reaches this probability.")
    counts: Counts
    species: list[AreaSpecies]
    indicators: list[AreaIndicator]
    habitats: list[AreaHabitats]
    notes: list[str] = Field(description="How the numbers were made.")
    attribution: str
    license: str
