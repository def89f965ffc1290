"""The question that a person is asked about a model version: what it learnt from, and how it compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diurnal.types import ModelVersion


def subject(version: ModelVersion) -> str:
    """Give the question."""
    return f"Shall version {version.version} of {version.experiment} become the champion?"


def body(version: ModelVersion, run: dict[str, Any], links: dict[str, str]) -> str:
    """Give the evidence, in Markdown.

    Parameters
    ----------
    version : ModelVersion
        The candidate.
    run : dict
        The row of the run that made it.
    links : dict of str to str
        From a text to an address.
    """
    rows = {
        "data interval": str(version.interval),
        "samples": f"{run.get('n_train')} train, {run.get('n_test')} test",
        "parameters": _parameters(run),
        f"{run.get('scoring')}, cross-validated": _cross_validated(run),
        f"{run.get('scoring')}, test": _shown(run.get("test_score")),
        "model": f"`{version.path}`",
    }
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    paragraphs = ["\n".join(table), _compared(run)]
    paragraphs += [f"Warning: {warning}" for warning in run.get("warnings") or ()]
    paragraphs.append(" · ".join(f"[{text}]({address})" for text, address in links.items()))
    paragraphs.append(f"On the command line: `diurnal runs {version.experiment}`.")
    return "\n\n".join(filter(None, paragraphs))


def _compared(run: dict[str, Any]) -> str:
    """Say how twin and champion did on samples that neither had seen."""
    from diurnal.pipeline.promotion import difference_of
    from diurnal.types import Comparison

    if run.get("champion_version") is None:
        return "There was no champion to compare it with."
    if not run.get("comparison"):
        return f"It was not compared with the champion, version {run['champion_version']}."
    found = Comparison(**run["comparison"])
    return (
        f"On {found.n_compared} samples new to both, it scores {_shown(found.twin_score)} and the champion, version "
        f"{run['champion_version']}, {_shown(found.champion_score)}{difference_of(found)}. Probability of a result at "
        f"least as bad if both are equally good: {found.p_worse:.2g} ({found.test})."
    )


def _parameters(run: dict[str, Any]) -> str:
    said = ", ".join(f"`{name}={value}`" for name, value in (run.get("best_params") or {}).items())
    return f"{said or 'none'}, the best of {run.get('n_candidates')}"


def _cross_validated(run: dict[str, Any]) -> str:
    if run.get("cv_score_mean") is None:
        return "not tuned"
    return f"{run['cv_score_mean']:.4f} ± {run['cv_score_std']:.4f} on {run['cv_folds']} folds"


def _shown(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.4f}"
