"""A species' skill on held-out surveys is what other libraries say it is, and is not told where it was not measured."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from inference.explanation.responses import Response, load_curves, save_curves
from inference.explanation.skill import auc_error, species_skill

NAMES = ("Alpha", "Beta", "Gamma")
JUDGED = np.arange(550) >= 350


@pytest.fixture(scope="module")
def surveys() -> tuple[np.ndarray, np.ndarray]:
    """Presences (n, 3) drawn from probabilities, and the probabilities of the held-out ones; Gamma is never present there."""
    rng = np.random.default_rng(3)
    p = rng.beta(1, 3, (len(JUDGED), 3))
    presence = rng.random(p.shape) < p
    presence[JUDGED, 2] = False
    return presence, p[JUDGED]


def test_held_out_surveys_alone_are_judged_as_scikit_learn_judges_them(surveys) -> None:
    presence, p = surveys
    table = species_skill(NAMES, presence, JUDGED, p, np.array([7, 0, 1])).set_index("scientific_name")
    seen = presence[JUDGED]
    for s, name in enumerate(NAMES[:2]):
        assert table.auc[name] == pytest.approx(roc_auc_score(seen[:, s], p[:, s]))
        assert table.log_loss[name] == pytest.approx(log_loss(seen[:, s], p[:, s]))
    assert list(table.surveys) == presence.sum(0).tolist()
    assert list(table.records) == [7, 0, 1]
    assert list(table.present) == seen.sum(0).tolist()
    np.testing.assert_allclose(table.expected, p.sum(0))
    assert np.isnan(table.auc["Gamma"])  # never present: an area under the curve would say nothing
    assert np.isfinite(table.log_loss["Gamma"])


def test_nothing_is_told_of_skill_where_no_survey_was_held_out(surveys) -> None:
    presence, _ = surveys
    table = species_skill(NAMES, presence[:300], JUDGED[:300], np.zeros((0, 3)))
    assert list(table.surveys) == presence[:300].sum(0).tolist()
    assert table[["present", "expected", "auc", "log_loss"]].isna().all().all()


def test_the_error_of_an_auc_is_that_of_repeated_draws() -> None:
    """Negative exponential scores, which the formula assumes: 60 presences, 140 absences, 600 draws."""
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(600):
        score = np.r_[rng.exponential(3.0, 60), rng.exponential(1.0, 140)]
        draws.append(roc_auc_score(np.arange(200) < 60, score))
    (told,) = auc_error(np.array([np.mean(draws)]), np.array([60]), np.array([140]))
    assert told == pytest.approx(np.std(draws), rel=0.1)


def test_curves_of_every_species_come_back_as_they_were(tmp_path) -> None:
    rng = np.random.default_rng(1)
    lines = rng.random((3, 15, 4)).astype(np.float32)
    grid, rug = np.linspace(0, 9, 15, dtype=np.float32), rng.random(40).astype(np.float32)
    curves = [
        Response("table_1km", "bioclim.bio1", grid, *lines, rug),
        Response("table_50m", "slope", 3 * grid, *lines[::-1], rug[:3]),
    ]
    save_curves(tmp_path, curves)
    back = load_curves(tmp_path)
    assert [(c.modality, c.channel) for c in back] == [("table_1km", "bioclim.bio1"), ("table_50m", "slope")]
    for ours, theirs in zip(curves, back, strict=True):
        for name in ("grid", "mean", "lower", "upper", "at_surveys"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert load_curves(tmp_path / "nothing") == []
