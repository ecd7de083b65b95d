"""Palettes against the full tables of another library, ranges against hand-made values."""

from __future__ import annotations

import numpy as np
import pytest

from cube.layers import display
from server import palettes


@pytest.mark.parametrize("name", sorted(display.ANCHORS))
def test_straight_lines_between_the_anchors_are_the_palette(name: str) -> None:
    """viridis and its like are rio-tiler's (matplotlib's) tables; batlow and vik have these anchors there too."""
    colours = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in display.anchors(name)], float)
    at = np.linspace(0, 255, len(colours))
    lines = np.stack([np.interp(np.arange(256), at, colours[:, band]) for band in range(3)], axis=1)
    assert np.abs(lines - palettes.table(name)).max() < 8


def test_every_palette_that_a_layer_may_name_is_there() -> None:
    for name in palettes.OF_LAYERS:
        np.testing.assert_array_equal(
            [int(display.anchors(name)[-1][i : i + 2], 16) for i in (1, 3, 5)], palettes.table(name)[-1], err_msg=name
        )
    assert display.anchors("none") == display.anchors("viridis") == display.anchors("never heard of")


@pytest.mark.parametrize(
    ("values", "product", "palette", "expected"),
    [
        (np.linspace(0, 37, 1001), "indicators", "viridis", (0.0, 40.0)),
        (np.linspace(200, 1100, 1001), "inputs", "batlow", (200.0, 1100.0)),
        (np.linspace(-3, 5, 1001), "inputs", "vik", (-5.2, 5.2)),
        (np.full(10, 7.0), "inputs", "viridis", (6.8, 14.0)),
        (np.empty(0), "inputs", "viridis", (0.0, 1.0)),
    ],
)
def test_a_range_holds_the_middle_of_the_values_with_round_ends(
    values: np.ndarray, product: str, palette: str, expected: tuple[float, float]
) -> None:
    low, high = display.display_range(values, product, palette)
    assert (low, high) == expected
    assert values.size == 0 or (np.mean((values >= low) & (values <= high)) >= 0.96)


def test_a_sample_is_spread_over_the_array_and_takes_all_of_a_small_one() -> None:
    assert display.sample_chunks((19, 40, 30), (1, 20, 20)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    many = display.sample_chunks((1000, 1000), (10, 10))
    assert len(many) == display.SAMPLE_CHUNKS
    assert (many[0], many[-1]) == ((0, 0), (99, 99))


def test_a_rare_species_is_shown_up_to_its_own_ceiling() -> None:
    assert display.species_range(0.0009) == (0.0, 0.001)
    assert display.species_range(0.93) == (0.0, 1.0)
    assert display.species_range(0.0) == (0.0, 1.0)
