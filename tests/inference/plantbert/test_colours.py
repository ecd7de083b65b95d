"""Habitat colours are told apart, by readers of every kind of colour vision."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.plantbert.colours import lab, lab_of_linear
from inference.plantbert.scheme import Habitat, flat_scheme
from tests.support.eunis import eunis_scheme

# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0; they act on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}
CODES = [f"{g}{i}{j}" for g in "NPQRSTUV" for i in "12345" for j in "12345678"] + ["MA211", "MA221", "MA222", "MA223", "MA232"]


def seen(colour: str, vision: NDArray[np.float64]) -> NDArray[np.float64]:
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return lab_of_linear(np.clip(vision @ linear, 0, 1))


def nearest(pairs: list[tuple[Habitat, Habitat]], vision: NDArray[np.float64]) -> float:
    return min(float(np.linalg.norm(seen(a.colour, vision) - seen(b.colour, vision))) for a, b in pairs)


def test_lab_is_that_of_published_colours() -> None:
    np.testing.assert_allclose(lab("#FFFFFF"), [100, 0, 0], atol=0.02)
    np.testing.assert_allclose(lab("#FF0000"), [53.24, 80.09, 67.20], atol=0.05)  # Lindbloom's calculator, D65
    np.testing.assert_allclose(lab("#0000FF"), [32.30, 79.19, -107.86], atol=0.05)


@pytest.mark.parametrize("vision", VISION)
def test_eunis_classes_are_told_apart(vision: str) -> None:
    scheme, matrix = eunis_scheme(CODES), VISION[vision]
    top = list(scheme.classes["level1"])
    assert nearest(list(combinations(top, 2)), matrix) > 14
    for level, least, next_ones in (("level2", 6, 10), ("level3", 3, 9)):
        classes = scheme.classes[level]
        assert nearest([(a, b) for a, b in combinations(classes, 2) if a.parent == b.parent], matrix) > least
        beside = [(a, b) for a, b in pairwise(classes) if a.parent == b.parent]
        assert nearest(beside, matrix) > next_ones


@pytest.mark.parametrize("vision", VISION)
def test_nine_flat_classes_are_told_apart(vision: str) -> None:
    flat = flat_scheme(["TH", "TD_wet", "R", "TD_mesic", "M", "TE", "TFG", "A", "X"]).classes["formation"]
    assert nearest(list(combinations(flat, 2)), VISION[vision]) > 14


def test_a_group_has_the_same_colour_in_every_region() -> None:
    whole, part = eunis_scheme(CODES), eunis_scheme(["T17", "Q11"])
    colour = {h.code: h.colour for h in whole.classes["level1"]}
    assert all(h.colour == colour[h.code] for h in part.classes["level1"])


def test_classes_of_a_group_share_its_hue() -> None:
    scheme = eunis_scheme(CODES)
    hue = {h.code: np.arctan2(*lab(h.colour)[:0:-1]) for h in scheme.classes["level1"]}
    for h in scheme.classes["level3"]:
        value = lab(h.colour)
        if np.hypot(value[1], value[2]) > 15:
            turned = np.angle(np.exp(1j * (np.arctan2(value[2], value[1]) - hue[h.code[:-2]])))
            assert abs(turned) < 0.45, h
