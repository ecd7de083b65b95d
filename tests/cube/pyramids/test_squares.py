"""The tree of squares: every unit below exactly one square of each level, children first, names that give corners back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cube import grid
from cube.grid import CELL, Region, Unit
from cube.pyramids.squares import Square, tree
from cube.square_names import eea_corner


@st.composite
def regions(draw: st.DrawFn) -> Region:
    unit = draw(st.sampled_from(grid.UNIT_KM))
    west, south = draw(st.integers(900, 7300)), draw(st.integers(860, 5300))
    width, height = draw(st.integers(1, 8 * unit)), draw(st.integers(1, 8 * unit))
    return Region(west, south, min(west + width, 7460), min(south + height, 5500), unit)


@given(regions(), st.data())
def test_squares_of_a_level_share_the_units_out_and_come_after_their_children(region: Region, data: st.DataObject) -> None:
    units = list(region.units())
    some = data.draw(st.lists(st.sampled_from(units), unique=True, min_size=1))
    squares = tree(region, some)
    done = {unit.name for unit in units}
    for level in range(1, region.levels() + 1):
        here = [s for s in squares if s.level == level]
        spanned = [unit for square in here for unit in square.units()]
        assert len(set(spanned)) == len(spanned)
        assert set(some) <= set(spanned)
        assert all(set(square.units()) & set(some) for square in here)
    touched = {square.name for square in squares}
    for square in squares:
        below = [child for child in square.children() if child in touched or square.level == 1]
        assert below
        assert set(below) <= done
        done.add(square.name)


@given(regions())
def test_squares_cover_the_array_of_their_level_without_overlap(region: Region) -> None:
    squares = tree(region, region.units())
    for level in range(1, region.levels() + 1):
        for resolution in grid.RESOLUTIONS.values():
            rows, cols = region.shape(resolution, level)
            windows = [s.window(resolution) for s in squares if s.level == level]
            assert sum(w.height * w.width for w in windows) == rows * cols
            assert max(w.row + w.height for w in windows) == rows
            assert max(w.col + w.width for w in windows) == cols
    if squares:
        assert [s.level for s in squares].count(region.levels()) == 1


@given(regions())
def test_the_name_of_a_square_gives_its_corner_back(region: Region) -> None:
    for square in tree(region, region.units()):
        west, south, east, _ = square.bounds
        assert eea_corner(square.name) == (east - west, west, south)


def test_a_square_of_europe_reaches_beyond_the_grid_and_still_has_a_name() -> None:
    europe = Region(900, 860, 7460, 5500, 40)
    top = tree(europe, [Unit(40, 0, 0)])[-1]
    assert (top.level, top.name) == (8, "10240kmE90N-474")
    assert len(list(top.units())) == 164 * 116


def test_the_units_of_a_square_are_those_within_its_bounds() -> None:
    region = Region(4455, 2663, 4498, 2680, 10)
    square = Square(region, 1, 0, 1)
    west, south, east, north = square.bounds
    inside = [u for u in region.units() if west <= u.west < east and south < u.north <= north]
    assert list(square.units()) == inside
    assert square.window(CELL).slices == (slice(0, 200), slice(200, 400))
