"""Who becomes the champion: pure functions of evidence, one for each policy.

The evidence is a paired comparison of the twin and the champion on the same samples, which neither had seen.
With equal skill, "the better score wins" would change the champion on every other day. A paired test asks
whether the challenger is *worse by more than chance*: at 1 %, an equal one is turned away on one day in a hundred.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from diurnal.errors import UsageError, nearest
from diurnal.values import Comparison, DataInterval, Decision, Evaluation, ModelVersion

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ALPHA = 0.01


def compare(
    y: npt.ArrayLike, twin_pred: npt.ArrayLike, champion_pred: npt.ArrayLike, *, classification: bool
) -> tuple[int, int, float, str]:
    """Compare two models' predictions, sample by sample.

    For a classification, the samples on which exactly one of the two is right are counted, and tested by
    McNemar's exact test; for a regression, absolute errors are compared by Wilcoxon's signed-rank test.
    Both are one-sided.

    Parameters
    ----------
    y, twin_pred, champion_pred : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The truth and the predictions. A prediction that is not a number is farther off than any number.
    classification : bool
        Whether predictions are right or wrong, rather than near or far.

    Returns
    -------
    twin_wins, champion_wins : int
        On how many samples the one was nearer to the truth than the other.
    p_worse : float
        How likely a result this bad for the twin is if it were as good as the champion.
    test : str
        Name of the test.

    Raises
    ------
    UsageError
        If the shapes differ.

    Examples
    --------
    >>> compare(["a", "b", "b"], ["a", "b", "a"], ["a", "a", "a"], classification=True)
    (1, 0, 1.0, 'exact McNemar')
    """
    import numpy as np

    truth, twin, champion = np.asarray(y), np.asarray(twin_pred), np.asarray(champion_pred)
    if not truth.shape == twin.shape == champion.shape:
        raise UsageError(
            f"the truth and the two predictions have the shapes {truth.shape}, {twin.shape} and {champion.shape}",
            advice="predict the same samples with both models",
        )
    judge = _compare_labels if classification else _compare_numbers
    return judge(truth, twin, champion)


def _compare_labels(
    truth: npt.NDArray[np.generic], twin: npt.NDArray[np.generic], champion: npt.NDArray[np.generic]
) -> tuple[int, int, float, str]:
    n = len(truth)
    twin_right = (twin == truth).reshape(n, -1).all(axis=1)
    champion_right = (champion == truth).reshape(n, -1).all(axis=1)
    twin_wins = int((twin_right & ~champion_right).sum())
    champion_wins = int((champion_right & ~twin_right).sum())
    return compare_wins(twin_wins, champion_wins)


def compare_wins(twin_wins: int, champion_wins: int) -> tuple[int, int, float, str]:
    """Compare two classifiers by the samples on which exactly one of them is right, counted elsewhere.

    Examples
    --------
    >>> compare_wins(1, 0)
    (1, 0, 1.0, 'exact McNemar')
    """
    from scipy.stats import binomtest

    differing = twin_wins + champion_wins
    p_worse = float(binomtest(twin_wins, differing, alternative="less").pvalue) if differing else 1.0
    return twin_wins, champion_wins, p_worse, "exact McNemar"


def _compare_numbers(
    truth: npt.NDArray[np.generic], twin: npt.NDArray[np.generic], champion: npt.NDArray[np.generic]
) -> tuple[int, int, float, str]:
    import numpy as np
    from scipy.stats import wilcoxon

    def errors(predicted: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        off = np.abs(np.asarray(predicted, dtype=float) - np.asarray(truth, dtype=float))
        far: npt.NDArray[np.float64] = np.where(np.isfinite(off), off, np.finfo(float).max).reshape(len(truth), -1)
        return np.asarray(far.mean(axis=1), dtype=np.float64)

    advantage = errors(champion) - errors(twin)
    twin_wins, champion_wins = int((advantage > 0).sum()), int((advantage < 0).sum())
    p_worse = float(wilcoxon(advantage, alternative="less").pvalue) if twin_wins + champion_wins else 1.0
    return twin_wins, champion_wins, p_worse, "Wilcoxon signed-rank"


def decide(policy: str, *, evaluation: Evaluation, interval: DataInterval, champion: ModelVersion | None) -> Decision:
    """Decide whether a version becomes the champion.

    Parameters
    ----------
    policy : str
        One of :data:`POLICIES`.
    evaluation : Evaluation
        The evidence for the version: its twin's.
    interval : DataInterval
        The newest data interval that the version learnt from.
    champion : ModelVersion or None
        The champion at this moment.

    Returns
    -------
    Decision
        Whether, and why.

    Raises
    ------
    UsageError
        If there is no such policy.
    """
    if policy not in _POLICIES:
        raise UsageError(
            f"there is no policy {policy!r}{nearest(policy, POLICIES)}",
            advice=f"use one of {', '.join(POLICIES)}",
        )
    if policy not in _BY_HAND and champion is None:
        return Decision(True, f"there was no champion; test score {_shown(evaluation.test_score)}")
    if champion is not None and champion.interval.end > interval.end:
        return Decision(
            False,
            f"the champion, version {champion.version}, has learnt from a newer data interval ({champion.interval}) "
            f"than this version ({interval}): an old day never dethrones",
        )
    return _POLICIES[policy](evaluation, champion)


def _always(_evaluation: Evaluation, _champion: ModelVersion | None) -> Decision:
    return Decision(True, 'the policy is "always"')


def _approve(_evaluation: Evaluation, _champion: ModelVersion | None) -> Decision:
    return Decision(False, 'the policy is "approve": it waits for a person, in Airflow or by `diurnal promote`')


def _never(_evaluation: Evaluation, _champion: ModelVersion | None) -> Decision:
    return Decision(False, 'the policy is "never": promote it by hand')


def _guarded(evaluation: Evaluation, champion: ModelVersion | None) -> Decision:
    """Promote unless the twin is worse than the champion by more than chance."""
    version = champion.version if champion else None
    if evaluation.champion_version != version:
        compared = evaluation.champion_version
        against = f"version {compared}" if compared is not None else "no champion"
        return Decision(
            False,
            f"it was compared with {against}, and the champion is version {version} by now: judge it by hand, "
            "or run it once more with --force",
        )
    found = evaluation.comparison
    if found is None:
        return _uncompared(evaluation, version)
    # asked this way round, a p that is not a number does not promote
    promoted = found.p_worse >= ALPHA
    verdict = "not worse by more than chance" if promoted else "worse by more than chance"
    return Decision(promoted, f"{verdict}: {_evidence(found, version)}")


def _uncompared(evaluation: Evaluation, version: int | None) -> Decision:
    """Decide without a comparison: a champion that might be better is kept, one that cannot serve is not."""
    if evaluation.uncompared == "nothing-new":
        return Decision(True, f"no comparison was possible: no sample was new to the champion (version {version})")
    if evaluation.uncompared == "unusable":
        return Decision(True, f"the champion (version {version}) cannot be loaded here, so it serves nobody")
    return Decision(
        False, f"there is no evidence against the champion (version {version}): see the warnings; promote it by hand"
    )


def _evidence(found: Comparison, version: int | None) -> str:
    return (
        f"of {found.n_compared} samples new to both, the twin was nearer to the truth on {found.twin_wins} and the "
        f"champion (version {version}) on {found.champion_wins} ({found.test}, p = {found.p_worse:.2g}); "
        f"scores {_shown(found.twin_score)} and {_shown(found.champion_score)}"
    )


def _shown(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.4g}"


_POLICIES: dict[str, Callable[[Evaluation, ModelVersion | None], Decision]] = {
    "always": _always,
    "approve": _approve,
    "guarded": _guarded,
    "never": _never,
}

POLICIES = tuple(_POLICIES)
_BY_HAND = ("approve", "never")  # nothing becomes the champion by itself, not even the first version
