"""The style by which QGIS draws a layer as the map page does: a `.qml` that lies beside a GeoTIFF and is taken unasked.

Without it QGIS draws the three bounds of an indicator as red, green and blue, and lists 256 classes where a map has five.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from cube.layers import display

# The first line tells our styles from those that somebody saved in QGIS, which are not ours to overwrite.
MARK: Final = b"<!-- Written by floracube. A style saved in QGIS replaces it and is then kept. -->\n"
VERSION: Final = "3.22"  # of QGIS, whose schema this is


def continuous(palette: str, span: tuple[float, float], units: str = "1") -> bytes:
    """The first band in the colours of `palette` over `span` (low, high; in units, as QGIS scales stored values itself)."""
    low, high = span
    colours = display.anchors(palette)
    at = [low + (high - low) * i / (len(colours) - 1) for i in range(len(colours))]
    renderer = Element(
        "rasterrenderer",
        {
            "type": "singlebandpseudocolor",
            "band": "1",
            "opacity": "1",
            "alphaBand": "-1",
            "classificationMin": _number(low),
            "classificationMax": _number(high),
        },
    )
    _limits(renderer)
    shader = SubElement(
        SubElement(renderer, "rastershader"),
        "colorrampshader",
        {
            "colorRampType": "INTERPOLATED",
            "classificationMode": "1",
            "clip": "0",
            "labelPrecision": "6",
            "minimumValue": _number(low),
            "maximumValue": _number(high),
        },
    )
    ramp = SubElement(shader, "colorramp", {"type": "gradient", "name": "[source]"})
    stops = ":".join(f"{i / (len(colours) - 1):.6g};{_rgba(c)}" for i, c in enumerate(colours[1:-1], start=1))
    for key, text in (
        ("color1", _rgba(colours[0])),
        ("color2", _rgba(colours[-1])),
        ("discrete", "0"),
        ("rampType", "gradient"),
        ("stops", stops),
    ):
        SubElement(ramp, "prop", {"k": key, "v": text})
    suffix = "" if units in ("", "1") else f" {units}"
    for value, colour in zip(at, colours, strict=True):
        label = f"{value:.4g}{suffix}"
        SubElement(shader, "item", {"value": _number(value), "color": colour, "alpha": "255", "label": label})
    SubElement(
        shader,
        "rampLegendSettings",
        {
            "useContinuousLegend": "1",
            "orientation": "2",
            "direction": "0",
            "prefix": "",
            "suffix": suffix,
            "minimumLabel": "",
            "maximumLabel": "",
        },
    )
    return _document(renderer)


def classes(entries: Iterable[tuple[int, str, str]]) -> bytes:
    """The first band in the colours of its classes: (value, name, #rrggbb); other values are not drawn."""
    renderer = Element("rasterrenderer", {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1"})
    palette = SubElement(renderer, "colorPalette")
    for value, name, colour in entries:
        SubElement(palette, "paletteEntry", {"value": str(value), "label": name, "color": colour, "alpha": "255"})
    return _document(renderer)


def picture(bands: Sequence[int], span: tuple[float, float]) -> bytes:
    """Numbers of the red, green and blue band, each stretched linearly over `span` in units."""
    colours = ("red", "green", "blue")
    renderer = Element(
        "rasterrenderer",
        {
            "type": "multibandcolor",
            "opacity": "1",
            "alphaBand": "-1",
            **{f"{c}Band": str(b) for c, b in zip(colours, bands, strict=True)},
        },
    )
    _limits(renderer)
    for colour in colours:
        stretch = SubElement(renderer, f"{colour}ContrastEnhancement")
        for key, value in (
            ("minValue", _number(span[0])),
            ("maxValue", _number(span[1])),
            ("algorithm", "StretchToMinimumMaximum"),
        ):
            SubElement(stretch, key).text = value
    return _document(renderer)


def _limits(renderer: Element) -> None:
    """The range is said here: QGIS is not to find one of its own when the map moves."""
    SubElement(SubElement(renderer, "minMaxOrigin"), "limits").text = "None"


def _document(renderer: Element) -> bytes:
    top = Element("qgis", {"version": VERSION, "styleCategories": "Symbology"})
    pipe = SubElement(top, "pipe")
    pipe.append(renderer)
    indent(top)
    return MARK + b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + tostring(top, encoding="utf-8") + b"\n"


def _rgba(colour: str) -> str:
    return ",".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5)) + ",255"


def _number(value: float) -> str:
    return f"{value:.9g}"
