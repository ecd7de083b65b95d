"""Which version a run writes, of which products, and what its release says of their origin."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from cube.config import Config
from cube.errors import ConfigError, CubeError
from cube.storage import releases
from cube.storage.store import CubeStore
from inference.cascade.model import Model
from inference.data.recipe import difference


def wanted_products(only: Sequence[str] | None, model: Model) -> tuple[str, ...]:
    """The products to write, in the order of the cascade: all that the model can make, or those of `only`.

    Raises `ConfigError` for one that is not known, or that the model cannot make.
    """
    possible = [product for product in releases.PRODUCTS if product != "habitats" or model.habitats is not None]
    for product in only or ():
        if product not in releases.PRODUCTS:
            raise ConfigError(f"--products names '{product}'; known are {', '.join(releases.PRODUCTS)}.")
        if product not in possible:
            raise ConfigError("--products names habitats, but the model has no Pl@ntBERT; run `floracube habitats train` first.")
    return tuple(product for product in possible if only is None or product in only)


def choose(cube: CubeStore, name: str | None, inputs: str, all_products: bool) -> str:
    """The version to write: the wanted one, or the first `vN` that is new or was begun from the same inputs.

    A version name belongs to one run, whatever products it writes, since its receipts are those of all of them. Of some
    products alone (not `all_products`) a version that has a release already is finished: who asks again wants another.
    Raises `ConfigError` for an invalid name, `CubeError` for a version that was made from something else.
    """
    made_from = _made_from(cube)
    if name is not None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ConfigError(f"--version is '{name}'; a version is made of letters, digits, '.', '_' and '-'.")
        if made_from.get(name, set()) - {inputs}:
            raise CubeError(
                f"{cube.url}: version '{name}' was made from another model, other inputs or of other products, and versions"
                " are never changed; choose another --version."
            )
        return name
    number = 1
    while made_from.get(f"v{number}", set()) - {inputs} or (
        not all_products and releases.read_document(cube, f"v{number}") is not None
    ):
        number += 1
    return f"v{number}"


def _made_from(cube: CubeStore) -> dict[str, set[str]]:
    """What the groups of each version say that they were made from; a group that a kill left without a word says nothing."""
    out: dict[str, set[str]] = {}
    for product in releases.PRODUCTS:
        for version in cube.groups(f"products/{product}"):
            fingerprint = cube.group(f"products/{product}/{version}").attrs.get("floracube_inputs")
            out.setdefault(version, set()).update({str(fingerprint)} if fingerprint is not None else set())
    return out


def base_release(
    config: Config, cube: CubeStore, products: Sequence[str], model: Model, region_km: Sequence[int]
) -> dict[str, Any]:
    """The release whose other products stand beside the new version of `products`: the one that readers follow.

    Raises `CubeError` where its species, region, year or plot area are others, since one release speaks of one list of species
    in one place and year; and where habitats alone would be read from species lists of other networks than the model's.
    """
    release = releases.current(cube)
    other_products = {product: version for product, version in release["products"].items() if product not in products}
    if not other_products:
        return {}
    origin = {
        "region_km": ("predict.region", list(region_km), " km"),
        "reference_year": ("predict.year", config.predict.year, ""),
        "reference_area_m2": ("predict.area_m2", config.predict.area_m2, " m2"),
    }
    for key, (field, value, unit) in origin.items():
        if release.get(key, value) != value:
            raise CubeError(
                f"{cube.url}: release '{release['name']}' is of {field} {release[key]}{unit} and this run of {value}{unit};"
                f" predict all products together, or set {field} as it was."
            )
    networks = release.get("made_from", {}).get("composition", {}).get("networks")
    if tuple(products) == ("habitats",) and networks not in (None, model.card.weights_sha256):
        raise CubeError(
            f"{cube.url}: the species lists of release '{release['name']}' are of another deep-SDM than the one in"
            f" {config.model_path}, and habitats are read from both; predict all products together."
        )
    path = releases.species_table(release["products"])
    if path is not None:
        table = cube.read_table(path)
        if [str(name) for name in table["scientific_name"]] != list(model.ensemble.species):
            raise CubeError(
                f"{cube.url}: release '{release['name']}' is of other species than the model now; predict all products together."
            )
    return {**release, "products": other_products}


def of_applicability(cube: CubeStore, products: Mapping[str, str]) -> str | None:
    """The version of the indicators among `products` (by product), if it has a layer of applicability."""
    version = products.get("indicators")
    return version if version is not None and cube.has(f"{releases.group_of('indicators', version)}/applicability") else None


def require_layers(config: Config, cube: CubeStore, model: Model) -> None:
    """A model may predict on any cube that has what it learned from.

    Raises `CubeError` naming the layers that are missing or mean something else, such as other units; `ModelError` where it
    reads columns of the surveys' table.
    """
    model.recipe.require_maps()
    cube_layers = cube.layers()
    missing = [name for name in model.recipe.layers if name not in cube_layers]
    if missing:
        raise CubeError(
            f"{cube.url}: has no {', '.join(missing)}, from which the model in {config.model_path} learned; add"
            f" {'them' if len(missing) > 1 else 'it'} to `sources` and run `floracube build {config.path.name}`, or train."
        )
    for learned_layer in model.recipe.inputs:
        change = difference(cube_layers[learned_layer.name], learned_layer)
        if change is not None:
            raise CubeError(
                f"{cube.url}: the layer {learned_layer.name} is not what the model in {config.model_path} learned from"
                f" ({change}); build it from such a source again, or train again."
            )


def provenance(
    config: Config, model: Model, region_km: Sequence[int], inputs: str, products: Sequence[str], base: Mapping[str, Any]
) -> dict[str, Any]:
    """What a release says of its origin; `made_from` says it product by product, since some may stand from an earlier run."""
    code = _code_version()
    own_identity = {"model": model.hash, "networks": model.card.weights_sha256, "inputs": inputs, "code": code}
    base_origin = {name: base.get(name) for name in own_identity}
    made_from = {product: base.get("made_from", {}).get(product, base_origin) for product in base.get("products", {})}
    return {
        **own_identity,
        "made_from": made_from | dict.fromkeys(products, own_identity),
        "title": config.title,
        "region_km": list(region_km),
        "reference_year": config.predict.year,
        "reference_area_m2": config.predict.area_m2,
    }


def _code_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("floracube")
    except PackageNotFoundError:
        number = "unknown"
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return number
    return f"{number} ({commit})"
