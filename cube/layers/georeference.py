"""Where the cells of a Zarr group or array lie, as the conventions proj, spatial and multiscales say.

The release v0.1 of the conventions, which our cubes declare, lets a node give its CRS in several ways; the later drafts, whose
names end in a colon, want exactly one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from cube.errors import CubeError

CODE: Final = re.compile(r"[A-Z]+:[0-9]+")
PROJ: Final = ("proj:code", "proj:wkt2", "proj:projjson")


@dataclass(frozen=True)
class Georeference:
    """What the conventions say of a node; None and empty for what they do not."""

    crs: CRS | None
    dimensions: tuple[str, ...]  # the axes that lie in space, rows first
    transform: Affine | None  # (column, row) of a pixel's corner to (x, y); of its centre where registration is node
    shape: tuple[int, int] | None
    bbox: tuple[float, ...] | None
    registration: Literal["pixel", "node"]
    levels: tuple[str, ...]  # paths of the levels of a pyramid below the node, finest first

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(y, x) of the rows and columns of a grid that is not rotated. Raises `ValueError` where nothing says where they lie."""
        if self.transform is None or self.shape is None:
            raise ValueError(f"spatial:{'shape' if self.transform else 'transform'} is missing")
        t, half = self.transform, 0.5 if self.registration == "pixel" else 0.0
        y, x = (np.arange(n, dtype=np.float64) + half for n in self.shape)
        return y * t.e + t.f, x * t.a + t.c


def read_georeference(location: str, attributes: Mapping[str, Any], parent: Georeference | None = None) -> Georeference:
    """The georeference of a node by its attributes; a CRS that it does not give is that of its `parent` group.

    Raises `CubeError` naming `location` and the attribute that breaks its convention.
    """
    names = {str(entry.get("name")) for entry in attributes.get("zarr_conventions", ())}

    def refuse(key: str, text: str) -> CubeError:
        return CubeError(f"{location}: {key} {text}; write this attribute as its convention says.")

    ways = [key for key in PROJ if key in attributes]
    if ("proj" in names or "proj:" in names) and not ways:
        raise refuse("proj:code", "is missing, and so are proj:wkt2 and proj:projjson")
    if "proj:" in names and len(ways) > 1:
        raise refuse(ways[1], f"stands beside {ways[0]}, where one alone is allowed")
    if "proj:code" in attributes and not CODE.fullmatch(str(attributes["proj:code"])):
        raise refuse("proj:code", f"is '{attributes['proj:code']}', which is no code such as EPSG:3035")
    try:
        crs = CRS.from_user_input(attributes[ways[0]]) if ways else parent.crs if parent else None
    except CRSError as error:
        raise refuse(ways[0], f"is no CRS that PROJ knows ({str(error).splitlines()[0]})") from None
    dimensions = tuple(str(dim) for dim in attributes.get("spatial:dimensions", ()))
    if names & {"spatial", "spatial:"} and len(dimensions) not in (2, 3):
        raise refuse("spatial:dimensions", "must name the two or three axes that lie in space")
    transform_values = attributes.get("spatial:transform")
    if transform_values is not None and len(transform_values) != {2: 6, 3: 9}.get(len(dimensions), 6):
        raise refuse("spatial:transform", f"has {len(transform_values)} numbers, where 6 (or 9 in three dimensions) are expected")
    registration = attributes.get("spatial:registration", "pixel")
    if registration not in ("pixel", "node"):
        raise refuse("spatial:registration", f"is '{registration}', neither pixel nor node")
    layout = attributes.get("multiscales", {}).get("layout", ())
    if "multiscales" in names and not layout:
        raise refuse("multiscales", "lists no levels")
    for level in layout:
        if not level.get("asset") or ("derived_from" in level and "transform" not in level):
            raise refuse("multiscales", f"has the level {level}, which needs an asset and, where it is derived, a transform")
    shape, bbox = attributes.get("spatial:shape"), attributes.get("spatial:bbox")
    return Georeference(
        crs,
        dimensions,
        Affine(*transform_values) if transform_values is not None and len(transform_values) == 6 else None,
        (int(shape[-2]), int(shape[-1])) if shape is not None else None,
        tuple(float(edge) for edge in bbox) if bbox is not None else None,
        registration,
        tuple(str(level["asset"]) for level in layout),
    )
