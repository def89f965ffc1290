"""Scores of the members of a family of final estimators, which were fitted together."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from diurnal.search import scoring
from diurnal.search.families.family_protocol import DesignMatrix, FittedGroup
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
    X_fit : matrix or None
        The matrix that it is fitted on, if that is not the one of the data: with the rounding of a fit on its own,
        which the leading columns may not have.
    """

    leaf: FinalEstimator
    data: TransformedFold
    n_columns: int | None = None
    X_fit: Any = None

    def design(self) -> DesignMatrix:
        """Return the matrix that it is fitted on."""
        return DesignMatrix(self.data.X_fit, self.n_columns) if self.X_fit is None else DesignMatrix(self.X_fit)


@dataclass(frozen=True, eq=False, slots=True)
class PredictedLabels:
    """The labels that a candidate predicts for test rows and for train rows; None where they are not certain."""

    test: Any = None
    train: Any = None


def score_family(fold: FoldRunner, fits: FittedGroup, members: list[GroupedCandidate], fit_seconds: float) -> None:
    """Score what was fitted together.

    A member has one of three ways to its score:

    1. The score depends on labels only, and these are certain: score the labels, without building the estimator.
    2. Its labels and ranking are certain, or the fit is exact: build the estimator, and score it as scikit-learn does.
    3. Neither: it keeps no result, and is fitted on its own afterwards.
    """
    start = time.perf_counter()
    predicted = _predict_labels(fold, fits, members)
    seconds = fit_seconds, (time.perf_counter() - start) / len(members)
    to_build = _score_labels(fold, fits, members, predicted, seconds)

    def score(i: int) -> None:
        with fold.suppress_failures(members[i].leaf.candidates):
            fold.score_final(members[i].leaf, fits.estimator(i), _leading_columns(members[i]), fit_seconds)

    fold.map_tasks(score, to_build)


def _score_labels(
    fold: FoldRunner,
    fits: FittedGroup,
    members: list[GroupedCandidate],
    predicted: list[PredictedLabels],
    seconds: tuple[float, float],
) -> list[int]:
    """Write the scores that labels are sufficient for; return the members whose estimators are to be built."""
    final, to_build = members[0].leaf.step.template, []
    scorer = scoring.LabelScorer(fold.scorer, final, fold.y_train) if fold.scores_labels(final) else None
    for i, (member, labels) in enumerate(zip(members, predicted, strict=True)):
        is_certain = labels.test is not None and (labels.train is not None or not fold.with_train_scores)
        if is_certain and scorer is not None:
            with fold.suppress_failures(member.leaf.candidates):
                fits.emit_warnings(i)
                _write_label_scores(fold, member, labels, scorer, seconds)
        elif (is_certain or fits.exact) and member.X_fit is None:
            to_build.append(i)
    fold.monitor.check_rng()  # of scorers
    return to_build


def _write_label_scores(
    fold: FoldRunner,
    member: GroupedCandidate,
    labels: PredictedLabels,
    scorer: scoring.LabelScorer,
    seconds: tuple[float, float],
) -> None:
    """Write the scores of predicted labels as the result of a member."""
    params, start = fold.score_params, time.perf_counter()
    params.check_routing(member.data.steps, member.leaf.step)
    test_scores, train_scores = scorer.score(labels.test, fold.y_test, params.on_test), None
    score_seconds = member.data.score_seconds + seconds[1] + time.perf_counter() - start
    if fold.with_train_scores:
        train_scores = scorer.score(labels.train, fold.y_train, params.on_train)
    fold.write_results(member.leaf, test_scores, train_scores, member.data.fit_seconds + seconds[0], score_seconds)


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
