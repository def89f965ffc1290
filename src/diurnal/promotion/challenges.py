"""An anytime-valid test of a challenger by betting over successive batches: pure functions of the earlier bets.

The null hypothesis is that of the paired tests: given all earlier batches, the answers of the two models to a batch are
exchangeable, or the challenger is worse. The payoff of a batch, :attr:`Match.payoff`, is the difference of the two
one-sided p-values of the paired test of the declared score. Under the null hypothesis it lies in [-1, 1] and has a mean
of at most 0, for any score and scale, and for any dependence between the rows of a batch.

A bet with a fixed stake multiplies a fortune by ``1 + stake * payoff``. This factor is never negative, and its mean is
at most 1, so that the fortune is a test supermartingale [1]_ [2]_. The wealth is the mean of the fortunes of
:data:`STAKES`, which is one as well (a diversified bet of [1]_). By Ville's inequality [3]_ the probability that it
ever reaches ``1 / share`` is at most `share`: it may be checked after each batch, and the test may end at any time. For
sequences of differences of scores, see also [4]_.

All challengers of a calendar year share one budget, :data:`BUDGET`. A challenge takes :data:`FRACTION` of what is left
of the budget as its share; when it ends without a victory, it returns ``share * min(1, wealth)``. With equal models,
the budget plus the value of the open challenge, ``spare + share * wealth``, is a supermartingale too, and a false
victory makes it at least 1. Therefore, in a year that begins without an open challenge, the probability of a false
promotion is at most `BUDGET`, for any number of challengers, and also if others of them are better and win. A challenge
that continues into the next year takes its share from the budget of that year. As a year adds at most `BUDGET`, and a
false promotion costs 1, the expected number of false promotions per year is at most `BUDGET`.

References
----------
.. [1] I. Waudby-Smith, A. Ramdas, Estimating means of bounded random variables by betting, Journal of the Royal
   Statistical Society B 86 (2024), 1-27.
.. [2] G. Shafer, Testing by betting: a strategy for statistical and scientific communication, Journal of the Royal
   Statistical Society A 184 (2021), 407-431.
.. [3] J. Ville, Étude critique de la notion de collectif (1939), chapter 5.
.. [4] Y. J. Choe, A. Ramdas, Comparing sequential forecasters, Operations Research 72 (2024), 1368-1387.
"""

from __future__ import annotations

from diurnal.types import Bet, DataInterval, Match, Standing
from diurnal.types.challenge import Ending

BUDGET = 0.03
"""Maximal fraction of years with a false promotion: 5 %, less a margin for paired tests that are approximate."""

FRACTION = 0.5
"""Fraction of the remaining budget of a year that the next challenge takes."""

STAKES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Fractions of a fortune that are bet on each batch. Each fortune starts at 1; the wealth is their mean."""

MIN_WEALTH = 0.25
"""A challenger with less wealth has lost."""

MAX_BATCHES = 120
"""Number of batches without a victory after which the newest version becomes the challenger."""


def reason_against_bet(standing: Standing, match: Match, interval: DataInterval) -> str | None:
    """Return the reason why a match gets no bet, or None.

    Parameters
    ----------
    standing : Standing
        The champion and the challenge at the time of the decision.
    match : Match
        The evidence, which `evaluate` computed before.
    interval : DataInterval
        The data interval of the batch.
    """
    number = standing.champion.version if standing.champion else None
    if match.champion != number:
        return f"version {match.challenger} was scored against version {match.champion}, and the champion is {number}"
    last, open_bet = standing.last, standing.open_bet
    if last is not None and interval.start < last.interval.end:
        newest = last.interval.in_timezone(interval.timezone)
        return f"the data interval is not after {newest}, the newest one with a bet: bets are in order, one for each"
    if open_bet is not None and open_bet.challenger != match.challenger:
        return f"version {match.challenger} was scored, and version {open_bet.challenger} is the challenger"
    return None


def next_bet(standing: Standing, match: Match, interval: DataInterval) -> Bet:
    """Return the bet on a match, with the state of the challenge after it.

    Parameters
    ----------
    standing : Standing
        The champion, which must exist, and the challenge at the time of the decision.
    match : Match
        A match for which :func:`reason_against_bet` returns None.
    interval : DataInterval
        The data interval of the batch.

    Examples
    --------
    >>> from datetime import datetime, timezone
    >>> from diurnal.types import ModelVersion
    >>> day = DataInterval(datetime(2026, 11, 23, tzinfo=timezone.utc), datetime(2026, 11, 24, tzinfo=timezone.utc))
    >>> champion = ModelVersion("x", 1, "r", day, "p", "d")
    >>> bet = next_bet(Standing(champion, 1), Match(2, 1, 100, p_worse=0.9, p_better=0.1), day)
    >>> round(bet.threshold, 1), round(bet.wealth, 3), bet.ended
    (66.7, 1.4, None)
    """
    year = interval.local.start.year
    open_bet, last = standing.open_bet, standing.last
    if open_bet is not None:
        share, spare = open_bet.share, _budget(standing, year)
    else:
        share = FRACTION * _budget(standing, year)
        spare = _budget(standing, year) - share
    before = open_bet.fortunes if open_bet else tuple(1.0 for _ in STAKES)
    fortunes = tuple(f * (1 + stake * match.payoff) for f, stake in zip(before, STAKES, strict=True))
    wealth, n_batches = sum(fortunes) / len(fortunes), open_bet.n_batches + 1 if open_bet else 1
    return Bet(
        interval=interval,
        challenge=open_bet.challenge if open_bet else last.challenge + 1 if last else 1,
        challenger=match.challenger,
        champion=match.champion,
        promotion=standing.promotion or 0,
        year=year,
        share=share,
        spare=spare,
        n_batches=n_batches,
        payoff=match.payoff,
        fortunes=fortunes,
        wealth=wealth,
        ended="unusable" if match.unusable else _ending(wealth, share, n_batches),
    )


def _budget(standing: Standing, year: int) -> float:
    """Return the remaining budget of a year, without the share of an open challenge."""
    last, open_bet = standing.last, standing.open_bet
    if last is None:
        return BUDGET
    if year > last.year:  # an open challenge takes its share from the budget of the new year
        return BUDGET - (open_bet.share if open_bet else 0.0)
    if open_bet or last.ended == "won":
        return last.spare
    return last.spare + last.share * min(1.0, last.wealth)


def _ending(wealth: float, share: float, n_batches: int) -> Ending | None:
    if wealth * share >= 1:
        return "won"
    if wealth < MIN_WEALTH:
        return "lost"
    return "exhausted" if n_batches >= MAX_BATCHES else None


def verdict_of(bet: Bet) -> str:
    """Return the state of a challenge as a clause.

    Parameters
    ----------
    bet : Bet
        The newest bet of the challenge.
    """
    batches = f"{bet.n_batches} batch{'es' * (bet.n_batches > 1)}"
    wealth = f"wealth {bet.wealth:.3g} of {bet.threshold:.3g} after {batches}"
    challenger, champion = f"version {bet.challenger}", f"the champion (version {bet.champion})"
    if bet.ended is None:
        return f"{challenger} challenges {champion}: {wealth}"
    verdicts = {
        "won": f"{challenger} is proven better than {champion}",
        "lost": f"{challenger} has lost against {champion}; the newest version challenges next",
        "exhausted": f"{challenger} is not proven better than {champion}; the newest version challenges next",
        "unusable": f"{challenger} cannot challenge {champion} any more; the newest version challenges next",
    }
    return f"{verdicts[bet.ended]}: {wealth}"
