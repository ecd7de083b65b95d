"""One unit against a plain float reference, and the same whatever the threads, the block, the device's way or the products."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import tile_web
from benchmarks.cascade_case import VERSION, Case, make_case
from cube.errors import ModelError
from cube.grid import EUROPE, Region
from cube.layers import COMPOSITION, NO_SPECIES, PROBABILITY_STEPS, RANKS
from inference.calibration.intervals import bounds
from inference.calibration.sets import set_size
from inference.cascade import species as species_module
from inference.cascade.cells import blur
from inference.cascade.clock import Clock
from inference.cascade.device import Batch, Device
from inference.cascade.embedding import embed_unit
from inference.cascade.indicators import applicable
from inference.cascade.model import load_model
from inference.cascade.unit import WorkerContext, _worker_context, open_job, run_unit
from inference.data.blocks import Folds
from inference.data.sampling import sample
from inference.evaluation.out_of_fold import OutOfFold, save_out_of_fold
from inference.network.batches import embed_surveys, gather, predict_surveys
from inference.network.ensemble import Ensemble, survey_covariates
from inference.plantbert.places import Mixture, PlaceReader
from inference.plantbert.plots import Plots
from inference.training import predicted_lists
from inference.training.fit import without_fold
from inference.training.predicted_lists import predicted_plots, ranked_lists
from tests.support import folder_s3
from tests.support.dense import embed_cells, read_window

SPECIES = 200
SPEC = {"d": 16, "hidden": 16, "width": 8, "dilations": (1, 2)}
LAYERS = ("surface", "sentinel2", "landsat", "elevation", "slope", "climate", "bioclim")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A unit of 10 km at the region's edge with gaps in every input, sea, three sensitive species, and a forest."""
    region = Region(4800, 2890, 4805, 2896, 10)
    return make_case(tmp_path_factory.mktemp("case"), region, SPECIES, SPEC, LAYERS, gaps=0.15, members=2, sensitive=3, trees=6)


@pytest.fixture(scope="module")
def truth(case: Case) -> dict[str, np.ndarray]:
    """Probabilities (S, n) in float32 of every predicted cell, by the plain way: whole window, all species, one matrix."""
    model = load_model(case.model)
    unit, cube = case.units[0], case.cube
    window = read_window(cube, unit, model.recipe, model.ensemble.spec.halo)
    z = embed_cells(model.ensemble, {k: torch.from_numpy(v) for k, v in window.items()}, 2020)
    land = (cube.read_window("inputs/50m/surface", cube.region.square(unit)) == 0) & _inside(case)
    index = np.flatnonzero(land)
    p = model.ensemble.probability(z[torch.from_numpy(index)]).numpy().T.copy()
    for i in range(3):
        p[i] = blur(p[i], index, unit.cells, 1)
    return {"index": index, "p": p}


def _inside(case: Case) -> np.ndarray:
    west, south, east, north = case.cube.region.bounds
    unit = case.units[0]
    x = unit.west + 50 * (np.arange(unit.cells) + 0.5)
    y = unit.north - 50 * (np.arange(unit.cells) + 0.5)
    return ((y > south) & (y < north))[:, None] & ((x > west) & (x < east))[None]


def stored(case: Case, version: str = VERSION) -> dict[str, np.ndarray]:
    root = case.cube.root["products"]
    out = {"occurrence": root[f"species/{version}/0/occurrence"][:]}
    out |= {name: array[:] for name, array in root[f"composition/{version}"].arrays() if array.ndim >= 2}
    return out | {name: array[:] for name, array in root[f"indicators/{version}/0"].arrays() if array.ndim == 3}


@pytest.fixture(scope="module")
def receipt(case: Case) -> dict:
    return run_unit(case.job(threads=2), case.units[0])


def test_stored_species_are_those_of_a_plain_float_reference_but_for_rounding_ties(case, truth, receipt):
    got = case.cube.root[f"products/species/{VERSION}/0/occurrence"][:].reshape(SPECIES, -1)
    model = load_model(case.model)
    exact = truth["p"].astype(np.float64) / model.ensemble.scale[:, None]
    steps = np.minimum(exact, PROBABILITY_STEPS)
    seen = got[:, truth["index"]].astype(float)
    tie = np.abs(steps - np.floor(steps) - 0.5) < 1e-3
    np.testing.assert_array_equal(seen[~tie], np.rint(steps)[~tie])
    assert np.abs(seen - steps).max() < 0.502
    assert tie.mean() < 0.01
    assert (np.delete(got, truth["index"], axis=1) == 255).all()
    assert receipt["counts"]["cells"] == len(truth["index"])
    assert receipt["counts"]["clipped"] == pytest.approx(int((exact > PROBABILITY_STEPS + 0.5).sum()), abs=3)


def test_composition_and_set_are_those_of_the_reference(case, truth, receipt):
    held = stored(case)
    at = truth["index"]
    ids = held["species_id"].reshape(RANKS, -1)[:, at].T
    chance = held["probability"].reshape(RANKS, -1)[:, at].T
    best = -np.sort(-truth["p"], axis=0)[:RANKS].T
    np.testing.assert_allclose(chance * 0.004, best, atol=0.0021)
    mine = np.take_along_axis(truth["p"].T, ids.astype(np.int64), 1)
    np.testing.assert_allclose(chance * 0.004, mine, atol=0.0021)
    assert (np.sort(ids, 1)[:, 1:] != np.sort(ids, 1)[:, :-1]).all()
    assert (np.diff(chance.astype(int), axis=1) <= 0).all()
    assert np.diff(mine, axis=1).max() < 1e-6  # by probability also within a step: the alphabet says nothing
    size = held["set_size"].ravel()[at]
    assert (size == set_size(best, truth["p"].sum(0))).mean() > 0.999
    assert (held["species_id"].reshape(RANKS, -1)[:, _others(case, at)] == NO_SPECIES).all()
    assert COMPOSITION[1].scale == 0.004


def open_context(case: Case) -> WorkerContext:
    job = case.job()
    _worker_context.cache_clear()
    return _worker_context(job.cube_url, job.model_path, job.model_hash, job.device, job.area_m2)


def test_a_unit_equals_single_patches_at_its_edges_and_beside_missing_data(case):
    held = open_context(case)
    model, unit = held.model, case.units[0]
    wanted = (case.cube.read_window("inputs/50m/surface", case.cube.region.square(unit)) == 0) & _inside(case)
    with ThreadPoolExecutor(2) as pool:
        index, z, _ = embed_unit(case.cube, model.ensemble, model.recipe, unit, wanted, 2020, 100.0, held.device, pool, Clock())
    assert set(index) == set(np.flatnonzero(wanted))
    row, col = np.divmod(index, unit.cells)
    edge = np.flatnonzero((row == row.max()) | (col == col.min()) | (col == col.max()) | (row == row.min()))
    some = np.union1d(edge, np.arange(0, len(index), 41))
    x, y = unit.west + 50 * (col[some] + 0.5), unit.north - 50 * (row[some] + 0.5)
    predictors = sample(case.cube, model.recipe, x, y, model.ensemble.spec.receptive_field)
    assert np.isnan(predictors.values["satellite"]).any()
    assert np.isnan(predictors.values["landsat"]).all((1, 2)).any()
    batch = gather(predictors, np.arange(len(some)), model.ensemble.spec.modalities)
    batch["survey"] = survey_covariates(2020).expand(len(some), 1)
    with torch.no_grad():
        single = model.ensemble.embed_places(batch)
    require_same_embeddings(model.ensemble, z[torch.from_numpy(some)], single, 1e-5)


def require_same_embeddings(ensemble: Ensemble, z: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Refuse other embeddings than `expected`, or other leaves of the forest behind them."""
    networks = ensemble.network_dimension
    torch.testing.assert_close(z[:, :networks], expected[:, :networks], atol=tolerance, rtol=0)
    torch.testing.assert_close(z[:, networks:].view(torch.int32), expected[:, networks:].view(torch.int32), atol=0, rtol=0)


def test_bands_as_wide_as_a_unit_embed_as_tiles_do(case):
    """A GPU takes whole bands."""
    held = open_context(case)
    model, unit = held.model, case.units[0]
    wanted = case.cube.read_window("inputs/50m/surface", case.cube.region.square(unit)) == 0
    seen = []
    for batch in (Batch(side=40), Batch(side=100, whole_rows=True)):
        device = Device(torch.device("cpu"), batch)
        with ThreadPoolExecutor(2) as pool:
            index, z, _ = embed_unit(case.cube, model.ensemble, model.recipe, unit, wanted, 2020, 100.0, device, pool, Clock())
        seen.append((index, z))
    order = np.argsort(seen[0][0])
    np.testing.assert_array_equal(seen[0][0][order], np.sort(seen[1][0]))
    require_same_embeddings(model.ensemble, seen[0][1][order], seen[1][1][np.argsort(seen[1][0])], 1e-6)


def _others(case: Case, index: np.ndarray) -> np.ndarray:
    return np.setdiff1d(np.arange(case.units[0].cells ** 2), index)


def test_indicators_are_those_of_all_probabilities_at_once(case, truth, receipt):
    model = load_model(case.model)
    sums = model.plan.sums(truth["p"].astype(np.float64))
    held = stored(case)
    for indicator in applicable(model.plan.available):
        exact = bounds(indicator, sums, model.quantiles[indicator.name]) / indicator.scale
        seen = held[indicator.name].reshape(3, -1)[:, truth["index"]].astype(float)
        np.testing.assert_allclose(seen, np.where(np.isfinite(exact), exact.clip(0, 65000), 65535), atol=0.51, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "block"), [(1, 128), (3, 1024)])
def test_neither_threads_nor_blocks_change_a_single_byte(case, receipt, threads, block):
    case.make("again")
    again = run_unit(case.job("again", threads=threads, block=block), case.units[0])
    for name, values in stored(case).items():
        np.testing.assert_array_equal(values, stored(case, "again")[name], err_msg=name)
    kept = {k: v for k, v in receipt["checksums"].items() if not k.startswith("species")}
    assert {k: v for k, v in again["checksums"].items() if not k.startswith("species")} == kept


@pytest.mark.slow
def test_the_way_of_a_gpu_gives_the_same_within_a_rounding_tie(case, receipt, monkeypatch):
    case.make("torch")
    monkeypatch.setattr(Device, "compiled", property(lambda self: False))
    run_unit(case.job("torch"), case.units[0])
    here, there = stored(case), stored(case, "torch")
    for name in here:
        a, b = here[name].astype(int), there[name].astype(int)
        if name == "species_id":  # neighbours in rank may have changed places
            assert (np.sort(a, 0) == np.sort(b, 0)).mean() > 0.999
        else:
            assert np.abs(a - b).max() <= 1, name
            assert (a != b).mean() < 0.01, name


@pytest.mark.slow
def test_a_full_memory_halves_the_batch_goes_on_and_is_told_in_the_receipt(case, receipt, monkeypatch):
    _worker_context.cache_clear()
    case.make("halved")
    monkeypatch.setattr(Device, "compiled", property(lambda self: False))
    exact = species_module.OnDevice._probability
    refused = []

    def small(self, weight, *rest):
        tile = rest[-1]
        if tile.stop - tile.start > 1024:
            refused.append(tile)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return exact(self, weight, *rest)

    monkeypatch.setattr(species_module.OnDevice, "_probability", small)
    told = run_unit(case.job("halved"), case.units[0])
    assert refused
    assert told["counts"]["batch_halved"] == 1
    here, there = stored(case), stored(case, "halved")
    assert np.abs(here["occurrence"].astype(int) - there["occurrence"].astype(int)).max() <= 1
    assert np.abs(here["richness"].astype(int) - there["richness"].astype(int)).max() <= 1
    remembered = run_unit(case.job("halved"), case.units[0])
    assert remembered["counts"]["batch_halved"] == 1
    assert len(refused) == 1
    _worker_context.cache_clear()


def test_a_unit_in_a_bucket_has_the_same_values_for_a_request_a_shard(case, receipt):
    case.make("bucket")
    with folder_s3.served(case.cube, 0.0) as store, folder_s3.in_this_process(store) as url:
        job = replace(case.job("bucket"), cube_url=url)
        open_job(job)
        before = tile_web.counts(store.address)
        there = run_unit(job, case.units[0])
        after = tile_web.counts(store.address)
    _worker_context.cache_clear()
    spent = {kind: after[kind] - before[kind] for kind in after}
    assert there["checksums"] == receipt["checksums"]
    sizes = {key.replace("/bucket/", f"/{VERSION}/"): size for key, size in there["sizes"].items()}
    assert sizes == receipt["sizes"]  # the same codecs encode shards for a disk and for a bucket
    assert spent["PUT"] == sum(size > 0 for size in sizes.values())
    tops = -(-case.units[0].cells // 100)  # bands: the image alone is read with each, for its halo
    assert spent["of shards"] <= len(LAYERS) + tops - 1 + 1  # and the steps of the species
    documents = len(LAYERS) + 2 + 3  # of the inputs and the steps; of three groups, which all writers open once
    assert spent["GET"] - spent["of shards"] <= documents


def test_a_memory_that_is_always_full_is_an_error_at_last(case, monkeypatch):
    _worker_context.cache_clear()
    monkeypatch.setattr("inference.cascade.unit.embed_unit", _no_room)
    with pytest.raises(torch.OutOfMemoryError):
        run_unit(case.job(), case.units[0])
    _worker_context.cache_clear()


def _no_room(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_one_product_alone_is_the_product_of_a_whole_run(case, receipt):
    case.make("alone")
    run_unit(case.job("alone", products=("indicators",)), case.units[0])
    whole, alone = stored(case), stored(case, "alone")
    np.testing.assert_array_equal(whole["richness"], alone["richness"])
    assert (alone["occurrence"] == 255).all()
    assert (alone["species_id"] == NO_SPECIES).all()


@pytest.mark.parametrize("with_places", [False, True])
def test_habitats_from_a_composition_layer_are_those_of_the_whole_cascade(case, receipt, monkeypatch, with_places):
    seen = []
    weight = np.random.default_rng(0).normal(size=(2 * SPEC["d"], 2)).astype(np.float32)
    reader_of_places = PlaceReader(weight, np.zeros(2, np.float32), 0.01, Mixture(0.5, 0.5, 1.0), "")

    class Reader:
        levels = ("habitat",)
        rows = np.arange(2)
        places = reader_of_places if with_places else None

        def classify(self, ranked, size, of_place, threads):
            assert (of_place is not None) == with_places
            seen.append((ranked.copy(), size.copy(), of_place))
            if with_places:
                return np.exp(of_place)
            first = (ranked[:, 0] % 2).astype(np.float32)
            return np.stack([first, 1 - first], 1)

        def level_maps(self, probability):
            return {"habitat": probability.argmax(1)}

    written = {}
    monkeypatch.setattr(
        "inference.cascade.writing.Writer.put",
        lambda self, name, path, values, lead=None, free=None: written.update({name: values}),
    )
    _worker_context.cache_clear()
    job = case.job(products=("habitats",))
    held = _worker_context(job.cube_url, job.model_path, job.model_hash, job.device, job.area_m2)
    object.__setattr__(held, "model", replace(held.model, habitats=Reader()))
    run_unit(job, case.units[0])
    whole = dict(written)
    written.clear()
    run_unit(replace(job, composition=VERSION), case.units[0])
    _worker_context.cache_clear()
    assert set(whole) == set(written)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, written[name])
    order = [np.lexsort(ranked.T) for ranked, *_ in seen]
    np.testing.assert_array_equal(seen[0][0][order[0]], seen[1][0][order[1]])
    if with_places:
        log_p = [of_place[rows] for (_, _, of_place), rows in zip(seen, order, strict=True)]
        np.testing.assert_array_equal(*log_p)
        assert [of_place.dtype for of_place in log_p] == [np.float32, np.float32]  # the mixture rounds as its values do
        assert np.ptp(log_p[0]) > 1


def cross_fitted(case: Case, count: int) -> Folds:
    """Leave out-of-fold scores of `count` folds of 1 km blocks beside the case's model."""
    one = np.zeros(1, np.int64)
    folds = Folds(one, one, one > 0, count, 1.0)
    eta = np.zeros((1, SPECIES), np.float32)
    save_out_of_fold(case.model, OutOfFold(eta, folds, 1, "", ""), [])
    return folds


def test_lists_that_teach_the_reader_are_those_of_members_that_learned_nothing_near(case, receipt):
    folds, unit, model = cross_fitted(case, 2), case.units[0], load_model(case.model)
    at = np.flatnonzero(stored(case)["set_size"].ravel() != 65535)[::97]
    row, col = np.divmod(at, unit.cells)
    x, y = unit.west + 50 * (col + 0.5), unit.north - 50 * (row + 0.5)
    n, known = len(at), tuple(name.lower() for name in model.ensemble.species)
    plots = Plots(
        np.array([f"p{i}" for i in range(n)]),
        np.zeros((n, 1), np.int32),
        np.ones(n, np.int32),
        np.zeros(n, np.int32),
        known,
        ("A", "B"),
    )
    predicted = predicted_plots(case.cube, case.model, plots, *EUROPE.unproject(x, y), 2020, 100.0)
    made = predicted.plots
    fold = folds.at(x, y)
    assert len(made) == n
    assert set(fold) == {0, 1}
    for k in (0, 1):
        places = sample(case.cube, model.recipe, x[fold == k], y[fold == k], model.ensemble.spec.receptive_field)
        year = np.full(len(places), 2020.0)
        members = without_fold(model.ensemble, k)
        eta = predict_surveys(members, places, year, np.full(len(places), 100.0))
        ranked, size = ranked_lists(-np.expm1(-np.exp(eta)))
        assert (made.size[fold == k] == size).mean() > 0.95
        assert (made.order[fold == k][:, :5] == ranked[:, :5]).mean() > 0.95
        z = torch.cat([part for part, _ in embed_surveys(members, places, year, np.full(len(places), 100.0))])
        embedding = predicted.take(fold == k).without_fold(k)
        assert embedding.shape[1] == members.network_dimension
        np.testing.assert_allclose(embedding, z[:, : members.network_dimension], atol=1e-5)


def test_a_model_with_more_members_than_folds_teaches_no_reader(case, receipt):
    cross_fitted(case, 1)
    plots = Plots(np.array(["p"]), np.zeros((1, 1), np.int32), np.ones(1, np.int32), np.zeros(1, np.int32), ("a",), ("A",))
    with pytest.raises(ModelError, match="has 2 members for 1 folds; run `floracube train` again"):
        predicted_plots(case.cube, case.model, plots, [10.0], [50.0], 2020, 100.0)


def test_lists_that_teach_the_reader_are_those_of_the_composition_layer(case, truth, receipt, monkeypatch):
    cross_fitted(case, 2)
    monkeypatch.setattr(predicted_lists, "without_fold", lambda ensemble, fold: ensemble)  # as maps are: by all members
    monkeypatch.setattr(predicted_lists, "embedding_without_fold", lambda z, ensemble, fold: z)
    held, at, unit = stored(case), truth["index"], case.units[0]
    some = np.random.default_rng(0).choice(np.arange(len(at)), 300, replace=False)
    row, col = np.divmod(at[some], unit.cells)
    lon, lat = EUROPE.unproject(unit.west + 50 * (col + 0.5), unit.north - 50 * (row + 0.5))
    names = load_model(case.model).ensemble.species
    label = np.arange(302, dtype=np.int32) % 2
    label[7] = -1
    known = tuple(name.lower() for name in names[:100])  # of the other half the plots know nothing
    plots = Plots(
        np.array([f"p{i}" for i in range(302)]), np.zeros((302, 1), np.int32), np.ones(302, np.int32), label, known, ("A", "B")
    )
    lon, lat = np.append(lon, [0.0, np.nan]), np.append(lat, [50.0, 50.0])  # far away, and nowhere
    made = predicted_plots(case.cube, case.model, plots, lon, lat, 2020, 100.0).plots
    assert list(made.plot_id) == [f"p{i}" for i in range(300) if i != 7]  # unlabelled plots teach nothing
    np.testing.assert_array_equal(made.label, np.delete(label[:300], 7))
    cells = np.delete(at[some], 7)
    ids = held["species_id"].reshape(RANKS, -1)[:, cells].T.astype(np.int64)
    size = held["set_size"].ravel()[cells]
    apart = np.abs(made.size - size.astype(int))  # by the three that are spread over squares in the layer
    assert apart.max() <= 3
    assert (apart <= 1).mean() > 0.95
    as_listed = [np.where(e[:n] < 100, e[:n], -1) for e, n in zip(ids, size, strict=True)]
    plain = [(e[:n] >= 3).all() for e, n in zip(ids, size, strict=True)]
    alike = [np.array_equal(o[:n], e) for o, n, e in zip(made.order, made.size, as_listed, strict=True)]
    assert sum(plain) > 100
    assert np.mean(np.array(alike)[plain]) > 0.9  # the sum that sizes follow from differs by those, and stored steps have edges


def test_a_failed_write_is_an_error_of_the_unit(case, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cube.storage.store.CubeStore.write", full)
    with pytest.raises(OSError, match="No space left"):
        run_unit(case.job(), case.units[0])
