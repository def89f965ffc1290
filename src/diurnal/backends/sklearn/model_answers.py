"""What a fitted model says about test samples: predicted values, and scores of classes where it has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diurnal.backends.evaluation_data import EvaluationData
from diurnal.backends.evaluation_data.description import first_line
from diurnal.backends.sklearn.batched_predict import BatchedData


@dataclass(frozen=True, eq=False)
class ModelAnswers:
    """The answers of a classifier, or of a regressor.

    Attributes
    ----------
    predicted : numpy.ndarray of shape (n_samples,)
        The predictions.
    scores : numpy.ndarray of shape (n_samples, n_classes), optional
        A score of each class, greater where it is more likely.
    classes : list
        The classes of the scores.
    is_probability : bool
        Whether the scores are probabilities.
    """

    predicted: np.ndarray
    scores: np.ndarray | None = None
    classes: tuple[Any, ...] = ()
    is_probability: bool = False

    def scores_of(self, label: Any) -> np.ndarray | None:
        """Return the scores of a class; None if the model does not know it."""
        if self.scores is None or label not in self.classes:
            return None
        return np.asarray(self.scores[:, self.classes.index(label)])

    def probabilities(self, positive: Any = None) -> np.ndarray | None:
        """Return the probability of the positive class of two, or of the predicted class of more."""
        if self.scores is None or not self.is_probability:
            return None
        if len(self.classes) == 2:
            return self.scores_of(positive)
        places = {label: i for i, label in enumerate(self.classes)}
        columns = np.array([places.get(label, 0) for label in self.predicted.tolist()], dtype=np.intp)
        return np.asarray(self.scores[np.arange(len(columns)), columns], dtype=float)


def read_answers(name: str, model: Any, data: BatchedData, *, classifies: bool, found: EvaluationData) -> ModelAnswers:
    """Return the answers of a model for all samples; what it has no scores for is noted.

    Parameters
    ----------
    name : str
        The name of the model, for notes.
    model : estimator
        Fitted.
    data : BatchedData
        The samples.
    classifies : bool
        Whether classes are predicted.
    found : EvaluationData
        Gets the notes.
    """
    predicted = _flat(data.answers(model, "predict"))
    if not classifies:
        return ModelAnswers(np.asarray(predicted, dtype=float))
    classes = tuple(np.asarray(getattr(model, "classes_", ())).tolist())
    for method in ("predict_proba", "decision_function"):
        scores = _class_scores(name, model, data, method, found) if hasattr(model, method) else None
        if scores is not None and scores.shape == (len(predicted), len(classes)):
            return ModelAnswers(predicted, scores, classes, method == "predict_proba")
    found.note(f"{name}: no curves, as the model has neither probabilities nor a decision for each class")
    return ModelAnswers(predicted, None, classes)


def _class_scores(name: str, model: Any, data: BatchedData, method: str, found: EvaluationData) -> np.ndarray | None:
    try:
        scores = np.asarray(data.answers(model, method), dtype=float)
    except Exception as error:  # noqa: BLE001 - a method of the user's estimator may fail with anything
        found.problems.append(f"{name}: {method} fails: {type(error).__name__}: {first_line(error)}")
        return None
    return np.column_stack([-scores, scores]) if scores.ndim == 1 else scores


def _flat(predicted: np.ndarray) -> np.ndarray:
    """Return predictions as a vector; some libraries return a column."""
    return predicted[:, 0] if predicted.ndim == 2 and predicted.shape[1] == 1 else predicted
