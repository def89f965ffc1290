"""Testing a challenger by betting on it, batch after batch: pure functions of what was bet before.

The null hypothesis is that of the paired tests: given all batches before, the two models' answers to a batch are as
likely to be exchanged (or the challenger is worse). Then the payoff of a batch, :attr:`Match.payoff`, which is the
difference of the two one-sided p-values of the paired test of the declared score, lies in [-1, 1] and has a mean of at
most 0, whatever the score, its scale, and however the rows of a batch depend on each other. A stake of a fixed part of
what one has makes ``1 + stake * payoff`` of one, never less than nothing and on average no more than one: the wealth is
a test supermartingale [1]_ [2]_, here the mean over :data:`STAKES`, as in the diversified bets of [1]_. By Ville's
inequality [3]_ it ever reaches ``1 / share`` with a probability of at most `share`, so that it may be looked at after
each batch, and the test ends whenever it suits. For sequences of differences of scores, see also [4]_.

All challengers of a calendar year share one budget, :data:`BUDGET`. A challenge takes :data:`FRACTION` of what the
budget has; when it ends without a victory it gives back ``share * min(1, wealth)``. At equal skill the budget with the
value of the open challenge, ``spare + share * wealth``, is then a supermartingale too, and a false victory makes it at
least one. So a year that begins without an open challenge has a false promotion with a probability of at most `BUDGET`,
however many challengers it has, and also where others of them are better indeed and win. A challenge that goes on into
the next year takes its share from the budget of that year. As a year never adds more than `BUDGET`, and a false
promotion costs one, there are in expectation at most `BUDGET` false promotions a year over any number of years.

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
"""In at most so large a share of years an equal challenger becomes the champion: 5 %, less what an approximate paired
test may add."""

FRACTION = 0.5
"""Of what a year's budget has, the share of the next challenge."""

STAKES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Parts of a fortune that are bet on each batch; the wealth is the mean of what each makes of one."""

LEAST = 0.25
"""With less wealth a challenger has lost."""

MOST_BATCHES = 120
"""After so many batches without a victory the newest version takes a challenger's place."""


def reason_against_bet(standing: Standing, match: Match, interval: DataInterval) -> str | None:
    """Return why a match is not bet on; None if it is.

    Parameters
    ----------
    standing : Standing
        At the moment of the decision.
    match : Match
        The evidence, of some time before.
    interval : DataInterval
        Whose batch the match was on.
    """
    number = standing.champion.version if standing.champion else None
    if match.champion != number:
        return f"version {match.challenger} was scored against version {match.champion}, and the champion is {number}"
    last, going_on = standing.last, standing.open_bet
    if last is not None and interval.start < last.interval.end:
        newest = last.interval.in_timezone(interval.timezone)
        return f"the data interval is not after {newest}, the newest one with a bet: bets are in order, one for each"
    if going_on is not None and going_on.challenger != match.challenger:
        return f"version {match.challenger} was scored, and version {going_on.challenger} is the challenger"
    return None


def next_bet(standing: Standing, match: Match, interval: DataInterval) -> Bet:
    """Return the bet on a match, and how the challenge stands after it.

    Parameters
    ----------
    standing : Standing
        At the moment of the decision; it has a champion.
    match : Match
        What :func:`reason_against_bet` has no objection to.
    interval : DataInterval
        Whose batch the match was on.

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
    going_on, last = standing.open_bet, standing.last
    if going_on is not None:
        share, spare = going_on.share, _budget(standing, year)
    else:
        share = FRACTION * _budget(standing, year)
        spare = _budget(standing, year) - share
    before = going_on.fortunes if going_on else tuple(1.0 for _ in STAKES)
    fortunes = tuple(f * (1 + stake * match.payoff) for f, stake in zip(before, STAKES, strict=True))
    wealth, n_batches = sum(fortunes) / len(fortunes), going_on.n_batches + 1 if going_on else 1
    return Bet(
        interval=interval,
        challenge=going_on.challenge if going_on else last.challenge + 1 if last else 1,
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
    """Return what the budget of a year has, beside the share of a challenge that goes on."""
    last, going_on = standing.last, standing.open_bet
    if last is None:
        return BUDGET
    if year > last.year:  # the former year's budget is over; a challenge that goes on draws on the new one
        return BUDGET - (going_on.share if going_on else 0.0)
    if going_on or last.ended == "won":
        return last.spare
    return last.spare + last.share * min(1.0, last.wealth)


def _ending(wealth: float, share: float, n_batches: int) -> Ending | None:
    if wealth * share >= 1:
        return "won"
    if wealth < LEAST:
        return "lost"
    return "exhausted" if n_batches >= MOST_BATCHES else None


def verdict_of(bet: Bet) -> str:
    """Return how a challenge stands, as a clause.

    Parameters
    ----------
    bet : Bet
        The newest of the challenge.
    """
    batches = f"{bet.n_batches} batch{'es' * (bet.n_batches > 1)}"
    wealth = f"wealth {bet.wealth:.3g} of {bet.threshold:.3g} after {batches}"
    who, champion = f"version {bet.challenger}", f"the champion (version {bet.champion})"
    if bet.ended is None:
        return f"{who} challenges {champion}: {wealth}"
    verdicts = {
        "won": f"{who} is proven better than {champion}",
        "lost": f"{who} has lost against {champion}; the newest version challenges next",
        "exhausted": f"{who} is not proven better than {champion}; the newest version challenges next",
        "unusable": f"{who} cannot challenge {champion} any more; the newest version challenges next",
    }
    return f"{verdicts[bet.ended]}: {wealth}"
