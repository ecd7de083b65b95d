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
from scipy.special import softmax
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from threadpoolctl import threadpool_limits

from inference.plantbert.linear import ADJUSTMENT, STRENGTH

Floats = NDArray[np.float32]
Labels = NDArray[np.integer[Any]]
Classifier = Callable[[Floats, Labels, Floats, int], Floats]
"""(values (n, S), label (n), values (m, S) to classify, number of classes C) -> probabilities (m, C)."""


def naive_bayes(values: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """Return multinomial naive Bayes probabilities (m, C) of species vectors (m, S).

    The strongest of four variants on the Czech surveys: Bernoulli and multinomial, smoothing 1 and 0.1.
    """
    return _probabilities(test, *bayes_weights(csr_matrix(values), label, classes))


def logistic_regression(values: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """Return probabilities (m, C) of multinomial logistic regression (L2, scikit-learn's C = 1) on species vectors (m, S)."""
    return _probabilities(test, *logistic_weights(csr_matrix(values), label, classes))


def logistic_regression_shrunk(values: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """The same with the penalty that the linear path was given on development data (`linear.STRENGTH`)."""
    return _probabilities(test, *logistic_weights(csr_matrix(values), label, classes, STRENGTH))


def logistic_regression_balanced(values: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """As `logistic_regression_shrunk`, with the linear path's balance of classes, too (`linear.ADJUSTMENT`)."""
    weight, bias = logistic_weights(csr_matrix(values), label, classes, STRENGTH)
    frequency = np.bincount(label, minlength=classes)
    present = frequency > 0
    bias[present] -= ADJUSTMENT * np.log(frequency[present] / len(label))
    return _probabilities(test, weight, bias)


def _probabilities(values: Floats, weight: Floats, bias: Floats) -> Floats:
    return np.asarray(softmax(values @ weight + bias, axis=1), np.float32)


def bayes_weights(values: csr_matrix, label: Labels, classes: int) -> tuple[Floats, Floats]:
    """(weight (S, C), bias (C)) of multinomial naive Bayes; classes without a row have a bias of minus infinity."""
    model = MultinomialNB(alpha=0.1).fit(values, label)
    weight, bias = np.zeros((values.shape[1], classes), np.float32), np.full(classes, -np.inf, np.float32)
    weight[:, model.classes_], bias[model.classes_] = model.feature_log_prob_.T, model.class_log_prior_
    return weight, bias


def logistic_weights(values: csr_matrix | Floats, label: Labels, classes: int, strength: float = 1.0) -> tuple[Floats, Floats]:
    """(weight (S, C), bias (C)) of multinomial logistic regression; classes without a row have a bias of minus infinity.

    strength: C of scikit-learn, the inverse of the L2 penalty. Raises: ValueError without any row.
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
        warnings.filterwarnings("ignore", "The number of unique classes")  # hundreds of habitats are no regression
        with threadpool_limits(1):  # more threads would wait for each other: every step is short
            model = LogisticRegression(C=strength, max_iter=300).fit(values, label)
    if len(present) == 2:  # scikit-learn then gives the log odds of the second class
        weight[:, present[1]], bias[present] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        weight[:, present], bias[present] = model.coef_.T, model.intercept_
    return weight, bias


def gradient_boosting(values: Floats, label: Labels, test: Floats, classes: int) -> Floats:
    """Return probabilities (m, C) of gradient boosted trees (60 rounds of 8 leaves, rate 0.15) on species vectors (m, S).

    A class that the training rows lack has a probability of 0.
    """
    frequent = (values > 0).sum(
        axis=0
    ) >= 10  # a split needs 20 rows, and binary columns that are nearly constant cost time alone
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, learning_rate=0.15, random_state=0)
    result = np.zeros((len(test), classes), dtype=np.float32)
    model.fit(values[:, frequent], label)
    result[:, model.classes_] = model.predict_proba(test[:, frequent])
    return result


BASELINES: Final[Mapping[str, Classifier]] = {
    "naive_bayes": naive_bayes,
    "naive_bayes_cover": naive_bayes,
    "logistic_regression": logistic_regression,
    "logistic_regression_cover": logistic_regression,
    "logistic_regression_shrunk": logistic_regression_shrunk,
    "logistic_regression_shrunk_cover": logistic_regression_shrunk,
    "logistic_regression_balanced": logistic_regression_balanced,
    "logistic_regression_balanced_cover": logistic_regression_balanced,
    "gradient_boosting": gradient_boosting,
}
ALWAYS: Final = ("naive_bayes", "naive_bayes_cover", "logistic_regression_balanced", "logistic_regression_balanced_cover")
"""Those printed in every training: they cost seconds, and have the penalty and the balance that the linear path has."""
