"""The description of a classifier, from counts of true and predicted classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from diurnal.backends.evaluation_data.json_numbers import label_texts, rounded_list

MAX_CONFUSION = 50
MAX_CURVES = 20
MAX_CATEGORIES = 100

Floats = npt.NDArray[np.float64]


def describe_confusion(labels: Sequence[Any], confusion: Floats) -> dict[str, Any]:
    """Return classes, confusion matrix and predicted classes as values of JSON.

    Of many classes, the matrix has the most frequent ones, in the order of the labels.

    Parameters
    ----------
    labels : sequence
        The labels, in their order.
    confusion : numpy.ndarray of shape (n_labels, n_labels)
        Weighted numbers of samples: true labels are rows, predicted ones columns.

    Examples
    --------
    >>> described = describe_confusion(["a", "b"], np.array([[3.0, 1.0], [0.0, 2.0]]))
    >>> described["confusion"], described["prediction"]
    ([[3, 1], [0, 2]], {'categories': ['a', 'b'], 'counts': [3, 3], 'n_other': 0})
    """
    texts = label_texts(labels)
    shown = most_frequent(confusion.sum(axis=1) + 1e-9 * confusion.sum(axis=0), MAX_CONFUSION)
    predicted = confusion.sum(axis=0)
    listed = most_frequent(predicted, MAX_CATEGORIES)
    return {
        "classes": [texts[i] for i in shown],
        "confusion": [rounded_list(row) for row in confusion[np.ix_(shown, shown)]],
        "prediction": {
            "categories": [texts[i] for i in listed],
            "counts": rounded_list(predicted[listed]),
            "n_other": rounded_list([predicted.sum() - predicted[listed].sum()])[0],
        },
    }


def most_frequent(counts: Floats, most: int) -> list[int]:
    """Return the positions of the largest counts, ascending.

    Examples
    --------
    >>> most_frequent(np.array([5.0, 1.0, 7.0]), 2)
    [0, 2]
    """
    return sorted(np.argsort(-counts, kind="stable")[:most].tolist())


def classes_with_curves(labels: Sequence[Any], counts: Floats, positive: Any = None) -> list[int]:
    """Return the positions of the classes that get curves: of two the positive one, of more the most frequent ones."""
    if len(labels) == 2:
        return [list(labels).index(positive) if positive in labels else 1]
    return most_frequent(counts, MAX_CURVES)


def points_per_curve(n_curves: int) -> int:
    """Return how many points each of some curves has at most, so that all together stay bounded.

    Examples
    --------
    >>> points_per_curve(6), points_per_curve(120)
    (200, 75)
    """
    return int(min(200, max(20, 9_000 // max(1, n_curves))))
