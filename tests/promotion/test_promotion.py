"""Who becomes the champion."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from diurnal.errors import UsageError
from diurnal.promotion.decision import POLICIES, decide_promotion
from diurnal.types import Comparison, DataInterval, Evaluation, ModelVersion, Run, Standing


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
    p_better=0.82,
    difference=-0.015,
    low=-0.06,
    high=0.03,
    n_tested=200,
    test="exact McNemar",
)
EVALUATION = Evaluation(RUN, 0.9, {"accuracy": 0.9}, 200, champion_version=3, comparison=COMPARISON)


def decided(policy, evaluation=EVALUATION, interval=RUN.interval, champion=CHAMPION):
    return decide_promotion(policy, evaluation=evaluation, interval=interval, standing=Standing(champion, 3))


@pytest.mark.parametrize(
    ("policy", "promoted"),
    [
        ("always", True),
        ("guarded", True),
        ("superior", True),
        ("proven", True),
        ("approve", False),
        ("never", False),
    ],
)
def test_decide_without_a_champion(policy, promoted):
    first = replace(EVALUATION, champion_version=None, comparison=None)
    decision = decided(policy, first, champion=None)
    assert decision.promoted is promoted
    assert decision.reason


@pytest.mark.parametrize("policy", POLICIES)
def test_an_old_day_never_dethrones(policy):
    assert not decided(policy, interval=day(3)).promoted
    better = replace(EVALUATION, comparison=replace(COMPARISON, p_better=0.001))
    assert decided(policy, better, interval=day(4)).promoted is (policy not in ("approve", "never", "proven")), (
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
        "not worse by more than chance: twin 0.9, champion (version 3) 0.91, difference -0.015 (95 % interval -0.06 to "
        "+0.03); exact McNemar on 200 samples new to both, p = 0.32"
    )
    assert decided("superior").reason.startswith("not better by more than chance: twin 0.9, champion (version 3) 0.91")
    assert decided("superior").reason.endswith("p = 0.82")


def test_a_bounded_sample_is_named_in_the_evidence():
    evaluation = replace(EVALUATION, comparison=replace(COMPARISON, n_tested=50, low=None, twin_score=None))
    assert decided("guarded", evaluation).reason == (
        "not worse by more than chance: twin undefined, champion (version 3) 0.91, difference -0.015; exact McNemar on "
        "50 of 200 samples new to both, p = 0.32"
    )


@pytest.mark.parametrize(
    ("p_better", "promoted"), [(0.0, True), (0.0049, True), (0.005, False), (1.0, False), (float("nan"), False)]
)
def test_superior_promotes_what_is_better_by_more_than_chance(p_better, promoted):
    evaluation = replace(EVALUATION, comparison=replace(COMPARISON, p_better=p_better))
    assert decided("superior", evaluation).promoted is promoted


@pytest.mark.parametrize(("why", "promoted"), [("nothing-new", False), ("unusable", True), ("no-evidence", False)])
def test_superior_without_a_comparison_keeps_the_champion_that_serves(why, promoted):
    assert decided("superior", replace(EVALUATION, comparison=None, uncompared=why)).promoted is promoted


def test_a_comparison_of_an_earlier_release_loads_and_decides():
    stored = {
        "n_compared": 200,
        "twin_score": 0.9,
        "champion_score": None,
        "twin_wins": 8,
        "champion_wins": 11,
        "p_worse": 0.32,
        "test": "exact McNemar",
    }
    evaluation = replace(EVALUATION, comparison=Comparison(**stored))
    assert decided("guarded", evaluation).promoted
    assert "champion (version 3) undefined; exact McNemar on 200 samples" in decided("guarded", evaluation).reason
    assert not decided("superior", evaluation).promoted
    assert "--force" in decided("superior", evaluation).reason


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
