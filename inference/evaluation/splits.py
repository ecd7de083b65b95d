"""Which surveys train, stop, calibrate and test: at random, by spatial blocks, or as a benchmark published it.

The blocks themselves are dealt in `inference.data.blocks`; surveys of one place always stay together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from cube.errors import TableError
from inference.data.blocks import ROLES, SHARES, assign_roles, clear_of
from inference.data.samples import Surveys

Scheme = Literal["random", "blocks", "published"]
INNER: Final = {"train": 0.8, "stop": 0.1, "calibrate": 0.1}  # of the surveys that a publisher gives for training
TESTS: Final = ("test", "test_iid", "test_ood", "test_glc25")


def random_roles(surveys: Surveys, shares: Mapping[str, float] = SHARES, seed: int = 0) -> NDArray[np.str_]:
    """(n,) roles at random, place by place: what a test without space between it and training would show.

    Every role of positive share gets at least one place. Raises `TableError` with fewer places than roles.
    """
    _, place = np.unique(surveys.place, return_inverse=True)
    places = int(place.max()) + 1
    wanted = [role for role in ROLES if shares.get(role, 0.0) > 0]
    if places < len(wanted):
        raise TableError(f"{places} places cannot be split into {', '.join(wanted)}; give more surveys.")
    order = np.random.default_rng(seed).permutation(places)
    edges = np.round(np.cumsum([shares[role] for role in wanted])[:-1] / sum(shares[r] for r in wanted) * places).astype(int)
    for i in range(len(edges)):  # a small share of few places would round to nothing
        edges[i] = np.clip(edges[i], i + 1, places - len(edges) + i)
    role = np.empty(places, dtype="<U9")
    for name, members in zip(wanted, np.split(order, edges), strict=True):
        role[members] = name
    return role[place]


def published_roles(surveys: Surveys, split: NDArray[np.str_], block_km: float, seed: int = 0) -> NDArray[np.str_]:
    """(n,) roles where the publisher says which surveys are for training, validation and tests.

    `split` (n,): train, val, test, test_iid, test_ood or test_glc25. All tests have the role `test`; `val` stops the
    training; the rest is divided by blocks into train, stop (where there is no val) and calibrate.
    Raises `TableError` where a split that is needed is empty.
    """
    roles = np.full(len(surveys), "none", dtype="<U9")
    roles[np.isin(split, TESTS)] = "test"
    roles[split == "val"] = "stop"
    inner = np.flatnonzero(split == "train")
    if not len(inner):
        raise TableError("The split 'train' is empty: no survey of it has a place and a species; fetch its table.")
    shares = dict(INNER) if not (split == "val").any() else {k: v for k, v in INNER.items() if k != "stop"}
    total = sum(shares.values())
    roles[inner] = assign_roles(surveys.subset(inner), block_km, {k: v / total for k, v in shares.items()}, seed)
    return roles


def split_roles(
    surveys: Surveys,
    scheme: Scheme,
    block_km: float,
    seed: int = 0,
    split: NDArray[np.str_] | None = None,
    reach_m: float = 0.0,
) -> NDArray[np.str_]:
    """(n,) roles by one of the schemes; training surveys within `reach_m` of another role have the role `none`.

    `published` leaves them in, as its publisher did. Raises `TableError` where a role that is needed came out empty.
    """
    if scheme == "published":
        if split is None:
            raise TableError("The scheme 'published' needs the publisher's split of every survey.")
        roles = published_roles(surveys, split, block_km, seed)
    else:
        roles = random_roles(surveys, seed=seed) if scheme == "random" else assign_roles(surveys, block_km, seed=seed)
        if scheme == "blocks":
            roles[(roles == "train") & ~clear_of(surveys, roles == "train", reach_m)] = "none"
    for role in ("train", "test"):
        if not (roles == role).any():
            raise TableError(
                f"The split '{scheme}' leaves no survey for '{role}' ({len(surveys)} surveys, blocks of {block_km:g} km);"
                " use smaller blocks or another seed."
            )
    return roles
