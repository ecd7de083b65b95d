"""The root group of a cube: how it is opened, and what it says of the whole: format, title, region and unit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import zarr
import zarr.errors

from cube.errors import ConfigError, CubeError
from cube.grid import EUROPE, Grid, Region
from cube.storage import backends, shapes

FORMAT: Final = 2  # 2: tables lie in their versions, identities of values are plain JSON, bands are described

# Zarr warns that consolidated metadata and strings are not yet in the v3 specification and that current.json is no Zarr
# node: all three are decisions of our format, not news to a user. These are filters of the process, since
# `warnings.catch_warnings` of one thread undoes that of another.
for _message in (
    "Consolidated metadata is currently not part in the Zarr",
    "The data type .* does not have a Zarr V3 specification",
    "Object at .* is not recognized as a component of a Zarr hierarchy",
):
    warnings.filterwarnings("ignore", _message)


def open_root(url: str, writable: bool = False) -> zarr.Group:
    """The root group of the store at `url`. Raises `CubeError` if there is none."""
    folder = backends.local_path(url)
    if folder is not None and folder.is_file():
        raise CubeError(f"{url}: is a file; a cube is a folder or the URL of one, as `floracube build` makes it.")
    with one_sentence(url, "the store cannot be opened"):
        try:
            store = backends.zarr_store(url, read_only=not writable)
            return zarr.open_group(store, mode="r+" if writable else "r", zarr_format=3, use_consolidated=False)
        except (FileNotFoundError, zarr.errors.GroupNotFoundError, KeyError) as error:
            raise CubeError(f"{url}: there is no cube here; run `floracube build` first or check the path.") from error


def described(where: str, attributes: object) -> Mapping[str, Any]:
    """`attributes`, where they are what the root of a cube says: `format`, `title`, `region_km` (west, south, east,
    north), `unit_km` and `crs` (absent: EPSG:3035).

    `where` names the place of it. Raises `CubeError` where it is not, or where a newer floracube wrote it.
    """
    if not isinstance(attributes, Mapping):
        raise CubeError(
            f"{where}: this Zarr store is not a floracube cube (its root has no 'floracube' attribute); check the path."
        )
    if shapes.is_whole(attributes.get("format")) and attributes["format"] > FORMAT:
        raise CubeError(f"{where}: cube format {attributes['format']} is newer than {FORMAT}; upgrade floracube to read it.")
    return shapes.require(where, dict(attributes), shapes.ROOT, "restore the file")


def about_region(region: Region) -> dict[str, Any]:
    """What the root of a cube says of its region: the inverse of `region_of`."""
    edges = [edge // 1000 for edge in region.bounds]
    return {"unit_km": region.unit_km, "crs": region.grid.code, "region_km": edges}


def region_of(where: str, attributes: Mapping[str, Any]) -> Region:
    """The region of a cube by what its root says (`described`). Raises `CubeError` for what is no window of a grid."""
    west, south, east, north = attributes["region_km"]
    try:
        return Region(west, south, east, north, attributes["unit_km"], Grid.of(str(attributes.get("crs", EUROPE.code))))
    except ConfigError as error:
        reason = str(error).rstrip(".")
        raise CubeError(f"{where}: {reason}; restore the file.") from None


@contextmanager
def one_sentence(url: str, what: str) -> Iterator[None]:
    """Make one sentence of whatever a store answers when a cube is opened: each library behind it has errors of its own."""
    try:
        yield
    except CubeError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise CubeError(f"{url}: {what} ({text}); check the URL, the credentials and your permissions.") from error
