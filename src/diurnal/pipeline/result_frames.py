"""Recorded results as pandas frames, for notebooks and reports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from diurnal.errors import NotFoundError, UsageError
from diurnal.pipeline.recorded_stores import open_recorded_stores, recorded_name
from diurnal.storage.load_model import resolve_reference
from diurnal.types import Package
from diurnal.types.calendar import parse_date_or_instant

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from diurnal.storage.stores import Stores


_EXPANDED = {"best_params": "param_", "test_scores": "test_", "comparison": "comparison_"}


def runs(experiment: str, *, project: str | Path | None = None) -> pd.DataFrame:
    """Return the runs of an experiment, one row for each, in the order of their data intervals.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.

    Returns
    -------
    pandas.DataFrame of shape (n_runs, n_columns)
        The columns of the table `experiments`. Best parameters are columns ``param_<name>``, as in scikit-learn's
        ``cv_results_``; scores on the test set are ``test_<scorer>``, and the comparison with the champion is
        ``comparison_<value>``. Times are in UTC.

    Raises
    ------
    NotFoundError
        If the experiment has no run.
    ConfigurationError
        If no project is found.

    Examples
    --------
    >>> frame = diurnal.runs("breast_cancer")  # doctest: +SKIP
    >>> frame.plot("data_interval_start", ["cv_score_mean", "test_score"])  # doctest: +SKIP
    """
    with open_recorded_stores(project) as stores:
        rows = stores.warehouse.runs(recorded_name(stores, experiment))
    return _sorted_frame(map(_expand, rows), ["data_interval_start", "recorded_at"])


def versions(experiment: str, *, project: str | Path | None = None) -> pd.DataFrame:
    """Return the published model versions of an experiment, one row for each, in their order.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.

    Returns
    -------
    pandas.DataFrame of shape (n_versions, n_columns)
        The columns of the table `model_versions`. Times are in UTC.

    Raises
    ------
    NotFoundError
        If the experiment has no run.
    ConfigurationError
        If no project is found.
    """
    with open_recorded_stores(project) as stores:
        rows = stores.warehouse.versions(recorded_name(stores, experiment))
    return _sorted_frame(rows, ["version"])


def promotions(experiment: str, *, project: str | Path | None = None) -> pd.DataFrame:
    """Return the promotions and rollbacks of an experiment, one row for each, in their order.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.

    Returns
    -------
    pandas.DataFrame of shape (n_promotions, n_columns)
        The columns of the table `promotions`: the version, when, by whom, why, and the evidence. Times are in UTC.

    Raises
    ------
    NotFoundError
        If the experiment has no run.
    ConfigurationError
        If no project is found.
    """
    with open_recorded_stores(project) as stores:
        rows = stores.warehouse.promotions(recorded_name(stores, experiment))
    return _sorted_frame(rows, ["promoted_at"])


def candidates(reference: str, *, project: str | Path | None = None) -> pd.DataFrame:
    """Return the candidates that the search of a model version tried, as scikit-learn's ``cv_results_``.

    Parameters
    ----------
    reference : str
        The model version, as for :func:`diurnal.load_model`: ``"name"``, ``"name@3"``, ``"name@2026-11-23"``.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.

    Returns
    -------
    pandas.DataFrame of shape (n_candidates, n_columns)
        ``param_<name>``, ``mean_test_<scorer>``, ``split0_test_<scorer>``, ``rank_test_<scorer>`` and so on.

    Raises
    ------
    UsageError
        If the experiment returns an estimator in place of a search, so that there are no candidates.
    NotFoundError
        If the experiment, version or champion does not exist.
    ConfigurationError
        If no project is found.
    """
    with open_recorded_stores(project) as stores:
        version = resolve_reference(stores.warehouse, reference)
        run = stores.warehouse.run(version["run_id"]) or {}
        path = run.get("candidates")
        if path is None:
            _raise_if_deleted(stores, version, "candidates")
            raise UsageError(
                f"version {version['version']} of {version['experiment']} was fitted without a search",
                hint="return a search such as GridSearchCV from the experiment",
            )
        table = stores.lake.read(Package(path, PurePosixPath(path).stem, 0))
    return expand_candidates(table)


def _raise_if_deleted(stores: Stores, version: Mapping[str, Any], kind: str) -> None:
    """Raise a NotFoundError if a file of the version's run was deleted, as it was too old."""
    deleted = stores.warehouse.deletions(version["experiment"], kind)
    found = [row for row in deleted if row["data_interval_start"] == version["data_interval_start"]]
    if found:
        raise NotFoundError(
            f"version {version['version']} of {version['experiment']}: the file of {kind} was deleted by "
            f"{found[-1]['reason']}, {found[-1]['deleted_at']:%Y-%m-%d}",
            hint="declare a longer retention= for later runs",
        )


def expand_candidates(table: pa.Table) -> pd.DataFrame:
    """Return the stored table of candidates as a frame, with a column ``param_<name>`` for each parameter."""
    frame: pd.DataFrame = table.to_pandas()
    parameters = [json.loads(text) for text in frame.pop("params")]
    for i, name in enumerate(dict.fromkeys(name for one in parameters for name in one)):
        frame.insert(i, f"param_{name}", [one.get(name) for one in parameters])
    return frame


def evaluation(reference: str, *, project: str | Path | None = None) -> dict[str, Any]:
    """Return the evaluation data of a model version: curves, histograms, importances and slices.

    Parameters
    ----------
    reference : str
        The model version, as for :func:`diurnal.load_model`: ``"name"``, ``"name@3"``, ``"name@2026-11-23"``.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.

    Returns
    -------
    dict
        ``docs/monitoring.md`` describes it. ``models`` has the twin, and the champion that it was compared with.

    Raises
    ------
    NotFoundError
        If the experiment, version or champion does not exist, or its run has no evaluation data.
    ConfigurationError
        If no project is found.

    Examples
    --------
    >>> curves = diurnal.evaluation("breast_cancer@3")["models"]["twin"]["curves"]  # doctest: +SKIP
    >>> curves["malignant"]["auc"]  # doctest: +SKIP
    0.988875
    """
    from diurnal.pipeline.evaluation_files import read_evaluation

    with open_recorded_stores(project) as stores:
        version = resolve_reference(stores.warehouse, reference)
        path = (stores.warehouse.run(version["run_id"]) or {}).get("evaluation")
        if path is None:
            _raise_if_deleted(stores, version, "evaluation")
            raise NotFoundError(
                f"version {version['version']} of {version['experiment']} has no evaluation data",
                hint="runs of earlier versions of diurnal have none, nor those whose warnings name the reason",
            )
        return read_evaluation(stores.lake, path)


def profiles(experiment: str, *, project: str | Path | None = None) -> pd.DataFrame:
    """Return the profiles of the batches of an experiment: one row for each data interval and column.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.

    Returns
    -------
    pandas.DataFrame of shape (n_batches * n_columns, n_columns_of_frame)
        ``column``, ``kind``, ``role``, ``n_rows`` and ``missing`` (a share); of numbers ``mean``, ``std``, ``min``,
        ``q05`` to ``q95`` and ``max``, of times the same in seconds since 1970; of categories ``top``, the shares of
        the ten most frequent ones, and ``n_categories``. ``drift_effect``, ``drift_threshold`` and ``drifted`` are of
        the newest run of the batch. A wide batch has its first 200 columns: the target, then features.

    Raises
    ------
    NotFoundError
        If the experiment has no batch, or none that has a profile.
    ConfigurationError
        If no project is found.

    Examples
    --------
    >>> frame = diurnal.profiles("breast_cancer")  # doctest: +SKIP
    >>> frame[frame["column"] == "mean radius"].plot("data_interval_start", ["q05", "q50", "q95"])  # doctest: +SKIP
    """
    with open_recorded_stores(project) as stores:
        rows = stores.warehouse.profiles(recorded_name(stores, experiment))
        drifts = {row["batch_digest"]: row["drift"] for row in reversed(stores.warehouse.runs(experiment))}
    if not rows:
        raise NotFoundError(
            f"no batch of {experiment} has a profile", hint=f"make them: `diurnal profile {experiment}`"
        )
    return _sorted_frame(
        [one for row in rows for one in _profile_rows(row, drifts.get(row["batch_digest"]))], ["data_interval_start"]
    )


def predictions(
    experiment: str, *, since: str | datetime | None = None, project: str | Path | None = None
) -> pd.DataFrame:
    """Return the predictions that `diurnal score` has loaded into the warehouse, one row for each.

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
    pandas.DataFrame of shape (n_predictions, n_columns)
        The columns of the view ``predictions_<experiment>``: the data interval, ``version`` and ``digest`` of the
        model, ``predicted_at``, the key, ``prediction``, and ``probability_<class>`` for each class. Times are in UTC.

    Raises
    ------
    NotFoundError
        If no batch of the experiment was ever scored.
    ConfigurationError
        If no project is found.

    Examples
    --------
    >>> frame = diurnal.predictions("breast_cancer", since="2026-11-23")  # doctest: +SKIP
    >>> frame.groupby(["data_interval_start", "version"])["prediction"].value_counts()  # doctest: +SKIP
    """
    first = parse_date_or_instant(since)[0] if isinstance(since, str) else since
    with open_recorded_stores(project) as stores:
        table = stores.warehouse.predictions(recorded_name(stores, experiment), since=first)
    if table is None:
        raise NotFoundError(
            f"no batch of {experiment} was ever scored", hint=f"score one: `diurnal score {experiment}`"
        )
    return _sorted_frame(table.to_pandas(), ["data_interval_start"])


def _profile_rows(row: Mapping[str, Any], drift: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield a row for each column in the summary of a profile."""
    found = {one["column"]: one for one in (drift or {}).get("columns", ())}
    columns = row["summary"]["columns"]
    for column, numbers in sorted(columns.items(), key=lambda item: int(item[1]["position"])):
        compared, shown = found.get(column, {}), {key: value for key, value in numbers.items() if key != "position"}
        if "top" in shown:
            shown["top"] = dict(sorted(shown["top"].items(), key=lambda item: -item[1]))
        yield {
            "data_interval_start": row["data_interval_start"],
            "data_interval_end": row["data_interval_end"],
            "column": column,
            "kind": shown["kind"],
            "role": shown["role"],
            "n_rows": row["summary"]["n_rows"],
            **shown,
            "drift_effect": compared.get("effect"),
            "drift_threshold": compared.get("threshold"),
            "drifted": compared.get("drifted"),
        }


def _expand(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a dict of scores or parameters by one column for each of its items.

    Examples
    --------
    >>> _expand({"run_id": "a", "best_params": {"C": 1.0}, "comparison": None})
    {'run_id': 'a', 'param_C': 1.0}
    """
    expanded: dict[str, Any] = {}
    for name, value in row.items():
        if name in _EXPANDED:
            expanded |= {f"{_EXPANDED[name]}{key}": item for key, item in (value or {}).items()}
        else:
            expanded[name] = value
    return expanded


def _sorted_frame(rows: Iterable[Mapping[str, Any]] | pd.DataFrame, order: list[str]) -> pd.DataFrame:
    import pandas as pd

    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    for name in frame.columns:
        if name.endswith(("_at", "_start", "_end")):
            frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame.sort_values(order, ignore_index=True, kind="stable") if len(frame) else frame
