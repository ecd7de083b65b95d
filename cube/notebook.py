"""How a cube shows itself in a notebook: the HTML of a cube, its species and one layer, and an interactive map.

All text of a cube (its title, names of layers and species) may hold markup, so all of it is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, Final

from cube.errors import CubeError
from cube.export.cog import BBox
from cube.export.picture import MERCATOR, Picture, draw, extent_text
from cube.export.png import data_uri, png
from cube.grid import bounds_in
from cube.layers.ids import species_ids

if TYPE_CHECKING:
    from cube.reader import Cube

SIDE: Final = 160  # pixels at least, of the map beside a description
MOST_NAMES: Final = 12  # of the layers of a product
MOST_CLASSES: Final = 8  # of a legend
MAPPED_SPECIES: Final = 3  # species with a map of their own
MIN_PIXELS: Final = 512  # pixels at least, of a picture on an interactive map
MOST_SIDE: Final = 1024  # pixels, of that picture
VIEW: Final = (700, 400)  # pixels, wide and high, of a map in a notebook
EQUATOR: Final = 2 * math.pi * 6_378_137  # metres in Web Mercator, 256 pixels at zoom 0
FIRST: Final = ("indicators.richness", "habitats.level3", "inputs.elevation", "inputs.surface")  # of these the first is shown
BOX: Final = "display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start"
IMAGE: Final = "image-rendering:pixelated;width:260px;height:auto;border:1px solid #8888"
CELLS: Final = "text-align:left;vertical-align:top"


@dataclass(frozen=True)
class Preview:
    """One layer as a small map with its legend; a notebook shows it, `png()` gives the map alone."""

    picture: Picture
    cube: str  # its title
    extent: str
    release: str

    def png(self) -> bytes:
        """The map as a PNG."""
        return png(self.picture.image())

    def __repr__(self) -> str:
        """Title, id and size, for a terminal."""
        rows, cols = self.picture.values.shape
        return (
            f"<{self.picture.title} ({self.picture.layer_id}) of '{self.cube}', release {self.release}: {cols} x {rows} pixels>"
        )

    def _repr_html_(self) -> str:
        rows = [("Cube", self.cube), ("Layer", self.picture.layer_id), ("Extent", self.extent), ("Release", self.release)]
        return _card(self.picture.title, rows, [_figure(self.picture)])


def preview(cube: Cube, layer: str, bbox: BBox | None = None) -> Preview:
    """See `cube.reader.Cube.preview`."""
    picture = draw(cube.store, cube.release, _id(cube, layer), SIDE, bbox)
    return Preview(picture, cube.title, extent_text(cube.region), _release(cube))


def cube_html(cube: Cube) -> str:
    """Title, extent, release, layers and a small map of a cube; the map is left out where no layer can be read."""
    rows = [("Place", cube.store.url), ("Extent", extent_text(cube.region)), ("Release", _release(cube)), *_contents(cube)]
    for layer in FIRST:
        with suppress(CubeError):
            return _card(cube.title, rows, [_figure(draw(cube.store, cube.release, layer, SIDE))])
    return _card(cube.title, rows, [])


def species_html(cube: Cube, names: Iterable[str]) -> str:
    """How many species a release has, their names and the maps of the first ones."""
    name_list = list(names)
    rows = [
        ("Cube", cube.title),
        ("Extent", extent_text(cube.region)),
        ("Release", _release(cube)),
        ("Names", _first_names(name_list)),
        ("One of them", "cube.species[name] is its probability, cube.preview(name) shows it"),
    ]
    ids = species_ids(name_list[:MAPPED_SPECIES])
    return _card(f"{len(name_list):,} species", rows, [_figure(draw(cube.store, cube.release, name, SIDE)) for name in ids])


def _id(cube: Cube, name: str) -> str:
    """The id of a species by its scientific name, for which `find_layer` would read the names of all layers; else the name."""
    if "species" not in cube.release["products"] or name not in cube.species:
        return name
    names = list(cube.species)
    return species_ids(names)[names.index(name)]


def _release(cube: Cube) -> str:
    return str(cube.release["name"] or "none yet")


def _contents(cube: Cube) -> list[tuple[str, str]]:
    """A row for each product of the release and one for the inputs: how many layers, and their names."""
    rows = []
    products = cube.release["products"]
    if "species" in products:
        rows.append(("Species", _counted(list(cube.species))))
    for product in ("indicators", "habitats"):
        if product in products:
            rows.append((product.capitalize(), _counted(cube.product(product).data_vars)))
    with suppress(CubeError):  # nothing is built yet
        rows.append(("Inputs", _counted(name for group in cube._inputs.values() for name in group.data_vars)))
    return rows


def _counted(names: Iterable[Any]) -> str:
    name_list = [str(name) for name in names]
    return f"{len(name_list):,}: {_first_names(name_list)}"


def _first_names(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _card(title: str, rows: Iterable[tuple[str, str]], figures: Iterable[str]) -> str:
    table = "".join(
        f'<tr><th scope="row" style="{CELLS}">{escape(key)}</th><td style="{CELLS}">{escape(value)}</td></tr>'
        for key, value in rows
    )
    return (
        f'<div class="floracube"><strong>{escape(title)}</strong><div style="{BOX}">'
        f"<table><tbody>{table}</tbody></table>{''.join(figures)}</div></div>"
    )


def _figure(picture: Picture) -> str:
    title = escape(picture.title)
    image = f'<img alt="Map of {title}" src="{data_uri(picture.image())}" style="{IMAGE}">'
    return f'<figure style="margin:0;max-width:260px">{image}<figcaption>{title}{legend(picture)}</figcaption></figure>'


def legend(picture: Picture) -> str:
    """The colours of a picture as HTML: a bar from low to high, or its commonest classes with their shares."""
    if isinstance(picture.palette, dict):
        classes = picture.classes()
        lines = [
            f'<div><span style="background:{escape(colour)}">&emsp;</span> {escape(name)} {share:.0%}</div>'
            for name, colour, share in classes[:MOST_CLASSES]
        ]
        more = len(classes) - MOST_CLASSES
        return "".join(lines) + (f"<div>and {more} more</div>" if more > 0 else "")
    units = "" if picture.units in ("", "1") else f" {escape(picture.units)}"
    bar = f"height:.6em;background:linear-gradient(to right,{','.join(picture.palette)})"
    ends = f"<span>{picture.low:.4g}</span><span>{picture.high:.4g}{units}</span>"
    return f'<div style="{bar}"></div><div style="display:flex;justify-content:space-between">{ends}</div>'


def explore(cube: Cube, layer: str, bbox: BBox | None = None, basemap: bool = False) -> Any:
    """See `cube.reader.Cube.explore`."""
    try:
        import ipyleaflet
        import ipywidgets
    except ImportError as error:
        raise CubeError(
            f"An interactive map needs {error.name}, which is not installed; install floracube[notebook]"
            " (`pip install 'floracube[notebook]'`), or use `cube.preview`, which needs nothing more."
        ) from None
    first = draw(cube.store, cube.release, _id(cube, layer), MIN_PIXELS, bbox)
    url, corners = _overlay(first)
    overlay = ipyleaflet.ImageOverlay(url=url, bounds=corners, name=first.title)
    # Nothing is fetched from outside unless that is asked for: a map without a base map needs no network.
    layers = (ipyleaflet.basemap_to_tiles(ipyleaflet.basemaps.OpenStreetMap.Mapnik), overlay) if basemap else (overlay,)
    centre = tuple((low + high) / 2 for low, high in zip(*corners, strict=True))
    explorer = ipyleaflet.Map(layers=layers, center=centre, zoom=_zoom(corners), scroll_wheel_zoom=True, max_zoom=18)
    text = f'<div style="max-width:16em"><strong>{escape(first.title)}</strong>{legend(first)}</div>'
    explorer.add(ipyleaflet.WidgetControl(widget=ipywidgets.HTML(text), position="bottomright"))
    layer_extent = _box(corners)

    def follow(change: Mapping[str, Any]) -> None:
        """Draw what is visible at the level that fits; nothing where the view lies beside the layer."""
        view = _box(change["new"])
        west, south, east, north = (
            max(a, b) if i < 2 else min(a, b) for i, (a, b) in enumerate(zip(view, layer_extent, strict=True))
        )
        if west < east and south < north:
            with suppress(CubeError):
                part = draw(cube.store, cube.release, first.layer_id, MIN_PIXELS, (west, south, east, north))
                overlay.url, overlay.bounds = _overlay(replace(part, low=first.low, high=first.high))

    explorer.observe(follow, names="bounds")
    return explorer


def _overlay(picture: Picture) -> tuple[str, tuple[tuple[float, float], tuple[float, float]]]:
    """The image of a picture on a web map as a data URI, and its corners (south, west), (north, east) in degrees."""
    image, (west, south, east, north) = picture.on_web_map(MOST_SIDE)
    return data_uri(image), ((south, west), (north, east))


def _zoom(corners: Any) -> int:
    """The zoom at which the view shows the whole box; `fit_bounds` would find it in steps, each a round trip to the browser."""
    west, south, east, north = bounds_in(MERCATOR, _box(corners), 4326)
    across, down = (side * EQUATOR / 256 / metres for side, metres in zip(VIEW, (east - west, north - south), strict=True))
    return max(1, min(18, math.floor(math.log2(min(across, down)))))


def _box(corners: Any) -> BBox:
    (south, west), (north, east) = corners
    return west, south, east, north
