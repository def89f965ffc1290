"""The candidates of a search, by the number and kind of the parameters that vary.

One parameter is a validation curve, two are a heat map or a scatter plot, more are parallel coordinates with the best
candidates. Searches that draw values also show the best score so far, successive halving its iterations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diurnal.plots.candidate_panels import (
    best_candidates_panel,
    halving_panel,
    heat_map_panel,
    parallel_panel,
    progress_panel,
    scatter_panel,
    validation_curve_panel,
)
from diurnal.plots.chart_output import ChartWidth, Spec, fill_container, make_spec, plot_width
from diurnal.plots.chart_values import clean_text
from diurnal.plots.tuning_data import MAX_BEST, MAX_OTHERS, SearchScores, collect_scores, metric_names

if TYPE_CHECKING:
    import pandas as pd

_MAX_CELLS = 900
_MAX_METRICS = 4


def build_tuning(
    candidates: pd.DataFrame, *, name: str = "", metric: str | None = None, width: ChartWidth = 680
) -> Spec:
    """Return charts of the candidates of a search.

    Parameters
    ----------
    candidates : DataFrame
        As :func:`diurnal.candidates` returns it.
    name : str
        The version or run, for the title.
    metric : str, optional
        The metric, of a search with several. By default the first one, and for one parameter all of them.
    width : int or "container"
        Width of the plots.

    Returns
    -------
    dict
        A Vega-Lite specification.

    Raises
    ------
    UsageError
        If there is no such metric, or no candidate has a score.
    """
    scores = collect_scores(candidates, metric)
    pixels = plot_width(width)
    panels, data = _panels(scores, pixels)
    if metric is None and len(scores.parameters) == 1 and scores.iterations is None:
        others = [other for other in metric_names(candidates) if other != scores.metric][: _MAX_METRICS - 1]
        for i, other in enumerate(others, 1):
            panel, rows = validation_curve_panel(collect_scores(candidates, other), pixels, f"metric{i}")
            panels.append(panel)
            data |= rows
    body = {
        "title": _title(scores, name),
        "vconcat": panels,
        "spacing": 18,
        "resolve": {"scale": {"color": "independent"}},
    }
    return fill_container(make_spec(body, description=_description(scores, name), data=data), width)


def _panels(scores: SearchScores, width: int) -> tuple[list[Spec], dict[str, list[Spec]]]:
    parameters = scores.parameters
    is_drawn = any(one.is_drawn for one in parameters)
    if scores.iterations is not None and scores.resources is not None:
        shown = [halving_panel(scores, width), best_candidates_panel(scores, width)]
    elif not parameters:
        shown = [best_candidates_panel(scores, width)]
    elif len(parameters) == 1:
        shown = [validation_curve_panel(scores, width)]
    elif len(parameters) == 2:
        shown = [heat_map_panel(scores, width) if _is_grid(scores) else scatter_panel(scores, width)]
    else:
        shown = [parallel_panel(scores, width), best_candidates_panel(scores, width)]
    if is_drawn and scores.iterations is None:
        shown.append(progress_panel(scores, width))
    data = {name: rows for _, datasets in shown for name, rows in datasets.items()}
    return [panel for panel, _ in shown], data


def _is_grid(scores: SearchScores) -> bool:
    """Return whether the candidates fill most cells of a table of two parameters."""
    first, second = scores.parameters
    n_cells = len(first.levels) * len(second.levels)
    if not 0 < n_cells <= _MAX_CELLS:
        return False
    n_filled = len({(first.text(i), second.text(i)) for i in range(len(scores.mean))})
    return n_filled >= 0.5 * n_cells


def _title(scores: SearchScores, name: str) -> Spec:
    n_candidates, n_folds = len(scores.mean) + scores.n_failed, scores.folds.shape[1]
    folds = f", {n_folds} folds" if n_folds else ""
    best = scores.order[0]
    spread = f" ± {scores.std[best]:.3g}" if np.isfinite(scores.std[best]) else ""
    lines = [
        f"{n_candidates:,} candidate{'s' if n_candidates != 1 else ''}{folds}",
        clean_text(f"best: {scores.describe(best)}: {scores.mean[best]:.5g}{spread}", 120),
    ]
    if scores.n_failed:
        lines.append(f"{scores.n_failed:,} without a score are not shown")
    if len(scores.mean) > MAX_BEST + MAX_OTHERS and len(scores.parameters) != 1 and not _is_table(scores):
        lines.append(f"shown: the best {MAX_BEST} and {MAX_OTHERS} of the others, evenly spaced by rank")
    if scores.floor is not None:
        lines.append(f"scores below {scores.floor:.4g} are shown as {scores.floor:.4g}")
    if scores.constants:
        lines.append(clean_text("constant: " + ", ".join(scores.constants), 120))
    return {"text": clean_text(f"Candidates of {name}" if name else "Candidates"), "subtitle": lines}


def _is_table(scores: SearchScores) -> bool:
    return len(scores.parameters) == 2 and _is_grid(scores)


def _description(scores: SearchScores, name: str) -> str:
    best = scores.order[0]
    varying = ", ".join(one.name for one in scores.parameters) or "none"
    return (
        f"{len(scores.mean)} candidates of {name or 'a search'}; parameters that vary: {varying}; "
        f"best {scores.metric} {scores.mean[best]:.5g} with {scores.describe(best)}"
    )
