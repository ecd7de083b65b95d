"""What a prediction will take, before anything is written: units without a receipt, bytes and objects of each product."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cube.config import Config
from cube.engine.plan import Layout, Plan, Row
from cube.layers.inputs import SURFACE
from cube.pyramids.squares import tree
from cube.storage.ledger import Ledger
from cube.storage.store import open_cube
from inference.cascade.fidelity import document_paths
from inference.cascade.model import load_model
from inference.cascade.predict import fix_run, make_products


def plan(config: Config, version: str | None = None, only: Sequence[str] | None = None) -> Plan:
    """What `predict` with the same arguments will take; nothing is written.

    Bytes read are those of the model's inputs, bytes written those of the maps, both before they are packed; every shard of a
    unit is counted, as if it held land. Raises what `predict` raises before its work starts.
    """
    cube = open_cube(config.cube_url)
    model = load_model(config.model_path)
    run = fix_run(config, cube, model, version, only)
    valid = Ledger(cube, run.stage, run.job.inputs).index().fingerprints
    todo = sum(unit.name not in valid for unit in run.units)
    units = len(list(cube.region.units()))
    steps = np.full(len(model.ensemble.species), 1 / 250, np.float32)
    layout = Layout.from_groups(cube.region, lambda memory: make_products(replace(run, cube=memory), steps), _product)
    paths = {SURFACE, *(layer.path for layer in model.recipe.in_cube(cube).inputs)}
    arrays = [cube.array(path) for path in paths]
    input_bytes = sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays) * todo / units
    rows = [Row("inputs", todo, input_bytes, 0.0, 0)]
    for product in run.products:
        objects = layout.metadata(product) + round(layout.shards(product) * todo / units)
        rows.append(Row(product, todo, 0.0, layout.raw_bytes(product) * todo / units, objects))
    squares = len(tree(cube.region, run.units)) if todo else 0
    rows.append(Row("(receipts)", todo, 0.0, 0.0, todo + squares))
    products = {**run.base.get("products", {}), **run.products}
    documents = sum(cube.read_json(path) is None for path in document_paths(products))
    rows.append(Row("(tables, axes)", 0, 0.0, float(layout.other_bytes), layout.other_objects + documents))
    return Plan(f"{config.title}, version {run.version}", len(run.units), 0, tuple(rows))


def _product(path: str, document: Mapping[str, Any]) -> str | None:
    """The product that a map or its facts belong to; None for what is neither."""
    is_map = (document.get("dimension_names") or [])[-2:] == ["y", "x"]
    is_fact = "/facts/" in path and document.get("node_type") == "array"
    return path.split("/products/")[1].split("/")[0] if is_map or is_fact else None
