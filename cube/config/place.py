"""Where a cube lies: the projection of its cells, and windows of it in kilometres or degrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from cube.config.strict import Strict
from cube.errors import ConfigError
from cube.grid import EUROPE, Grid, Region

TRUE_AREA: Final = 0.02  # largest share by which a cell may differ from its 2,500 square metres on the ground
TRUE_LENGTH: Final = 0.1  # and a side of it from 50 m, whichever way it lies: Europe's grid reaches 0.06


class GridConfig(Strict):
    """The projection whose metres the cells of 50 m count."""

    crs: str = Field(EUROPE.code, description="EPSG code of a projection in metres; Europe's is EPSG:3035")

    @field_validator("crs", mode="before")
    @classmethod
    def _named(cls, crs: Any) -> Any:
        """A bare number is a code of the EPSG."""
        return f"EPSG:{crs}" if isinstance(crs, int) and not isinstance(crs, bool) else crs


class Window(Strict):
    """A window of whole kilometres of the grid, given as its four edges or as `bbox: [west, south, east, north]` in degrees.

    A box in degrees (WGS 84) is grown outward to whole kilometres, so that the window holds all of it.
    """

    west_km: int = Field(description="left edge")
    south_km: int = Field(description="lower edge")
    east_km: int = Field(description="right edge")
    north_km: int = Field(description="upper edge")

    @model_validator(mode="before")
    @classmethod
    def _of_degrees(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict) or "bbox" not in value:
            return value
        box = value["bbox"]
        if len(value) > 1:
            raise ValueError("give either 'bbox' or west_km, south_km, east_km, north_km")
        if not (isinstance(box, list | tuple) and len(box) == 4 and all(isinstance(v, int | float) for v in box)):
            raise ValueError("bbox is [west, south, east, north] in degrees")
        if 180 <= box[0] < box[2] <= 360:  # counted on beyond the date line
            box = [box[0] - 360, box[1], box[2] - 360, box[3]]
        east = box[2] - 360 if 180 < box[2] <= 360 else box[2]
        if -180 < east < 0 < box[0] < 180 and -90 < box[1] < box[3] < 90 and box[0] - east > 180:
            raise ValueError(
                f"bbox crosses the meridian of 180 degrees; make a cube of each side: {[box[0], box[1], 180, box[3]]} and"
                f" {[-180, box[1], east, box[3]]}"
            )
        if not (-180 <= box[0] < box[2] <= 180 and -90 < box[1] < box[3] < 90):
            raise ValueError("bbox is [west, south, east, north] in degrees, west below east and south below north")
        grid: Grid = (info.context or {}).get("grid", EUROPE)
        exchanged = [box[1], box[0], box[3], box[2]]
        window = grid.window_km(*box)
        if window is None and abs(exchanged[3]) < 90 and grid.window_km(*exchanged) is not None:
            raise ValueError(f"bbox is [west, south, east, north], and its degrees seem exchanged: write {exchanged}")
        if window is None:
            raise ValueError(f"bbox lies outside the grid ({grid.code}); name a projection of that place by `grid: {{crs: ...}}`")
        return dict(zip(("west_km", "south_km", "east_km", "north_km"), window, strict=True))


def grid_of(document: Mapping[str, Any]) -> Grid:
    """The grid that boxes in degrees are brought to; a key `grid` of another form is refused with the whole document.

    Raises `ConfigError` as `Grid.of` does.
    """
    try:
        return Grid.of(GridConfig.model_validate(document.get("grid", {})).crs)
    except ValidationError:
        return EUROPE


def check_grid(region: Region) -> Grid:
    """The grid of a region; raises `ConfigError` where its cells are not 50 m on the ground."""
    grid, (west, south, east, north) = region.grid, region.bounds
    areas, lengths = zip(*(grid.scales(x, y) for x in (west, east) for y in (south, north)), strict=True)
    area, length = max(areas, key=lambda scale: abs(scale - 1)), max(lengths)
    left, _, right, _ = region.degrees
    if left > right:
        raise ConfigError(
            f"region: its units of {region.unit_km} km cross the meridian of 180 degrees; make a cube of each side, of"
            " smaller units (`unit_km`) where the region itself does not cross it."
        )
    if not (abs(area - 1) <= TRUE_AREA and length - 1 <= TRUE_LENGTH):
        raise ConfigError(
            f"grid.crs: a square kilometre of the region takes up {area:.2f} square kilometres of {grid.code}, and a kilometre up"
            f" to {length:.2f}; choose a projection of this place, of equal areas if there is one."
        )
    return grid
