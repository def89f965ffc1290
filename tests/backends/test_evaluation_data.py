"""Curves, counts and points of evaluation data; scikit-learn's own functions are the oracle."""

import json

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from diurnal.backends.evaluation_data import ScoreCounts
from diurnal.backends.evaluation_data.class_counts import describe_confusion, points_per_curve
from diurnal.backends.evaluation_data.curve_points import TOLERANCE, select_points
from diurnal.backends.evaluation_data.residual_counts import describe_predictions, target_edges

rng = np.random.default_rng(0)
N = 3_000
POSITIVE = rng.random(N) < 0.3
SCORES = np.clip(0.3 * POSITIVE + rng.normal(0.3, 0.2, N), 0, 1)
SCORES_APART = rng.permutation(N) / N  # all distinct
TIED = SCORES.round(1)
WEIGHTS = rng.integers(0, 4, N).astype(float)


@pytest.mark.parametrize("scores", [SCORES, TIED], ids=["distinct", "tied"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_curves_and_areas_are_those_of_scikit_learn(scores, weights):
    counts = ScoreCounts.from_samples(scores, POSITIVE, weights)
    fpr, tpr, _ = metrics.roc_curve(POSITIVE, scores, sample_weight=weights, drop_intermediate=False)
    precision, recall, _ = metrics.precision_recall_curve(POSITIVE, scores, sample_weight=weights)
    for mine, theirs in zip(counts.roc(), (fpr, tpr), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    mine_recall, mine_precision = counts.precision_recall()
    assert {*zip(mine_recall.round(9), mine_precision.round(9), strict=True)} == {
        *zip(recall.round(9), precision.round(9), strict=True)
    }
    assert counts.auc() == pytest.approx(metrics.roc_auc_score(POSITIVE, scores, sample_weight=weights))
    own = metrics.average_precision_score(POSITIVE, scores, sample_weight=weights)
    assert counts.average_precision() == pytest.approx(own)


def test_calibration_is_that_of_scikit_learn_with_quantile_bins():
    observed, predicted = calibration_curve(POSITIVE, SCORES_APART, n_bins=15, strategy="quantile")
    mine = ScoreCounts.from_samples(SCORES_APART, POSITIVE).calibration(15)
    np.testing.assert_allclose(mine[0], predicted)
    np.testing.assert_allclose(mine[1], observed)
    assert mine[2].tolist() == [N / 15] * 15


def test_histograms_count_every_sample():
    described = ScoreCounts.from_samples(SCORES, POSITIVE).describe(is_probability=True)["histogram"]
    assert sum(described["positive"]) == POSITIVE.sum()
    assert sum(described["negative"]) == N - POSITIVE.sum()
    assert (described["edges"][0], described["edges"][-1]) == (0, 1)


def test_samples_without_a_score_are_left_out():
    scores = np.where(np.arange(N) < 100, np.nan, SCORES)
    left = ScoreCounts.from_samples(scores, POSITIVE)
    assert left.auc() == pytest.approx(metrics.roc_auc_score(POSITIVE[100:], SCORES[100:]))
    assert not ScoreCounts.from_samples(np.full(3, np.nan), np.array([True, False, True])).has_both


CURVES = {
    "roc": metrics.roc_curve(POSITIVE, SCORES, drop_intermediate=False)[:2],
    "steps": (np.linspace(0, 1, 5_000), np.linspace(0, 1, 5_000).round(1)),
    "corner": (np.concatenate([np.zeros(3_000), np.linspace(0, 1, 3_000)]), np.linspace(0, 1, 6_000).clip(0, 0.5) * 2),
}


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_thinned_curve_is_close_to_all_points(curve):
    x, y = curve
    places = select_points(x, y)
    assert len(places) <= 200
    assert {0, len(x) - 1} <= {*places.tolist()}
    assert (np.diff(places) > 0).all()
    # distances to the polyline, by many points on it
    along = np.linspace(0, len(places) - 1, 20_001)
    line = np.stack([np.interp(along, np.arange(len(places)), values[places]) for values in (x, y)])
    some = np.linspace(0, len(x) - 1, 300).astype(int)
    distance = [np.hypot(line[0] - x[i], line[1] - y[i]).min() for i in some]
    assert max(distance) < 6 * TOLERANCE, "a fraction of a pixel of 300"


def test_confusion_is_that_of_scikit_learn_and_bounded():
    y, predicted = rng.integers(0, 200, 5_000), rng.integers(0, 200, 5_000)
    confusion = metrics.confusion_matrix(y, predicted, labels=np.arange(200)).astype(float)
    described = describe_confusion(list(range(200)), confusion)
    kept = [int(text) for text in described["classes"]]
    assert described["confusion"] == confusion[np.ix_(kept, kept)].tolist()
    assert len(kept) == 50
    assert np.bincount(y, minlength=200)[kept].min() >= np.sort(np.bincount(y))[-51]
    listed = described["prediction"]
    assert sum(listed["counts"]) + listed["n_other"] == 5_000
    assert describe_confusion(["a", "b"], np.eye(2))["confusion"] == [[1, 0], [0, 1]]


def test_regression_counts_are_those_of_numpy():
    y = rng.normal(size=N)
    predicted = y + rng.normal(scale=0.3, size=N)
    edges = target_edges(y)
    described = describe_predictions(y, predicted, WEIGHTS, edges)
    counted = np.histogram2d(y, predicted, [edges, edges], weights=WEIGHTS)[0]
    np.testing.assert_allclose(described["predicted_true"]["counts"], counted)
    residuals = described["residuals"]
    assert residuals["mean"] == pytest.approx(np.average(y - predicted, weights=WEIGHTS), abs=1e-5)
    assert sum(residuals["counts"]) + residuals["n_outside"] == pytest.approx(WEIGHTS.sum())
    repeated = np.repeat(y - predicted, WEIGHTS.astype(int))
    for name, share in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
        own = np.quantile(repeated, share, method="inverted_cdf")
        assert residuals[name] == pytest.approx(own, abs=1e-5)


def test_one_outlier_does_not_hide_all_other_values():
    y = np.append(rng.normal(size=N), 1e12)
    described = describe_predictions(y, np.append(y[:-1], 0.0), None, target_edges(y))["predicted_true"]
    assert described["x_edges"][-1] < 100
    assert described["n_outside"] == 1
    assert sum(map(bool, np.diagonal(described["counts"]))) > 10


@pytest.mark.parametrize("y", [np.zeros(3), np.full(3, 1e300), np.array([1.0, np.nan, np.inf]), np.zeros(0)])
def test_degenerate_values_are_described(y):
    described = describe_predictions(y, y, None, target_edges(y))
    assert json.dumps(described, allow_nan=False)


def test_twenty_classes_of_three_models_are_below_the_bound():
    most = points_per_curve(2 * 20 * 3)
    positive = rng.random(50_000) < 0.5
    scores = np.clip(rng.random(50_000) + positive * 0.1, 0, 1)
    one = ScoreCounts.from_samples(scores, positive).describe(is_probability=True, most=most)
    assert 60 * len(json.dumps(one, separators=(",", ":"))) < 250_000
