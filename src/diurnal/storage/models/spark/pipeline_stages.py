"""The stages of a Spark pipeline: the one that predicts, and the labels of its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def iter_stages(estimator: Any) -> Iterator[Any]:
    """Yield the stages of a pipeline or its model, including nested ones; any other object yields itself."""
    nested = getattr(estimator, "stages", None)
    if not isinstance(nested, list):  # in a pipeline that is not fitted, `stages` is the name of a parameter
        nested = estimator.getStages() if hasattr(estimator, "getStages") else None
    if nested is None:
        yield estimator
        return
    for stage in nested:
        yield from iter_stages(stage)


def find_predictor(estimator: Any) -> Any | None:
    """Return the last stage that predicts; stages after it may convert its prediction."""
    predictor = None
    for stage in iter_stages(estimator):
        if hasattr(stage, "getPredictionCol") and hasattr(stage, "getLabelCol"):
            predictor = stage
    return predictor


def target_labels(model: Any, target: str) -> list[str] | None:
    """Return the labels that a model's predictions are indices of; None if it predicts the target's own numbers.

    They are the labels of the StringIndexer whose input is the target and whose output is the predictor's label.
    """
    predictor = find_predictor(model)
    if predictor is None:
        return None
    for stage in iter_stages(model):
        if not hasattr(stage, "labelsArray"):
            continue
        several = stage.isSet("inputCols")
        inputs = stage.getInputCols() if several else [stage.getInputCol()]
        outputs = stage.getOutputCols() if several else [stage.getOutputCol()]
        for input_column, output_column, labels in zip(inputs, outputs, stage.labelsArray, strict=True):
            if input_column == target and output_column == predictor.getLabelCol():
                return [str(label) for label in labels]
    return None
