"""What is known of one sample: its predictions, the versions that made them, the truth, and where its rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.pipeline.key_rows import KeyRows, find_key_rows, parse_key
from diurnal.pipeline.recorded_stores import open_recorded_stores, recorded_name

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

Row = dict[str, Any]
_OF_LOAD = ("data_interval_start", "data_interval_end", "version", "digest", "load_id", "requested_by")


@dataclass(frozen=True)
class KeyTrace:
    """What is known of a sample, in plain values.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    key : dict
        The value of each column of the key.
    predictions : list of dict
        All predictions of it, one for each period in which it was visible, oldest first: ``data_interval_start``,
        ``data_interval_end``, ``version``, ``digest``, ``load_id``, ``requested_by``, ``prediction``,
        ``probabilities`` by class, ``visible_from``, ``visible_until`` (None while the view shows it), ``truth`` and
        ``truth_interval`` (None if unknown), and ``in_sample``: whether the version has learnt the truth.
    versions : list of dict
        The versions that have predicted the sample, or learnt from its rows: ``version``, ``digest``, ``run_id``,
        ``code_digest``, ``window_start``, ``window_end``, ``batches`` (of the training window: the start of the data
        interval and the digest), ``has_predicted``, ``has_learnt``, and ``n_deleted_batches``: those of the window
        that were deleted since, so that it is not known whether they had the sample.
    rows : list of dict
        The packages of the lake with its rows: ``data_interval_start``, ``role``, ``digest``, ``path``, ``n_rows``, and
        ``is_current``: whether it is of the present batch of the data interval.
    missing : list of str
        The paths of packages that are not in the lake any more.
    """

    experiment: str
    key: Row
    predictions: list[Row]
    versions: list[Row]
    rows: list[Row]
    missing: list[str]


def trace_key(stores: Stores, experiment: str, key: Any) -> KeyTrace:
    """Return what is known of a sample.

    Parameters
    ----------
    stores : Stores
        The stores of the project.
    experiment : str
        Name of the experiment.
    key : object
        As for :func:`diurnal.pipeline.key_rows.parse_key`.

    Raises
    ------
    NotFoundError
        If the experiment has no batch.
    UsageError
        If the key does not have the columns and kinds of the contract.
    """
    found = find_key_rows(stores, parse_key(stores, experiment, key))
    versions = _trace_versions(stores, found)
    return KeyTrace(
        experiment,
        dict(found.key.values),
        _trace_predictions(stores, found, {row["version"]: row for row in versions}),
        [row for row in versions if row["has_predicted"] or row["has_learnt"]],
        _trace_packages(stores, found),
        [package.path for package in found.missing],
    )


def trace(experiment: str, key: Any, *, project: str | Path | None = None) -> dict[str, Any]:
    """Return what is known of one sample: predictions, versions that made them or learnt from it, and its rows.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    key : object
        The value of the key; of several columns, a mapping from columns to values. Without a key, the ``row_hash`` in
        the view of the predictions.
    project : str or Path, optional
        The folder of the project, as for :func:`diurnal.load_model`.

    Returns
    -------
    dict
        ``predictions``: all that were ever visible, with ``version``, ``prediction``, ``probabilities``,
        ``visible_from``, ``visible_until`` and ``truth``. ``versions``: those that have predicted it or learnt from it,
        with run, code digest, training window and batches. ``rows``: the packages of the lake that contain it.

    Raises
    ------
    NotFoundError
        If the experiment has no batch.
    UsageError
        If the key does not have the columns and kinds of the contract.
    ConfigurationError
        If no project is found.

    Examples
    --------
    >>> found = diurnal.trace("titanic", 42)  # doctest: +SKIP
    >>> [(one["version"], one["prediction"], one["truth"]) for one in found["predictions"]]  # doctest: +SKIP
    [(3, 0, 1)]
    """
    with open_recorded_stores(project) as stores:
        return asdict(trace_key(stores, recorded_name(stores, experiment), key))


def _trace_versions(stores: Stores, found: KeyRows) -> list[Row]:
    """Return all versions, and whether they have predicted the sample or learnt from it."""
    name, warehouse = found.key.experiment, stores.warehouse
    digests = {one.package.digest for one in found.packages if one.role == "batch"}
    loads = {row["load_id"] for row in found.predictions}
    predicted = {row["version"] for row in warehouse.prediction_loads(name) if row["load_id"] in loads}
    runs, rows = {row["run_id"]: row for row in warehouse.runs(name)}, []
    deleted = warehouse.versions_without_batches(name)
    for version in sorted(warehouse.versions(name), key=lambda row: int(row["version"])):
        run = runs[version["run_id"]]
        window = sorted(run["packages"], key=lambda package: str(package["data_interval_start"]))
        rows.append(
            {
                **{column: version[column] for column in ("version", "digest", "run_id")},
                "code_digest": run["code_digest"],
                "window_start": datetime.fromisoformat(window[0]["data_interval_start"]),
                "window_end": datetime.fromisoformat(window[-1]["data_interval_end"]),
                "batches": [
                    {"data_interval_start": datetime.fromisoformat(one["data_interval_start"]), "digest": one["digest"]}
                    for one in window
                ],
                "has_predicted": version["version"] in predicted,
                "has_learnt": any(one["digest"] in digests for one in window),
                "n_deleted_batches": len(deleted.get(version["version"], ())),
            }
        )
    return rows


def _trace_predictions(stores: Stores, found: KeyRows, versions: Mapping[int, Row]) -> list[Row]:
    name, warehouse = found.key.experiment, stores.warehouse
    loads = {row["load_id"]: row for row in warehouse.prediction_loads(name) if row["state"] == "complete"}
    starts = [loads[row["load_id"]]["data_interval_start"] for row in found.predictions if row["load_id"] in loads]
    batches = warehouse.visible_batches(name, min(starts)) if starts else []
    truths = {row["load_id"]: row["truth"] for row in found.batches}
    periods, rows = _visible_periods(warehouse.shown_predictions(name)), []
    for row in found.predictions:
        load = loads.get(row["load_id"])
        if load is None:
            continue  # it is being loaded
        truth, truth_interval = _find_truth(load, batches, truths)
        learnt = {one["data_interval_start"] for one in versions[load["version"]]["batches"]}
        for visible_from, visible_until in periods[load["load_id"]]:
            rows.append(
                {
                    **{column: load[column] for column in _OF_LOAD},
                    "prediction": row["prediction"],
                    "probabilities": _probabilities(row),
                    "visible_from": visible_from,
                    "visible_until": visible_until,
                    "truth": truth,
                    "truth_interval": truth_interval,
                    "in_sample": truth is not None and bool({load["data_interval_start"], truth_interval} & learnt),
                }
            )
    return sorted(rows, key=lambda one: (one["data_interval_start"], one["visible_from"]))


def _probabilities(row: Mapping[str, Any]) -> dict[str, float]:
    prefix = "probability_"
    named = {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
    return {name: value for name, value in named.items() if value is not None}


def _visible_periods(shown: Sequence[Row]) -> dict[int, list[tuple[datetime, datetime | None]]]:
    """Return the periods in which each load was visible; the end of the present one is None."""
    periods: dict[int, list[tuple[datetime, datetime | None]]] = {}
    for row, following in zip_longest(shown, shown[1:]):
        is_ended = following is not None and following["data_interval_start"] == row["data_interval_start"]
        periods.setdefault(row["load_id"], []).append((row["shown_at"], following["shown_at"] if is_ended else None))
    return periods


def _find_truth(load: Row, batches: Sequence[Row], truths: Mapping[int, Any]) -> tuple[Any, datetime | None]:
    """Return the truth of a prediction, and the data interval whose batch has it: as live scores choose it."""
    for batch in batches:
        truth = truths.get(batch["load_id"])
        if batch["data_interval_start"] >= load["data_interval_start"] and truth is not None:
            return truth, batch["data_interval_start"]
    return None, None


def _trace_packages(stores: Stores, found: KeyRows) -> list[Row]:
    current = stores.warehouse.current_digests(found.key.experiment)
    return [
        {
            "data_interval_start": one.data_interval_start,
            "role": one.role,
            "digest": one.package.digest,
            "path": one.package.path,
            "n_rows": one.n_rows,
            "is_current": (one.data_interval_start, one.package.digest) in current,
        }
        for one in found.packages
    ]
