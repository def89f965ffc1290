"""Promotion policies: pure functions that decide from the evidence whether a version becomes the champion.

The evidence is a paired comparison of the twin and the champion by the declared score, on samples that neither was
trained on. With equal skill, "the better score wins" would replace the champion on every other day. A paired test asks
whether the challenger is *worse by more than chance*: at a level of 1 %, an equal one is rejected on 1 % of the days.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from diurnal.errors import UsageError, did_you_mean
from diurnal.promotion.challenges import next_bet, reason_against_bet, verdict_of
from diurnal.types import Comparison, DataInterval, Decision, Evaluation, Match, ModelVersion, Standing

ALPHA = 0.01
"""``"guarded"`` rejects a version that is worse at this level."""

SUPERIOR = 0.005
"""``"superior"`` promotes a version that is better at this level; approximate tests stay below 1 % false promotions."""

Verdict = Literal["worse", "probably worse", "not distinguishable", "probably better", "better"]


def decide_promotion(policy: str, *, evaluation: Evaluation, interval: DataInterval, standing: Standing) -> Decision:
    """Decide whether a version becomes the champion, or, by ``"proven"``, the challenger.

    Parameters
    ----------
    policy : str
        One of :data:`POLICIES`.
    evaluation : Evaluation
        The evidence for the version: its twin's.
    interval : DataInterval
        The newest data interval that the version was trained on.
    standing : Standing
        The champion at this moment, and the challenge to it.

    Returns
    -------
    Decision
        Whether, and why; and the bet on the challenger.

    Raises
    ------
    UsageError
        If there is no such policy.
    """
    if policy not in POLICIES:
        raise UsageError(
            f"there is no policy {policy!r}{did_you_mean(policy, POLICIES)}",
            hint=f"use one of {', '.join(POLICIES)}",
        )
    champion = standing.champion
    if policy not in _BY_HAND and champion is None:
        return Decision(True, f"there was no champion; test score {_format_score(evaluation.test_score)}")
    if champion is not None and champion.interval.end > interval.end:
        return Decision(
            False,
            f"the champion, version {champion.version}, was trained on a newer data interval "
            f"({champion.interval.in_timezone(interval.timezone)}) than this version ({interval}): "
            "a version of an older interval never replaces it",
        )
    if policy == "proven":
        return _decide_proven(evaluation, interval, standing)
    return _POLICIES[policy](evaluation, champion)


def _decide_always(_evaluation: Evaluation, _champion: ModelVersion | None) -> Decision:
    return Decision(True, 'the policy is "always"')


def _decide_approve(_evaluation: Evaluation, _champion: ModelVersion | None) -> Decision:
    return Decision(False, 'the policy is "approve": it waits for approval in Airflow or by `diurnal promote`')


def _decide_never(_evaluation: Evaluation, _champion: ModelVersion | None) -> Decision:
    return Decision(False, 'the policy is "never": promote it by hand')


def _decide_guarded(evaluation: Evaluation, champion: ModelVersion | None) -> Decision:
    """Promote unless the twin is worse than the champion by more than chance."""
    version = champion.version if champion else None
    if evaluation.champion_version != version:
        return _champion_changed(evaluation, version)
    found = evaluation.comparison
    if found is None:
        return _decide_uncompared(evaluation, version)
    # with this comparison, a p-value of NaN does not promote
    promoted = found.p_worse >= ALPHA
    verdict = "not worse by more than chance" if promoted else "worse by more than chance"
    return Decision(promoted, f"{verdict}: {_format_evidence(found, version, found.p_worse)}")


def _decide_superior(evaluation: Evaluation, champion: ModelVersion | None) -> Decision:
    """Promote if the twin is better than the champion by more than chance."""
    version = champion.version if champion else None
    if evaluation.champion_version != version:
        return _champion_changed(evaluation, version)
    found = evaluation.comparison
    if found is None:
        return _decide_uncompared(evaluation, version, nothing_new=False)
    if found.p_better is None:
        return Decision(
            False,
            "the comparison is of an earlier release, which has no p-value for better: run with --force",
        )
    promoted = found.p_better < SUPERIOR
    verdict = "better by more than chance" if promoted else "not better by more than chance"
    return Decision(promoted, f"{verdict}: {_format_evidence(found, version, found.p_better)}")


def _decide_proven(evaluation: Evaluation, interval: DataInterval, standing: Standing) -> Decision:
    """Bet on the challenger; promote the version itself only where the champion cannot serve."""
    version = standing.champion.version if standing.champion else None
    if evaluation.uncompared in ("unusable", "other-contract") and evaluation.champion_version == version:
        return _decide_uncompared(evaluation, version)
    match = evaluation.match
    if match is None:
        return Decision(False, f"no bet: {evaluation.unmatched or 'the run was evaluated under another policy'}")
    if (reason := reason_against_bet(standing, match, interval)) is not None:
        return Decision(False, f"no bet: {reason}")
    bet = next_bet(standing, match, interval)
    return Decision(False, f"{verdict_of(bet)}; {_format_match(match)}", bet)


def _format_match(match: Match) -> str:
    if match.unusable is not None:
        return match.unusable
    tested = f"{match.n_tested} of " if match.n_tested not in (None, match.n_compared) else ""
    return (
        f"challenger {_format_score(match.challenger_score)}, champion {_format_score(match.champion_score)}"
        f"{format_difference(match)}; {match.test} on {tested}{match.n_compared} samples new to both, "
        f"payoff {match.payoff:+.2g}"
    )


def _champion_changed(evaluation: Evaluation, version: int | None) -> Decision:
    compared = evaluation.champion_version
    against = f"version {compared}" if compared is not None else "no champion"
    return Decision(
        False,
        f"it was compared with {against}, and the champion is now version {version}: promote it by hand, "
        "or run the interval again with --force",
    )


def _decide_uncompared(evaluation: Evaluation, version: int | None, *, nothing_new: bool = True) -> Decision:
    """Decide without a comparison: a champion that may be better is kept, one that cannot be used is replaced."""
    if evaluation.uncompared == "nothing-new":
        said = f"no comparison was possible: no sample was new to the champion (version {version})"
        return Decision(nothing_new, said)
    if evaluation.uncompared == "unusable":
        return Decision(True, f"the champion (version {version}) cannot be loaded here")
    if evaluation.uncompared == "other-contract":
        said = f"the champion (version {version}) is of an earlier version of the contract and cannot score this batch"
        return Decision(True, f"{said}: see the warnings")
    return Decision(
        False, f"there is no evidence against the champion (version {version}): see the warnings; promote it by hand"
    )


def _format_evidence(found: Comparison, version: int | None, p: float) -> str:
    tested = f"{found.n_tested} of " if found.n_tested not in (None, found.n_compared) else ""
    return (
        f"twin {_format_score(found.twin_score)}, champion (version {version}) {_format_score(found.champion_score)}"
        f"{format_difference(found)}; {found.test} on {tested}{found.n_compared} samples new to both, p = {p:.2g}"
    )


def comparison_verdict(found: Comparison) -> Verdict:
    """Return what a comparison says about the twin, by the levels of the policies and the interval of the difference.

    Returns
    -------
    {"worse", "probably worse", "not distinguishable", "probably better", "better"}
        "worse" and "better" are what ``"guarded"`` and ``"superior"`` decide on. "probably" is what is above their
        levels while the 95 % interval of the difference excludes 0.

    Examples
    --------
    >>> found = Comparison(72, 0.91, 0.89, 0.99, "DeLong", p_better=0.0081, difference=0.02, low=0.004, high=0.036)
    >>> comparison_verdict(found)
    'probably better'
    """
    if found.p_worse is not None and found.p_worse < ALPHA:
        return "worse"
    if found.p_better is not None and found.p_better < SUPERIOR:
        return "better"
    if found.high is not None and found.high < 0:
        return "probably worse"
    if found.low is not None and found.low > 0:
        return "probably better"
    return "not distinguishable"


def format_difference(found: Comparison | Match) -> str:
    """Return the difference of two scores and its interval as a clause; empty if there is none."""
    if found.difference is None:
        return ""
    if found.low is None or found.high is None:
        return f", difference {found.difference:+.4g}"
    return f", difference {found.difference:+.4g} (95 % interval {found.low:+.4g} to {found.high:+.4g})"


def _format_score(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.4g}"


_POLICIES: dict[str, Callable[[Evaluation, ModelVersion | None], Decision]] = {
    "always": _decide_always,
    "approve": _decide_approve,
    "guarded": _decide_guarded,
    "never": _decide_never,
    "superior": _decide_superior,
}

POLICIES = tuple(sorted([*_POLICIES, "proven"]))
_BY_HAND = ("approve", "never")  # no version is promoted automatically, not even the first one
