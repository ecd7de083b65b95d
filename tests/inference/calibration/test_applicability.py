"""The area of applicability: from places and from windows alike, for every set of modalities, kept in a model folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cube.errors import ModelError
from inference.calibration.applicability import (
    CARD,
    dissimilarity_of_part,
    fit_applicability,
    load_applicability,
    masks_of,
    present_in,
    save_applicability,
)
from inference.calibration.columns import column_names, place_columns, window_columns
from inference.data.kilometres import bilinear
from inference.data.samples import Predictors
from inference.network.batches import covariates_of, gather
from inference.network.deep_sdm import DeepSDM, ModelSpec, Part
from inference.network.ensemble import Ensemble
from tests.support.dense import embed_cells

EVERY = ("satellite", "landsat", "table_50m", "climate", "table_1km")
SPEC = ModelSpec((*EVERY, "survey"), 7, ("a", "b"), ("c", "d", "e"), d=8, hidden=8, width=4, dilations=(1,))
U, K = 40, 2


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    torch.manual_seed(0)
    held = Ensemble(SPEC, [DeepSDM(SPEC), DeepSDM(SPEC)], tuple("abcdefg"))
    with torch.no_grad():
        for net in held.networks:
            net.species_embedding.normal_()
    return held


def places(n: int, seed: int = 0, shift: float = 0.0) -> Predictors:
    rng = np.random.default_rng(seed)

    def values(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) + shift).astype(np.float32)

    drawn = {
        "satellite": values(n, 4, SPEC.patch, SPEC.patch),
        "landsat": values(n, 6, 84),
        "table_50m": values(n, 2),
        "climate": values(30, 4, 228),
        "table_1km": values(30, 3),
    }
    corner, weight = rng.integers(0, 30, (n, 4)), np.full((n, 4), 0.25, np.float32)
    return Predictors(drawn, corner, weight, SPEC.table_50m_names, SPEC.table_1km_names)


def covariates(n: int) -> np.ndarray:
    return covariates_of(np.full(n, 2010.0))


@pytest.fixture(scope="module")
def fitted(ensemble):
    count = len(column_names(SPEC)[1])
    return fit_applicability(ensemble, places(200), covariates(200), np.arange(200) % 10, np.ones(count, np.float32), 120)


def window(missing: float) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(1)
    side = 5 * (U + SPEC.receptive_field - 1)
    shapes = {
        "satellite": (4, side, side),
        "landsat": (6, 84, U, U),
        "table_50m": (2, U, U),
        "climate": (4, 228, K + 2, K + 2),
        "table_1km": (3, K + 2, K + 2),
    }
    out = {}
    for name, shape in shapes.items():
        values = rng.normal(size=shape).astype(np.float32)
        values[rng.random(shape) < missing] = np.nan
        if missing:
            values[..., : shape[-2] // 2, : shape[-1] // 2] = np.nan
        out[name] = torch.from_numpy(values)
    return out


def places_in(held: dict[str, torch.Tensor], step: int = 7) -> tuple[np.ndarray, np.ndarray, Predictors]:
    """Every `step`-th cell of a window as a place: (row, column, predictors)."""
    rows, cols = (a.ravel() for a in np.meshgrid(np.arange(0, U, step), np.arange(0, U, step), indexing="ij"))
    corner, weight = bilinear((rows + 0.5) / 20 + 0.5, (cols + 0.5) / 20 + 0.5, (K + 2, K + 2))
    image, p = held["satellite"], SPEC.patch
    patches = [image[:, 5 * r : 5 * r + p, 5 * c : 5 * c + p] for r, c in zip(rows, cols, strict=True)]
    there = {
        "satellite": torch.stack(patches).numpy(),
        "landsat": held["landsat"][:, :, rows, cols].movedim(-1, 0).numpy(),
        "table_50m": held["table_50m"][:, rows, cols].T.numpy(),
        "climate": held["climate"].flatten(2).movedim(-1, 0).numpy(),
        "table_1km": held["table_1km"].flatten(1).T.numpy(),
    }
    return rows, cols, Predictors(there, corner, weight, SPEC.table_50m_names, SPEC.table_1km_names)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_columns_of_a_window_are_those_of_its_places(missing):
    held = window(missing)
    rows, cols, there = places_in(held)
    dense = window_columns(held, SPEC, U, U).reshape(U, U, -1)[rows, cols]
    np.testing.assert_allclose(dense.numpy(), place_columns(there, SPEC), atol=1e-5)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_columns_of_a_band_are_those_of_its_rows_of_the_window(missing):
    held = window(missing)
    part = Part(0, 0, 20, U)
    cut = part.cut(held, SPEC) | {name: held[name][..., :3, :] for name in SPEC.kilometres}
    dense = window_columns(held, SPEC, U, U).reshape(U, U, -1)[:20].flatten(0, 1)
    torch.testing.assert_close(window_columns(cut, SPEC, 20, U), dense, atol=1e-5, rtol=0, equal_nan=True)


def ratio(held, ensemble, predictors, without: tuple[str, ...] = ()) -> np.ndarray:
    n = len(predictors)
    columns = torch.from_numpy(place_columns(predictors, SPEC))
    columns[:, np.isin(held.column_modality, without)] = torch.nan
    kept = tuple(m for m in SPEC.modalities if m not in without)
    z = ensemble.embed_places(gather(predictors, np.arange(n), kept, covariates(n)))
    mask = masks_of(held.modalities, present_in(held.modalities, held.column_modality, columns), n)
    return held.ratio(columns, z.detach(), mask).numpy()


@pytest.mark.parametrize("without", [(), ("satellite",), ("landsat", "table_1km")])
def test_places_like_those_of_training_are_within_and_others_are_not(fitted, ensemble, without):
    inside = ratio(fitted, ensemble, places(100, seed=5), without)
    outside = ratio(fitted, ensemble, places(100, seed=6, shift=6.0), without)
    assert (inside <= 1).mean() > 0.8
    assert (outside > 1).all()
    assert np.median(outside) > 2 * np.median(inside)


def test_a_part_of_a_window_says_of_its_cells_what_places_say(fitted, ensemble):
    held = window(0.0)
    held["landsat"][:, :, :25, :25] = torch.nan  # two sets of modalities in one part
    rows, cols, there = places_in(held)
    part = Part(20, 0, 20, 20)
    side = held["landsat"].shape[-1]
    z = embed_cells(ensemble, held, 2010.0).unflatten(0, (side, side))[part.slices].flatten(0, 1)
    found = dissimilarity_of_part(fitted, ensemble, part.cut(held, SPEC), held, part, z, torch.arange(400)).reshape(20, 20)
    wanted = ratio(fitted, ensemble, there)
    inside = (rows >= 20) & (cols < 20)
    assert np.isnan(place_columns(there, SPEC)[inside]).any()
    np.testing.assert_allclose(found[rows[inside] - 20, cols[inside]].numpy(), wanted[inside], rtol=1e-3)


def test_references_themselves_have_no_dissimilarity(fitted, ensemble):
    own = ratio(fitted, ensemble, places(200))
    assert np.sort(own)[:120].max() < 1e-2


def test_a_column_without_importance_is_not_looked_at(ensemble):
    _, names = column_names(SPEC)
    weight = np.zeros(len(names), np.float32)
    weight[names.index("a")] = 1
    held = fit_applicability(ensemble, places(100), covariates(100), np.arange(100) % 10, weight, 50)
    columns = torch.from_numpy(place_columns(places(100), SPEC))
    moved = columns.clone()
    moved[:, names.index("b")] += 100
    assert torch.equal(held.scaled(columns), held.scaled(moved))


def test_one_block_says_nothing_of_transfer(ensemble):
    count = len(column_names(SPEC)[1])
    held = fit_applicability(ensemble, places(60), covariates(60), np.zeros(60, int), np.ones(count, np.float32), 60)
    assert np.isnan(ratio(held, ensemble, places(20, 3))).all()


def test_a_folder_gives_back_what_it_was_given(fitted, ensemble, tmp_path):
    save_applicability(tmp_path, fitted)
    again = load_applicability(tmp_path)
    assert again is not None
    np.testing.assert_array_equal(ratio(again, ensemble, places(50, 9)), ratio(fitted, ensemble, places(50, 9)))
    assert load_applicability(tmp_path / "nowhere") is None
    (tmp_path / CARD).write_text("{}")
    with pytest.raises(ModelError, match="damaged"):
        load_applicability(tmp_path)
