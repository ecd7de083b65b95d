"""Versions of products and the release that readers follow: a release maps each product to a version."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import CubeError
from cube.storage.ledger import digest
from cube.storage.store import CubeStore

CURRENT: Final = "current.json"
TABLE: Final = "table"  # of a version: the species or the habitats that it was made with
TABLED: Final = {"species": "species", "habitats": "habitat"}  # products with a table, and the axis of its rows
PRODUCTS: Final = ("species", "composition", "indicators", "habitats")


def group_of(product: str, version: str, level: int | None = 0) -> str:
    """Path of a product's group: `products/species/v1/0`; composition has no levels."""
    base = f"products/{product}/{version}"
    return base if level is None or product == "composition" else f"{base}/{level}"


def current(cube: CubeStore) -> dict[str, Any]:
    """The release that readers follow, `{"name", "products": {product: version}, ...}`; empty products before the first."""
    pointer = cube.read_json(CURRENT)
    if pointer is None:
        return {"name": None, "products": {}}
    release = cube.read_json(f"releases/{pointer['release']}.json")
    if release is None:
        raise CubeError(f"{cube.url}: {CURRENT} names the release '{pointer['release']}', which is not there.")
    return dict(release)


def write_release(cube: CubeStore, name: str, products: Mapping[str, str], provenance: Mapping[str, Any]) -> None:
    """Write `releases/<name>.json`: which version of each product, and from what they were made.

    `parents` are the release that readers followed meanwhile, with a hash of what it named. A release is never changed:
    the same one once more is left as it is, another one of its name is a `CubeError`.
    """
    held = cube.read_json(f"releases/{name}.json")
    if held is not None:
        if held["products"] == dict(products) and held.get("inputs") == provenance.get("inputs"):
            return
        raise CubeError(f"{cube.url}: there is another release '{name}' already, and none is ever changed; choose another name.")
    before = current(cube)
    unknown = set(products) - set(PRODUCTS)
    if unknown:
        raise CubeError(f"release {name}: '{min(unknown)}' is not a product; known are {', '.join(PRODUCTS)}.")
    cube.write_json(
        f"releases/{name}.json",
        {
            "name": name,
            "products": dict(products),
            "parents": {before["name"]: digest(sorted(before["products"].items()))} if before["name"] else {},
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **provenance,
        },
    )


def named(cube: CubeStore, but: Collection[str] = ()) -> dict[str, set[str]]:
    """The versions of each product that some release (`but` not these) names. Raises `CubeError` for a damaged release."""
    out: dict[str, set[str]] = {}
    for name in set(cube.list_json("releases")) - set(but):
        for product, version in (cube.read_json(f"releases/{name}.json") or {}).get("products", {}).items():
            out.setdefault(str(product), set()).add(str(version))
    return out


def forget(cube: CubeStore, name: str, dry_run: bool = False) -> None:
    """Remove the release `name`, so that what it alone names becomes garbage; not one that readers follow or may go back to.

    Raises `CubeError` where it is not there, is the current one or the one before it.
    """
    pointer = cube.read_json(CURRENT) or {}
    if cube.read_json(f"releases/{name}.json") is None:
        raise CubeError(f"{cube.url}: there is no release '{name}' (releases here: {', '.join(cube.list_json('releases'))}).")
    for role, held in (("which readers follow", "release"), ("to which they may go back", "previous")):
        if pointer.get(held) == name:
            raise CubeError(f"{cube.url}: '{name}' is the release {role}; publish another first.")
    if not dry_run:
        cube.remove_json(f"releases/{name}.json")


def table_of(cube: CubeStore, product: str, version: str) -> str:
    """Path of the table of a version: its own where it has one, else the cube's `tables/<product>`."""
    own = f"products/{product}/{version}/{TABLE}"
    return own if cube.has(own) else f"tables/{product}"


def adopt_tables(cube: CubeStore, products: Mapping[str, str]) -> None:
    """Make `tables/species` and `tables/habitats`, which readers use, those of the versions; what is equal is not written."""
    for product, version in products.items():
        path = table_of(cube, product, version)
        if product not in TABLED or not cube.has(path) or path == f"tables/{product}":
            continue
        said = {name: dict(array.attrs) for name, array in cube.group(path).arrays()}
        ensure_table(cube, f"tables/{product}", cube.read_table(path), TABLED[product], said)


def ensure_table(cube: CubeStore, path: str, columns: Mapping[str, NDArray[Any]], dim: str,
                 attributes: Mapping[str, Mapping[str, Any]] | None = None) -> None:  # fmt: skip
    """Write the table `path` unless it holds these columns already, so that whoever reads it meanwhile notices nothing."""
    held = cube.read_table(path) if cube.has(path) else {}
    if set(held) != set(columns) or any(not _equal(held[name], values) for name, values in columns.items()):
        cube.write_table(path, columns, dim, attributes)


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if a.shape != b.shape or (a.dtype.kind in "OUT") != (b.dtype.kind in "OUT"):
        return False
    return bool(np.all((a == b) | ((a != a) & (b != b))))  # NaN equals NaN


def require(cube: CubeStore, name: str) -> dict[str, Any]:
    """The release `name`; raises `CubeError` where it, or a version that it names, is not there."""
    release = cube.read_json(f"releases/{name}.json")
    if release is None:
        known = ", ".join(cube.list_json("releases")) or "none"
        raise CubeError(f"{cube.url}: there is no release '{name}' to publish (releases here: {known}).")
    for product, version in release["products"].items():
        if not cube.has(group_of(product, version)):
            raise CubeError(f"release {name}: version '{version}' of {product} is not in the cube.")
    return dict(release)


def publish(cube: CubeStore, name: str) -> None:
    """Make readers follow the release `name`, whatever it holds; what they followed before is `previous` for a rollback.

    `cube.publishing` asks first whether it keeps its promises. Raises `CubeError` where a part of it is not there.
    """
    adopt_tables(cube, require(cube, name)["products"])

    def follow(pointer: dict[str, Any] | None) -> dict[str, Any]:
        before = (pointer or {}).get("release")
        return pointer if pointer is not None and before == name else {"release": name, "previous": before}

    cube.update_json(CURRENT, follow)


def rollback(cube: CubeStore) -> str:
    """Make readers follow the release before the current one again; returns its name."""

    def back(pointer: dict[str, Any] | None) -> dict[str, Any]:
        if not pointer or not pointer.get("previous"):
            raise CubeError(f"{cube.url}: there is no earlier release to go back to.")
        return {"release": pointer["previous"], "previous": pointer["release"]}

    name = str(back(cube.read_json(CURRENT))["release"])
    adopt_tables(cube, (cube.read_json(f"releases/{name}.json") or {}).get("products", {}))
    return str(cube.update_json(CURRENT, back)["release"])
