"""How often the gate errs: years of days at equal skill, and days with a challenger that is worse.

Models are what they answer: for each sample, the twin and the champion give the truth with noise, most of which they
share, as two models of overlapping windows do. All that decides is the product's own: the declared scorer, the paired
test for it, and the policy. `make gate-simulation`; of fewer years with `--years 2`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from scipy.special import expit, ndtr
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC, SVR

from diurnal.backends.paired_tests import Paired
from diurnal.backends.sklearn import NO_METADATA, champion_test
from diurnal.promotion.decision import decide_promotion
from diurnal.types import Bet, Comparison, DataInterval, Evaluation, Match, ModelVersion, Run, Standing

DAYS = 365
START = datetime(2026, 1, 1, tzinfo=UTC)


class Labels(ClassifierMixin, BaseEstimator):
    """A classifier of yes and no, by the log odds that it gives each sample."""

    def __init__(self, odds: Any) -> None:
        self.odds = odds
        self.classes_ = np.array([0, 1])

    def predict(self, X: Any) -> np.ndarray:  # noqa: ARG002
        return (self.odds > 0).astype(int)

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: ARG002
        return self.odds

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: ARG002
        yes = expit(self.odds)
        return np.column_stack([1 - yes, yes])


class Numbers(RegressorMixin, BaseEstimator):
    """A regressor, by what it predicts."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers

    def predict(self, X: Any) -> np.ndarray:  # noqa: ARG002
        return self.numbers


class Answers:
    """The samples of a day, as the comparison reads them."""

    needs = NO_METADATA

    def __init__(self, y: np.ndarray) -> None:
        self.y, self.n_rows = y, len(y)

    def answers(self, model: Any, method: str = "predict") -> np.ndarray:
        return np.asarray(getattr(model, method)(None))


RunContext = tuple[Any, Any, np.ndarray]


def labels(rng: np.random.Generator, n: int, *, positive: float = 0.22, worse: float = 0.0) -> RunContext:
    """Draw samples and two classifiers of which the twin sees with so much less separation."""
    y = (rng.random(n) < positive).astype(int)
    common, own = rng.normal(size=n), rng.normal(size=(2, n))
    odds = [
        (2 * y - 1) * (1.0 - less) + np.sqrt(0.9) * common + np.sqrt(0.1) * noise
        for less, noise in zip((worse, 0.0), own, strict=True)
    ]
    return Labels(odds[0]), Labels(odds[1]), y


def right_or_wrong(rng: np.random.Generator, n: int, *, worse: float = 0.0) -> RunContext:
    """Draw two classifiers that are wrong on 10 % of the samples, and on 9 % of them both."""
    y = rng.integers(0, 2, n)
    either = rng.random(n)
    twin = np.where((either < 0.01 + worse) | (either > 0.91), 1 - y, y)
    champion = np.where(((either > 0.5) & (either < 0.51)) | (either > 0.91), 1 - y, y)
    return Labels(2.0 * twin - 1), Labels(2.0 * champion - 1), y


def heavy_tails(rng: np.random.Generator, n: int, *, worse: float = 0.0) -> RunContext:
    """Draw two regressors whose errors are Student's t with three degrees of freedom, correlated by 0.98."""
    y = rng.normal(size=n)
    common, own = rng.standard_t(3, n), rng.standard_t(3, (2, n))
    off = [np.sqrt(0.98) * common + np.sqrt(0.02) * noise for noise in own]
    return Numbers(y + (1 + worse) * off[0]), Numbers(y + off[1]), y


def search(estimator: Any, scoring: str) -> GridSearchCV:
    return GridSearchCV(estimator, {}, scoring=scoring)


@dataclass(frozen=True)
class Case:
    """A kind of days: the declared score, and how they are drawn."""

    scoring: str
    draw: Callable[..., RunContext]
    n: int
    worse: float
    worse_by: str

    @property
    def made(self) -> GridSearchCV:
        return search(SVR() if self.draw is heavy_tails else SVC(), self.scoring)


AUC_BY_003 = 0.1276  # of separation: an area of ndtr(sqrt(2) * 1) falls by 0.03
CASES = (
    Case("accuracy", right_or_wrong, 2_000, 0.02, "0.02"),
    Case("roc_auc", labels, 2_000, AUC_BY_003, "0.03"),
    Case("neg_log_loss", labels, 2_000, AUC_BY_003, "AUC 0.03"),
    Case("neg_brier_score", labels, 2_000, AUC_BY_003, "AUC 0.03"),
    Case("neg_mean_absolute_error", heavy_tails, 2_000, 0.03, "3 %"),
    Case("r2", heavy_tails, 2_000, 0.03, "error 3 %"),
    Case("accuracy", right_or_wrong, 280, 0.02, "0.02"),
    Case("roc_auc", labels, 280, AUC_BY_003, "0.03"),
    Case("neg_log_loss", labels, 280, AUC_BY_003, "AUC 0.03"),
    Case("neg_mean_absolute_error", heavy_tails, 280, 0.03, "3 %"),
    Case("roc_auc", labels, 30, AUC_BY_003, "0.03"),
    Case("neg_mean_absolute_error", heavy_tails, 30, 0.03, "3 %"),
)


def area_lost(separation_lost: float) -> float:
    """Give by how much the area falls: noise has variance 1, and the classes are 2 apart."""
    return float(ndtr(np.sqrt(2)) - ndtr(np.sqrt(2) * (1 - separation_lost)))


def compared(case: Case, rng: np.random.Generator, worse: float = 0.0) -> Paired:
    """Draw one day and compare its two models."""
    twin, champion, y = case.draw(rng, case.n, worse=worse)
    return champion_test.compare_models(case.made, twin, champion, Answers(y))


def decided(policy: str, found: Paired, n: int) -> bool:
    """Tell whether the policy promotes by this evidence."""
    interval = DataInterval(START, START + timedelta(days=1))
    if found.p_worse is None:
        evaluation = Evaluation(_run(interval), None, {}, n, 1, None, "no-evidence")
    else:
        evidence = Comparison(n_compared=n, twin_score=None, champion_score=None, **asdict(found))
        evaluation = Evaluation(_run(interval), None, {}, n, 1, evidence)
    champion = ModelVersion("x", 1, "r", interval, "p", "d")
    return decide_promotion(policy, evaluation=evaluation, interval=interval, standing=Standing(champion, 1)).promoted


def bets_on(days: Iterable[Paired], n: int) -> Iterator[Bet]:
    """Let the policy `proven` bet on each day's comparison, as of challenger and champion."""
    standing = Standing(ModelVersion("x", 1, "r", DataInterval(START - timedelta(days=1), START), "p", "d"), 1)
    for number, found in enumerate(days):
        interval = DataInterval(START + timedelta(days=number), START + timedelta(days=number + 1))
        match = _match(standing, number + 2, found, n)
        evaluation = Evaluation(_run(interval), None, {}, n, 1, match=match, unmatched=None if match else "undefined")
        decision = decide_promotion("proven", evaluation=evaluation, interval=interval, standing=standing)
        bet = decision.bet
        if bet is not None:
            yield bet
            standing = replace(standing, last=bet)
        if bet is not None and bet.ended == "won":
            crowned = ModelVersion("x", bet.challenger, "r", interval, "p", "d")
            standing = Standing(crowned, (standing.promotion or 0) + 1, bet)


def _match(standing: Standing, newest: int, found: Paired, n: int) -> Match | None:
    if found.p_worse is None or found.p_better is None or standing.champion is None:
        return None
    challenger = standing.open_bet.challenger if standing.open_bet else newest
    return Match(challenger, standing.champion.version, n, p_worse=found.p_worse, p_better=found.p_better)


def years_with_promotion(equal: Iterable[Paired], n: int, n_years: int) -> float:
    """Give the share of years in which a challenger is promoted; all of these promotions are false."""
    return len({bet.interval.start.year for bet in bets_on(equal, n) if bet.ended == "won"}) / n_years


def batches_until_promotion(worse: Iterable[Paired], n: int) -> float | None:
    """Give the mean number of batches until a challenger is promoted that is as much better as these are worse.

    Each time the year's budget is untouched.
    """
    better = (replace(one, p_worse=one.p_better, p_better=one.p_worse) for one in worse)
    counts = iter(lambda: _batches_until_promotion(better, n), None)
    found = [count for count in counts if count is not None]
    return float(np.mean(found)) if found else None


def _batches_until_promotion(better: Iterator[Paired], n: int) -> int | None:
    return next((number for number, bet in enumerate(bets_on(better, n), 1) if bet.ended == "won"), None)


def _run(interval: DataInterval) -> Run:
    return Run("r", "x", interval, 1, "b", "w", "c")


@dataclass(frozen=True)
class Rates:
    """Shares of days, of years, and the batches that a better challenger needs."""

    refused: float
    promoted: float
    proven: float
    batches: float | None
    covered: float
    detected: float


def rates(case: Case, n_days: int, n_worse: int, seed: int = 0) -> Rates:
    """Simulate days at equal skill, and days on which the twin is worse."""
    rng = np.random.default_rng(seed)
    equal = [compared(case, rng) for _ in range(n_days)]
    worse = [compared(case, rng, case.worse) for _ in range(n_worse)]
    return Rates(
        refused=float(np.mean([not decided("guarded", one, case.n) for one in equal])),
        promoted=float(np.mean([decided("superior", one, case.n) for one in equal])),
        proven=years_with_promotion(equal, case.n, max(1, n_days // DAYS)),
        batches=batches_until_promotion(worse, case.n),
        covered=float(np.mean([one.low is not None and one.low <= 0 <= (one.high or 0) for one in equal])),
        detected=float(np.mean([not decided("guarded", one, case.n) for one in worse])),
    )


def _batches(mean: float | None) -> str:
    return "more than a year" if mean is None else f"{mean:.0f} batches"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=200)
    parser.add_argument("--worse-days", type=int, default=1_000)
    given = parser.parse_args()
    champion_test.fit_context = (
        nullcontext  # no model is asked for numbers, and limiting BLAS takes ten times as long as a day
    )
    print(f"{given.years} years of {DAYS} days at equal skill, {given.worse_days} days with a worse challenger\n")
    print("| score | rows | `guarded` refuses an equal | `superior` promotes an equal ", end="")
    print("| years in which `proven` promotes an equal | interval holds 0 | worse by | `guarded` refuses ", end="")
    print("| `proven` promotes what is so much better after |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        found = rates(case, given.years * DAYS, given.worse_days)
        print(
            f"| {case.scoring} | {case.n} | {found.refused:.2%} | {found.promoted:.2%} | {found.proven:.1%} "
            f"| {found.covered:.1%} | {case.worse_by} | {found.detected:.1%} | {_batches(found.batches)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
