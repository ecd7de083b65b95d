"""What a notebook shows: true values of the overview that fits, few requests, escaped text, a map without a network."""

from __future__ import annotations

import base64
import importlib.util
import io
import itertools
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import floracube
from cube.errors import CubeError
from cube.export.picture import draw
from cube.notebook import SIDE
from cube.storage.store import CubeStore
from tests.support.good_cube import REGION, SPECIES, copy_of
from tests.support.web import served

HOSTILE = '<script>alert("x")</script> & "quoted" \'names\''
VOID = {"img", "br"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def rows(self) -> dict[str, str]:
        """The table of a description: what stands beside each heading."""
        texts = [text for text in self.text if text.strip()]
        return dict(itertools.pairwise(texts))

    def images(self) -> list[np.ndarray]:
        """(4, rows, columns) of each image; every one of them is in the document itself."""
        out = []
        for tag, attributes in self.tags:
            if tag == "img":
                head, _, body = (attributes["src"] or "").partition(",")
                assert head == "data:image/png;base64"
                assert attributes["alt"]
                picture = Image.open(io.BytesIO(base64.b64decode(body))).convert("RGBA")
                out.append(np.moveaxis(np.asarray(picture), -1, 0))
        return out


@pytest.mark.parametrize("side", [60, 120, 1000])
def test_a_picture_has_the_values_of_the_coarsest_level_with_enough_pixels(good_cube: CubeStore, side: int) -> None:
    opened = floracube.open(good_cube.url)
    level = 0 if side == 1000 else 1
    shown = draw(good_cube, opened.release, "indicators.richness", side)
    expected = opened.product("indicators", level=level)["richness"].sel(bound="estimate")
    west, south, east, north = REGION.bounds
    inside = expected.sel(x=slice(west, east), y=slice(north, south))
    np.testing.assert_allclose(shown.values, inside.values, rtol=1e-6)
    assert shown.bounds == REGION.bounds


def test_a_species_is_shown_from_zero_to_its_ceiling_by_any_of_its_names(good_cube: CubeStore) -> None:
    opened = floracube.open(good_cube.url)
    by_name, by_id = opened.preview("Picea abies"), opened.preview("species.picea_abies")
    np.testing.assert_array_equal(by_name.picture.values, by_id.picture.values)
    assert (by_name.picture.low, by_name.picture.high) == (0.0, 0.6)


def test_classes_have_their_colours_and_shares(good_cube: CubeStore) -> None:
    opened = floracube.open(good_cube.url)
    shown = opened.preview("habitats.level3").picture
    values, counts = np.unique(shown.values[np.isfinite(shown.values)], return_counts=True)
    assert [share for _, _, share in shown.classes()] == pytest.approx(sorted(counts / counts.sum(), reverse=True))
    assert {name for name, _, _ in shown.classes()} == {"T17 Beech forest", "T1A Oak forest", "R22 Hay meadow"}
    image = shown.image()
    assert (image[3] == 0).sum() == np.isnan(shown.values).sum()
    assert tuple(image[:3, shown.values == values[0]][:, 0]) == (0x2B, 0x8A, 0x3E)


def test_a_cube_shows_title_extent_release_layers_and_a_map(good_cube: CubeStore) -> None:
    page = Page(floracube.open(good_cube.url)._repr_html_())
    assert page.text[0] == "A cube that keeps its promises"
    rows = page.rows()
    assert rows["Place"] == good_cube.url
    assert rows["Extent"].startswith("12 x 6 km, 240 x 120 cells of 50 m (EPSG:3035); ")
    assert rows["Release"] == "first"
    assert rows["Species"] == "4: Fagus sylvatica, Picea abies, Adonis vernalis, Carex alba"
    assert rows["Inputs"].startswith("6: ")
    (image,) = page.images()
    assert 120 <= image.shape[2] <= 320
    shown = draw(good_cube, floracube.open(good_cube.url).release, "indicators.richness", SIDE)
    np.testing.assert_array_equal(image, shown.image())
    assert len({tuple(colour) for colour in image[:3].reshape(3, -1).T}) > 10


def test_species_show_their_names_and_the_maps_of_the_first(good_cube: CubeStore) -> None:
    species = floracube.open(good_cube.url).species
    page = Page(species._repr_html_() or "")
    assert page.text[0] == "4 species"
    assert page.rows()["Names"] == ", ".join(SPECIES)
    assert len(page.images()) == 3
    assert repr(species) == "<4 species: Fagus sylvatica, Picea abies, Adonis vernalis, ...>"


def test_names_with_markup_are_shown_as_text(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    pointer = cube.read_json("current.json")
    assert pointer is not None
    about = dict(cube.root.attrs["floracube"]) | {"title": HOSTILE}
    cube.root.attrs["floracube"] = about
    names = cube.array("products/species/v1/0/species")
    names[0] = HOSTILE
    cube.array("products/indicators/v1/0/richness").attrs["long_name"] = HOSTILE
    cube.array("products/indicators/v1/0/richness").attrs["units"] = HOSTILE
    opened = floracube.open(cube.url)
    name = next(iter(opened.species))
    assert name == HOSTILE
    shown = [opened._repr_html_(), opened.species._repr_html_(), opened.preview("richness")._repr_html_()]
    for html in shown:
        page = Page(html or "")
        assert "script" not in {tag for tag, _ in page.tags}
        assert any(HOSTILE in text for text in page.text)


@pytest.mark.parametrize("colour", ["#1b4f72;background:url(http://example.org/x)", "red", "#12"])
def test_a_colour_of_a_legend_that_is_none_never_reaches_a_style(good_cube: CubeStore, tmp_path: Path, colour: str) -> None:
    cube = copy_of(good_cube, tmp_path)
    for level in ("0", "1", "2", "3"):
        path = f"products/habitats/v1/{level}/level3"
        if cube.has(path):
            attributes = cube.array(path).attrs
            attributes["flag_colors"] = " ".join([colour, *str(attributes["flag_colors"]).split()[1:]])
    html = floracube.open(cube.url).preview("habitats.level3")._repr_html_()
    assert "<img" in html
    assert colour not in html


def test_a_cube_without_a_release_or_inputs_says_so(tmp_path: Path) -> None:
    from cube.storage.store import create_cube

    cube = create_cube(str(tmp_path / "empty.zarr"), REGION, "Empty")
    page = Page(floracube.open(cube.url)._repr_html_())
    assert page.rows()["Release"] == "none yet"
    assert page.images() == []


def test_a_map_needs_few_requests(good_cube: CubeStore) -> None:
    log: list[str] = []
    with served(Path(good_cube.url).parent, log=log) as url:
        opened = floracube.open(f"{url}/{Path(good_cube.url).name}")
        log.clear()
        opened.preview("indicators.richness")
        first = len(log)
        log.clear()
        opened.preview("Picea abies")
        named = len(log)
        log.clear()
        opened._repr_html_()
    assert first <= 12, log
    assert named <= 12, log
    assert len(log) <= 40, log


def test_an_unknown_layer_and_a_place_outside_are_one_sentence(good_cube: CubeStore) -> None:
    opened = floracube.open(good_cube.url)
    with pytest.raises(CubeError, match=r"there is no layer 'richnes'; did you mean indicators\.richness\?"):
        opened.preview("richnes")
    with pytest.raises(CubeError, match=r"bbox 0,0,1,1 lies outside the region"):
        opened.preview("richness", bbox=(0, 0, 1, 1))
    for bbox in ((1, 2, 3), ("7", "46", "8", "47")):
        with pytest.raises(CubeError, match=r"it must be four numbers: W,S,E,N in degrees"):
            opened.preview("richness", bbox=bbox)  # type: ignore[arg-type]


def test_without_the_extra_a_sentence_says_what_to_install(good_cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipyleaflet", None)
    with pytest.raises(CubeError, match=r"pip install 'floracube\[notebook\]'"):
        floracube.open(good_cube.url).explore("richness")


@pytest.mark.skipif(importlib.util.find_spec("ipyleaflet") is None, reason="needs the extra notebook")
def test_an_interactive_map_shows_what_is_visible_from_the_level_that_fits(good_cube: CubeStore) -> None:
    shown: Any = floracube.open(good_cube.url).explore("richness")
    (overlay,) = shown.layers
    assert overlay.url.startswith("data:image/png;base64,")
    (south, west), (north, east) = overlay.bounds
    lon, lat = REGION.grid.unproject(*(np.array(REGION.bounds)[[[0, 2], [1, 3]]].mean(1)))
    assert west < float(lon) < east
    assert south < float(lat) < north
    pixels = 256 * 2**shown.zoom * (east - west) / 360
    assert 200 < pixels <= 700
    before = overlay.url
    # The browser reports what it sees: a quarter of the map.
    for edge, value in {"south": (south + north) / 2, "west": west, "north": north, "east": (west + east) / 2}.items():
        shown.set_trait(edge, value)
    assert overlay.url != before
    (new_south, new_west), (new_north, new_east) = overlay.bounds
    assert new_north - new_south < 0.7 * (north - south)
    assert new_east - new_west < 0.7 * (east - west)
    still = overlay.url
    for edge, value in {"south": -10.0, "north": -5.0, "west": 100.0, "east": 101.0}.items():
        shown.set_trait(edge, value)
    assert overlay.url == still or overlay.url.startswith("data:")


def test_a_picture_on_a_web_map_lies_where_the_cells_lie(good_cube: CubeStore) -> None:
    opened = floracube.open(good_cube.url)
    shown = draw(good_cube, opened.release, "habitats.level3", 1000)
    image, (west, south, east, north) = shown.on_web_map(600)
    assert max(image.shape[1:]) == 600
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, shown.values.shape[0], 200), rng.integers(0, shown.values.shape[1], 200)
    x, y = shown.bounds[0] + 50 * (cols + 0.5), shown.bounds[3] - 50 * (rows + 0.5)
    lon, lat = REGION.grid.unproject(x, y)
    height, width = image.shape[1:]

    def mercator(latitude: Any) -> Any:
        return np.log(np.tan(np.pi / 4 + np.radians(latitude) / 2))

    at_col = ((lon - west) / (east - west) * width).astype(int)
    at_row = ((mercator(north) - mercator(lat)) / (mercator(north) - mercator(south)) * height).astype(int)
    own = shown.image()
    np.testing.assert_array_equal(image[:, at_row, at_col], own[:, rows, cols])
