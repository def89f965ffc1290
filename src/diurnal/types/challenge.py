"""A challenge: one published version against the champion, batch after batch, and what has been bet on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from diurnal.types.interval import DataInterval

if TYPE_CHECKING:
    from diurnal.types.results import ModelVersion

Ending = Literal["won", "lost", "exhausted", "unusable"]


@dataclass(frozen=True)
class Match:
    """Challenger against champion on the test samples of one batch, of which neither has learnt one.

    Attributes
    ----------
    challenger, champion : int
        Their versions.
    n_compared : int
        How many samples.
    challenger_score, champion_score : float or None
        The main score of each on them.
    p_worse, p_better : float
        Probability of a result at least as bad, or as good, for the challenger if both are equally good.
    test : str
        Name of the paired test.
    difference, low, high : float or None
        The challenger's score less the champion's, and its 95 % interval.
    n_tested : int or None
        Samples that the test has used.
    unusable : str or None
        Why the challenger could not be scored at all: its challenge ends.
    """

    challenger: int
    champion: int
    n_compared: int = 0
    challenger_score: float | None = None
    champion_score: float | None = None
    p_worse: float = 1.0
    p_better: float = 1.0
    test: str = "none"
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    n_tested: int | None = None
    unusable: str | None = None

    @property
    def payoff(self) -> float:
        """What a bet of one on the challenger gains, from -1 to 1: exchanging the two models changes its sign only."""
        return self.p_worse - self.p_better


@dataclass(frozen=True)
class Bet:
    """What was bet on a challenger on one batch, and how the challenge stands after it: one row of `bets`.

    Attributes
    ----------
    interval : DataInterval
        Whose batch it was.
    challenge : int
        Number of the challenge within the experiment, from 1.
    challenger, champion : int
        Their versions.
    promotion : int
        Number of the promotion that made the champion.
    year : int
        Whose budget of false promotions it draws on.
    share : float
        What the challenge has of that budget: the challenger wins at a wealth of one over it.
    spare : float
        What the budget has beside it.
    n_batches : int
        How many batches the challenge has seen, with this one.
    payoff : float
        Gain of a bet of one on this batch.
    fortunes : tuple of float
        The value of one after all bets, for each stake.
    wealth : float
        Their mean.
    ended : {"won", "lost", "exhausted", "unusable"} or None
        How the challenge ended with this batch, if it did.
    """

    interval: DataInterval
    challenge: int
    challenger: int
    champion: int
    promotion: int
    year: int
    share: float
    spare: float
    n_batches: int
    payoff: float
    fortunes: tuple[float, ...]
    wealth: float
    ended: Ending | None = None

    @property
    def threshold(self) -> float:
        """The wealth at which the challenger becomes the champion."""
        return 1 / self.share


@dataclass(frozen=True)
class Standing:
    """The champion, and the challenge to it, at one moment.

    Attributes
    ----------
    champion : ModelVersion or None
        None before the first promotion.
    promotion : int or None
        Number of the promotion that made it the champion.
    last : Bet or None
        The newest bet of the experiment.
    """

    champion: ModelVersion | None = None
    promotion: int | None = None
    last: Bet | None = None

    @property
    def open_bet(self) -> Bet | None:
        """The newest bet of the challenge that goes on; None if the next bet opens one.

        A promotion or rollback, also by hand, ends every challenge to the former champion.
        """
        going_on = self.last is not None and self.last.ended is None and self.last.promotion == self.promotion
        return self.last if going_on else None
