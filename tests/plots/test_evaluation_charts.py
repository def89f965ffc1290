"""Charts of evaluation data, and of two runs beside each other."""

from datetime import UTC, datetime

import numpy as np
import pytest

from charts import HOSTILE, draw, marks, size, texts
from diurnal.plots.comparison_chart import build_comparison
from diurnal.plots.evaluation_page import build_evaluation, evaluation_parts

RUN = {
    "data_interval_start": datetime(2026, 11, 1, tzinfo=UTC),
    "data_interval_end": datetime(2026, 11, 2, tzinfo=UTC),
    "scoring": "roc_auc",
    "test_scores": {"roc_auc": 0.9, "accuracy": 0.8},
    "comparison": {"twin_score": 0.91, "champion_score": 0.905},
    "best_params": {"C": 1.0, "kernel": "rbf"},
    "durations": {"tune": 3.0},
    "n_train": 100,
    "n_test": 20,
    "code_digest": "a" * 64,
}


def curves(rng, n=50):
    ends = np.linspace(0, 1, n)
    return {
        "roc": {"fpr": ends.tolist(), "tpr": (ends**0.3).tolist()},
        "precision_recall": {"recall": ends.tolist(), "precision": (1 - ends / 3).tolist()},
        "calibration": {"predicted": [0.1, 0.5, 0.9], "observed": [0.2, 0.4, 0.95], "n": [10, 20, 30]},
        "histogram": {
            "edges": np.linspace(0, 1, 51).tolist(),
            "positive": rng.integers(0, 50, 50).tolist(),
            "negative": rng.integers(0, 50, 50).tolist(),
        },
        "auc": 0.8123,
        "average_precision": 0.7,
    }


def classifier(classes=("no", "yes"), seed=0, n=50):
    rng = np.random.default_rng(seed)
    described = classes[1:] if len(classes) == 2 else classes[:20]
    return {
        "classes": list(classes),
        "confusion": rng.integers(0, 100, (len(classes), len(classes))).tolist(),
        "curves": {name: curves(rng, n) for name in described},
        "prediction": {"categories": list(classes), "counts": [10] * len(classes)},
        "importances": [{"feature": f"x{i}", "mean": 0.1 / (i + 1), "std": 0.01} for i in range(30)],
        "slices": [{"column": "ward", "category": name, "n": 50, "score": 0.8} for name in ("north", "south")],
    }


def regressor(seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    edges = (np.linspace(-3, 3, 41) * spread).tolist()
    residuals = {"edges": np.linspace(-1, 1, 51).tolist(), "counts": rng.integers(0, 50, 50).tolist(), "mean": 0.0}
    return {
        "predicted_true": {"x_edges": edges, "y_edges": edges, "counts": rng.integers(0, 9, (40, 40)).tolist()},
        "residuals": residuals | {"std": 0.5, "q05": -0.8, "q50": 0.0, "q95": 0.8},
        "prediction": {"values": [1.0], "weights": [10.0]},
        "importances": [{"feature": "area", "mean": 0.3, "std": None}],
        "slices": [{"column": "ward", "category": "north", "n": 50, "score": None}],
    }


def evaluation(twin, champion=None, **values):
    models = {"twin": twin} | ({"champion": champion} if champion else {})
    return {"version": 1, "n_rows": 120, "models": models, "notes": []} | values


def test_a_classification_has_curves_of_twin_and_champion():
    data = evaluation(classifier(), classifier(seed=1), notes=["3 rows are left out"])
    spec = build_evaluation(data, RUN, name="clinic@3")
    shown = texts(draw(spec))
    assert {"ROC of yes", "Calibration of yes", "twin (AUC 0.812)", "champion (AUC 0.812)", "twin (AP 0.700)"} <= set(
        shown
    )
    assert {"Permutation importance, the 20 strongest", "ward = north", "x0", "Confusion matrix: champion"} <= set(
        shown
    )
    assert any("3 rows are left out" in text for text in shown)


def test_a_confusion_matrix_is_read_as_rows_of_true_classes():
    data = evaluation(classifier() | {"confusion": [[90, 10], [25, 75]]})
    rows = evaluation_parts(data)["confusion"]["data"]["values"]
    assert [(row["t"], row["p"], row["n"], row["share"]) for row in rows] == [
        ("no", "no", 90, 0.9),
        ("no", "yes", 10, 0.1),
        ("yes", "no", 25, 0.25),
        ("yes", "yes", 75, 0.75),
    ]


def test_a_regression_has_cells_of_true_and_predicted_values():
    counts = np.zeros((40, 40), dtype=int)
    counts[30, 10] = 7  # the 31st bin of true values
    twin = regressor()
    twin["predicted_true"]["counts"] = counts.tolist()
    parts = evaluation_parts(evaluation(twin, regressor(1)))
    (cell,) = parts["predicted_true"]["data"]["values"]
    assert (cell["a"], cell["c"], cell["n"]) == (pytest.approx(1.5), pytest.approx(-1.5), 7)
    document = draw(parts["residuals"])
    assert len(marks(document, "rect")) > 90, "two histograms"
    assert set(parts) == {"predicted_true", "champion_predicted_true", "residuals", "importances"}


@pytest.mark.parametrize("n_classes", [2, 3, 8, 50])
def test_classifications_of_any_number_of_classes_are_small(n_classes):
    names = [f"class {i}" for i in range(n_classes)]
    spec = build_evaluation(evaluation(classifier(names, n=200), classifier(names, 1, n=200)), RUN)
    assert size(spec) < 500_000
    draw(spec)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"models": {}},
        evaluation({}),
        evaluation({"classes": ["a"], "confusion": [[3]]}),
        evaluation({"classes": [], "confusion": [], "curves": {}, "importances": [], "slices": []}),
        evaluation(
            {
                "curves": {
                    "a": {
                        "roc": {"fpr": [], "tpr": []},
                        "histogram": {"edges": [0, 1], "positive": [0], "negative": [0]},
                    }
                }
            }
        ),
        evaluation(
            {
                "predicted_true": {"x_edges": [0, 1], "y_edges": [5, 6], "counts": [[3]]},
                "residuals": {"edges": [1, 1], "counts": [1]},
            }
        ),
        evaluation({"importances": [{"feature": "a", "mean": None, "std": None}]}),
    ],
    ids=["old", "empty", "none", "nothing", "one-class", "lists", "no-points", "one-cell", "undefined"],
)
def test_evaluation_data_in_every_state_are_drawn(data):
    draw(build_evaluation(data, RUN))
    draw(build_evaluation(data))
    draw(build_comparison(RUN, {**RUN, "best_params": {}}, (data, evaluation(classifier()))))


def test_an_old_run_has_its_scores_and_a_note():
    shown = " ".join(texts(draw(build_evaluation(None, RUN))))
    assert "recorded by an earlier release" in shown
    assert "0.905" in shown


def test_texts_of_users_are_only_text():
    twin = classifier(HOSTILE[:20])
    twin["slices"] = [{"column": text, "category": text, "n": 3, "score": 0.5} for text in HOSTILE]
    twin["importances"] = [{"feature": text, "mean": 0.1, "std": 0.1} for text in HOSTILE]
    run = {
        **RUN,
        "scoring": HOSTILE[3],
        "test_scores": dict.fromkeys(HOSTILE, 0.5),
        "best_params": dict.fromkeys(HOSTILE, "a"),
    }
    data = evaluation(twin, notes=HOSTILE[:5])
    draw(build_evaluation(data, run, name=HOSTILE[2]), "dark")
    other = {**run, "best_params": {text: text for text in HOSTILE}}
    draw(build_comparison(run, other, (data, data), names=(HOSTILE[2], HOSTILE[2])))


def test_a_comparison_shows_what_differs():
    other = {**RUN, "best_params": {"C": 10.0, "kernel": "rbf"}, "test_scores": {"roc_auc": 0.95}, "n_train": 150}
    spec = build_comparison(
        RUN, other, (evaluation(classifier()), evaluation(classifier(seed=1))), names=("a@1", "a@2")
    )
    shown = set(texts(draw(spec)))
    assert {"a@1 (AUC 0.812)", "a@2 (AUC 0.812)", "Confusion matrix: a@2", "C", "+0.05", "+50"} <= shown
    assert "kernel" not in shown, "it is equal"
