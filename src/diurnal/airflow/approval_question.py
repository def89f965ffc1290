"""The question about a model version that a person answers: its training data, and the comparison with the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diurnal.types import ModelVersion


def question_subject(version: ModelVersion) -> str:
    """Return the question."""
    return f"Promote version {version.version} of {version.experiment} to champion?"


def question_body(version: ModelVersion, run: dict[str, Any], links: dict[str, str]) -> str:
    """Return the evidence, in Markdown.

    Parameters
    ----------
    version : ModelVersion
        The candidate.
    run : dict
        The row of the run that published it.
    links : dict of str to str
        From a text to a URL.
    """
    rows = {
        "data interval": str(version.interval),
        "samples": f"{run.get('n_train')} train, {run.get('n_test')} test",
        "parameters": _format_parameters(run),
        f"{run.get('scoring')}, cross-validated": _format_cv_score(run),
        f"{run.get('scoring')}, test": _score_text(run.get("test_score")),
        "model": f"`{version.path}`",
    }
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    paragraphs = ["\n".join(table), _comparison_sentence(run), _challenge_sentence(run)]
    paragraphs += [f"Warning: {warning}" for warning in run.get("warnings") or ()]
    paragraphs.append(" · ".join(f"[{text}]({url})" for text, url in links.items()))
    paragraphs.append(f"On the command line: `diurnal runs {version.experiment}`.")
    return "\n\n".join(filter(None, paragraphs))


def _comparison_sentence(run: dict[str, Any]) -> str:
    """Return the scores of twin and champion on samples that are new to both."""
    from diurnal.promotion.decision import format_difference
    from diurnal.types import Comparison

    if run.get("champion_version") is None:
        return "There was no champion to compare it with."
    if not run.get("comparison"):
        return f"It was not compared with the champion, version {run['champion_version']}."
    result = Comparison(**run["comparison"])
    return (
        f"On {result.n_compared} samples new to both, it scores {_score_text(result.twin_score)} and the champion, "
        f"version {run['champion_version']}, {_score_text(result.champion_score)}{format_difference(result)}. "
        f"Probability of a result at least as bad if both are equally good: {result.p_worse:.2g} ({result.test})."
    )


def _challenge_sentence(run: dict[str, Any]) -> str:
    """Return the state of the challenge; empty unless the policy of the run was ``"proven"``."""
    bet = (run.get("challenge") or {}).get("bet")
    if not bet:
        return ""
    return (
        f"Version {bet['challenger']} challenges version {bet['champion']}: wealth {bet['wealth']:.3g} of "
        f"{bet['threshold']:.3g} at batch {bet['n_batches']} ({bet['ended'] or 'open'})."
    )


def _format_parameters(run: dict[str, Any]) -> str:
    parameters = ", ".join(f"`{name}={value}`" for name, value in (run.get("best_params") or {}).items())
    return f"{parameters or 'none'}, the best of {run.get('n_candidates')}"


def _format_cv_score(run: dict[str, Any]) -> str:
    if run.get("cv_score_mean") is None:
        return "not tuned"
    return f"{run['cv_score_mean']:.4f} ± {run['cv_score_std']:.4f} on {run['cv_folds']} folds"


def _score_text(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.4f}"
