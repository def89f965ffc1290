"""The comparison of a run with the champion in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diurnal.page.value_formats import format_count, format_score
from diurnal.promotion.decision import ALPHA, SUPERIOR, Verdict, comparison_verdict
from diurnal.types import Comparison

_INTERVAL = "the 95 % interval of the difference excludes 0, but p is not below"
_VERDICTS: Mapping[Verdict, str] = {
    "worse": "is worse than {name} by more than chance",
    "probably worse": f"is probably worse than {{name}} ({_INTERVAL} {ALPHA:g}, at which a champion is kept)",
    "not distinguishable": "is not distinguishable from {name}",
    "probably better": f'is probably better than {{name}} ({_INTERVAL} {SUPERIOR:g}, which promotion="superior" needs)',
    "better": "is better than {name} by more than chance",
}
_UNCOMPARED = {
    "nothing-new": "Twin and champion were not compared: the champion was trained on every row of the batch.",
    "unusable": "Twin and champion were not compared: the champion cannot be loaded.",
    "other-contract": "Twin and champion were not compared: the champion needs columns that the batch does not have.",
    "no-evidence": "Twin and champion were not compared: there were no rows, or the champion failed on them.",
}


def explain_comparison(run: Mapping[str, Any]) -> str:
    """Return what a run has found out about twin and champion, in one or two sentences.

    Examples
    --------
    >>> scores = {"twin_score": 0.91, "champion_score": 0.89, "difference": 0.02, "low": -0.01, "high": 0.05}
    >>> comparison = {"n_compared": 72, "test": "DeLong", "p_worse": 0.9, "p_better": 0.1, **scores}
    >>> print(explain_comparison({"champion_version": 1, "comparison": comparison, "uncompared": None}))
    On 72 rows that neither has learnt, the twin is not distinguishable from version 1: by DeLong's test of two areas \
under the ROC curve, two equally good models give a result at least as bad for the twin with p = 0.9, and one at least \
as good with p = 0.1.
    """
    found = run["comparison"]
    if found:
        return _explain_test(found, run["champion_version"])
    if run["uncompared"]:
        return _UNCOMPARED.get(run["uncompared"], f"Twin and champion were not compared: {run['uncompared']}.")
    if run["champion_version"] is None:
        return "There was no champion to compare with."
    return f"Twin and champion (version {run['champion_version']}) were not compared."


def verdict_of_run(run: Mapping[str, Any]) -> Verdict | None:
    """Return what the comparison of a run says about its twin; None without one."""
    return comparison_verdict(Comparison(**run["comparison"])) if run["comparison"] else None


def _explain_test(found: Mapping[str, Any], version: int | None) -> str:
    from diurnal.backends.paired_tests import TEST_DESCRIPTIONS

    name = f"version {version}" if version else "the champion"
    verdict = _VERDICTS[comparison_verdict(Comparison(**found))].format(name=name)
    test = TEST_DESCRIPTIONS.get(found.get("test", ""), found.get("test") or "the test")
    text = f"On {_count_rows(found)} that neither has learnt, the twin {verdict}"
    p_worse, p_better = found.get("p_worse"), found.get("p_better")
    if p_worse is None:
        return f"{text}."
    text += f": by {test}, two equally good models give a result at least as bad for the twin with p = {p_worse:.2g}"
    return f"{text}, and one at least as good with p = {p_better:.2g}." if p_better is not None else f"{text}."


def _count_rows(found: Mapping[str, Any]) -> str:
    n, n_tested = found["n_compared"], found.get("n_tested")
    tested = f"{format_count(n_tested)} of " if n_tested not in (None, n) else ""
    return f"{tested}{format_count(n)} rows"


def explain_challenge(challenge: Mapping[str, Any] | None) -> str:
    """Return the state of a challenge by ``promotion="proven"`` after a run; empty without one.

    Examples
    --------
    >>> bet = {"challenger": 5, "champion": 3, "n_batches": 12, "wealth": 3.4, "threshold": 200.0, "ended": None}
    >>> explain_challenge({"bet": bet})
    'Version 5 challenges version 3: after 12 batches its wealth is 3.4000; with 200.0 it becomes the champion.'
    """
    bet = (challenge or {}).get("bet")
    if not bet:
        unmatched = (challenge or {}).get("unmatched")
        return f"No bet was placed: {unmatched}." if unmatched else ""
    who = f"Version {bet['challenger']} challenges version {bet['champion']}"
    n = bet["n_batches"]
    wealth = f"after {n} {'batch' if n == 1 else 'batches'} its wealth is {format_score(bet['wealth'])}"
    goal = f"with {format_score(bet['threshold'])} it becomes the champion"
    endings = {"won": "it has won", "lost": "it has lost", "exhausted": "no batches are left", "unusable": "it failed"}
    ended = f"; the challenge is over: {endings.get(bet['ended'], bet['ended'])}" if bet.get("ended") else f"; {goal}"
    return f"{who}: {wealth}{ended}."
