"""Spatial blocks: which surveys train, stop, calibrate and test, and the folds of a cross-validation.

A block is a square of the grid and is hashed to its role once, whatever data lie in it. All surveys of one place share
the block of the place's mean position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from inference.data.records import Records
from inference.data.samples import Surveys

ROLES: Final = ("train", "stop", "calibrate", "test")
SHARES: Final = {"train": 0.7, "stop": 0.1, "calibrate": 0.1, "test": 0.1}


def block_index(surveys: Surveys, block_km: float) -> NDArray[np.int64]:
    """(n, 2) column and row of the block of each survey's place: floor of EPSG:3035 metres / block size."""
    _, place = np.unique(surveys.place, return_inverse=True)
    count = np.bincount(place)
    size = block_km * 1000
    mean = np.stack([np.bincount(place, surveys.x), np.bincount(place, surveys.y)], 1) / count[:, None]
    return np.floor(mean / size).astype(np.int64)[place]


def _hash(block: NDArray[np.int64], seed: int) -> float:
    """A number in [0, 1) that depends on the block and the seed alone."""
    digest = hashlib.blake2b(f"{seed}:{block[0]}:{block[1]}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign_roles(surveys: Surveys, block_km: float, shares: Mapping[str, float] = SHARES, seed: int = 0) -> NDArray[np.str_]:
    """(n,) role of each survey, one of ROLES, by the hash of its block; `shares` sum to 1.

    With few blocks a role of positive share can come out empty: it then takes the block with the nearest hash from
    the role that has most blocks.
    """
    blocks, inverse = np.unique(block_index(surveys, block_km), axis=0, return_inverse=True)
    inverse = inverse.ravel()
    hashes = np.array([_hash(block, seed) for block in blocks])
    edges = np.cumsum([shares.get(role, 0.0) for role in ROLES])
    role = np.minimum(np.searchsorted(edges, hashes, side="right"), len(ROLES) - 1)
    for wanted, name in enumerate(ROLES):
        if shares.get(name, 0.0) <= 0 or (role == wanted).any():
            continue
        counts = np.bincount(role, minlength=len(ROLES))
        donors = np.flatnonzero(role == counts.argmax())
        if len(donors) > 1:
            middle = edges[wanted] - shares[name] / 2
            role[donors[np.abs(hashes[donors] - middle).argmin()]] = wanted
    return np.asarray(ROLES)[role][inverse]


def assign_folds(surveys: Surveys, block_km: float, folds: int = 5, draw: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(fold (n,) in 0..folds-1, block (n,) as a running number).

    Blocks are shuffled by `draw` and dealt one by one to the fold that holds the fewest surveys so far.
    """
    blocks, inverse = np.unique(block_index(surveys, block_km), axis=0, return_inverse=True)
    inverse = inverse.ravel()
    sizes = np.bincount(inverse, minlength=len(blocks))
    load = np.zeros(folds, np.int64)
    fold = np.zeros(len(blocks), np.int64)
    for block in np.random.default_rng(draw).permutation(len(blocks)):
        fold[block] = load.argmin()
        load[fold[block]] += sizes[block]
    return fold[inverse], inverse


def clear_of(surveys: Surveys, keep: NDArray[np.bool_], distance_m: float) -> NDArray[np.bool_]:
    """`keep` (n,) without the surveys that lie within `distance_m` of one outside it.

    So no training patch shows a place of another role.
    """
    if distance_m <= 0 or keep.all() or not keep.any():
        return keep
    points = np.stack([surveys.x, surveys.y], 1)
    nearest, _ = cKDTree(points[~keep]).query(points[keep])
    clear = keep.copy()
    clear[keep] = nearest > distance_m
    return clear


def roles_at(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    surveys: Surveys,
    roles: NDArray[np.str_],
    block_km: float,
    shares: Mapping[str, float] = SHARES,
    seed: int = 0,
) -> NDArray[np.str_]:
    """(n,) role of the block that holds each point (x, y) metres, as `assign_roles` gave it to the surveys there.

    `roles` are those of the surveys, by the same block size, shares and seed; blocks without a survey are hashed.
    """
    at = np.floor(np.stack([x, y], 1) / (block_km * 1000)).astype(np.int64)
    blocks, inverse = np.unique(at, axis=0, return_inverse=True)
    hashes = np.array([_hash(block, seed) for block in blocks])
    edges = np.cumsum([shares.get(role, 0.0) for role in ROLES])
    names = np.asarray(ROLES)[np.minimum(np.searchsorted(edges, hashes, side="right"), len(ROLES) - 1)]
    where = {tuple(block): i for i, block in enumerate(blocks.tolist())}
    for block, role in zip(block_index(surveys, block_km).tolist(), roles, strict=True):
        if tuple(block) in where:
            names[where[tuple(block)]] = role
    return np.asarray(names[inverse.ravel()])


def record_roles(
    records: Records,
    surveys: Surveys,
    roles: NDArray[np.str_],
    block_km: float,
    reach_m: float,
    shares: Mapping[str, float] = SHARES,
    seed: int = 0,
    po_allowed: bool = False,
) -> tuple[NDArray[np.str_], Records]:
    """(role of each record, the records with the background of training blocks alone).

    Records of blocks that are held out are withheld with the surveys there: what lies in stop blocks helps to stop, what
    lies in calibrate and test blocks is not used. A training record within `reach_m` of any place of another role becomes
    "none". `po_allowed`: all records train, as in GeoPlant's benchmark.
    """
    if po_allowed:
        return np.full(len(records), "train"), records
    found = roles_at(records.x, records.y, surveys, roles, block_km, shares, seed)
    train = found == "train"
    if reach_m > 0 and train.any():
        away, held = roles != "train", ~train
        other = np.concatenate([np.stack([surveys.x, surveys.y], 1)[away], np.stack([records.x, records.y], 1)[held]])
        if len(other):
            nearest, _ = cKDTree(other).query(np.stack([records.x, records.y], 1)[train])
            found[np.flatnonzero(train)[nearest <= reach_m]] = "none"
    if len(records.background):
        far = roles_at(records.background_x, records.background_y, surveys, roles, block_km, shares, seed) != "train"
        if not far.all():
            records = records.without_background(far)
    return found, records
