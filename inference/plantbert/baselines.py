"""What a habitat reader is compared with: naive Bayes, logistic regression and boosting on the vector of species.

The vector is presence (0, 1), or log(1 + cover in percent) for the methods whose name ends in `_cover`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

Floats = NDArray[np.float32]
Labels = NDArray[np.integer[Any]]
Classifier = Callable[[Floats, Labels, Floats, int], Floats]
"""(values (n, S), label (n), values (m, S) to classify, number of classes C) -> probabilities (m, C)."""


def naive_bayes(values: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """Return multinomial naive Bayes probabilities (m, C) of species vectors (m, S).

    The strongest of four variants on the Czech surveys: Bernoulli and multinomial, smoothing 1 and 0.1.
    """
    model = MultinomialNB(alpha=0.1).fit(values, label)
    return _all_classes(model, test, classes)


def logistic_regression(values: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """Return probabilities (m, C) of multinomial logistic regression (L2, C = 1) on species vectors (m, S)."""
    weight, bias = logistic_weights(csr_matrix(values), label, classes)
    logits = test @ weight + bias
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True), np.float32)


def logistic_weights(values: csr_matrix, label: Labels, classes: int) -> tuple[Floats, Floats]:
    """(weight (S, C), bias (C)) of multinomial logistic regression; classes without a row have a bias of minus infinity.

    Raises: ValueError without any row.
    """
    present = np.unique(label)
    weight, bias = np.zeros((values.shape[1], classes), np.float32), np.full(classes, -np.inf, np.float32)
    if len(present) < 2:
        if not len(present):
            raise ValueError("a logistic regression needs one labelled plot at least")
        bias[present] = 0.0
        return weight, bias
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of a weight change no class
        model = LogisticRegression(max_iter=300).fit(values, label)
    if len(present) == 2:  # scikit-learn then gives the log odds of the second class
        weight[:, present[1]], bias[present] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        weight[:, present], bias[present] = model.coef_.T, model.intercept_
    return weight, bias


def gradient_boosting(values: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """Return probabilities (m, C) of gradient boosted trees (60 rounds of 8 leaves, rate 0.15) on species vectors (m, S).

    A place for each class is left where the training rows lack one: its probability is 0.
    """
    used = (values > 0).sum(axis=0) >= 10  # a split needs 20 rows, and binary columns that are nearly constant cost time alone
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, learning_rate=0.15, random_state=0)
    return _all_classes(model.fit(values[:, used], label), test[:, used], classes)


def _all_classes(model: Any, test: Floats, classes: int) -> Floats:
    result = np.zeros((len(test), classes), dtype=np.float32)
    result[:, model.classes_] = model.predict_proba(test)
    return result


BASELINES: Final[Mapping[str, Classifier]] = {
    "naive_bayes": naive_bayes,
    "naive_bayes_cover": naive_bayes,
    "logistic_regression": logistic_regression,
    "logistic_regression_cover": logistic_regression,
    "gradient_boosting": gradient_boosting,
}
ALWAYS: Final = ("naive_bayes", "naive_bayes_cover", "logistic_regression", "logistic_regression_cover")
"""Those that cost seconds and are printed beside every training."""
