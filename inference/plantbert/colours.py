"""Colours of habitat classes: a hue a top class, told apart by colour-blind readers too, and shades of it for what is below.

EUNIS groups keep their hue wherever they are drawn, whichever classes a region has. Among siblings the next one in the table
is never the next shade: classes with neighbouring codes are often neighbours in the field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

OKABE_ITO: Final = (
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#D55E00",
    "#0072B2",
    "#CC79A7",
    "#F0E442",
    "#C0C0C0",
    "#3B2F2F",
)
"""Hues told apart by colour-blind readers (Okabe and Ito 2008), a dark brown in place of black and a grey beside them."""

EUNIS_GROUPS: Final = {
    "M": "#0072B2",  # marine
    "N": "#E69F00",  # coastal
    "P": "#56B4E9",  # inland waters
    "Q": "#CC79A7",  # wetlands
    "R": "#F0E442",  # grassland
    "S": "#D55E00",  # heath, scrub and tundra
    "T": "#009E73",  # forest
    "U": "#C0C0C0",  # sparse vegetation
    "V": "#3B2F2F",  # man-made
}
_EUNIS: Final = re.compile(r"[MNPQRSTUV][A-Z]?[0-9]?")

# sRGB (IEC 61966-2-1) to XYZ and CIE L*a*b* 1976, white D65.
_XYZ: Final = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
_WHITE: Final = _XYZ.sum(axis=1)


def lab(colour: str) -> NDArray[np.float64]:
    """CIE L*a*b* (3) of `#rrggbb`."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return lab_of_linear(linear)


def lab_of_linear(linear: NDArray[np.floating]) -> NDArray[np.float64]:
    """CIE L*a*b* (3) of linear RGB (3), 0 to 1."""
    t = _XYZ @ linear / _WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _hex(value: NDArray[np.floating]) -> str | None:
    """`#RRGGBB` of CIE L*a*b*, None where no screen shows it."""
    fy = (value[0] + 16) / 116
    f = np.array([fy + value[1] / 500, fy, fy - value[2] / 200])
    t = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.linalg.solve(_XYZ, t * _WHITE)
    if linear.min() < -1e-4 or linear.max() > 1 + 1e-4:
        return None
    linear = np.clip(linear, 0, 1)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * c):02X}" for c in rgb)


def shade(colour: str, lighter: float, turn: float) -> str:
    """The colour with L* moved by `lighter` within 22 to 94 and its hue turned by `turn` radians, paler where it must be."""
    value = lab(colour)
    lightness = float(np.clip(value[0] + lighter, 22, 94))
    a, b = value[1] * np.cos(turn) - value[2] * np.sin(turn), value[1] * np.sin(turn) + value[2] * np.cos(turn)
    for chroma in np.linspace(1, 0, 51):
        hex_colour = _hex(np.array([lightness, a * chroma, b * chroma]))
        if hex_colour:
            return hex_colour
    raise AssertionError(f"a grey of lightness {lightness} exists on every screen")


def top_colours(codes: Sequence[str]) -> list[str]:
    """A colour for each class of the top level: the group's of EUNIS codes, else the palette's in turn, darker each round."""
    if all(_EUNIS.fullmatch(code) for code in codes) and len({code[0] for code in codes}) == len(codes):
        return [EUNIS_GROUPS[code[0]] for code in codes]
    return [shade(OKABE_ITO[i % len(OKABE_ITO)], -14.0 * (i // len(OKABE_ITO) % 3), 0.0) for i in range(len(codes))]


def family(parent: str, count: int, spread: float, turn: float) -> list[str]:
    """Colours of `count` siblings: L* over `spread` around the parent's, hue over `turn` radians, next ones far apart.

    The lightness of a family is moved up or down as a whole where the scale would end: a pale parent has darker children.
    """
    if count == 1:
        return [parent]
    middle = float(np.clip(lab(parent)[0], 24 + spread / 2, 92 - spread / 2)) - lab(parent)[0]
    half = -(-count // 2)
    place = [i // 2 + (i % 2) * half for i in range(count)]  # 0, half, 1, half + 1, ...
    step = [p / (count - 1) - 0.5 for p in place]
    return [shade(parent, middle + spread * s, turn * s) for s in step]
