"""Betting on challengers: the wealth is a fair game at equal skill, and the budget of a year holds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diurnal.backends import paired_tests as paired
from diurnal.promotion.challenges import BUDGET, MAX_BATCHES, MIN_WEALTH, next_bet, reason_against_bet, verdict_of
from diurnal.types import DataInterval, Match, ModelVersion, Standing

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(n):
    return DataInterval(START + timedelta(days=n), START + timedelta(days=n + 1))


CHAMPION = ModelVersion("x", 1, "r", day(-1), "p", "d")
FRESH = Standing(CHAMPION, 1)
payoffs = st.lists(st.floats(-1, 1), min_size=1, max_size=400)


def match(payoff, challenger=2):
    return Match(challenger, 1, 100, p_worse=(1 + payoff) / 2, p_better=(1 - payoff) / 2)


def played(gains, standing=FRESH, first=0):
    """Bet on one batch after the other; a victory ends it."""
    bets = []
    for n, gain in enumerate(gains, first):
        standing = replace(standing, last=next_bet(standing, match(gain), day(n)))
        bets.append(standing.last)
        if standing.last.ended == "won":
            break
    return bets


@settings(max_examples=50, deadline=None)
@given(payoffs)
def test_what_bets_hold_at_all_times(gains):
    bets = played(gains)
    for before, bet in zip([None, *bets], bets, strict=False):
        assert bet.wealth >= 0
        assert bet.share > 0
        assert bet.spare >= 0
        assert bet.share + bet.spare <= BUDGET + 1e-12, "what has been given back is no more than was taken"
        assert bet.n_batches <= MAX_BATCHES
        assert (bet.ended == "won") == (bet.wealth >= bet.threshold)
        same = before is not None and before.ended is None
        assert bet.challenge == (before.challenge + (not same) if before else 1)
        assert bet.n_batches == (before.n_batches + 1 if same else 1)


def test_at_equal_skill_the_budget_is_a_fair_game():
    """Over all patterns of signs, the value of a year's budget never has a mean above what it was."""
    sizes = [1.0, 0.9, 0.2, 1.0, 0.6, 0.95, 1.0, 1.0, 1.0, 0.8]
    means = np.zeros(len(sizes))
    for signs in product((-1, 1), repeat=len(sizes)):
        bets = played([s * size for s, size in zip(signs, sizes, strict=True)])
        values = [bet.spare + bet.share * bet.wealth for bet in bets]
        means += [*values, *[values[-1]] * (len(sizes) - len(values))]
    assert (means / 2 ** len(sizes) <= BUDGET + 1e-12).all()
    assert means[0] / 2 ** len(sizes) == pytest.approx(BUDGET), "and nothing is given away"


def test_a_wealth_of_one_over_the_share_wins():
    bets = played([1.0] * 20)
    assert [bet.ended for bet in bets] == [None] * 8 + ["won"]
    assert bets[-1].share == BUDGET / 2
    said = verdict_of(bets[-1])
    assert said == "version 2 is proven better than the champion (version 1): wealth 98.5 of 66.7 after 9 batches"
    following = next_bet(Standing(CHAMPION, 2, bets[-1]), match(0.5), day(30))
    assert (following.share, following.spare) == (BUDGET / 4, BUDGET / 4), "a victory gives nothing back"


def test_a_challenger_loses_or_is_exhausted():
    lost = played([-1.0] * 3)
    assert [bet.ended for bet in lost] == [None, None, "lost"]
    assert lost[-1].wealth < MIN_WEALTH
    following = next_bet(Standing(CHAMPION, 1, lost[-1]), match(0.5, 9), day(30))
    assert following.share == pytest.approx((1 + lost[-1].wealth) * BUDGET / 4)
    assert played([0.0] * MAX_BATCHES)[-1].ended == "exhausted"
    assert played([0.0] * (MAX_BATCHES - 1))[-1].ended is None


def test_a_new_year_has_a_new_budget_less_the_share_of_what_goes_on():
    old = played([-0.5, 0.2], first=363)
    assert [bet.year for bet in old] == [2026, 2026]
    going_on = next_bet(Standing(CHAMPION, 1, old[-1]), match(0.1), day(365))
    assert (going_on.year, going_on.n_batches) == (2027, 3)
    assert (going_on.share, going_on.spare) == (BUDGET / 2, pytest.approx(BUDGET / 2))
    after_promotion = next_bet(Standing(CHAMPION, 2, old[-1]), match(0.1, 5), day(365))
    assert (after_promotion.share, after_promotion.n_batches) == (BUDGET / 2, 1)


def test_what_is_not_bet_on():
    last = played([0.1, 0.1])[-1]
    standing = replace(FRESH, last=last)
    assert reason_against_bet(standing, match(0.5), day(2)) is None
    assert "in order" in reason_against_bet(standing, match(0.5), day(1))
    assert "in order" in reason_against_bet(standing, match(0.5), day(-4))
    assert "version 2 is the challenger" in reason_against_bet(standing, match(0.5, 3), day(2))
    other = replace(standing, champion=replace(CHAMPION, version=4))
    assert "the champion is 4" in reason_against_bet(other, match(1), day(2))
    assert reason_against_bet(Standing(CHAMPION, 2, last), match(0.5, 3), day(2)) is None, (
        "a promotion ends a challenge"
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_exchanging_the_models_changes_the_sign_of_the_payoff_only(seed):
    rng = np.random.default_rng(seed)
    y, one, other = rng.integers(0, 2, 40), rng.normal(size=40).round(1), rng.normal(size=40).round(1)
    y[:2] = 0, 1

    def scores(first, second):
        def right(places, answers):
            return float(np.mean((answers > 0) == y[places]))

        return lambda places, swapped: (
            right(places, np.where(swapped, second[places], first[places])),
            right(places, np.where(swapped, first[places], second[places])),
        )

    for compare in (
        lambda a, b: paired.delong(y, a, b),
        lambda a, b: paired.sign_flips(a**2, b**2),
        lambda a, b: paired.resampled(scores(a, b), y, a != b),
    ):
        found, exchanged = compare(one, other), compare(other, one)
        assert found.p_worse - found.p_better == pytest.approx(exchanged.p_better - exchanged.p_worse, abs=1e-9)
        assert abs(found.p_worse - found.p_better) <= 1
