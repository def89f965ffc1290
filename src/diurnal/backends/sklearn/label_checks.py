"""Labels that an estimator does not take, seen before anything is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np

from diurnal.errors import ExperimentError
from diurnal.storage.models import object_graph

# Classifiers that want whole numbers from 0 on, by the full names of their classes or of those that they extend.
_NUMBERED = frozenset(("xgboost.sklearn.XGBClassifier",))
# Ensembles that number the labels before what they hold sees them.
_NUMBERING = frozenset(("OneVsRestClassifier", "OneVsOneClassifier", "StackingClassifier", "VotingClassifier"))


def check_labels(estimator: Any, labels: Any) -> None:
    """Reject labels that an estimator, or one within a search or pipeline, would refuse in its fit.

    Parameters
    ----------
    estimator : estimator
        A search or a bare estimator, not fitted.
    labels : array-like
        The target, or its classes.

    Raises
    ------
    ExperimentError
        If one of them does not accept the labels; the hint names estimators that do.
    """
    classes = np.unique(np.asarray(labels))
    if np.array_equal(classes, np.arange(len(classes))):
        return
    for one in _label_consumers(estimator):
        kind = next((name for name in _class_names(one) if name in _NUMBERED), None)
        if kind is not None:
            name = type(one).__name__
            raise ExperimentError(
                f"{name} takes the labels 0, 1, ... only, and the target has {_list_classes(classes)}",
                hint=f"give the target as numbers from the source on, or wrap the estimator, which gives the same "
                f"numbers for two classes: OneVsRestClassifier({name}(...)) of sklearn.multiclass; LGBMClassifier, "
                "CatBoostClassifier and HistGradientBoostingClassifier take labels as they are",
            )


def _label_consumers(estimator: Any) -> list[Any]:
    """Return what sees the labels as they are: the estimator of a search, the last step of a pipeline."""
    found = []
    waiting = [estimator]
    while waiting:
        one = waiting.pop()
        found.append(one)
        if type(one).__name__ in _NUMBERING:
            continue
        steps = getattr(one, "steps", None)
        waiting += [steps[-1][1]] if steps else []
        inner = [getattr(one, name, None) for name in ("estimator", "base_estimator", "classifier")]
        waiting += [part for part in inner if hasattr(part, "fit")]
        grids = [getattr(one, name, None) for name in ("param_grid", "param_distributions")]
        waiting += [part for grid in grids if grid for part in object_graph.iter_parts(grid) if hasattr(part, "fit")]
    return found


def _class_names(one: Any) -> list[str]:
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(one).__mro__]


def _list_classes(classes: np.ndarray) -> str:
    listed = ", ".join(repr(value) for value in classes[:5].tolist())
    return listed if len(classes) <= 5 else f"{listed} and {len(classes) - 5} more"
