"""Who becomes the champion."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from diurnal.errors import UsageError
from diurnal.promotion import POLICIES, compare, decide
from diurnal.values import Comparison, DataInterval, Evaluation, ModelVersion, Run


def day(n):
    start = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=n)
    return DataInterval(start, start + timedelta(days=1))


RUN = Run("r", "flowers", day(5), 1, "b", "w", "c")
CHAMPION = ModelVersion("flowers", 3, "r3", day(4), "flowers/x", "d")
COMPARISON = Comparison(
    n_compared=200,
    twin_score=0.9,
    champion_score=0.91,
    twin_wins=8,
    champion_wins=11,
    p_worse=0.32,
    test="exact McNemar",
)
EVALUATION = Evaluation(RUN, 0.9, {"accuracy": 0.9}, 200, champion_version=3, comparison=COMPARISON)


def decided(policy, evaluation=EVALUATION, interval=RUN.interval, champion=CHAMPION):
    return decide(policy, evaluation=evaluation, interval=interval, champion=champion)


@pytest.mark.parametrize(
    ("policy", "promoted"), [("always", True), ("guarded", True), ("approve", False), ("never", False)]
)
def test_decide_without_a_champion(policy, promoted):
    first = replace(EVALUATION, champion_version=None, comparison=None)
    decision = decided(policy, first, champion=None)
    assert decision.promoted is promoted
    assert decision.reason


@pytest.mark.parametrize("policy", POLICIES)
def test_an_old_day_never_dethrones(policy):
    assert not decided(policy, interval=day(3)).promoted
    assert decided(policy, interval=day(4)).promoted is (policy not in ("approve", "never")), (
        "the same day may be learnt again"
    )


def test_decide_always_and_never():
    worse = replace(EVALUATION, comparison=replace(COMPARISON, p_worse=1e-9))
    assert decided("always", worse).promoted
    assert not decided("never").promoted


@pytest.mark.parametrize(
    ("p_worse", "promoted"), [(1.0, True), (0.01, True), (0.0099, False), (0.0, False), (float("nan"), False)]
)
def test_guarded_asks_for_more_than_chance(p_worse, promoted):
    evaluation = replace(EVALUATION, comparison=replace(COMPARISON, p_worse=p_worse))
    assert decided("guarded", evaluation).promoted is promoted


def test_guarded_gives_its_evidence_in_words():
    assert decided("guarded").reason == (
        "not worse by more than chance: of 200 samples new to both, the twin was nearer to the truth on 8 and the "
        "champion (version 3) on 11 (exact McNemar, p = 0.32); scores 0.9 and 0.91"
    )


@pytest.mark.parametrize(("why", "promoted"), [("nothing-new", True), ("unusable", True), ("no-evidence", False)])
def test_guarded_without_a_comparison_asks_why(why, promoted):
    decision = decided("guarded", replace(EVALUATION, comparison=None, uncompared=why))
    assert decision.promoted == promoted


@pytest.mark.parametrize("seen", [2, None])
def test_guarded_refuses_stale_evidence(seen):
    decision = decided("guarded", replace(EVALUATION, champion_version=seen))
    assert not decision.promoted
    assert "--force" in decision.reason
    assert decided("always", replace(EVALUATION, champion_version=seen)).promoted


def test_an_unknown_policy_is_refused():
    with pytest.raises(UsageError, match="did you mean 'guarded'"):
        decided("guarde")


def test_compare_counts_discordant_labels():
    y = np.array(["a"] * 12)
    twin = np.array(["a"] * 2 + ["b"] * 10)
    champion = np.array(["b"] + ["a"] * 10 + ["b"])
    twin_wins, champion_wins, p_worse, test = compare(y, twin, champion, classification=True)
    assert (twin_wins, champion_wins, test) == (1, 9, "exact McNemar")
    assert p_worse == pytest.approx(11 / 1024)


def test_compare_ranks_errors():
    y = np.zeros(6)
    far, near = np.array([1.0, -2, 3, -4, 5, 6]), np.full(6, 0.5)
    assert compare(y, far, near, classification=False) == (0, 6, 1 / 64, "Wilcoxon signed-rank")
    assert compare(y, near, far, classification=False) == (6, 0, 1.0, "Wilcoxon signed-rank")


def test_compare_of_equals_is_no_evidence():
    for classification in (True, False):
        twin_wins, champion_wins, p_worse, _ = compare([1, 2], [1, 1], [1, 1], classification=classification)
        assert (twin_wins, champion_wins, p_worse) == (0, 0, 1.0)


def test_compare_takes_what_is_no_number_for_far_off():
    y = np.zeros(20)
    twin = np.full(20, np.nan)
    assert compare(y, twin, np.ones(20), classification=False)[2] < 0.001
    assert compare(y, twin, twin, classification=False)[2] == 1.0


def test_compare_refuses_other_shapes():
    with pytest.raises(UsageError, match="shapes"):
        compare([1, 2], [1, 2], [1], classification=True)


def share_refused(n_days, draw, *, classification):
    rng = np.random.default_rng(11)
    refused = [compare(*draw(rng), classification=classification)[2] < 0.01 for _ in range(n_days)]
    return float(np.mean(refused))


def labels(twin_skill, champion_skill, n):
    """Draw a day on which both are right or wrong independently: the noisiest case."""

    def draw(rng):
        return np.ones(n), rng.random(n) < twin_skill, rng.random(n) < champion_skill

    return draw


def numbers(twin_noise, champion_noise, n):
    def draw(rng):
        y = rng.normal(size=n)
        return y, y + twin_noise * rng.standard_t(3, n), y + champion_noise * rng.standard_t(3, n)

    return draw


def test_an_equal_challenger_is_turned_away_on_one_day_in_a_hundred():
    assert share_refused(1500, labels(0.9, 0.9, 300), classification=True) <= 0.016
    assert share_refused(600, numbers(1, 1, 200), classification=False) <= 0.02


def test_a_worse_challenger_is_turned_away():
    assert share_refused(200, labels(0.86, 0.9, 2000), classification=True) >= 0.9
    assert share_refused(200, numbers(1.3, 1, 500), classification=False) >= 0.9
