"""Live scores as a pandas frame, for notebooks and reports."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from diurnal.errors import NotFoundError
from diurnal.pipeline.recorded_stores import open_recorded_stores, recorded_name
from diurnal.types.calendar import parse_date_or_instant

if TYPE_CHECKING:
    import pandas as pd


def live_scores(
    experiment: str, *, since: str | datetime | None = None, project: str | Path | None = None
) -> pd.DataFrame:
    """Return how right the predictions of `diurnal score` were, by the truth that came later.

    Runs compute live scores when they store a batch; the command ``diurnal live-scores`` computes those that are
    missing.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    since : str or datetime, optional
        Only data intervals that begin then or later: a date in UTC, or a time in ISO 8601.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.

    Returns
    -------
    pandas.DataFrame of shape (n_intervals * n_versions, n_columns)
        One row for each data interval and version that has predicted it: ``n_predictions``, ``n_labelled`` (with a
        truth), ``n_in_sample`` (of these, learnt by the version, and not scored), ``n_scored``, ``scoring``, ``score``
        and ``score_<scorer>`` (greater is better), ``test_score`` of the run that published the version, ``shown``
        (whether the predictions are visible), and ``reason``: why there is no score. Times are in UTC.

    Raises
    ------
    NotFoundError
        If no batch of the experiment was ever scored.
    ConfigurationError
        If no project is found.

    Examples
    --------
    >>> frame = diurnal.live_scores("breast_cancer", since="2026-11-23")  # doctest: +SKIP
    >>> frame.plot("data_interval_start", ["score", "test_score"])  # doctest: +SKIP
    """
    import pandas as pd

    first = parse_date_or_instant(since)[0] if isinstance(since, str) else since
    with open_recorded_stores(project) as stores:
        name = recorded_name(stores, experiment)
        rows = stores.warehouse.live_scores(name, since=first)
        known = bool(rows) or bool(stores.warehouse.live_scores(name))
    if not known:
        message = f"no batch of {experiment} was ever scored"
        raise NotFoundError(message, hint=f"score one: `diurnal score {experiment}`")
    frame = pd.DataFrame(rows)
    if not rows:
        return frame
    scores = pd.DataFrame([row["scores"] or {} for row in rows]).add_prefix("score_")
    frame = pd.concat([frame.drop(columns="scores"), scores], axis=1)
    for column in ("data_interval_start", "data_interval_end", "updated_at"):
        frame[column] = pd.to_datetime(frame[column], utc=True)
    return frame
