"""Scores of recorded predictions equal those of the scorers on the model."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, log_loss, root_mean_squared_error

from diurnal.backends.recorded_scores import RecordedPredictions, score_recorded

Y = np.array(["no", "yes", "yes", "no", "yes"])
PREDICTED = np.array(["no", "yes", "no", "no", "yes"])
OF_YES = np.array([0.1, 0.8, 0.4, 0.5, 0.9])


def binary(**changes):
    # Spark's classes are in the order of their frequency
    fields = {"classes": np.array(["yes", "no"]), "probabilities": np.column_stack([OF_YES, 1 - OF_YES])}
    return RecordedPredictions(Y, PREDICTED, **(fields | changes))


@pytest.mark.parametrize(
    ("scoring", "expected"),
    [
        ("accuracy", 0.8),
        ("neg_hammingLoss", -0.2),
        ("areaUnderROC", 5 / 6),
        ("areaUnderPR", average_precision_score(Y == "no", 1 - OF_YES)),
        ("neg_logLoss", -log_loss(Y == "yes", OF_YES)),
        ("f1", f1_score(Y, PREDICTED, average="weighted")),
    ],
)
def test_metrics_of_spark(scoring, expected):
    scores, reason = score_recorded(scoring, binary(), is_spark=True)
    assert (scores[scoring], reason) == (pytest.approx(expected), None)
    assert scores["roc_auc"] == pytest.approx(5 / 6)


def test_regression_of_spark():
    y, predicted = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])
    scores, _ = score_recorded("neg_rmse", RecordedPredictions(y, predicted), is_spark=True)
    assert scores["neg_rmse"] == scores["neg_root_mean_squared_error"] == -root_mean_squared_error(y, predicted)


def test_scores_that_cannot_be_computed_have_a_reason():
    assert score_recorded("weightedFMeasure", binary(), is_spark=True)[1] == (
        "weightedFMeasure of Spark cannot be computed from recorded predictions"
    )
    assert score_recorded("own_score", binary())[1].startswith("own_score is no scorer of scikit-learn")
    scores, reason = score_recorded("roc_auc", binary(probabilities=None))
    assert "roc_auc" not in scores
    assert reason.startswith("roc_auc cannot be computed: AttributeError")


def test_score_of_one_class_is_undefined():
    one = RecordedPredictions(np.array(["no", "no"]), np.array(["no", "yes"]), np.array(["no", "yes"]))
    scores, reason = score_recorded("roc_auc", RecordedPredictions(*vars(one).values()))
    assert scores["accuracy"] == 0.5
    assert "roc_auc" in reason
