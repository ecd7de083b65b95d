"""Elevation by uplift and river incision, then a glacial lake, a main river, and what follows from slope and flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, uniform_filter, zoom
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from cube.grid import CELL
from demo.domain import Domain
from demo.noise import Field, fractal, smoothstep, standardise, stream

LOWLAND = 440.0  # m, of the foreland's rivers where they leave the domain
RELIEF = 1_750.0  # m, between foreland and crests
HILLS = 170.0  # m, of the foreland's hills


@dataclass(frozen=True)
class Terrain:
    """Terrain at 50 m, (y, x) float32 unless said otherwise."""

    elevation: Field  # m; lakes at their water level
    slope: Field  # degrees
    northness: Field  # sine of slope times cosine of aspect: -1 (steep south) .. 1 (steep north)
    flow: Field  # km2 drained through the cell
    wetness: Field  # topographic wetness index, ln(specific area / tan slope), smoothed
    position: Field  # m above the mean within 600 m: ridges positive, hollows negative
    river_distance: Field  # m to the nearest stream or lake shore
    lake: NDArray[np.bool_]
    river: NDArray[np.bool_]


def drainage(height: NDArray[np.floating]) -> NDArray[np.int64]:
    """The cell that each cell drains to, flat indices; border cells drain to themselves.

    Water leaves over the lowest passes: the tree is a minimum spanning tree of the grid's neighbours
    weighted by the higher of both cells, which is the filled surface's drainage without filling it.
    """
    rows, cols = height.shape
    index = np.arange(rows * cols).reshape(rows, cols)
    outlet = rows * cols
    edges: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        upper = slice(0, rows - dy)
        if dx >= 0:
            a, b = index[upper, : cols - dx], index[dy:, dx:]
        else:
            a, b = index[upper, 1:], index[dy:, : cols - 1]
        edges.append((a.ravel(), b.ravel()))
    sources = np.concatenate([e[0] for e in edges])
    two = np.concatenate([e[1] for e in edges])
    flat = height.ravel().astype(np.float64)
    base = flat.min()
    low, high = np.minimum(flat[sources], flat[two]), np.maximum(flat[sources], flat[two])
    weight = (high - base) + 1e-3 * (low - base) + 1.0
    border = np.unique(np.concatenate([index[0], index[-1], index[:, 0], index[:, -1]]))
    sources = np.concatenate([sources, border])
    two = np.concatenate([two, np.full(border.size, outlet)])
    weight = np.concatenate([weight, (flat[border] - base) + 1.0])
    graph = coo_matrix((weight, (sources, two)), shape=(outlet + 1, outlet + 1)).tocsr()
    tree = minimum_spanning_tree(graph)
    _, parent = breadth_first_order(tree, outlet, directed=False)
    receiver = parent[:-1].astype(np.int64)
    return np.where(receiver == outlet, np.arange(outlet), receiver)


def drained(receiver: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cells drained through each cell, itself included, by pointer doubling along the drainage tree."""
    count = receiver.size
    step = np.where(receiver == np.arange(count), count, receiver)
    step = np.append(step, count)  # the sea, which drains to itself and counts for nothing
    total = np.append(np.ones(count), 0.0)
    while (step[:-1] != count).any():
        total += np.bincount(step, weights=total, minlength=count + 1)
        total[-1] = 0.0
        step = step[step]
    return total[:-1]


def incise(height: NDArray[np.float64], receiver: NDArray[np.int64], strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """One implicit step of stream-power incision (Braun and Willett 2013), by pointer doubling.

    h_i = (h_i + F_i h_receiver) / (1 + F_i) is an affine map of the receiver's new height; composing
    the maps along each path solves the whole tree at once.
    """
    root = receiver == np.arange(receiver.size)
    factor = np.where(root, 0.0, strength)
    offset, gain = height / (1 + factor), factor / (1 + factor)
    step = receiver.copy()
    while gain.max() > 1e-6:
        offset = offset + gain * offset[step]
        gain = np.where(step == step[step], 0.0, gain * gain[step])
        step = step[step]
    return np.asarray(np.minimum(offset, height))


def _evolve(
    height: NDArray[np.float64], uplift: NDArray[np.float64], cell: float, steps: int, rate: float
) -> NDArray[np.float64]:
    """Let rivers cut and slopes creep while the ground rises by `uplift` metres a step."""
    for _ in range(steps):
        receiver = drainage(height)
        area = drained(receiver) * (cell / 1000) ** 2
        length = cell
        height = height + uplift
        strength = rate * np.sqrt(area).ravel() * 1000 / length
        height = incise(height.ravel(), receiver, strength).reshape(height.shape)
        height += 0.25 * (gaussian_filter(height, 0.8) - height)
    return height


def _resize(field: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.float64]:
    return np.asarray(zoom(field, [s / n for s, n in zip(shape, field.shape, strict=True)], order=1))


def _raise_mountains(domain: Domain, seed: int) -> NDArray[np.float64]:
    """Elevation (y, x) in metres before lakes: foreland in the north-west, Alps in the south-east."""
    rng = stream(seed, "terrain")
    shape = domain.shape
    rows, cols = domain.kilometres()
    bend = fractal(shape, 200, rng, 3.0)
    inland = (rows + cols) / (2 * domain.side_km) + 0.07 * bend
    range_ = smoothstep(inland, 0.38, 0.86)
    folds = fractal(shape, 110, rng, 2.6)
    crests = 1 - np.abs(fractal(shape, 130, rng, 2.8))
    upland = 0.62 * range_ * (1 + 0.45 * crests) + 0.05 * folds * range_
    hills = HILLS / RELIEF * (0.55 + 0.35 * fractal(shape, 60, rng, 2.8)) * (1 - range_)
    start = LOWLAND + RELIEF * (upland + hills) - 60 * (1 - inland)
    height = start
    for factor, steps, rate in ((4, 40, 0.050), (2, 20, 0.035), (1, 8, 0.025)):
        small = (shape[0] // factor, shape[1] // factor)
        height = _resize(height, small)
        rise = 14.0 * _resize(range_ * (1 + 0.25 * folds), small) + 0.5
        height = _evolve(height, np.maximum(rise, 0), CELL * factor, steps, rate)
    rough = fractal(shape, 30, rng, 2.4)
    height += gaussian_filter(rough, 0.7) * (2 + 14 * _resize(range_, shape))
    top = np.percentile(height, 99.7)
    bottom = np.percentile(height, 1)
    return np.asarray(LOWLAND + (height - bottom) / (top - bottom) * RELIEF)


def _flood_lake(
    height: NDArray[np.float64], flow: NDArray[np.float64], domain: Domain
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Dig a glacial trough along the largest valley of the foreland and fill it to its sill."""
    rows, cols = domain.kilometres()
    inner = domain.margin_km + 0.16 * domain.size_km
    side = domain.side_km
    is_inner = (rows > inner) & (rows < side - inner) & (cols > inner) & (cols < side - inner)
    low = height < np.percentile(height, 45)
    score = np.where(is_inner & low, np.log(flow), -np.inf)
    if not np.isfinite(score).any():
        score = np.where(is_inner, np.log(flow), -np.inf)
    y, x = np.unravel_index(int(np.argmax(score)), height.shape)
    reach = 0.13 * domain.size_km  # km, half length
    near = np.hypot(rows - rows[y, 0], cols - cols[0, x]) < reach
    weight = np.where(near, np.sqrt(flow), 0)
    dy, dx = rows - rows[y, 0], cols - cols[0, x]
    angle = 0.5 * np.arctan2(2 * (weight * dy * dx).sum(), (weight * (dx**2 - dy**2)).sum())
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = -dx * np.sin(angle) + dy * np.cos(angle)
    across = across - 0.12 * reach * np.sin(2.2 * along / reach)
    bowl = np.exp(-((along / reach) ** 4) - (across / (0.34 * reach)) ** 2)
    ground = height - (70 + 25 * domain.size_km / 20) * bowl
    level = float(height[y, x]) + 4.0
    pieces, _ = label((ground < level) & (bowl > 0.04))
    lake = pieces == pieces[y, x] if pieces[y, x] else np.zeros(height.shape, bool)
    shore = gaussian_filter(lake.astype(float), 6)
    ground = np.where(lake, level, np.maximum(ground, level + 0.5 * (1 - shore) * 4 * (bowl > 0.01)))
    ground = np.where(bowl > 0.004, ground, height)
    return ground, lake


def make_terrain(domain: Domain, seed: int) -> Terrain:
    """The terrain of the domain, (y, x) at 50 m."""
    height = _raise_mountains(domain, seed)
    area = drained(drainage(height)).reshape(height.shape) * (CELL / 1000) ** 2
    # Valley floors fill with sediment: flat where much water passes in low country.
    floor = gaussian_filter(np.where(area > 6, 1.0, 0.0), 3) * smoothstep(height, 950, 550)
    smooth = gaussian_filter(height, 5)
    height = height + np.clip(1.6 * floor, 0, 0.85) * (np.minimum(smooth, height + 6) - height)
    ground, lake = _flood_lake(height, area, domain)
    receiver = drainage(ground)
    flow = (drained(receiver).reshape(ground.shape) * (CELL / 1000) ** 2).astype(np.float32)
    threshold = 0.05 * domain.size_km**2
    river = (flow > min(threshold, 25.0)) & ~lake
    brook = flow > 1.2
    elevation = ground.astype(np.float32)
    gy, gx = np.gradient(gaussian_filter(elevation, 0.7), CELL)
    steep = np.hypot(gx, gy)
    slope = np.degrees(np.arctan(steep)).astype(np.float32)
    northness = (np.sin(np.arctan(steep)) * gy / np.maximum(steep, 1e-6)).astype(np.float32)
    index = np.log((flow * 1e6 / CELL) / (steep + 0.02))
    wetness = gaussian_filter(index, 1.2).astype(np.float32)
    wetness = (wetness + 0.6 * gaussian_filter(standardise(wetness), 4)).astype(np.float32)
    position = (elevation - uniform_filter(elevation, 25)).astype(np.float32)
    distance = (distance_transform_edt(~(brook | lake)) * CELL).astype(np.float32)
    return Terrain(elevation, slope, northness, flow, wetness, position, distance, lake, river)
