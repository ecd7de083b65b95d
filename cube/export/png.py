"""Values to colours to a PNG, as bytes or as a data URI; where the values come from is not said here."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import rasterio.errors
import rasterio.io
from numpy.typing import NDArray

STEPS: Final = 254  # between the two ends of a palette: with the transparent one, 256 colours, which a PNG stores as bytes


def coloured(
    values: NDArray[np.floating], palette: Sequence[str] | Mapping[int, str], low: float, high: float
) -> NDArray[np.uint8]:
    """(4, rows, columns) red, green, blue and opacity of values (rows, columns), transparent where they are NaN.

    `palette` has `#rrggbb` at equal steps from `low` to `high`, or by the value of a class; a class without a colour is black.
    """
    valid = np.isfinite(values)
    out = np.zeros((4, *values.shape), np.uint8)
    if isinstance(palette, Mapping):
        for number, colour in palette.items():
            out[:3, values == number] = np.array(rgb(colour), np.uint8)[:, None]
    elif valid.any():
        share = np.clip((np.where(valid, values, low) - low) / ((high - low) or 1), 0, 1)
        place = np.rint(share * STEPS) / STEPS * (len(palette) - 1)
        for channel, part in enumerate(zip(*map(rgb, palette), strict=True)):
            out[channel] = np.interp(place, np.arange(len(palette)), part)
    out[3] = 255
    out[:, ~valid] = 0
    return out


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of `#rrggbb`."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def png(image: NDArray[np.uint8]) -> bytes:
    """The PNG of an image (4, rows, columns), a byte a pixel where it has at most 256 colours."""
    _, height, width = image.shape
    pixels = np.ascontiguousarray(np.moveaxis(image, 0, -1)).view(np.uint32)  # four bytes as one number: sorted at once
    colours, index = np.unique(pixels, return_inverse=True)
    palette = colours.view(np.uint8).reshape(-1, 4).tolist() if len(colours) <= 256 else []
    bands = index.reshape(1, height, width).astype(np.uint8) if palette else image
    profile: dict[str, Any] = {"height": height, "width": width, "count": len(bands), "dtype": "uint8"}
    with rasterio.io.MemoryFile() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # a picture lies nowhere
        with file.open(driver="PNG", zlevel=9, **profile) as target:
            target.write(bands)
            if palette:
                target.write_colormap(1, dict(enumerate(map(tuple, palette))))
        return bytes(file.read())


def data_uri(image: NDArray[np.uint8]) -> str:
    """The PNG of an image (4, rows, columns) as the address that an `<img>` takes without a request."""
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"
