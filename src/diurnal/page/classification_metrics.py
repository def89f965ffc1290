"""Accuracy, precision, recall and F1 of twin and champion, from the counts of their confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
_MODELS = ("twin", "champion")


def metric_rows(evaluation: Mapping[str, Any] | None) -> list[Row]:
    """Return the metrics of a classification: of all rows, then precision, recall and F1 of each class.

    Parameters
    ----------
    evaluation : Mapping or None
        The evaluation data of a run.

    Returns
    -------
    list of dict
        `metric`, and the values of `twin` and `champion`, which are None where they are undefined. Empty without a
        confusion matrix.

    Examples
    --------
    >>> twin = {"classes": ["healthy", "ill"], "confusion": [[6, 2], [1, 3]]}
    >>> for row in metric_rows({"models": {"twin": twin}}):
    ...     print(row["metric"], round(row["twin"], 3))
    accuracy 0.75
    precision, mean of the classes 0.729
    recall, mean of the classes 0.75
    F1, mean of the classes 0.733
    precision of healthy 0.857
    recall of healthy 0.75
    F1 of healthy 0.8
    precision of ill 0.6
    recall of ill 0.75
    F1 of ill 0.667
    """
    models = (evaluation or {}).get("models") or {}
    found = {model: _metrics_of(models.get(model) or {}) for model in _MODELS}
    return [{"metric": metric, **{model: found[model].get(metric) for model in _MODELS}} for metric in found["twin"]]


def _metrics_of(model: Mapping[str, Any]) -> dict[str, float | None]:
    matrix, classes = model.get("confusion") or [], model.get("classes") or []
    if not matrix or len(classes) != len(matrix):
        return {}
    n = len(matrix)
    by_class = [_class_metrics(matrix, i) for i in range(n)]
    metrics = {"accuracy": _ratio(sum(matrix[i][i] for i in range(n)), sum(map(sum, matrix)))}
    names = ("precision", "recall", "F1")
    for k, name in enumerate(names):
        values = [one[k] or 0.0 for one in by_class]  # as scikit-learn has it, an undefined value counts as 0
        metrics[f"{name}, mean of the classes"] = sum(values) / n
    for label, ratios in zip(classes, by_class, strict=True):
        metrics |= {f"{name} of {label}": ratio for name, ratio in zip(names, ratios, strict=True)}
    return metrics


def _class_metrics(matrix: Sequence[Sequence[float]], i: int) -> tuple[float | None, float | None, float | None]:
    right, true = matrix[i][i], sum(matrix[i])
    predicted = sum(line[i] for line in matrix)
    return _ratio(right, predicted), _ratio(right, true), _ratio(2 * right, true + predicted)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
