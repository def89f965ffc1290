"""Live scores: predictions are compared with the truth that batches bring later, and not with what a version learnt."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pandas as pd
import psycopg
import pytest
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import contract_acceptance, labelled_predictions, live_scores
from diurnal.pipeline.key_trace import trace_key
from diurnal.pipeline.live_scores import LiveScorer
from diurnal.pipeline.scored_batches import score_batch
from diurnal.storage.load_model import load_version
from projects import Project, day, patients

TRAINED, FIRST, SECOND = "2026-11-01", "2026-11-02", "2026-11-03"
OUTDATE = "UPDATE live_scores SET truth = jsonb_build_object(%s::text, 0)"


@pytest.fixture
def predicted(project, stores):
    """A project with a champion that has predicted the rows of the next day, which have no labels yet."""
    project.bring(TRAINED)
    project.run(TRAINED, stores)
    project.bring(FIRST, patients(FIRST).drop(columns="ill"))
    score(project, stores)
    return project


def score(project, stores, date=FIRST, **options):
    return score_batch(RunContext(project.experiment(), day(date), stores, requested_by="a test"), **options)


def rows_of(stores, **options):
    return stores.warehouse.live_scores("clinic", **options)


def view_beside(stores, truth):
    found = stores.warehouse.predictions("clinic").to_pandas()
    return found.merge(truth[["patient", "ill"]].dropna(), on="patient")


def test_scores_are_those_of_scikit_learn_on_the_labelled_rows(predicted, stores):
    (before,) = rows_of(stores)
    assert (before["n_predictions"], before["n_labelled"], before["score"]) == (240, 0, None)
    assert before["reason"] == "there is no truth yet"
    predicted.bring(FIRST)
    predicted.run(FIRST, stores)
    (row,) = rows_of(stores)
    beside = view_beside(stores, patients(FIRST))
    assert (row["n_labelled"], row["n_in_sample"], row["n_scored"], row["reason"]) == (240, 0, 240, None)
    assert (row["version"], row["shown"], row["scoring"]) == (1, True, "accuracy")
    assert row["score"] == row["scores"]["accuracy"] == accuracy_score(beside["ill"], beside["prediction"])
    assert row["scores"]["neg_log_loss"] == pytest.approx(
        -log_loss(beside["ill"], beside[["probability_no", "probability_yes"]])
    )
    assert row["scores"]["roc_auc"] == pytest.approx(roc_auc_score(beside["ill"] == "yes", beside["probability_yes"]))
    assert row["test_score"] == stores.warehouse.runs("clinic")[-1]["test_score"]


def test_repeated_scoring_computes_what_a_killed_one_lacks(predicted, stores):
    predicted.bring(FIRST)
    predicted.run(FIRST, stores)
    score(predicted, stores, version=1)  # the rows of the stored batch
    with psycopg.connect(predicted.warehouse_url) as connection:
        connection.execute("DELETE FROM live_scores")
    assert score(predicted, stores, version=1).state == "unchanged"
    assert [row["n_labelled"] for row in rows_of(stores)] == [240]


def test_corrected_batch_and_truth_of_a_later_interval(predicted, stores):
    rows = patients(FIRST)
    rows.loc[:99, "ill"] = None  # labels of the others follow with the next batch
    predicted.bring(FIRST, rows)
    predicted.run(FIRST, stores)
    assert [row["n_labelled"] for row in rows_of(stores)] == [140]

    late = pd.concat([patients(SECOND), patients(FIRST)[50:150]])
    late["ill"] = late["ill"].mask(late["patient"] == f"{FIRST}-0050")
    predicted.bring(SECOND, late)
    predicted.run(SECOND, stores)
    (row,) = rows_of(stores)
    truth = patients(FIRST)[51:]
    beside = view_beside(stores, truth)
    assert (row["n_labelled"], row["score"]) == (189, accuracy_score(beside["ill"], beside["prediction"]))

    rows.loc[100:, "ill"] = np.where(patients(FIRST)["ill"][100:] == "yes", "no", "yes")
    predicted.bring(FIRST, rows)
    predicted.run(FIRST, stores)
    (corrected,) = rows_of(stores)
    truth.loc[100:, "ill"] = rows["ill"][100:]
    beside = view_beside(stores, truth)
    assert corrected["score"] == accuracy_score(beside["ill"], beside["prediction"]) < row["score"]
    assert corrected["n_labelled"] == 189
    assert LiveScorer(stores, "clinic").update() == 0


def test_rows_that_a_version_has_learnt_are_not_scored(predicted, stores):
    predicted.bring(FIRST)
    predicted.run(FIRST, stores)
    score(predicted, stores, rescore=True)
    first, second = rows_of(stores)
    assert (first["version"], first["shown"], first["n_in_sample"]) == (1, False, 0)
    assert (second["version"], second["shown"], second["n_labelled"], second["n_in_sample"]) == (2, True, 240, 240)
    assert (second["n_scored"], second["score"], second["scores"]) == (0, None, {})
    assert second["reason"] == "version 2 has learnt the labelled rows"


def test_truth_that_a_version_has_learnt_from_a_later_interval_is_not_scored(project, stores):
    project.bring(TRAINED, pd.concat([patients(TRAINED), patients(FIRST)[:100]]))
    project.run(TRAINED, stores)
    earlier = "2026-10-31"
    project.bring(earlier, patients(FIRST).drop(columns="ill"))
    score(project, stores, earlier)
    (row,) = rows_of(stores)
    assert (row["n_labelled"], row["n_in_sample"], row["n_scored"], row["score"]) == (100, 100, 0, None)


@pytest.mark.parametrize("key", ["patient", None])
def test_rows_that_come_again_are_not_scored_once_they_are_learnt(project, stores, key):
    path = project.folder / "experiments" / "clinic.py"
    if key is None:
        text = path.read_text().replace('key="patient", ', "")
        path.write_text(text.replace("drop='ward'", "drop=('ward', 'patient')"))
    project.bring(TRAINED)
    project.run(TRAINED, stores)
    again = patients(TRAINED)
    again.loc[:9, "age"] += 1.37  # another state of these patients
    project.bring(FIRST, pd.concat([again, patients(FIRST)]))
    score(project, stores)
    project.run(FIRST, stores)
    (row,) = rows_of(stores)
    assert (row["n_labelled"], row["n_in_sample"], row["n_scored"]) == (480, 230, 250)


def test_samples_without_a_key_are_joined_by_their_content(project, stores):
    path = project.folder / "experiments" / "clinic.py"
    path.write_text(path.read_text().replace('key="patient", ', "").replace("drop='ward'", "drop=('ward', 'patient')"))
    project.bring(TRAINED)
    project.run(TRAINED, stores)
    project.bring(FIRST, patients(FIRST).drop(columns="ill"))
    score(project, stores)
    rows = patients(FIRST)
    project.bring(FIRST, rows[:200])
    project.run(FIRST, stores)
    (row,) = rows_of(stores)
    assert (row["n_labelled"], row["n_scored"]) == (200, 200)
    fitted = load_version(stores.models, stores.warehouse.version("clinic", 1), stores.code)
    assert row["score"] == accuracy_score(rows["ill"][:200], fitted.predict(rows[["age", "pressure"]][:200]))


def test_truth_of_a_contract_whose_key_has_another_kind(project, stores):
    """Predictions of integer keys are joined with batches in which the keys are texts."""

    def rows(date):
        given = patients(date)
        return given.assign(patient=np.arange(240) + int(date[-2:]) * 1000, ill=(given["ill"] == "yes").astype(int))

    project.bring(TRAINED, rows(TRAINED))
    project.run(TRAINED, stores)
    project.bring(FIRST, rows(FIRST).drop(columns="ill"))
    score(project, stores)
    wider = rows(FIRST).astype({"patient": str})
    project.bring(FIRST, pd.concat([wider, wider[:1].assign(patient="A7", age=51.0)]))
    context = RunContext(project.experiment(), day(FIRST), stores, requested_by="a test")
    contract_acceptance.accept_changes(context, {}, "letters")
    project.run(FIRST, stores)
    (row,) = rows_of(stores)
    predicted = stores.warehouse.predictions("clinic").to_pandas().astype({"patient": str})
    beside = predicted.merge(wider[["patient", "ill"]], on="patient")
    assert len(beside) == row["n_labelled"] == 240
    assert row["score"] == accuracy_score(beside["ill"], beside["prediction"])
    found = trace_key(stores, "clinic", "2007")
    assert [one["prediction"] for one in found.predictions] == [beside.set_index("patient")["prediction"]["2007"]]
    assert [one["role"] for one in found.rows][:1] == ["batch"]


def test_many_rows_are_scored_by_a_sample(predicted, stores, monkeypatch):
    monkeypatch.setattr(labelled_predictions, "MAX_SCORED", 60)
    predicted.bring(FIRST)
    predicted.run(FIRST, stores)
    (row,) = rows_of(stores)
    assert row["n_labelled"] == 240
    assert 30 < row["n_scored"] < 90
    assert row["score"] > 0.7


def test_an_error_does_not_fail_the_run(predicted, stores, monkeypatch, caplog):
    def fail(*_, **__):
        raise ValueError("broken")

    monkeypatch.setattr(live_scores.LiveScorer, "_compute", fail)
    predicted.bring(FIRST)
    assert predicted.run(FIRST, stores).version == 2
    assert "live scores are not updated" in caplog.text
    monkeypatch.undo()
    assert LiveScorer(stores, "clinic").update() == 1
    assert rows_of(stores)[0]["n_scored"] == 240


@pytest.mark.parametrize("side", ["before", "after"])
def test_killed_run_is_continued_and_of_several_processes_one_stores(predicted, stores, side):
    predicted.bring(FIRST)
    killed = predicted.command("run", "clinic", "--date", FIRST, fault=f"kill@warehouse.save_live_score:{side}")
    assert killed.returncode < 0
    assert [row["n_labelled"] for row in rows_of(stores)] == [0 if side == "before" else 240]
    predicted.run(FIRST, stores)
    (row,) = rows_of(stores)
    assert (row["n_labelled"], row["n_scored"]) == (240, 240)
    with psycopg.connect(predicted.warehouse_url) as connection:
        connection.execute(OUTDATE, [day(FIRST).start.isoformat()])
    several = [predicted.stores() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(lambda one: LiveScorer(one, "clinic").update(), several)) == 1
    for one in several:
        one.warehouse.close()


def test_scores_stay_when_predictions_or_batches_are_removed(predicted, stores):
    predicted.bring(FIRST)
    predicted.run(FIRST, stores)
    (row,) = rows_of(stores)
    with psycopg.connect(predicted.warehouse_url, autocommit=True) as connection:
        connection.execute("DELETE FROM prediction_rows_clinic")
        connection.execute(
            "UPDATE live_scores SET truth = jsonb_build_object(%s::text, 0)", [day(FIRST).start.isoformat()]
        )
        assert LiveScorer(stores, "clinic").update() == 0
        connection.execute("UPDATE heads SET load_id = NULL")
        assert LiveScorer(stores, "clinic").update() == 0
        connection.execute("DELETE FROM prediction_heads")
        connection.execute("DELETE FROM prediction_loads")
    assert rows_of(stores) == [{**row, "shown": False}]


def test_run_without_predictions_writes_nothing(project, stores):
    project.bring(TRAINED)
    project.run(TRAINED, stores)
    assert rows_of(stores) == []
    assert rows_of(stores, since=day(TRAINED).start - timedelta(days=9)) == []


REGRESSION = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), target="pressure", key="patient", drop=("ward", "ill"), sample_weight="weight")
def clinic():
    """Predict the pressure."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    def reads_rows(estimator, X, y):
        return -abs(y - estimator.predict(X)).mean() + 0 * len(X)

    return GridSearchCV(Ridge(), {{"alpha": [1.0, 2.0]}}, cv=2, scoring={scoring})
'''


@pytest.mark.parametrize(
    ("scoring", "reason"),
    [
        ("{'max': 'neg_max_error', 'r': 'r2'}, refit='max'", None),
        ("reads_rows", "reads_rows cannot be computed: TypeError: it reads the features of rows"),
    ],
)
def test_regression_with_weights_and_declared_scores(tmp_path, warehouse_url, scoring, reason):
    project = Project.make(tmp_path / "project", warehouse_url)
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d}.csv")
    text = REGRESSION.format(pattern=pattern, scoring=scoring)
    (project.folder / "experiments" / "clinic.py").write_text(text)
    stores = project.stores()
    for date in (TRAINED, FIRST):
        project.bring(date, patients(date).assign(weight=np.arange(240) % 3 + 1))
    project.run(TRAINED, stores)
    score(project, stores)
    project.run(FIRST, stores)
    (row,) = rows_of(stores)
    assert (row["n_labelled"], row["reason"]) == (240, reason)
    beside = stores.warehouse.predictions("clinic").to_pandas().merge(patients(FIRST), on="patient")
    errors = (beside["pressure"] - beside["prediction"]).abs()
    weights = beside["patient"].str[-4:].astype(int) % 3 + 1
    assert row["scores"]["neg_mean_absolute_error"] == pytest.approx(-np.average(errors, weights=weights))
    assert row["score"] == (None if reason else pytest.approx(-errors.max()))
    stores.warehouse.close()
