"""Versions of products and the release that readers follow: a release maps each product to a version."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import CubeError, UnknownNameError
from cube.storage import shapes
from cube.storage.documents import Documents
from cube.storage.identity import digest
from cube.storage.root import described, region_of
from cube.storage.store import CubeStore, open_cube

CURRENT: Final = "current.json"
ABOUT: Final = "cube"  # of the pointer: format, region and unit of the cube
# Products whose versions have a table of the species or habitats that they were made with, and the axis of its rows.
TABLE_ROWS: Final = {"species": "species", "composition": "species", "habitats": "habitat"}
PRODUCTS: Final = ("species", "composition", "indicators", "habitats")
_NO_RELEASE: Final[dict[str, Any]] = {"release": None, "previous": None}  # the pointer before the first publication
_PUBLISH_ANEW: Final = "remove it and run `floracube publish` with a release of `floracube info`"


def group_of(product: str, version: str, level: int | None = 0) -> str:
    """Path of a product's group: `products/species/v1/0`; composition has no levels."""
    base = f"products/{product}/{version}"
    return base if level is None or product == "composition" else f"{base}/{level}"


def open_current(url: str) -> tuple[CubeStore, dict[str, Any]]:
    """The cube at `url` and the release that readers follow: one request, since the pointer says what the root says.

    Raises `CubeError` if there is no cube.
    """
    url = str(url).rstrip("/")
    pointer = None
    with suppress(OSError):  # what is wrong with the store is said where its root is opened
        pointer = read_pointer(Documents(url))
    if pointer is None or ABOUT not in pointer:  # nothing is published, or an older floracube did
        cube = open_cube(url)
        return cube, current(cube)
    where = f"{url}/{CURRENT}, {ABOUT}"
    cube = CubeStore(url, region_of(where, described(where, pointer[ABOUT])))
    return cube, _pointed_release(cube, pointer)


def read_pointer(cube: Documents) -> dict[str, Any] | None:
    """What `current.json` says, None before the first publication. Raises `CubeError` for a pointer of another shape."""
    return _pointer(cube, cube.read_json(CURRENT))


def _pointer(cube: Documents, document: Any | None) -> dict[str, Any] | None:
    if document is None:
        return None
    pointer = shapes.require(f"{cube.url}/{CURRENT}", document, shapes.POINTER, _PUBLISH_ANEW)
    if pointer.get("content"):
        shapes.require(f"{cube.url}/{CURRENT}, content", pointer["content"], shapes.RELEASE, _PUBLISH_ANEW)
    return pointer


def read_document(cube: Documents, name: str) -> dict[str, Any] | None:
    """The document of the release `name`, None where there is none. Raises `CubeError` for one of another shape."""
    path = f"releases/{name}.json"
    document = cube.read_json(path)
    fix = "restore it, or remove it and run `floracube predict` again"
    return None if document is None else shapes.require(f"{cube.url}/{path}", document, shapes.RELEASE, fix)


def current(cube: CubeStore) -> dict[str, Any]:
    """The release that readers follow, `{"name", "products": {product: version}, ...}`; empty products before the first."""
    return _pointed_release(cube, read_pointer(cube))


def _pointed_release(cube: CubeStore, pointer: dict[str, Any] | None) -> dict[str, Any]:
    while pointer is not None and pointer.get("release") is not None:
        # The pointer holds what the release says, for one request less; one that an older floracube wrote has the name alone.
        release = pointer.get("content") or read_document(cube, pointer["release"])
        if release is not None:
            return dict(release)
        previous_pointer, pointer = pointer, read_pointer(cube)
        if pointer == previous_pointer:  # and not one that was replaced and removed since the pointer was read
            raise CubeError(
                f"{cube.url}: {CURRENT} names the release '{pointer['release']}', which is not there; publish another."
            )
    return {"name": None, "products": {}}


def write_release(cube: CubeStore, name: str, products: Mapping[str, str], provenance: Mapping[str, Any]) -> None:
    """Create `releases/<name>.json`: which version of each product, and from what they were made.

    `parents` are the release that readers followed meanwhile, with a hash of what it named. Of several writers at once
    one creates it. The same versions of the same inputs once more leave it as it is, others of its name are a `CubeError`.
    """
    parent = current(cube)
    unknown = set(products) - set(PRODUCTS)
    if unknown:
        raise CubeError(f"release {name}: '{min(unknown)}' is not a product; known are {', '.join(PRODUCTS)}.")
    document = {
        "name": name,
        "products": dict(products),
        "parents": {parent["name"]: digest(sorted(parent["products"].items()))} if parent["name"] else {},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        **provenance,
    }
    if cube.create_json(f"releases/{name}.json", document):
        return
    existing = read(cube, name)
    if existing["products"] != dict(products) or existing.get("inputs") != provenance.get("inputs"):
        raise CubeError(f"{cube.url}: Release '{name}' already exists. Releases are immutable; choose another name.")


def named_versions(cube: CubeStore, but: Collection[str] = ()) -> dict[str, set[str]]:
    """The versions of each product that some release (`but` not these) names. Raises `CubeError` for a damaged release."""
    out: dict[str, set[str]] = {}
    for name in set(cube.list_json("releases")) - set(but):
        for product, version in (read_document(cube, name) or {}).get("products", {}).items():
            out.setdefault(str(product), set()).add(str(version))
    return out


def forget(cube: CubeStore, name: str, dry_run: bool = False) -> None:
    """Remove the release `name`, so that what it alone names becomes garbage; not one that readers follow or may go back to.

    The pointer says so first and ever after, so that nobody who has read it before publishes that release. Raises
    `CubeError` where it is not there, is the current one or the one before it.
    """
    digest_of_removed = {name: digest(read(cube, name))}

    def mark(pointer: dict[str, Any] | None) -> dict[str, Any]:
        pointer = _pointer(cube, pointer) or _NO_RELEASE
        for role, key in (("which readers follow", "release"), ("to which they may go back", "previous")):
            if pointer.get(key) == name:
                raise CubeError(f"{cube.url}: '{name}' is the release {role}; publish another first.")
        return {**pointer, "removed": {**pointer.get("removed", {}), **digest_of_removed}}

    if dry_run:
        mark(cube.read_json(CURRENT))
        return
    cube.update_json(CURRENT, mark)
    cube.remove_json(f"releases/{name}.json")
    cube.remove_tree(f"stac/{name}")


def table_path(product: str, version: str) -> str:
    """Path of the table of a version of `species`, `composition` (its species) or `habitats`."""
    return f"products/{product}/{version}/table"


def species_table(products: Mapping[str, str]) -> str | None:
    """Path of the table that names the species of a release (version by product); None where it has none."""
    return next((table_path(p, products[p]) for p in ("species", "composition") if p in products), None)


def ensure_table(
    cube: CubeStore,
    product: str,
    version: str,
    columns: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the table of a version, a column by name, unless it holds these columns already.

    A run that resumes a version leaves a whole table as it is and replaces one that a kill cut off.
    """
    path = table_path(product, version)
    try:
        existing = cube.read_table(path) if cube.has(path) else {}
    except CubeError:
        existing = {}
    if set(existing) != set(columns) or any(not _equal(existing[name], values) for name, values in columns.items()):
        cube.write_table(path, columns, TABLE_ROWS[product], attributes)


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if a.shape != b.shape or (a.dtype.kind in "OUT") != (b.dtype.kind in "OUT"):
        return False
    return bool(np.all((a == b) | ((a != a) & (b != b))))  # NaN equals NaN


def read(cube: CubeStore, name: str) -> dict[str, Any]:
    """The release `name`; raises `UnknownNameError` where the cube has none of that name."""
    release = read_document(cube, name) if "/" not in name else None
    if release is None:
        names: list[str] = []
        with suppress(CubeError):  # a web server lists nothing
            names = cube.list_json("releases")
        raise UnknownNameError(f"{cube.url}: Unknown release '{name}'. Choose one of: {', '.join(names) or 'none are listed'}.")
    return dict(release)


def require(cube: CubeStore, name: str) -> dict[str, Any]:
    """The release `name`; raises `CubeError` where it, or a version that it names, is not there."""
    release = read(cube, name)
    for product, version in release["products"].items():
        parts = [group_of(product, version), *([table_path(product, version)] if product in TABLE_ROWS else [])]
        if missing := [part for part in parts if not cube.has(part)]:
            raise CubeError(
                f"{cube.url}: release '{name}' names version '{version}' of {product}, which has no {missing[0]}; run"
                f" `floracube predict` again with --version {version}, or publish another release."
            )
    return release


def verified_states(cube: CubeStore) -> dict[str, str]:
    """The state (`Progress.state`) of each stage that was checked when readers were made to follow a release last."""
    return dict((read_pointer(cube) or {}).get("verified", {}))


def publish(cube: CubeStore, name: str, stage_states: Mapping[str, str] | None = None) -> None:
    """Make readers follow the release `name`, whatever it holds; what they followed before is `previous` for a rollback.

    `cube.check.publishing` asks first whether it keeps the rules, and says of which stages in `stage_states`. Raises
    `CubeError` where a part of it is not there.
    """
    require(cube, name)

    def follow(pointer: dict[str, Any] | None) -> dict[str, Any]:
        pointer = _pointer(cube, pointer) or _NO_RELEASE
        release = read(cube, name)
        if pointer.get("removed", {}).get(name) == digest(release):
            raise CubeError(f"{cube.url}: Release '{name}' is being removed. Publish another one.")
        earlier = (
            release_name
            for release_name in (pointer.get("release"), pointer.get("previous"))
            if release_name is not None and release_name != name
        )
        previous = next((release_name for release_name in earlier if read_document(cube, release_name) is not None), None)
        now = {
            ABOUT: fixed_attributes(cube),
            "release": name,
            "previous": previous,
            "content": release,
            "verified": dict(stage_states or {}),
        }
        return {**pointer, **now}

    cube.update_json(CURRENT, follow)


def fixed_attributes(cube: CubeStore) -> dict[str, Any]:
    """What never changes of what the root says, for the pointer: a title may."""
    return {key: value for key, value in cube.attributes.items() if key != "title"}


def rollback(cube: CubeStore) -> str:
    """Make readers follow the release before the current one again; returns its name."""

    def back(pointer: dict[str, Any] | None) -> dict[str, Any]:
        pointer = _pointer(cube, pointer)
        if not pointer or not pointer.get("previous"):
            raise CubeError(f"{cube.url}: there is no earlier release to go back to; publish one by its name.")
        earlier = str(pointer["previous"])
        content = read(cube, earlier)
        return {
            **pointer,
            ABOUT: fixed_attributes(cube),
            "release": earlier,
            "previous": pointer.get("release"),
            "content": content,
        }

    return str(cube.update_json(CURRENT, back)["release"])
