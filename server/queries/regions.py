"""Named regions: countries, biogeographic regions or others of GeoJSON files that the server was started with.

The files are the operator's: Natural Earth's countries are in the public domain, the biogeographic regions are the European
Environment Agency's. `ogr2ogr -t_srs EPSG:4326 regions.geojson FILE` makes one of any vector file.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import shapely
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field

from cube.errors import ConfigError
from server.dependencies import cube_of, unchanged, validators
from server.errors import NotFoundError
from server.queries import outline
from server.queries.outline import OutlineError

_NAMES: Final = ("name", "NAME", "Name", "NAME_EN", "name_en", "ADMIN", "label")
_ALIASES: Final = ("NAME_LONG", "NAME_EN", "name_en", "ISO_A2", "ISO_A2_EH", "ISO_A3", "ADM0_A3", "code", "short_name")


@dataclass(frozen=True)
class Region:
    """A region: its name, what it is, other names, and its shape in degrees, WGS 84."""

    name: str
    kind: str
    aliases: frozenset[str]
    shape: shapely.Geometry


@dataclass(frozen=True)
class Regions:
    """All named regions, in the order of their files."""

    entries: tuple[Region, ...] = ()

    @cached_property
    def token(self) -> str:
        """Changes with the regions: a part of the ETag of what they answer."""
        contents = [(r.name, r.kind, sorted(r.aliases), r.shape.wkb_hex) for r in self.entries]
        return hashlib.sha256(repr(contents).encode()).hexdigest()[:8]

    def find(self, name: Any, kind: Any = None) -> Region:
        """The region called `name`, in any letters, or by its code.

        Raises `OutlineError` for what is no name or an ambiguous one, `NotFoundError` with close names for an unknown one.
        """
        if not isinstance(name, str) or not 0 < len(name) <= 200 or not (kind is None or isinstance(kind, str)):
            raise OutlineError("region and kind must be names of /regions.")
        lower_name = name.strip().casefold()
        fitting = [r for r in self.entries if kind is None or r.kind.casefold() == kind.casefold()]
        matches = [r for r in fitting if r.name.casefold() == lower_name] or [r for r in fitting if lower_name in r.aliases]
        if len(matches) == 1:
            return matches[0]
        if matches:
            kinds = ", ".join(sorted({r.kind for r in matches}))
            raise OutlineError(f"Several regions are called '{name[:80]}'; say which kind: {kinds}.")
        close = difflib.get_close_matches(lower_name, [r.name.casefold() for r in fitting], 3, 0.6)
        close_names = [r.name for r in fitting if r.name.casefold() in close]
        hint = f"; close names are {', '.join(dict.fromkeys(close_names))}" if close_names else "; see /regions"
        raise NotFoundError(f"There is no region '{name[:80]}'{hint if self.entries else ': this server has no named regions'}.")


def read(spec: str, said_by: str = "--regions") -> Regions:
    """The regions of a list of files such as `countries=/data/countries.geojson,/data/biogeography.geojson`.

    `countries` is what the regions of the file are; without it the file's own name says so.

    Raises `ConfigError` that names the setting or option `said_by`, the file and what is wrong in it.
    """
    entries: list[Region] = []
    for entry in (part.strip() for part in spec.split(",") if part.strip()):
        kind, _, path = entry.rpartition("=")
        try:
            entries += _of_file(Path(path), kind or Path(path).stem)
        except ConfigError as error:
            raise ConfigError(f"{said_by}: {error}") from None
    return Regions(tuple(entries))


def _of_file(path: Path, kind: str) -> list[Region]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path} is not GeoJSON; make it with `ogr2ogr -t_srs EPSG:4326 x.geojson FILE`.") from None
    features = document.get("features") if isinstance(document, Mapping) else None
    if not isinstance(features, Sequence) or not features:
        raise ConfigError(f"{path} has no features; it must be a GeoJSON FeatureCollection.")
    parts: dict[str, tuple[set[str], list[shapely.Geometry]]] = {}
    for number, feature in enumerate(features):
        properties = (feature.get("properties") or {}) if isinstance(feature, Mapping) else None
        if not isinstance(properties, Mapping):
            raise ConfigError(f"feature {number} of {path} is not a GeoJSON Feature; its properties must be an object.")
        name = next((str(properties[key]).strip() for key in _NAMES if properties.get(key)), "")
        if not name:
            raise ConfigError(f"feature {number} of {path} has no name; known fields are {', '.join(_NAMES)}.")
        if feature.get("geometry") is None:
            continue
        aliases, shapes = parts.setdefault(name, (set(), []))
        aliases |= {str(properties[key]).casefold() for key in _ALIASES if properties.get(key) and str(properties[key]) != "-99"}
        shapes.append(_shape(feature["geometry"], path, name))
    return [Region(name, kind, frozenset(aliases), shapely.union_all(shapes)) for name, (aliases, shapes) in parts.items()]


def _shape(geometry: Any, path: Path, name: str) -> shapely.Geometry:
    try:
        return outline.parse(geometry)
    except OutlineError as error:
        shape = _fixed(geometry)
        if shape is None:
            raise ConfigError(f"'{name}' of {path}: {error}") from None
        return shape


def _fixed(geometry: Any) -> shapely.Geometry | None:
    """Published outlines touch themselves here and there: the same shape, valid; None where there is no fixing."""
    try:
        shape = shapely.make_valid(shapely.from_geojson(json.dumps(geometry)))
    except (shapely.errors.ShapelyError, ValueError):
        return None
    west, south, east, north = shape.bounds
    return shape if shape.area > 0 and west >= -180 and east <= 180 and south >= -90 and north <= 90 else None


class NamedRegion(BaseModel):
    """One region of the list."""

    name: str
    kind: str
    bounds: list[float] = Field(description="West, south, east, north in degrees.")


class RegionList(BaseModel):
    """Regions that `/area` knows by name."""

    total: int
    kinds: list[str]
    regions: list[NamedRegion]


router: Final = APIRouter(tags=["queries"])


def region_lists(request: Request) -> Regions:
    """The regions that the server was started with."""
    regions: Regions = request.app.state.regions
    return regions


NamedRegions = Annotated[Regions, Depends(region_lists)]


def _tagged(regions: Regions, request: Request) -> dict[str, str]:
    """Validators that change with the regions too."""
    headers = validators(cube_of(request).snapshot(), request)
    return headers | {"ETag": f'{headers["ETag"][:-1]}-{regions.token}"'}


@router.get("/regions", summary="Regions that have a name", response_model=RegionList)
def list_regions(request: Request, regions: NamedRegions) -> Response:
    """Named regions whose box touches the mapped region; `/area` takes their names."""
    window = shapely.box(*cube_of(request).snapshot().bounds)
    rows = [
        NamedRegion(name=r.name, kind=r.kind, bounds=[round(v, 6) for v in r.shape.bounds])
        for r in regions.entries
        if r.shape.intersects(window)
    ]
    answer = RegionList(total=len(rows), kinds=list(dict.fromkeys(r.kind for r in rows)), regions=rows)
    headers = _tagged(regions, request)
    return unchanged(request, headers) or Response(answer.model_dump_json(), media_type="application/json", headers=headers)


@router.get("/regions/{name}", summary="Outline of a named region", response_model=dict[str, Any])
def outlined(
    request: Request,
    regions: NamedRegions,
    name: Annotated[str, PathParameter(max_length=200, description="A name of /regions.")],
    kind: Annotated[str | None, Query(max_length=100, description="Such as countries.")] = None,
) -> Response:
    """A GeoJSON Feature in longitude and latitude, with five decimals: a metre."""
    region, headers = regions.find(name, kind), _tagged(regions, request)
    if (not_modified := unchanged(request, headers)) is not None:
        return not_modified
    geometry = json.loads(shapely.to_geojson(shapely.transform(region.shape, lambda xy: np.round(xy, 5))))
    feature = {"type": "Feature", "properties": {"name": region.name, "kind": region.kind}, "geometry": geometry}
    return Response(json.dumps(feature, separators=(",", ":")), media_type="application/geo+json", headers=headers)
