"""Days with groups, weights, an order and a split by time, on a real lake and warehouse; scikit-learn is the oracle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from diurnal.backends.sample_reader import SampleReader
from diurnal.data import Schema
from diurnal.data.train_test_split import assign_role
from diurnal.errors import BatchRejectedError, ExperimentError, NotEnoughDataError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import steps, tuning_shards
from diurnal.pipeline.dry_run import dry_run
from diurnal.storage.load_model import load_version
from projects import day

TEXT = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), {declared})
def clinic():
    """Tell who is ill, or how ill."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, TimeSeriesSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()),
                              {{"logisticregression__C": [0.1, 10.0]}}, cv=3)
    regressor = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {{"ridge__alpha": [0.1, 10.0]}}, cv=3)
    return {returned}
'''
FEATURES = ["age", "pressure"]


def declare(project, declared, returned="classifier"):
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d}.csv")
    text = TEXT.format(pattern=pattern, declared=declared, returned=returned)
    (project.folder / "experiments" / "clinic.py").write_text(text)


def visits(date, n=240, patients=40):
    """Give one day's visits, several of each patient, in no order."""
    rng = np.random.default_rng(int(date.replace("-", "")))
    patient = rng.integers(0, patients, n)
    age, pressure = rng.normal(50, 12, n) + patient % 3, rng.normal(120, 15, n)
    lean = (age - 50) / 12 + (pressure - 120) / 15 + rng.normal(0, 0.7, n)
    minutes = rng.permutation(n) // 2  # two visits at a time
    return pd.DataFrame(
        {
            "visit": [f"{date}-{i:04d}" for i in range(n)],
            "patient": [f"p{i}" for i in patient],
            "at": (pd.Timestamp(date, tz="UTC") + pd.to_timedelta(minutes, unit="min")).astype(str),
            "weight": rng.uniform(0, 3, n).round(3),
            "age": age.round(2),
            "pressure": pressure.round(2),
            "ill": np.where(lean > 0, "yes", "no"),
            "lean": lean.round(3),
        }
    )


def bring(project, *dates, **words):
    return {date: project.bring(date, visits(date, **words)) for date in dates}


def day_of(project, date, stores):
    return RunContext(project.experiment(), day(date), stores, requested_by="test")


def searched(project, date, stores):
    """Carry out a day up to its scores, without saving a model: gives the samples, what was tuned, and the scores."""
    this = day_of(project, date, stores)
    samples = steps.split(this, steps.fetch(this))
    backend, search, data = tuning_shards.load_training_data(this, samples)
    tuned, schema = backend.tune(search, data), this.schema_of(samples.run)
    scores = backend.score(search, tuned.twin, backend.read_evaluation_data(SampleReader(this, schema), samples.test))
    return samples, tuned, scores


def frame_of(stores, packages):
    table = pa.concat_tables([stores.lake.read(package) for package in packages])
    return table.to_pandas(date_as_object=False)


def with_hash(frame, *columns):
    """Order rows by the hash of what identifies them, as packages are."""
    from diurnal.data.row_hash import hash_rows

    table = pa.table({name: pa.array(frame[name].tolist()) for name in columns})
    return frame.iloc[np.argsort(hash_rows(table, list(columns), "clinic"), kind="stable")]


def same(tuned, scores, fitted, score):
    for name in (name for name in fitted.cv_results_ if "_test_" in name):
        np.testing.assert_array_equal(tuned.table[name].to_numpy(), fitted.cv_results_[name], err_msg=name)
    assert list(scores.values()) == [score]


def test_no_group_is_on_both_sides_on_any_day(project, stores):
    declare(project, 'target="ill", key="visit", drop=["at", "weight", "lean"], groups="patient", window=3')
    bring(project, "2026-11-01", "2026-11-02", "2026-11-03")
    sides = {"train": set(), "test": set()}
    for date in ("2026-11-01", "2026-11-02", "2026-11-03"):
        this = day_of(project, date, stores)
        samples = steps.split(this, steps.fetch(this))
        for side, packages in (("train", samples.train), ("test", samples.test)):
            sides[side] |= set(frame_of(stores, packages)["patient"])
    assert sides["train"].isdisjoint(sides["test"])
    assert sides["train"] | sides["test"] == {f"p{i}" for i in range(40)}
    for side, patients in sides.items():
        assert {assign_role([patient], "clinic", 0.3) for patient in patients} == {side}


def test_groups_go_to_the_folds_and_the_row_has_scikit_learns_numbers(project, stores):
    declare(
        project,
        'target="ill", key="visit", drop=["at", "weight", "lean"], groups="patient"',
        "classifier.set_params(cv=GroupKFold(4))",
    )
    bring(project, "2026-11-01")
    outcome = project.run("2026-11-01", stores)
    rows = with_hash(visits("2026-11-01"), "visit")
    tested = np.array([assign_role([patient], "clinic", 0.3) == "test" for patient in rows["patient"]])
    train, test = rows[~tested], rows[tested]
    grid = {"logisticregression__C": [0.1, 10.0]}
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), grid, cv=GroupKFold(4))
    with threadpool_limits(1):
        fitted = search.fit(train[FEATURES], train["ill"], groups=train["patient"])
    row = outcome.run
    assert (row["n_train"], row["n_test"]) == (len(train), len(test))
    assert row["cv_score_mean"] == fitted.cv_results_["mean_test_score"][fitted.best_index_]
    assert row["test_score"] == fitted.score(test[FEATURES], test["ill"])
    signature = stores.warehouse.version("clinic", 1)["signature"]
    assert [column["name"] for column in signature["columns"]] == FEATURES


def test_a_champion_is_compared_on_groups_that_it_has_not_learnt(project, stores):
    declare(project, 'target="ill", key="visit", drop=["at", "weight", "lean"], groups="patient"')
    bring(project, "2026-11-01", patients=30)
    bring(project, "2026-11-02", patients=60)
    project.run("2026-11-01", stores)
    second = project.run("2026-11-02", stores).run
    rows = visits("2026-11-02", patients=60)
    tested = rows[[assign_role([patient], "clinic", 0.3) == "test" for patient in rows["patient"]]]
    known = set(visits("2026-11-01", patients=30)["patient"])
    assert second["n_test"] == len(tested)
    assert second["comparison"]["n_compared"] == (~tested["patient"].isin(known)).sum()
    assert 0 < second["comparison"]["n_compared"] < second["n_test"]


def test_a_sample_whose_group_is_corrected_is_on_one_side(project, stores):
    declare(project, 'target="ill", key="visit", drop=["at", "weight", "lean"], groups="patient", window=2')
    first = bring(project, "2026-11-01")["2026-11-01"]
    second = visits("2026-11-02")
    of = {
        side: [p for p in sorted(set(first["patient"])) if assign_role([p], "clinic", 0.3) == side]
        for side in ("train", "test")
    }
    moved = first[first["patient"].isin(of["train"])].head(30).assign(patient=of["test"][0])
    project.bring("2026-11-02", pd.concat([second, moved]))
    project.run("2026-11-01", stores)
    row = project.run("2026-11-02", stores).run
    rows = pd.concat([first[~first["visit"].isin(moved["visit"])], second])
    assert row["n_train"] == rows["patient"].isin(of["train"]).sum()
    assert row["n_test"] == (pd.concat([first, second, moved])["patient"].isin(of["test"])).sum()


def test_groups_are_cut_the_same_in_a_package_of_parts(project, stores):
    declare(project, 'target="ill", key="visit", drop=["at", "weight", "lean"], groups="patient"')
    bring(project, "2026-11-01")
    samples = steps.split(this := day_of(project, "2026-11-01", stores), steps.fetch(this))
    whole = [frame_of(stores, packages) for packages in (samples.train, samples.test)]
    stores.lake.cells_per_part = 300
    bring(project, "2026-11-02")
    project.bring("2026-11-02", visits("2026-11-01"))
    samples = steps.split(this := day_of(project, "2026-11-02", stores), steps.fetch(this))
    assert all(package.path.endswith(".json") for package in (*samples.train, *samples.test))
    for one, other in zip(whole, (samples.train, samples.test), strict=True):
        pd.testing.assert_frame_equal(one, frame_of(stores, other).reset_index(drop=True))


@pytest.mark.parametrize("declared", ['key="visit"', 'drop="visit", duplicates="keep"'])
@pytest.mark.parametrize("target", ["ill", "lean"])
def test_a_series_of_folds_sees_rows_in_the_order_of_time(project, stores, target, declared):
    other = "lean" if target == "ill" else "ill"
    kind = "classifier" if target == "ill" else "regressor"
    dropped = ["visit", "patient", "weight", other] if "keep" in declared else ["patient", "weight", other]
    declared = 'duplicates="keep"' if "keep" in declared else declared
    declare(
        project,
        f'target="{target}", {declared}, drop={dropped}, order_by="at", window=2',
        f"{kind}.set_params(cv=TimeSeriesSplit(3))",
    )
    bring(project, "2026-11-01", "2026-11-02")
    for date in ("2026-11-01", "2026-11-02"):
        samples, tuned, scores = searched(project, date, stores)
    train, test = (frame_of(stores, packages) for packages in (samples.train, samples.test))
    if "keep" in declared:  # of one time, the rows are in an order of their own
        this = day_of(project, "2026-11-02", stores)
        _, _, data = tuning_shards.load_training_data(this, samples)
        times = dict(zip(map(tuple, train[FEATURES].to_numpy()), train["at"], strict=True))
        seen = [times[tuple(row)] for row in data.X.to_numpy()]
        assert seen == sorted(seen)
        train = pd.DataFrame({**data.X, target: data.y})
    else:
        train = with_hash(train, "visit").sort_values("at", kind="stable")
    last = LogisticRegression() if target == "ill" else Ridge()
    grid = {"logisticregression__C": [0.1, 10.0]} if target == "ill" else {"ridge__alpha": [0.1, 10.0]}
    search = GridSearchCV(make_pipeline(StandardScaler(), last), grid, cv=TimeSeriesSplit(3))
    with threadpool_limits(1):
        fitted = search.fit(train[FEATURES], train[target])
        score = fitted.score(test[FEATURES], test[target])
    for name in (name for name in fitted.cv_results_ if "_test_" in name):
        np.testing.assert_array_equal(tuned.table[name].to_numpy(), fitted.cv_results_[name], err_msg=name)
    assert list(scores.values()) == [pytest.approx(score, rel=1e-12)]


@pytest.mark.parametrize("target", ["ill", "lean"])
def test_with_groups_weights_and_order_the_numbers_are_scikit_learns(project, stores, target):
    other, kind = ("lean", "classifier") if target == "ill" else ("ill", "regressor")
    declare(
        project,
        f'target="{target}", key="visit", drop="{other}", groups="patient", sample_weight="weight", order_by="at", '
        "window=2",
        f"{kind}.set_params(cv=GroupKFold(3))",
    )
    bring(project, "2026-11-01", "2026-11-02")
    for date in ("2026-11-01", "2026-11-02"):
        samples, tuned, scores = searched(project, date, stores)
    train, test = (
        with_hash(frame_of(stores, packages), "visit").sort_values("at", kind="stable")
        for packages in (samples.train, samples.test)
    )
    with sklearn.config_context(enable_metadata_routing=True), threadpool_limits(1):
        last = LogisticRegression() if target == "ill" else Ridge()
        last.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        grid = {"logisticregression__C": [0.1, 10.0]} if target == "ill" else {"ridge__alpha": [0.1, 10.0]}
        search = GridSearchCV(make_pipeline(scaler, last), grid, cv=GroupKFold(3))
        fitted = search.fit(train[FEATURES], train[target], groups=train["patient"], sample_weight=train["weight"])
        score = fitted.score(test[FEATURES], test[target], sample_weight=test["weight"])
    same(tuned, scores, fitted, score)


@pytest.mark.parametrize("target", ["ill", "lean"])
def test_whole_runs_have_weighted_numbers_and_publish_weighted_fits(project, stores, target):
    other, kind = ("lean", "classifier") if target == "ill" else ("ill", "regressor")
    declared = f'target="{target}", key="visit", drop=["patient", "at", "{other}"], sample_weight="weight"'
    declare(project, declared, kind)
    bring(project, "2026-11-01", "2026-11-02")
    project.run("2026-11-01", stores)
    row = project.run("2026-11-02", stores).run
    samples, _, scores = searched(project, "2026-11-02", stores)
    assert list(scores.values()) == [row["test_score"]]
    test = frame_of(stores, samples.test)
    champion = load_version(stores.models, stores.warehouse.version("clinic", 1))
    judge = accuracy_score if target == "ill" else r2_score
    predicted = champion.predict(test[FEATURES])
    expected = judge(test[target], predicted, sample_weight=test["weight"])
    assert row["comparison"]["champion_score"] == pytest.approx(expected, rel=1e-12)
    assert row["comparison"]["n_compared"] == len(test)
    model = load_version(stores.models, stores.warehouse.version("clinic", 2))
    rows = with_hash(visits("2026-11-02"), "visit")
    with sklearn.config_context(enable_metadata_routing=False), threadpool_limits(1):
        plain = sklearn.clone(model).fit(
            rows[FEATURES], rows[target], **{f"{model.steps[-1][0]}__sample_weight": rows["weight"]}
        )
    np.testing.assert_allclose(model[-1].coef_, plain[-1].coef_, rtol=1e-12)


def test_requests_of_the_notebook_are_kept_by_the_saved_twin(project, stores):
    declared = 'target="ill", key="visit", drop=["patient", "at", "lean"], sample_weight="weight"'
    requested = "classifier.set_params(estimator__standardscaler=StandardScaler().set_fit_request(sample_weight=True))"
    declare(project, declared, requested)
    bring(project, "2026-11-01")
    project.run("2026-11-01", stores)
    model = load_version(stores.models, stores.warehouse.version("clinic", 1))
    rows = visits("2026-11-01")
    expected = np.average(rows[FEATURES], axis=0, weights=rows["weight"])
    np.testing.assert_allclose(model[0].mean_, expected)


def test_with_a_split_by_time_the_newest_interval_is_the_test(project, stores):
    declare(project, 'target="ill", key="visit", drop=["patient", "at", "weight", "lean"], split="time", window=3')
    rows = bring(project, "2026-11-01", "2026-11-02", "2026-11-03")
    with pytest.raises(NotEnoughDataError, match="no earlier one has another batch"):
        project.run("2026-11-01", stores)
    second = project.run("2026-11-02", stores).run
    assert (second["n_train"], second["n_test"]) == (240, 240)
    assert second["comparison"] is None
    third = project.run("2026-11-03", stores).run
    assert (third["n_train"], third["n_test"], third["test_size"]) == (480, 240, pytest.approx(1 / 3))
    assert third["comparison"]["n_compared"] == 240
    train = with_hash(pd.concat([rows["2026-11-01"], rows["2026-11-02"]]), "visit")
    search = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(search, {"logisticregression__C": [0.1, 10.0]}, cv=3)
    with threadpool_limits(1):
        fitted = search.fit(train[FEATURES], train["ill"])
    assert third["cv_score_mean"] == fitted.best_score_
    assert third["test_score"] == fitted.score(rows["2026-11-03"][FEATURES], rows["2026-11-03"]["ill"])
    notes = stores.warehouse.version("clinic", 2)
    assert notes["run_id"] == third["run_id"]


def test_a_sample_of_the_newest_interval_is_in_no_fit_of_the_twin(project, stores):
    declare(project, 'target="ill", key="visit", drop=["patient", "at", "weight", "lean"], split="time", window="all"')
    rows = bring(project, "2026-11-01", "2026-11-02")
    project.bring("2026-11-02", pd.concat([rows["2026-11-02"], rows["2026-11-01"].head(50).assign(age=33.0)]))
    with pytest.raises(NotEnoughDataError):
        project.run("2026-11-01", stores)
    second = project.run("2026-11-02", stores).run
    assert (second["n_train"], second["n_test"]) == (190, 290)


@pytest.mark.parametrize("duplicates", ["drop", "keep"])
def test_the_same_rows_again_are_nothing_to_train_on(project, stores, duplicates):
    dropped = ["visit", "patient", "at", "weight", "lean"]
    declare(project, f'target="ill", drop={dropped}, duplicates="{duplicates}", split="time", window=7')
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date, visits("2026-11-01"))
        with pytest.raises(NotEnoughDataError, match="no earlier one has another batch"):
            project.run(date, stores)


def test_an_old_interval_run_again_is_not_compared_on_what_the_champion_has_learnt(project, stores):
    declare(project, 'target="ill", key="visit", drop=["patient", "at", "weight", "lean"], split="time", window=2')
    bring(project, "2026-11-01", "2026-11-02", "2026-11-03")
    with pytest.raises(NotEnoughDataError):
        project.run("2026-11-01", stores)
    project.run("2026-11-02", stores)
    project.run("2026-11-03", stores)
    again = project.run("2026-11-02", stores, force=True)
    assert again.run["comparison"] is None
    assert "was trained on all 240 test samples" in " ".join(again.run["warnings"])
    assert not again.promoted


@pytest.mark.parametrize(
    ("declared", "column", "value", "code"),
    [
        ('groups="patient"', "patient", None, "null-group"),
        ('order_by="at"', "at", None, "null-order"),
        ('sample_weight="weight"', "weight", None, "null-weight"),
        ('sample_weight="weight"', "weight", -0.5, "negative-weight"),
    ],
)
def test_rows_without_a_group_an_order_or_a_weight_are_refused(project, stores, declared, column, value, code):
    declare(project, f'target="ill", key="visit", {declared}')
    rows = visits("2026-11-01")
    rows.loc[[3, 8], column] = value
    project.bring("2026-11-01", rows)
    with pytest.raises(BatchRejectedError) as caught:
        project.run("2026-11-01", stores)
    (problem,) = caught.value.problems
    assert (problem.code, problem.column, list(problem.rows)) == (code, column, [4, 9])


def test_weights_of_zero_are_taken(project, stores):
    declare(project, 'target="ill", key="visit", drop=["patient", "at", "lean"], sample_weight="weight"')
    project.bring("2026-11-01", visits("2026-11-01").assign(weight=lambda rows: (rows["age"] > 50).astype(int)))
    _, tuned, scores = searched(project, "2026-11-01", stores)
    assert tuned.n_candidates == 2
    assert 0 < scores["accuracy"] <= 1


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ('sample_weight="patient"', "sample_weight patient is text; allowed is int, float"),
        ('order_by="patient"', "order_by patient is text; allowed is int, float, date"),
        ('groups="pateint"', "pateint.*did you mean 'patient'"),
    ],
)
def test_a_column_that_cannot_be_it_is_refused(project, stores, declared, said):
    declare(project, f'target="ill", key="visit", {declared}')
    bring(project, "2026-11-01")
    with pytest.raises(BatchRejectedError, match=said):
        project.run("2026-11-01", stores)


def test_groups_are_fixed_by_the_first_batch_and_the_others_may_be_declared_later(project, stores):
    base = 'target="ill", key="visit", drop=["patient", "at", "weight", "lean"]'
    declare(project, base)
    bring(project, "2026-11-01", "2026-11-02")
    project.run("2026-11-01", stores)
    declare(project, f'{base}, groups="patient"')
    with pytest.raises(ExperimentError, match="declares the groups 'patient'; its first batch fixed None"):
        project.run("2026-11-02", stores)
    declare(project, f'{base}, order_by="patient"')
    with pytest.raises(ExperimentError, match="order_by patient is text"):
        project.run("2026-11-02", stores)
    declare(project, f'{base}, order_by="at"', "classifier.set_params(cv=TimeSeriesSplit(3))")
    assert project.run("2026-11-02", stores).run["cv_folds"] == 3


def test_without_a_key_no_feature_becomes_a_weight_later(project, stores):
    declare(project, 'target="ill", drop=["visit", "patient", "at", "lean"]')
    bring(project, "2026-11-01", "2026-11-02")
    project.run("2026-11-01", stores)
    declare(project, 'target="ill", drop=["visit", "patient", "at", "lean"], sample_weight="weight"')
    with pytest.raises(ExperimentError, match="without a key they say which samples are for testing"):
        project.run("2026-11-02", stores)


def test_models_are_asked_without_groups_weights_and_order(project, stores):
    declare(project, 'target="ill", key="visit", drop="lean weight".split(), groups="patient", order_by="at"')
    bring(project, "2026-11-01")
    project.run("2026-11-01", stores)
    rows = visits("2026-11-02")[["visit", *FEATURES]]
    given = project.folder / "ask.csv"
    rows.to_csv(given, index=False)
    from diurnal.pipeline.predict import predict_batches
    from diurnal.sources import Files, record_batches

    batches = record_batches(Files(str(given)), day("2026-11-02"), stores.connections)
    answers = pa.concat_tables(predict_batches(stores, "clinic", batches))
    assert answers.num_rows == len(rows)
    assert answers.column_names[:2] == ["visit", "prediction"]


def test_too_few_groups_for_the_folds_are_not_enough_data_yet(project, stores):
    declare(
        project,
        'target="ill", key="visit", drop=["at", "weight", "lean"], groups="patient"',
        "classifier.set_params(cv=GroupKFold(5))",
    )
    bring(project, "2026-11-01", patients=4)
    with pytest.raises(NotEnoughDataError, match="greater than the number of groups"):
        project.run("2026-11-01", stores)


def test_a_contract_without_groups_weights_and_order_is_what_it_was():
    plain = {
        "columns": [{"name": "a", "kind": "int", "nullable": True, "categories": None}],
        "target": "y", "key": [], "drop": [], "task": "regression", "classes": None, "duplicates": "drop",
    }  # fmt: skip
    schema = Schema.from_dict(plain)
    assert not schema.metadata
    assert "metadata" not in schema.to_dict()
    assert Schema.from_dict(schema.to_dict()) == schema


@pytest.mark.parametrize(
    ("declared", "returned"),
    [
        ('groups="patient", order_by="at"', "classifier.set_params(cv=GroupKFold(3))"),
        ('order_by="at", split="time", window=2', "classifier.set_params(cv=TimeSeriesSplit(3))"),
    ],
)
def test_a_dry_run_tries_them(project, stores, declared, returned):
    declare(project, f'target="ill", key="visit", drop=["patient", "at", "weight", "lean"], {declared}', returned)
    bring(project, "2026-11-01")
    found = dry_run(day_of(project, "2026-11-01", stores))
    assert (found.faults, found.n_rows, found.tried) == ([], 240, ["Pipeline"])
