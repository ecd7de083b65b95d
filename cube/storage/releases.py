"""Versions of products and the release that readers follow: a release maps each product to a version."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

from cube.errors import CubeError
from cube.storage.store import CubeStore

CURRENT: Final = "current.json"
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
    """Write `releases/<name>.json`: which version of each product, and from what they were made."""
    unknown = set(products) - set(PRODUCTS)
    if unknown:
        raise CubeError(f"release {name}: '{min(unknown)}' is not a product; known are {', '.join(PRODUCTS)}.")
    cube.write_json(
        f"releases/{name}.json",
        {
            "name": name,
            "products": dict(products),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **provenance,
        },
    )


def publish(cube: CubeStore, name: str) -> None:
    """Make readers follow the release `name`; what they followed before is kept as `previous` for a rollback."""
    release = cube.read_json(f"releases/{name}.json")
    if release is None:
        known = ", ".join(cube.list_json("releases")) or "none"
        raise CubeError(f"{cube.url}: there is no release '{name}' to publish (releases here: {known}).")
    for product, version in release["products"].items():
        if not cube.has(group_of(product, version)):
            raise CubeError(f"release {name}: version '{version}' of {product} is not in the cube.")

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

    return str(cube.update_json(CURRENT, back)["release"])
