"""A cube of smooth random inputs and a model of random weights of any size: what the engine's speed and exactness are tried on.

Nothing is learnt. Probabilities are plausible all the same: the prevalence of species is log-normal around 3 %, their
scores vary in space by 1.5 on the cloglog scale, and their ceilings are those of the maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom
from scipy.sparse import csr_array

from cube.grid import Region, Unit
from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.records.traits import FLAG_TRAITS, NUMBER_TRAITS, TEXT_TRAITS
from cube.storage.store import CubeStore, create_cube, resolution_of
from inference.calibration.columns import window_columns
from inference.cascade import products
from inference.cascade.indicators import applicable
from inference.cascade.model import load_model, save_settings, save_traits
from inference.cascade.sums import plan_sums
from inference.cascade.unit import Job
from inference.data.recipe import recipe
from inference.network import checkpoint
from inference.network.deep_sdm import ModelSpec, Part
from inference.network.ensemble import Ensemble, survey_covariates
from inference.network.forest import Forest, rounded

LAYERS = (
    "surface",
    "sentinel2",
    "landsat",
    "elevation",
    "slope",
    "northness",
    "eastness",
    "wetness",
    "soil",
    "climate",
    "bioclim",
)
RANGES = {
    "sentinel2": (0.02, 0.4),
    "landsat": (0.02, 0.4),
    "elevation": (0, 900),
    "slope": (0, 40),
    "northness": (-0.6, 0.6),
    "eastness": (-0.6, 0.6),
    "wetness": (0, 12),
    "soil": (20, 700),
    "climate": (20, 300),
    "bioclim": (-5, 25),
}
VERSION = "v1"


@dataclass(frozen=True)
class Case:
    """A cube with inputs and a model folder for it."""

    cube: CubeStore
    model: Path
    units: tuple[Unit, ...]

    def job(
        self, version: str = VERSION, products: tuple[str, ...] = ("species", "composition", "indicators"), **more: Any
    ) -> Job:
        """A job over the whole region."""
        west, south, east, north = (v // 1000 for v in self.cube.region.bounds)
        settings = {
            "block": 1024,
            "year": 2020,
            "area_m2": 100.0,
            "inputs": "case",
            "model_hash": load_model(self.model).hash,
            **more,
        }
        return Job(self.cube.url, str(self.model), tuple((p, version) for p in products), (west, south, east, north), **settings)

    def make(self, version: str = VERSION) -> None:
        """The groups of species, composition and indicators of a version."""
        model = load_model(self.model)
        products.make_species(self.cube, version, model.ensemble.species, model.ensemble.scale, 100.0, {})
        products.make_composition(self.cube, version, {})
        products.make_indicators(self.cube, version, applicable(model.available), {})


def make_cube(url: str, region: Region, layers: tuple[str, ...] = LAYERS, gaps: float = 0.0, seed: int = 0) -> CubeStore:
    """A cube whose inputs are smooth fields with some noise; `gaps` is the share of missing squares, and of sea."""
    cube = create_cube(url, region, "a case")
    for name in layers:
        layer = INPUTS[name]
        resolution = resolution_of(layer)
        labels = {d: np.asarray(v, object) for d, v in layer.labels.items()}
        cube.ensure_group(layer.group, [layer], resolution, 0, labels)
        for unit in region.units():
            square = region.square(unit, resolution)
            sizes = [len(labels[d]) for d in layer.dims]
            rng = np.random.default_rng((seed, *name.encode(), square.row, square.col))
            cube.write_unit(layer.path, unit, _values(layer, (*sizes, square.height, square.width), gaps, rng), resolution)
    return cube


def _values(layer: Layer, shape: tuple[int, ...], gaps: float, rng: np.random.Generator) -> NDArray[Any]:
    """Stored values of one unit of a layer."""
    fields, (height, width) = int(np.prod(shape[:-2])), shape[-2:]
    missing = zoom(rng.random((8, 8)), (height / 8, width / 8), order=0) < gaps
    if layer.name == "surface":
        return np.where(missing, 1, 0).astype(np.uint8)
    low, high = RANGES[layer.name]
    knots = [rng.random((min(12, height), min(12, width))) for _ in range(min(fields, 12))]
    bases = np.stack([zoom(k, (height / k.shape[0], width / k.shape[1]), order=1) for k in knots]).astype(np.float32)
    out = np.empty((fields, height, width), layer.dtype)
    for i in range(fields):
        image = (0.7 * bases[i % len(bases)] + 0.3 * bases[(i // 4) % len(bases)]).clip(0, 1)
        image += rng.normal(0, 0.02, (height, width)).astype(np.float32)
        out[i] = layer.encode(np.where(missing, np.nan, low + image.clip(0, 1) * (high - low)))
    return out.reshape(shape)


def species_names(count: int) -> tuple[str, ...]:
    """Binomials with a number in letters, since a name with digits is none."""
    return tuple("Genus planta" + "".join("abcdefghij"[int(d)] for d in f"{i:05d}") for i in range(count))


def make_model(
    folder: Path,
    cube: CubeStore,
    species: int,
    spec: dict[str, Any],
    members: int = 1,
    sensitive: int = 0,
    seed: int = 0,
    trees: int = 0,
) -> Path:
    """A model folder for the inputs of `cube`; `spec` are sizes of `ModelSpec`, the first `sensitive` species kept at 1 km.

    `trees`: of a forest, which learns invented surveys from cells of the first unit.
    """
    from inference.network.deep_sdm import DeepSDM

    folder.mkdir(parents=True, exist_ok=True)
    what = recipe(cube)
    spec_of_case = ModelSpec(
        (*what.modalities, "survey"), species, what.table_50m_names, what.table_1km_names, inputs=what.encoded, **spec
    )
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    names = species_names(species)
    ensemble = Ensemble(spec_of_case, [DeepSDM(spec_of_case).eval() for _ in range(members)], names)
    _plausible(ensemble, cube, rng)
    if trees:
        ensemble = _with_forest(ensemble, cube, trees, rng)
    traits: dict[str, Any] = {name: np.full(species, "", object) for name in TEXT_TRAITS}
    traits |= {name: rng.random(species) < 0.1 for name in FLAG_TRAITS}
    traits |= {name: rng.uniform(1, 9, species).astype(np.float32) for name in NUMBER_TRAITS}
    traits["iucn"] = rng.choice(np.array(["LC", "NT", "VU", "EN"], object), species)
    traits["sensitive_km"] = np.where(np.arange(species) < sensitive, 1, 0).astype(np.float32)
    save_traits(folder, names, traits)
    quantiles = {i.name: 1.6 for i in applicable(plan_sums(traits).available)}
    save_settings(folder, what, {"coverage": 0.9, "method": "invented", "quantiles": quantiles})
    checkpoint.save(folder / "sdm", ensemble)
    return folder


def _plausible(ensemble: Ensemble, cube: CubeStore, rng: np.random.Generator) -> None:
    """Set what training would have set: normalisation, and the level, variation and ceiling of every species."""
    from tests.support.dense import read_window

    unit = next(iter(cube.region.units()))
    window = read_window(cube, unit, recipe(cube), ensemble.spec.halo)
    side = min(100, unit.cells)
    tensors = {name: torch.from_numpy(values) for name, values in window.items()}
    for net in ensemble.networks:
        for name, encoder in net.encoders.items():
            constants: Any = encoder.normalisation
            if name == "survey":
                constants.mean.fill_(2010.0)
                constants.std.fill_(10.0)
                continue
            lead = constants.mean.shape[: 1 if name in net.spec.images else None]
            values = window[name].reshape(*lead, -1)[..., :: 7 if values_are_many(window[name]) else 1]
            constants.mean.copy_(torch.from_numpy(np.nanmean(values, -1)).reshape(constants.mean.shape))
            constants.std.copy_(torch.from_numpy(np.nanstd(values, -1) + 1e-3).reshape(constants.std.shape))
    part = Part(0, 0, side, side)
    with torch.inference_mode():
        kilometre = ensemble.encode_kilometres(tensors)
        z = ensemble.embed_part(part.cut(tensors, ensemble.spec), kilometre, part, survey_covariates(2020))[::5]
        species, d = ensemble.spec.species, ensemble.spec.d
        mean_eta = torch.from_numpy(np.log(np.exp(rng.normal(np.log(0.03), 1.3, species)))).float().clamp(max=-1.0)
        for i, net in enumerate(ensemble.networks):
            member_part = z[:, i * d : (i + 1) * d]
            directions = torch.randn(species, d)
            raw = member_part @ directions.T
            net.species_embedding.copy_(directions * (1.5 / raw.std(0).clamp(min=1e-6))[:, None])
            net.species_bias.copy_(mean_eta - 1.0 - (member_part @ net.species_embedding.T).mean(0))
        peak = torch.cat([ensemble.probability(z, 100.0, slice(s, s + 512)).quantile(0.999, 0) for s in range(0, species, 512)])
        ensemble.ceiling.copy_(peak.clamp(min=1e-4))


def _with_forest(ensemble: Ensemble, cube: CubeStore, trees: int, rng: np.random.Generator) -> Ensemble:
    """The ensemble beside a forest of half the weight, grown on 3,000 invented surveys that the networks believe in."""
    from inference.training.forest import LEAVES, grow_tree
    from tests.support.dense import embed_cells, read_window

    unit = next(iter(cube.region.units()))
    window = read_window(cube, unit, recipe(cube), ensemble.spec.halo)
    tensors = {name: torch.from_numpy(values) for name, values in window.items()}
    cells = torch.from_numpy(rng.permutation(unit.cells**2)[:3_000])
    p = ensemble.probability(embed_cells(ensemble, tensors, 2020)[cells]).numpy()
    survey = np.stack([rng.integers(1990, 2025, len(cells)), rng.normal(0, 0.5, len(cells))], 1)
    columns = window_columns(tensors, ensemble.spec, unit.cells, unit.cells)[cells].numpy()
    columns = np.concatenate([columns, survey], 1).astype(np.float32)
    centre = np.nan_to_num(np.nanmean(columns, 0))
    presence = csr_array((rng.random(p.shape) < p).astype(np.float32))
    trees_of_case = [grow_tree(rounded(columns, centre), presence, LEAVES[t % len(LEAVES)], (0, t)) for t in range(trees)]
    with_forest = Ensemble(
        ensemble.spec, ensemble.networks, ensemble.species, Forest.from_trees(trees_of_case, centre, presence.sum(0), len(p))
    )
    with_forest.ceiling.copy_((1.5 * ensemble.ceiling).clamp(max=1.0))
    return with_forest


def values_are_many(values: NDArray[Any]) -> bool:
    """Whether a part of them tells their mean."""
    return values.size > 5_000_000


def make_case(
    folder: Path,
    region: Region,
    species: int,
    spec: dict[str, Any],
    layers: tuple[str, ...] = LAYERS,
    gaps: float = 0.0,
    **model: Any,
) -> Case:
    """The cube, the model and the groups of one version."""
    cube = make_cube(str(folder / "cube.zarr"), region, layers, gaps)
    path = make_model(folder / "model", cube, species, spec, **model)
    case = Case(cube, path, tuple(region.units()))
    case.make()
    return case
