"""Charts of what a project has recorded, by name: :func:`diurnal.plots.timeline` and so on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError, NotFoundError, UsageError, did_you_mean
from diurnal.pipeline.recorded_stores import open_recorded_stores, recorded_name
from diurnal.storage.load_model import resolve_reference

if TYPE_CHECKING:
    import altair as alt

    from diurnal.plots.theme import Theme
    from diurnal.storage.stores import Stores


def timeline(
    experiment: str, *, project: str | Path | None = None, theme: Theme = "light", width: int = 680
) -> alt.TopLevelMixin:
    """Plot the runs of an experiment over time: scores, events, rows, best parameters, drift and durations.

    All plots have a common time axis, of data intervals in the timezone of the experiment. With 15 data intervals or
    more, a period can be selected in the last plot. Scores are those of the main scorer: the twin's on the test rows of
    its window, and the champion's on those of the new batch, with the 95 % interval of the difference from the paired
    test of the run.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.
    theme : {"light", "dark"}
        The theme.
    width : int
        The width of the plots in pixels.

    Returns
    -------
    altair.VConcatChart
        It can be saved by its method `save`, as HTML, PNG, SVG or JSON.

    Raises
    ------
    NotFoundError
        If the experiment has no run.
    ConfigurationError
        If no project is found, or Altair is not installed.

    Examples
    --------
    >>> chart = diurnal.plots.timeline("breast_cancer")  # doctest: +SKIP
    >>> chart.save("timeline.html")  # doctest: +SKIP
    """
    from diurnal.plots.timeline_chart import build_timeline

    _require_altair()
    with open_recorded_stores(project) as stores:
        warehouse = stores.warehouse
        runs = _runs_of(stores, experiment)
        records = warehouse.promotions(experiment), warehouse.failures(experiment), warehouse.contracts(experiment)
        timezone = warehouse.timezone_of(experiment)
    return _shown(build_timeline(runs, *records, name=experiment, timezone=timezone, width=width), theme)


def live_scores(
    experiment: str, *, project: str | Path | None = None, theme: Theme = "light", width: int = 680
) -> alt.TopLevelMixin:
    """Plot how right the predictions of `diurnal score` were, beside the test scores of the versions that made them.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.
    theme : {"light", "dark"}
        The theme.
    width : int
        The width of the plots in pixels.

    Returns
    -------
    altair.VConcatChart

    Raises
    ------
    NotFoundError
        If the warehouse has no such experiment.
    ConfigurationError
        If no project is found, or Altair is not installed.

    Examples
    --------
    >>> diurnal.plots.live_scores("breast_cancer").save("live_scores.svg")  # doctest: +SKIP
    """
    from diurnal.plots.live_score_chart import build_live_scores

    _require_altair()
    with open_recorded_stores(project) as stores:
        rows = stores.warehouse.live_scores(recorded_name(stores, experiment))
        timezone = stores.warehouse.timezone_of(experiment)
    return _shown(build_live_scores(rows, name=experiment, timezone=timezone, width=width), theme)


def tuning(
    reference: str,
    *,
    metric: str | None = None,
    project: str | Path | None = None,
    theme: Theme = "light",
    width: int = 680,
) -> alt.TopLevelMixin:
    """Plot the candidates that the search of a model version tried.

    One parameter is a validation curve with the spread of the folds, two are a heat map or a scatter plot, more are
    parallel coordinates and the best twenty candidates.

    Parameters
    ----------
    reference : str
        The model version, as for :func:`diurnal.load_model`: ``"name"``, ``"name@3"``, ``"name@2026-11-23"``.
    metric : str, optional
        The metric, of a search with several; by default the first one.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.
    theme : {"light", "dark"}
        The theme.
    width : int
        The width of the plots in pixels.

    Returns
    -------
    altair.VConcatChart

    Raises
    ------
    UsageError
        If the experiment returns an estimator in place of a search, or the search has no such metric.
    NotFoundError
        If the experiment, version or champion does not exist.
    ConfigurationError
        If no project is found, or Altair is not installed.

    Examples
    --------
    >>> diurnal.plots.tuning("breast_cancer@1").save("candidates.svg")  # doctest: +SKIP
    """
    from diurnal.pipeline.result_frames import candidates
    from diurnal.plots.tuning_chart import build_tuning

    _require_altair()
    return _shown(
        build_tuning(candidates(reference, project=project), name=reference, metric=metric, width=width), theme
    )


def evaluation(reference: str, *, project: str | Path | None = None, theme: Theme = "light") -> alt.TopLevelMixin:
    """Plot the evaluation of a model version's twin beside that of the champion of the time.

    A classification has ROC, precision-recall and calibration curves, confusion matrices and histograms of the score; a
    regression has predicted and true values and residuals. Both have permutation importances, and scores by category.

    Parameters
    ----------
    reference : str
        The model version, as for :func:`diurnal.load_model`.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.
    theme : {"light", "dark"}
        The theme.

    Returns
    -------
    altair.VConcatChart
        That of a run without evaluation data, of an earlier release, has its scores only, and a note.

    Raises
    ------
    NotFoundError
        If the experiment, version or champion does not exist.
    ConfigurationError
        If no project is found, or Altair is not installed.

    Examples
    --------
    >>> diurnal.plots.evaluation("breast_cancer").save("evaluation.html")  # doctest: +SKIP
    """
    from diurnal.plots.evaluation_page import build_evaluation

    _require_altair()
    with open_recorded_stores(project) as stores:
        run, data = _run_of(stores, reference)
    return _shown(build_evaluation(data, run, name=reference), theme)


def drift(
    experiment: str,
    *,
    columns: Sequence[str] | None = None,
    project: str | Path | None = None,
    theme: Theme = "light",
    width: int = 680,
) -> alt.TopLevelMixin:
    """Plot the drift of the columns of an experiment's batches, and the history of some columns.

    A strip for each column, strongest drift first, shows its effect as a multiple of the threshold. Below are, for some
    columns, quantiles or shares of categories over time, and missing values.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    columns : sequence of str, optional
        The columns whose history is shown; by default the target and the four with the strongest drift.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.
    theme : {"light", "dark"}
        The theme.
    width : int
        The width of the plots in pixels.

    Returns
    -------
    altair.VConcatChart

    Raises
    ------
    NotFoundError
        If the experiment has no run, no profile, or no such column.
    ConfigurationError
        If no project is found, or Altair is not installed.

    Examples
    --------
    >>> diurnal.plots.drift("breast_cancer", columns=["mean radius"])  # doctest: +SKIP
    alt.VConcatChart(...)
    """
    from diurnal.plots.drift_charts import build_drift

    _require_altair()
    with open_recorded_stores(project) as stores:
        runs = _runs_of(stores, experiment)
        profiles, timezone = stores.warehouse.profiles(experiment), stores.warehouse.timezone_of(experiment)
    if not profiles:
        raise NotFoundError(
            f"no batch of {experiment} has a profile: earlier releases did not make them",
            hint=f"make them: diurnal profile {experiment}",
        )
    known = list(dict.fromkeys(name for row in profiles for name in (row["summary"] or {}).get("columns") or {}))
    for column in columns or ():
        if column not in known:
            raise NotFoundError(
                f"no profile of {experiment} has a column {column!r}{did_you_mean(column, known)}",
                hint=f"columns are {', '.join(known[:20])}",
            )
    spec = build_drift(runs, profiles, name=experiment, columns=columns, timezone=timezone, width=width)
    return _shown(spec, theme)


def compare(first: str, second: str, *, project: str | Path | None = None, theme: Theme = "light") -> alt.TopLevelMixin:
    """Plot two model versions beside each other: scores, parameters that differ, and the curves of both twins.

    Parameters
    ----------
    first, second : str
        The model versions, as for :func:`diurnal.load_model`; they can be of different experiments.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.
    theme : {"light", "dark"}
        The theme.

    Returns
    -------
    altair.VConcatChart

    Raises
    ------
    NotFoundError
        If an experiment, version or champion does not exist.
    ConfigurationError
        If no project is found, or Altair is not installed.

    Examples
    --------
    >>> diurnal.plots.compare("breast_cancer@1", "breast_cancer@2").save("comparison.html")  # doctest: +SKIP
    """
    from diurnal.plots.comparison_chart import build_comparison

    _require_altair()
    with open_recorded_stores(project) as stores:
        runs = [_run_of(stores, reference) for reference in (first, second)]
        (one, its_data), (other, other_data) = runs
        timezone = stores.warehouse.timezone_of(str(other.get("experiment")))
    spec = build_comparison(one, other, (its_data, other_data), names=(first, second), timezone=timezone)
    return _shown(spec, theme)


def _require_altair() -> None:
    try:
        import altair as alt  # noqa: F401 - whether it is installed
    except ImportError:
        raise ConfigurationError(
            "plots need Altair, which is not installed", hint="pip install 'diurnal[page]'"
        ) from None


def _shown(spec: dict[str, Any], theme: Theme) -> alt.TopLevelMixin:
    from diurnal.plots.chart_output import to_altair

    if theme not in ("light", "dark"):
        raise UsageError(f"theme is {theme!r}; allowed are 'light' and 'dark'", hint="pass one of them")
    return to_altair(spec, theme)


def _runs_of(stores: Stores, experiment: str) -> list[dict[str, Any]]:
    """Return the rows of an experiment's runs, of which there is at least one."""
    runs = stores.warehouse.runs(experiment)
    if runs:
        return runs
    message = f"{recorded_name(stores, experiment)} has batches, but no run is recorded"
    raise NotFoundError(message, hint=f"see what failed: diurnal runs {experiment}")


def _run_of(stores: Stores, reference: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the row of a version's run, and its evaluation data, which runs of earlier releases do not have."""
    version = resolve_reference(stores.warehouse, reference)
    run = stores.warehouse.run(version["run_id"]) or {}
    path = run.get("evaluation")
    return run, None if path is None else json.loads(stores.lake.read_bytes(path))
