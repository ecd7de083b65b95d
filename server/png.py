"""Indices and a palette to an image: our own palette PNG, and WebP through rio-tiler.

rio-tiler renders through a GDAL in-memory file and expands a colour map to four bytes a pixel; a palette PNG keeps one
byte a pixel, which is a quarter of the work and of the traffic, in three chunks of a format that is simple to write.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rio_tiler.models import ImageData

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Level 3 costs no more than 1 on maps (its output is smaller) and 6 gains a few percent for twice the time.
_EFFORT: Final = 3


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def palette_png(index: NDArray[np.uint8], colours: NDArray[np.uint8]) -> bytes:
    """PNG of `index` (height, width), whose values are rows of `colours` (n <= 256, RGBA)."""
    height, width = index.shape
    lines = np.zeros((height, width + 1), np.uint8)  # a leading 0 a line: no filter, best for palettes
    lines[:, 1:] = index
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", np.ascontiguousarray(colours[:, :3]).tobytes()),
            _chunk(b"tRNS", np.ascontiguousarray(colours[:, 3]).tobytes()),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), _EFFORT)),
            _chunk(b"IEND", b""),
        )
    )


def rgba_image(index: NDArray[np.integer], colours: NDArray[np.uint8], driver: str) -> bytes:
    """Image in the format `driver` (`PNG`, `WEBP`) of `index` (height, width), rows of any number of RGBA `colours`."""
    rgba = np.moveaxis(colours[index], -1, 0)
    image = ImageData(np.ma.MaskedArray(rgba[:3], mask=np.broadcast_to(rgba[3] == 0, rgba[:3].shape)))
    return bytes(image.render(img_format=driver))
