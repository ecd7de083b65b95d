"""A reader for stackstac: pixels that already lie on the wanted lattice are copied, all others go the library's own way.

stackstac warps every file, also where there is nothing to warp, which costs ten times what reading costs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import rasterio
import rasterio.errors
import rasterio.windows
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from stackstac.rio_reader import AutoParallelRioReader

ALIKE: Final = 1e-6  # of a pixel; over a whole scene of 11,000 pixels a size that differs by this is off by a hundredth
ALIGNED: Final = 1e-3  # of a pixel, at a corner


class LatticeReader(AutoParallelRioReader):  # type: ignore[misc]
    """Windows of a one-band file as `stackstac.stack` asks for them; a file is opened once for its one window."""

    def read(self, window: rasterio.windows.Window, **options: Any) -> NDArray[Any]:
        """(rows, columns) of the stack's grid; `fill_value` where the file has no data. Raises RuntimeError as stackstac does."""
        try:
            with self.gdal_env.open, rasterio.open(self.url, sharing=False) as dataset:
                place = self._place(dataset)
                if place is not None:
                    with self.gdal_env.read:
                        return self._copied(dataset, window, *place)
        except rasterio.errors.RasterioError as error:
            raise RuntimeError(f"Error reading {window} from {self.url!r}: {error!r}") from error
        return np.asarray(super().read(window, **options))

    def _place(self, dataset: DatasetReader) -> tuple[int, int, int] | None:
        """(times, row, column): one pixel of the file is so many of the stack's a side, whose corner lies at (row, column)
        counted in the stack's pixels from the file's corner; None where they do not share a lattice.
        """
        expected_transform, transform = self.spec.transform, dataset.transform
        foreign = dataset.crs is None or dataset.crs.to_epsg() != self.spec.epsg
        if foreign or self.scale_offset != (1, 0) or dataset.count != 1 or transform.b != 0 or transform.d != 0:
            return None
        times = round(transform.a / expected_transform.a)
        if (
            times < 1
            or max(abs(transform.a / expected_transform.a - times), abs(transform.e / expected_transform.e - times)) > ALIKE
        ):
            return None
        row, column = (
            (expected_transform.f - transform.f) / expected_transform.e,
            (expected_transform.c - transform.c) / expected_transform.a,
        )
        if max(abs(row - round(row)), abs(column - round(column))) > ALIGNED:
            return None
        return times, round(row), round(column)

    def _copied(self, dataset: DatasetReader, window: rasterio.windows.Window, times: int, row: int, column: int) -> NDArray[Any]:
        top, left = row + round(window.row_off), column + round(window.col_off)
        height, width = round(window.height), round(window.width)
        out = np.full((height, width), self.fill_value, self.dtype)
        # Of the window, what lies on the file; of the file, the pixels that this touches.
        first_row, first_col = max(top, 0), max(left, 0)
        end_row, end_col = min(top + height, dataset.height * times), min(left + width, dataset.width * times)
        if first_row >= end_row or first_col >= end_col:
            return out
        first, start = first_row // times, first_col // times
        part = rasterio.windows.Window(start, first, -(-end_col // times) - start, -(-end_row // times) - first)
        values = dataset.read(1, window=part).astype(self.dtype, copy=False)
        if dataset.nodata is not None and dataset.nodata != self.fill_value:
            values[values == dataset.nodata] = self.fill_value
        elif MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
            values[dataset.read_masks(1, window=part) == 0] = self.fill_value
        if times > 1:
            values = values.repeat(times, axis=0).repeat(times, axis=1)
        rows, columns = first_row - first * times, first_col - start * times
        out[first_row - top : end_row - top, first_col - left : end_col - left] = values[
            rows : rows + end_row - first_row, columns : columns + end_col - first_col
        ]
        return out
