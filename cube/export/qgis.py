"""The style by which QGIS draws a layer as the map page does: a `.qml` that lies beside a GeoTIFF and is taken unasked.

Without it QGIS draws the three bounds of an indicator as red, green and blue, and lists 256 classes where a map has five.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import quoteattr

from cube.layers import display

# The first line tells our styles from those that somebody saved in QGIS, which are not ours to overwrite.
MARK: Final = b"<!-- Written by floracube. A style saved in QGIS replaces it and is then kept. -->\n"
VERSION: Final = "3.22"  # of QGIS, whose schema this is
DOCUMENT: Final = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="{version}" styleCategories="Symbology">
  <pipe>
    <rasterrenderer opacity="1" alphaBand="-1" {attributes}>
      {content}
    </rasterrenderer>
  </pipe>
</qgis>
"""
LIMITS: Final = "<minMaxOrigin><limits>None</limits></minMaxOrigin>"  # QGIS is not to find a range of its own when the map moves


def continuous(palette: str, span: tuple[float, float], units: str = "1") -> bytes:
    """The first band in the colours of `palette` over `span` (low, high; in units, as QGIS scales stored values itself)."""
    low, high = span
    colours = display.anchors(palette)
    shares = [i / (len(colours) - 1) for i in range(len(colours))]
    stops = ":".join(f"{share:.6g};{_rgba(colour)}" for share, colour in list(zip(shares, colours, strict=True))[1:-1])
    suffix = "" if units in ("", "1") else f" {units}"
    items = [(low + (high - low) * share, colour) for share, colour in zip(shares, colours, strict=True)]
    entries = "".join(
        f'<item value="{_number(value)}" color="{colour}" alpha="255" label={quoteattr(f"{value:.4g}{suffix}")}/>'
        for value, colour in items
    )
    ends = f'classificationMin="{_number(low)}" classificationMax="{_number(high)}"'
    content = f"""{LIMITS}<rastershader>
        <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" labelPrecision="6"
                         minimumValue="{_number(low)}" maximumValue="{_number(high)}">
          <colorramp type="gradient" name="[source]">
            <prop k="color1" v="{_rgba(colours[0])}"/><prop k="color2" v="{_rgba(colours[-1])}"/>
            <prop k="discrete" v="0"/><prop k="rampType" v="gradient"/><prop k="stops" v="{stops}"/>
          </colorramp>
          {entries}
          <rampLegendSettings useContinuousLegend="1" orientation="2" direction="0" prefix="" suffix={quoteattr(suffix)}
                              minimumLabel="" maximumLabel=""/>
        </colorrampshader>
      </rastershader>"""
    return _document(f'type="singlebandpseudocolor" band="1" {ends}', content)


def classes(entries: Iterable[tuple[int, str, str]]) -> bytes:
    """The first band in the colours of its classes: (value, name, #rrggbb); other values are not drawn."""
    palette = "".join(
        f'<paletteEntry value="{value}" label={quoteattr(name)} color={quoteattr(colour)} alpha="255"/>'
        for value, name, colour in entries
    )
    return _document('type="paletted" band="1"', f"<colorPalette>{palette}</colorPalette>")


def picture(bands: Sequence[int], span: tuple[float, float]) -> bytes:
    """Numbers of the red, green and blue band, each stretched linearly over `span` in units."""
    band_of_colour = dict(zip(("red", "green", "blue"), bands, strict=True))
    stretches = "".join(
        f"<{colour}ContrastEnhancement><minValue>{_number(span[0])}</minValue><maxValue>{_number(span[1])}</maxValue>"
        f"<algorithm>StretchToMinimumMaximum</algorithm></{colour}ContrastEnhancement>"
        for colour in band_of_colour
    )
    return _document(
        " ".join(['type="multibandcolor"', *(f'{colour}Band="{band}"' for colour, band in band_of_colour.items())]),
        LIMITS + stretches,
    )


def _document(attributes: str, content: str) -> bytes:
    return MARK + DOCUMENT.format(version=VERSION, attributes=attributes, content=content).encode()


def _rgba(colour: str) -> str:
    return ",".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5)) + ",255"


def _number(value: float) -> str:
    return f"{value:.9g}"
