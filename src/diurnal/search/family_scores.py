"""Scores of the members of a family of final estimators, which were fitted together."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from diurnal.search import scoring
from diurnal.search.families.family_protocol import FittedGroup
from diurnal.search.fold import FoldRunner, TransformedFold
from diurnal.search.tree import FinalEstimator


@dataclass(frozen=True, eq=False, slots=True)
class GroupedCandidate:
    """A final estimator that is fitted together with others of its family.

    Attributes
    ----------
    leaf : FinalEstimator
    data : TransformedFold
        The data that it is fitted and scored on.
    n_columns : int or None
        The number of leading columns of the data that it uses; None for all.
    """

    leaf: FinalEstimator
    data: TransformedFold
    n_columns: int | None = None


@dataclass(frozen=True, eq=False, slots=True)
class PredictedLabels:
    """The labels that a candidate predicts for test rows and for train rows; None where they are not certain."""

    test: Any = None
    train: Any = None


def score_family(fold: FoldRunner, fits: FittedGroup, members: list[GroupedCandidate], fit_seconds: float) -> None:
    """Score what was fitted together.

    A member has one of three ways to its score:

    1. The score is the accuracy, and its labels are certain: count the labels, without building the estimator.
    2. Its labels are certain, or the fit is exact: build the estimator, and score it as scikit-learn does.
    3. Neither: it keeps no result, and is fitted on its own afterwards.
    """
    start = time.perf_counter()
    predicted = _predict_labels(fold, fits, members)
    predict_seconds = (time.perf_counter() - start) / len(members)
    is_accuracy = scoring.is_accuracy(fold.scorer, members[0].leaf.step.template)
    counts_labels = fold.score_params.only_weights and is_accuracy

    def score(i: int) -> None:
        member, labels = members[i], predicted[i]
        is_certain = labels.test is not None and (labels.train is not None or not fold.with_train_scores)
        with fold.suppress_failures(member.leaf.candidates):
            if is_certain and counts_labels:
                fits.emit_warnings(i)
                _write_accuracy(fold, member, labels, fit_seconds, predict_seconds)
            elif is_certain or fits.exact:
                fold.score_final(member.leaf, fits.estimator(i), _leading_columns(member), fit_seconds)

    fold.map_tasks(score, range(len(members)))


def _write_accuracy(
    fold: FoldRunner, member: GroupedCandidate, labels: PredictedLabels, fit_seconds: float, predict_seconds: float
) -> None:
    """Write the accuracy of predicted labels as the result of a member."""
    data, params = member.data, fold.score_params
    params.check_routing(data.steps, member.leaf.step)
    test_score = scoring.compute_accuracy(fold.y_test, labels.test, params.on_test.get("sample_weight"))
    train_score = None
    if fold.with_train_scores:
        train_score = scoring.compute_accuracy(fold.y_train, labels.train, params.on_train.get("sample_weight"))
    seconds = data.fit_seconds + fit_seconds, data.score_seconds + predict_seconds
    fold.write_results(member.leaf, test_score, train_score, *seconds)


def _predict_labels(fold: FoldRunner, fits: FittedGroup, members: list[GroupedCandidate]) -> list[PredictedLabels]:
    """Return the labels that each member predicts, if the score depends on labels or the ranking of rows only."""
    final = members[0].leaf.step.template
    needs_ranking = not scoring.uses_labels_only(fold.scorer, final)
    if needs_ranking and (fits.exact or not fold.scores_ranking(final)):
        return [PredictedLabels() for _ in members]
    # Where the ranking counts, labels are returned only if the ranking of rows of different classes is certain too.
    test_classes, train_classes = (fold.y_test, fold.y_train) if needs_ranking else (None, None)
    test = fits.predict_labels([m.data.X_test for m in members], test_classes)
    train = None
    if fold.with_train_scores:
        train = fits.predict_labels([m.data.X_train for m in members], train_classes)
    uncertain: list[Any] = [None] * len(members)
    return [PredictedLabels(*labels) for labels in zip(test or uncertain, train or uncertain, strict=True)]


def _leading_columns(member: GroupedCandidate) -> TransformedFold:
    """Return the data of a member, restricted to the columns that it uses."""
    data, n = member.data, member.n_columns
    if n is None:
        return data
    X_fit, X_test, X_train = (None if X is None else X[:, :n] for X in (data.X_fit, data.X_test, data.X_train))
    return replace(data, X_fit=X_fit, X_test=X_test, X_train=X_train)
