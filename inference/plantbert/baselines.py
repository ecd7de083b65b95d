"""What a habitat reader is judged by: naive Bayes and gradient boosting on the vector of species."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.naive_bayes import MultinomialNB

Floats = NDArray[np.float32]
Labels = NDArray[np.integer[Any]]
Classifier = Callable[[Floats, Labels, Floats, int], Floats]
"""(presence (n, S), label (n), presence (m, S) to classify, number of classes C) -> probabilities (m, C)."""


def naive_bayes(presence: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """Return multinomial naive Bayes probabilities (m, C) of species vectors (m, S).

    The strongest of four variants on the Czech surveys: Bernoulli and multinomial, smoothing 1 and 0.1.
    """
    model = MultinomialNB(alpha=0.1).fit(presence, label)
    return _all_classes(model, test, classes)


def gradient_boosting(presence: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """Return probabilities (m, C) of gradient boosted trees (60 rounds of 8 leaves, rate 0.15) on species vectors (m, S).

    A place for each class is left where the training rows lack one: its probability is 0.
    """
    used = presence.sum(axis=0) >= 10  # a split needs 20 rows, and binary columns that are nearly constant cost time alone
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, learning_rate=0.15, random_state=0)
    return _all_classes(model.fit(presence[:, used], label), test[:, used], classes)


def _all_classes(model: Any, test: Floats, classes: int) -> Floats:
    result = np.zeros((len(test), classes), dtype=np.float32)
    result[:, model.classes_] = model.predict_proba(test)
    return result


BASELINES: Final[Mapping[str, Classifier]] = {"naive_bayes": naive_bayes, "gradient_boosting": gradient_boosting}
