"""The reader of places against scikit-learn, known truths, and folders that are not what they should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cube.errors import ModelError
from inference.network.tensors import write_tensors
from inference.plantbert import places
from inference.plantbert.places import LISTS_ALONE, STRENGTHS, Mixture, PlaceReader, best_mixture

HABITATS = ("A", "B", "C", "D")
MIXTURE = Mixture(0.5, 0.75, 0.1)


def drawn(n: int = 400, members: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(embeddings (n, members x 5) that tell three habitats apart by their first value, labels); nobody has habitat D."""
    rng = np.random.default_rng(seed)
    z = rng.normal(3, 2, (n, members * 5)).astype(np.float32)
    label = np.digitize(z[:, 0], [2, 4])
    z[:, 5::5] = z[:, :1] * 10
    return z, label


def test_one_member_is_logistic_regression_on_standardised_values() -> None:
    z, label = drawn(members=1)
    reader = PlaceReader.fit(z, 1, label, 4, MIXTURE)
    x = StandardScaler().fit_transform(z)
    expected = LogisticRegression(C=0.1, max_iter=300).fit(x, label).predict_proba(x)
    p = np.exp(reader.log_probability(torch.from_numpy(z)))
    floor = 1 / (400 + 4)
    expected = np.maximum(np.column_stack([expected, np.zeros(400)]), floor)  # a habitat without a plot has that of one more
    np.testing.assert_allclose(p, expected / expected.sum(1, keepdims=True), atol=2e-4)


def test_members_are_averaged_in_log_odds_and_more_values_behind_are_not_read() -> None:
    z, label = drawn(members=2)
    both = PlaceReader.fit(z, 2, label, 3, MIXTURE)
    one, two = (PlaceReader.fit(z[:, part], 1, label, 3, MIXTURE) for part in (slice(5), slice(5, 10)))
    np.testing.assert_allclose(both.weight, np.concatenate([one.weight, two.weight]) / 2, atol=1e-6)
    np.testing.assert_allclose(both.bias, (one.bias + two.bias) / 2, atol=1e-5)
    leaves = torch.cat([torch.from_numpy(z), torch.full((400, 3), torch.nan)], 1)
    np.testing.assert_array_equal(both.log_probability(leaves), both.log_probability(torch.from_numpy(z)))
    assert (both.log_probability(leaves).argmax(1) == label).mean() > 0.9


def test_a_mixture_is_the_product_of_powers_and_empty_cells_stay_empty() -> None:
    rng = np.random.default_rng(1)
    p, q = (rng.dirichlet(np.ones(4), 50).astype(np.float32) for _ in range(2))
    p[3] = np.nan
    mixed = MIXTURE(p, np.log(q))
    expected = p**0.5 * q**0.75
    np.testing.assert_allclose(mixed, expected / expected.sum(1, keepdims=True), rtol=1e-4)
    assert np.isnan(mixed[3]).all()
    np.testing.assert_allclose(np.delete(LISTS_ALONE(p, np.log(q)), 3, 0), np.delete(p, 3, 0), rtol=1e-4)


def test_the_mixture_takes_what_tells_habitats_apart_and_lowers_false_certainty() -> None:
    rng = np.random.default_rng(2)
    label = rng.integers(0, 3, 3000)
    telling = np.full((3000, 3), 0.1, np.float32)
    telling[np.arange(3000), np.where(rng.random(3000) < 0.8, label, rng.integers(0, 3, 3000))] = 0.8
    noise = rng.dirichlet(np.ones(3), 3000).astype(np.float32)
    assert best_mixture(telling, dict.fromkeys(STRENGTHS, np.log(noise)), label) == LISTS_ALONE
    of_place = {0.01: np.log(noise), 0.1: np.log(telling)}
    taken = best_mixture(noise, of_place, label)
    assert (taken.list_weight, taken.strength) == (0.0, 0.1)
    too_sure = {0.1: 4 * np.log(telling) - np.log((telling**4).sum(1, keepdims=True))}
    assert best_mixture(noise, too_sure, label).place_weight == 0.25


def saved(folder: Path) -> PlaceReader:
    z, label = drawn()
    reader = PlaceReader.fit(z, 2, label, 4, MIXTURE, "abc")
    reader.save(folder, HABITATS)
    return reader


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    reader = saved(tmp_path)
    again = PlaceReader.load(tmp_path, HABITATS, 10, "abc")
    np.testing.assert_array_equal(again.weight, reader.weight)
    np.testing.assert_array_equal(again.bias, reader.bias)
    assert (again.mixture, again.floor, again.networks) == (MIXTURE, reader.floor, "abc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networks": "abd"}, "beside another deep-SDM"),
        ({"format": 2}, "another version"),
        ({"habitats": ["A", "B", "C"]}, "habitats are not those"),
        ({"place_weight": 0}, "weight of lists or places"),
        ({"list_weight": 1.5}, "weight of lists or places"),
        ({"floor": float("nan")}, "floor"),
        ({"floor": None}, "damaged"),
    ],
)
def test_a_folder_that_is_not_right_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    saved(tmp_path)
    document = json.loads((tmp_path / places.CARD).read_text())
    (tmp_path / places.CARD).write_text(json.dumps(document | change))
    with pytest.raises(ModelError, match=rf"{message}.*run `floracube habitats train` again\.$"):
        PlaceReader.load(tmp_path, HABITATS, 10, "abc")


def test_damaged_tensors_and_other_lengths_are_refused(tmp_path: Path) -> None:
    reader = saved(tmp_path)
    with pytest.raises(ModelError, match=r"weights of \(10, 4\) for 12 values"):
        PlaceReader.load(tmp_path, HABITATS, 12, "abc")
    reader.weight[0, 0] = np.nan
    reader.save(tmp_path, HABITATS)
    with pytest.raises(ModelError, match="a weight is not a number"):
        PlaceReader.load(tmp_path, HABITATS, 10, "abc")
    (tmp_path / places.TENSORS).write_bytes(b"")
    with pytest.raises(ModelError, match="reader of places is damaged"):
        PlaceReader.load(tmp_path, HABITATS, 10, "abc")


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("kind", ["float16", "float64", "int8"])
def test_tensors_of_another_type_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    """A worker multiplies them by embeddings in 32 bits, and would fail in every unit."""
    reader = saved(tmp_path)
    tensors = {"weight": reader.weight, "bias": np.zeros_like(reader.bias)}
    write_tensors(tmp_path / places.TENSORS, tensors | {name: tensors[name].astype(kind)})
    with pytest.raises(ModelError, match=f"{name} of the type {kind}, expected float32.*run `floracube habitats train` again"):
        PlaceReader.load(tmp_path, HABITATS, 10, "abc")


def test_without_a_plot_there_is_nothing_to_learn_and_of_one_habitat_it_is_certain() -> None:
    z, label = drawn(3)
    with pytest.raises(ValueError, match="no plot"):
        PlaceReader.fit(z[:0], 2, label[:0], 4, MIXTURE)
    p = np.exp(PlaceReader.fit(z, 2, np.full(3, 1), 4, MIXTURE).log_probability(torch.from_numpy(z)))
    np.testing.assert_allclose(p[:, 1], 1 / (1 + 3 / 7), rtol=1e-5)


def test_a_value_that_plots_share_says_nothing_of_other_places() -> None:
    """In single precision its mean is off by a digit, which looks like a deviation."""
    z, label = drawn(57, members=1)
    z[:, 1:] = 5.1, 123.456, -7.7, 0.3
    reader = PlaceReader.fit(z, 1, label, 4, MIXTURE)
    np.testing.assert_array_equal(reader.weight[1:], 0)
    elsewhere = z.copy()
    elsewhere[:, 1:] += 0.5
    np.testing.assert_array_equal(*(reader.log_probability(torch.from_numpy(values)) for values in (z, elsewhere)))


def test_a_habitat_without_a_place_keeps_what_the_list_gives_it() -> None:
    z, label = drawn()
    reader = PlaceReader.fit(z, 2, label, 4, Mixture(0.0, 1.0, 0.1))
    from_list = np.random.default_rng(3).dirichlet(np.ones(4), 400).astype(np.float32)
    from_list[0] = np.nan
    log_probability = reader.log_probability(torch.from_numpy(z))
    both = reader.mixed(from_list, log_probability)
    assert np.isnan(both[0]).all()
    np.testing.assert_array_equal(both[1:, 3], from_list[1:, 3])
    np.testing.assert_allclose(both[1:].sum(1), 1, rtol=1e-5)
    assert ((both[1:, :3].argmax(1) == label[1:]).mean()) > 0.9
    every = PlaceReader.fit(z[:, :5], 1, label, 3, MIXTURE)
    of_place = every.log_probability(torch.from_numpy(z[:, :5]))
    np.testing.assert_array_equal(every.mixed(from_list[:, :3], of_place), MIXTURE(from_list[:, :3], of_place))
