"""Looking into a fitted model, or an estimator: its stages, the one that predicts, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def stages(estimator: Any) -> Iterator[Any]:
    """Give the stages of a pipeline or its model, nested ones too; of anything else, itself."""
    nested = getattr(estimator, "stages", None)
    if not isinstance(nested, list):  # of an unfitted pipeline, `stages` is the name of a parameter
        nested = estimator.getStages() if hasattr(estimator, "getStages") else None
    if nested is None:
        yield estimator
        return
    for stage in nested:
        yield from stages(stage)


def predictor(estimator: Any) -> Any | None:
    """Give the last stage that predicts; what follows it may only dress its prediction up."""
    found = None
    for stage in stages(estimator):
        if hasattr(stage, "getPredictionCol") and hasattr(stage, "getLabelCol"):
            found = stage
    return found


def labels(model: Any, target: str) -> list[str] | None:
    """Give the texts behind the numbers that a model predicts; None where it predicts the target's own numbers.

    They are those of the StringIndexer that makes the predictor's label of the target.
    """
    last = predictor(model)
    if last is None:
        return None
    for stage in stages(model):
        if not hasattr(stage, "labelsArray"):
            continue
        several = stage.isSet("inputCols")
        ins = stage.getInputCols() if several else [stage.getInputCol()]
        outs = stage.getOutputCols() if several else [stage.getOutputCol()]
        for given, made, texts in zip(ins, outs, stage.labelsArray, strict=True):
            if given == target and made == last.getLabelCol():
                return [str(text) for text in texts]
    return None
