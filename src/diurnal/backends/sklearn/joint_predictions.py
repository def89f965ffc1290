"""Labels and probabilities of the same rows, without computing twice what both need.

``Pipeline.predict`` and ``Pipeline.predict_proba`` both transform the rows, and the labels of a forest are those of its
highest probabilities. The results are those of the two calls, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline


def predict_jointly(model: Any, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ``model.predict(X)`` and ``model.predict_proba(X)``.

    Parameters
    ----------
    model : estimator
        A fitted classifier with probabilities.
    X : DataFrame or array of shape (n_rows, n_features)
        The rows.

    Returns
    -------
    labels : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, n_classes)

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit([[0.0], [1.0]], ["no", "yes"])
    >>> labels, probabilities = predict_jointly(model, [[0.0], [3.0]])
    >>> labels.tolist(), probabilities.shape
    (['no', 'yes'], (2, 2))
    """
    if type(model) is Pipeline:
        for _, step in model.steps[:-1]:
            if step not in (None, "passthrough"):
                X = step.transform(X)
        return predict_jointly(model.steps[-1][1], X)
    if type(model) in (RandomForestClassifier, ExtraTreesClassifier) and model.n_outputs_ == 1:
        probabilities = model.predict_proba(X)
        return model.classes_.take(np.argmax(probabilities, axis=1), axis=0), probabilities
    return model.predict(X), model.predict_proba(X)
