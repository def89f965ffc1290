"""Logistic regressions in lockstep, of which only labels are scored."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, make_classification
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diurnal.search import traversal, tune
from diurnal.search.families.family_protocol import DesignMatrix, UnsupportedData
from diurnal.search.families.logistic_labels import MIN_MEMBERS, LogisticLabelFamily, LogisticLabels
from diurnal.search.families.logistic_lockstep import NOT_CERTAIN
from diurnal.search.tree import PipelineStep, own_params
from searching import same

CANCER = load_breast_cancer(return_X_y=True)
COMPONENTS = PCA().fit_transform(StandardScaler().fit_transform(CANCER[0]))
GRID = {"pca__n_components": [1, 2, 3, 4, 6, 9, 14], "logisticregression__C": np.logspace(-3, 3, 10)}


def members(n_columns=(), **options):
    """Return steps for several C and sizes, and the columns that each uses."""
    logistic = LogisticRegression(**{"max_iter": 1000, **options})
    pairs = [(C, n) for C in (1e-3, 0.1, 1.0, 30.0) for n in (*n_columns, None)]
    changes = [({"C": C}, n) for C, n in pairs]
    return [PipelineStep((), tuple(c.items()), logistic, c, own_params(logistic)) for c, _ in changes], [
        n for _, n in changes
    ]


def fit(X, y, *, weights=None, n_columns=(), **options):
    steps, columns = members(n_columns, **options)
    fit_params = {} if weights is None else {"sample_weight": weights}
    return steps, columns, LogisticLabels(steps, [DesignMatrix(X, n) for n in columns], y, fit_params)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False, "tol": 1e-5}, {"class_weight": "balanced"}])
def test_labels_and_iterations_are_scikit_learns_on_leading_columns(options, weighted):
    y = np.array(["benign", "malign"])[CANCER[1]]
    weights = np.random.default_rng(0).uniform(0.2, 3, len(y)) if weighted else None
    steps, columns, fits = fit(COMPONENTS, y, weights=weights, n_columns=(1, 2, 7, 20), **options)
    labels = fits.predict_labels([COMPONENTS] * len(steps))
    assert sum(own is not None for own in labels) > len(steps) / 2
    for i, (step, n) in enumerate(zip(steps, columns, strict=True)):
        if labels[i] is None:
            continue
        X = np.ascontiguousarray(COMPONENTS[:, :n])
        reference = step.build().fit(X, y, weights)
        assert fits.n_iter[i] == reference.n_iter_[0]
        np.testing.assert_array_equal(labels[i], reference.predict(X))
        W, b = fits.state.coefficients(np.array([i]))
        decisions = reference.decision_function(X)
        np.testing.assert_allclose(W[0, : X.shape[1]] @ X.T + b[0], decisions, atol=1e-8 * np.abs(decisions).max())


@pytest.mark.parametrize("seed", range(6))
def test_what_is_certain_is_equal_on_collinear_rare_and_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    X, y = make_classification(int(rng.integers(40, 300)), 12, n_redundant=6, weights=[0.8], random_state=seed)
    X[:, 3], X[: len(X) // 3] = X[:, 2], np.round(X[: len(X) // 3])
    steps, columns, fits = fit(X, y, n_columns=(2, 5))
    for i, labels in enumerate(fits.predict_labels([X] * len(steps))):
        reference = steps[i].build().fit(np.ascontiguousarray(X[:, : columns[i]]), y)
        assert fits.n_iter[i] in (NOT_CERTAIN, reference.n_iter_[0])
        assert labels is None or np.array_equal(labels, reference.predict(X[:, : columns[i]]))


@pytest.mark.parametrize(
    ("X", "options"),
    [(CANCER[0], {}), (COMPONENTS, {"max_iter": 2}), (np.zeros_like(COMPONENTS), {})],
    ids=["large columns", "not converged", "zeros"],
)
def test_what_is_not_certain_has_no_labels(X, options):
    steps, _, fits = fit(X, CANCER[1], **options)
    assert fits.predict_labels([X] * len(steps)) == [None] * len(steps)
    with pytest.raises(UnsupportedData, match="only labels are certain"):
        fits.estimator(0)


def test_several_classes_large_matrices_and_few_members_are_left_to_other_fits():
    with pytest.raises(UnsupportedData, match="two classes"):
        fit(*load_iris(return_X_y=True))
    family, step = LogisticLabelFamily(), members()[0][0]
    for X, n in ((np.zeros((5000, 30)), MIN_MEMBERS), (COMPONENTS, MIN_MEMBERS - 1)):
        with pytest.raises(UnsupportedData, match="few members"):
            family.fit([step] * n, [DesignMatrix(X)] * n, CANCER[1], {})
    assert family.group_key(members(tol=1e-9)[0][0]) is None


@pytest.mark.parametrize(
    ("final", "grid", "scoring"),
    [
        (make_pipeline(StandardScaler(), PCA(), LogisticRegression(max_iter=300)), GRID, None),
        (make_pipeline(StandardScaler(), PCA(), LogisticRegression()), GRID, "f1"),
        (LogisticRegression(), {"C": np.logspace(-3, 1, MIN_MEMBERS), "max_iter": [300]}, None),
    ],
)
def test_a_search_gives_the_same_with_labels_in_lockstep(final, grid, scoring):
    X = COMPONENTS[:, :8] if isinstance(final, LogisticRegression) else CANCER[0]
    same(GridSearchCV(final, grid, cv=2, scoring=scoring, return_train_score=True), X, CANCER[1])


def test_only_what_is_not_certain_is_fitted_again(monkeypatch):
    fitted, fit_family = [], traversal.fit_final_family
    monkeypatch.setattr(
        traversal, "fit_final_family", lambda *args: fitted.append((args[1], len(args[2]))) or fit_family(*args)
    )
    chain = make_pipeline(StandardScaler(), PCA(), LogisticRegression())
    tune(GridSearchCV(chain, GRID, cv=2, refit=False), *CANCER)
    in_lockstep = [n for family, n in fitted if type(family) is LogisticLabelFamily]
    assert in_lockstep == [70, 70]
    assert sum(n for _, n in fitted) < 1.5 * sum(in_lockstep)


def test_a_fit_that_uses_all_its_iterations_warns_and_has_no_labels():
    _, _, fits = fit(COMPONENTS[:, :5], CANCER[1])
    n_iter = fits.n_iter[2]  # of C = 1
    assert n_iter > 1
    assert fit(COMPONENTS[:, :5], CANCER[1], max_iter=n_iter)[2].n_iter[2] == NOT_CERTAIN
    assert fit(COMPONENTS[:, :5], CANCER[1], max_iter=n_iter + 1)[2].n_iter[2] == n_iter


def test_more_than_20_iterations_are_certain_only_with_a_strong_penalty():
    X = np.ascontiguousarray(COMPONENTS[:, :15])
    for C, is_certain in ((90.0, True), (1000.0, False)):
        logistic = LogisticRegression(C=C)
        n_iter = logistic.fit(X, CANCER[1]).n_iter_[0]
        assert n_iter > 20
        step = PipelineStep((), (), logistic, {}, own_params(logistic))
        assert LogisticLabels([step], [DesignMatrix(X)], CANCER[1], {}).n_iter == [
            n_iter if is_certain else NOT_CERTAIN
        ]
