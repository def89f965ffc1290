"""Charts of candidates, by the number and kind of the parameters that vary."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest

from charts import HOSTILE, draw, marks, size, texts
from diurnal.errors import UsageError
from diurnal.plots.tuning_chart import build_tuning
from diurnal.plots.tuning_data import collect_scores


def grid(**values):
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def table(params, metrics=("score",), folds=3, seed=0):
    """Candidates as diurnal.candidates returns them: with the columns of cv_results_."""
    rng = np.random.default_rng(seed)
    names = dict.fromkeys(name for one in params for name in one)
    columns = {f"param_{name}": [one.get(name) for one in params] for name in names}
    for metric in metrics:
        scores = rng.uniform(0.5, 1, (len(params), 1)) + rng.normal(0, 0.01, (len(params), folds))
        columns |= {f"split{k}_test_{metric}": scores[:, k] for k in range(folds)}
        columns |= {f"mean_test_{metric}": scores.mean(axis=1), f"std_test_{metric}": scores.std(axis=1)}
        columns[f"rank_test_{metric}"] = (-scores.mean(axis=1)).argsort().argsort() + 1
    return pd.DataFrame(columns)


def drawn(rng, n):
    return [{"C": float(10 ** rng.uniform(-3, 3)), "gamma": float(10 ** rng.uniform(-4, 0))} for _ in range(n)]


def test_one_parameter_is_a_curve_with_the_folds_and_the_best():
    frame = table(grid(svc__C=[0.01, 0.1, 1.0, 10.0]))
    spec = build_tuning(frame, name="clinic@3")
    document = draw(spec)
    assert spec["vconcat"][0]["layer"][0]["encoding"]["x"]["scale"] == {"type": "log"}
    assert [row["s"] for row in spec["datasets"]["candidates"]] == pytest.approx(
        frame["mean_test_score"].tolist(), rel=1e-5
    )
    assert len(spec["datasets"]["candidates_folds"]) == 12
    best = [row["p0"] for row in spec["datasets"]["candidates"] if row.get("b")]
    assert best == [frame.loc[frame["mean_test_score"].idxmax(), "param_svc__C"]]
    assert len(marks(document, "symbol")) == 12 + 4 + 1
    assert {"Candidates of clinic@3", "svc__C"} <= set(texts(document))
    assert any(text.startswith("4 candidates, 3 folds") for text in texts(document))


def test_one_parameter_of_several_metrics_is_a_curve_for_each():
    spec = build_tuning(table(grid(depth=[2, 4, 8]), metrics=("roc_auc", "accuracy")))
    assert len(spec["vconcat"]) == 2
    assert {"roc_auc", "accuracy"} <= set(texts(draw(spec)))
    assert len(build_tuning(table(grid(depth=[2, 4]), metrics=("a", "b")), metric="b")["vconcat"]) == 1


def test_two_parameters_of_a_grid_are_a_table_with_numbers():
    frame = table(grid(C=[0.1, 1, 10], kernel=["rbf", None]))
    document = draw(build_tuning(frame))
    assert {f"{score:.4g}" for score in frame["mean_test_score"]} <= set(texts(document))
    assert {"rbf", "None", "0.1", "10"} <= set(texts(document))


def test_two_drawn_parameters_are_points_and_the_progress_of_the_search():
    frame = table(drawn(np.random.default_rng(0), 40))
    spec = build_tuning(frame)
    draw(spec)
    encoding = spec["vconcat"][0]["layer"][0]["encoding"]
    assert encoding["x"]["scale"] == encoding["y"]["scale"] == {"type": "log"}
    assert spec["datasets"]["progress"][-1]["s"] == pytest.approx(frame["mean_test_score"].max(), rel=1e-5)


def test_more_parameters_are_parallel_axes_and_the_best_candidates():
    frame = table(grid(depth=[2, 4, None], leaf=[1, 10], criterion=["gini", "entropy"], center=[True, False]))
    spec = build_tuning(frame)
    document = draw(spec)
    assert {"depth", "leaf", "criterion", "center", "gini", "None", "True"} <= set(texts(document))
    best = frame.sort_values("mean_test_score", ascending=False).iloc[0]
    assert f"criterion = {best['param_criterion']}" in spec["datasets"]["best"][0]["text"]
    assert len(spec["datasets"]["best"]) == 20


def test_the_parameter_with_the_largest_effect_is_the_first_axis():
    params = grid(small=[1, 2, 3], large=[1, 2, 3], none=["a", "b"])
    frame = table(params)
    frame["mean_test_score"] = [one["large"] + one["small"] / 10 for one in params]
    assert [one.name for one in collect_scores(frame).parameters] == ["large", "small", "none"]


def test_successive_halving_shows_iterations_and_its_best_is_of_the_last_one():
    params = grid(C=[0.1, 1, 10, 100])
    frame = table(params + params[:2])
    frame["iter"], frame["n_resources"] = [0] * 4 + [1] * 2, [20] * 4 + [60] * 2
    frame["mean_test_score"] = [0.5, 0.6, 0.99, 0.4, 0.7, 0.8]
    spec = build_tuning(frame)
    draw(spec)
    assert [(row["it"], row["s"]) for row in spec["datasets"]["candidates"] if row.get("b")] == [(1, 0.8)]


@pytest.mark.parametrize(
    "params",
    [
        [{}],
        [{"C": 1.0}],
        [{"C": 1.0}] * 3,
        grid(depth=[2, "auto", None, 0.5, True]),
        grid(model=["LogisticRegression(C=1.0, max_iter=1000)" + "x" * 300, "Ridge()"], alpha=[0.1, 1]),
        grid(layers=[[10], [10, 5]], weight=[None, {"a": 1}]),
        [{"svc__C": 1.0}, {"tree__depth": 3}, {"tree__depth": 5}],
        grid(a__C=[1, 2], b__C=[1, 2], c__C=[1, 2]),
        grid(C=[1e-300, 1.0, 1e300]),
        grid(**{f"p{i}": [0, 1] for i in range(10)})[:300],
    ],
    ids=["nothing", "one", "equal", "mixed", "estimators", "lists", "conditional", "equal-ends", "huge", "many"],
)
def test_parameters_of_every_kind_are_drawn(params):
    draw(build_tuning(table(params), width="container"))


@pytest.mark.parametrize("n_others", [0, 1, 2])
def test_texts_of_users_are_only_text(n_others):
    params = [{"name": text, **{f"{HOSTILE[k]}{k}": i % 3 for k in range(n_others)}} for i, text in enumerate(HOSTILE)]
    draw(build_tuning(table(params, metrics=('x\\" + datum.s',)), name=HOSTILE[3]), "dark")


def test_failed_candidates_and_outliers_are_named():
    frame = table(grid(a=[1, 2, 3, 4], b=[1, 2, 3, 4]))
    frame.loc[0, "mean_test_score"] = np.nan
    frame.loc[1, "mean_test_score"] = -1e9
    spec = build_tuning(frame)
    draw(spec)
    subtitle = " ".join(spec["title"]["subtitle"])
    assert "1 without a score are not shown" in subtitle
    assert "scores below" in subtitle


@pytest.mark.parametrize("n", [600, 100_000])
def test_many_candidates_are_thinned_and_the_title_says_it(n):
    rng = np.random.default_rng(0)
    frame = table(
        [{**one, "depth": int(depth)} for one, depth in zip(drawn(rng, n), rng.integers(1, 9, n), strict=True)]
    )
    started = time.process_time()
    spec = build_tuning(frame)
    assert time.process_time() - started < 0.5 + n / 20_000
    assert size(spec) < 400_000
    assert f"{n:,} candidates" in spec["title"]["subtitle"][0]
    assert any("the best 250 and 250 of the others" in line for line in spec["title"]["subtitle"])
    assert any(row.get("b") for row in spec["datasets"]["candidates"])


def test_no_score_or_no_metric_is_an_error():
    frame = table(grid(a=[1, 2]))
    with pytest.raises(UsageError, match="did you mean 'score'"):
        build_tuning(frame, metric="scores")
    frame["mean_test_score"] = np.nan
    with pytest.raises(UsageError, match="none of the 2 candidates has a finite score"):
        build_tuning(frame)
    draw(build_tuning(pd.DataFrame({"mean_test_score": [0.5, 0.6], "param_C": [1, 2]})))  # without folds
