"""Predictions beside the truth that batches have: joined by the key, or by the content of the rows.

The batch of the data interval has precedence, then that of the nearest later one whose row of the key has a target.
With a key, PostgreSQL joins the rows. Without one, a row is the same if its features are, and only the batch of the
same data interval counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from diurnal.data.row_identity import identity_hasher
from diurnal.data.sample_key import ROW_HASH
from diurnal.data.schema import arrow_type
from diurnal.data.version_reader import read_in_newest_schema, stored_names
from diurnal.pipeline.prediction_columns import prediction_contract
from diurnal.storage.warehouse.truth_queries import BATCH, TRUTH, WEIGHT
from diurnal.types import Package

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.backends.recorded_scores import RecordedPredictions
    from diurnal.data import Schema
    from diurnal.storage.stores import Stores

MAX_LEARNT = 500_000
"""The number of rows of a training window, newest batch first, that are compared with the labelled ones."""
MAX_SCORED = 200_000
"""The number of rows of a load from which its scores are computed; of more, a sample by the hash of the key."""


@dataclass(frozen=True)
class LabelledPredictions:
    """Predictions of a load whose truth is known.

    Attributes
    ----------
    rows : pyarrow.Table
        ``prediction``, ``probability_<class>``, ``truth``, ``weight`` and ``batch_load_id``; of many rows a sample, and
        none that the version has learnt with the same features and truth.
    counts : Mapping of int to int
        The number of predictions with a truth, by the load of the batch that has it.
    unlearnt : Mapping of int to int
        Of these, those that the version has not learnt.
    """

    rows: pa.Table
    counts: Mapping[int, int]
    unlearnt: Mapping[int, int]


def read_labelled_predictions(
    stores: Stores,
    contract: Schema,
    version: Mapping[str, Any],
    load: Mapping[str, Any],
    batches: Sequence[Mapping[str, Any]],
    learnt: Sequence[Mapping[str, Any]],
) -> LabelledPredictions:
    """Join the predictions of a load with batches.

    Rows that are equal to one that the version has learnt are counted, and left out.

    Parameters
    ----------
    stores : Stores
        The stores of the project.
    contract : Schema
        The newest version of the contract.
    version : Mapping of str to object
        The row of `model_versions` of the load.
    load : Mapping of str to object
        The row of `prediction_loads`.
    batches : sequence of Mapping of str to object
        Visible batches from the data interval of the load on, oldest first: at least one.
    learnt : sequence of Mapping of str to object
        The batches that the version was trained on: the column `packages` of its run.
    """
    learnt = _newest_batches(learnt)
    if not contract.key:
        return _join_by_content(stores, contract, version, load, batches, learnt)
    name, shown = str(load["experiment"]), prediction_contract(contract, dict(version))
    load_ids, warehouse, load_id = [int(batch["load_id"]) for batch in batches], stores.warehouse, int(load["load_id"])
    share = min(1.0, MAX_SCORED / max(1, load["n_rows"]))
    arguments: dict[str, Any] = {"experiment": name, "shown": shown, "contract": contract}
    arguments |= {"load_id": load_id, "batches": load_ids}
    known = warehouse.loads_of_packages(name, [one["digest"] for one in learnt])
    rows = warehouse.labelled_predictions(**arguments, n_rows=load["n_rows"], share=share, learnt=known)
    counts = warehouse.count_labelled(**arguments)
    if share < 1:
        return LabelledPredictions(rows, counts, warehouse.count_labelled(**arguments, learnt=known))
    numbers, found = np.unique(rows.column(BATCH).to_numpy(), return_counts=True)
    return LabelledPredictions(rows, counts, dict(zip(numbers.tolist(), found.tolist(), strict=True)))


def to_recorded_predictions(contract: Schema, signature: Mapping[str, Any], rows: pa.Table) -> RecordedPredictions:
    """Return labelled predictions as arrays, in the types that a model has learnt.

    Parameters
    ----------
    contract : Schema
        The newest version of the contract.
    signature : Mapping of str to object
        That of the version.
    rows : pyarrow.Table
        The rows of :class:`LabelledPredictions`.
    """
    from diurnal.backends.recorded_scores import RecordedPredictions
    from diurnal.backends.sklearn.sklearn_frames import to_target

    weights = None
    if contract.metadata.sample_weight:
        weights = rows.column(WEIGHT).fill_null(0.0).to_numpy()
    if contract.task == "regression":
        y, predicted = (rows.column(name).cast(pa.float64()).to_numpy() for name in (TRUTH, "prediction"))
        return RecordedPredictions(y, predicted, sample_weight=weights)
    kind = contract.column(contract.target).kind
    labels = signature["classes"]
    classes = pa.table({"class": pa.array([str(one) if kind == "text" else one for one in labels], arrow_type(kind))})
    cast = {name: rows.column(name).cast(arrow_type(kind)) for name in (TRUTH, "prediction")}
    names = [f"probability_{label}" for label in labels]
    has_probabilities = signature["golden"]["probabilities"] is not None
    probabilities = [rows.column(name).to_numpy() for name in names] if has_probabilities else None
    return RecordedPredictions(
        to_target(pa.table(cast), TRUTH),
        to_target(pa.table(cast), "prediction"),
        to_target(classes, "class"),
        None if probabilities is None else np.column_stack(probabilities),
        weights,
    )


def _newest_batches(packages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the newest batches of a window, with :data:`MAX_LEARNT` rows together; the newest one in any case."""
    newest = sorted(packages, key=lambda package: str(package["data_interval_start"]), reverse=True)
    sizes = np.cumsum([package["n_rows"] for package in newest])
    return [package for package, size in zip(newest, sizes, strict=True) if size <= MAX_LEARNT] or newest[:1]


def _join_by_content(
    stores: Stores,
    contract: Schema,
    version: Mapping[str, Any],
    load: Mapping[str, Any],
    batches: Sequence[Mapping[str, Any]],
    learnt: Sequence[Mapping[str, Any]],
) -> LabelledPredictions:
    """Join with the batch of the same data interval: rows are equal if the hashes of their features are."""
    shown = prediction_contract(contract, dict(version))
    predicted = stores.warehouse.prediction_rows_of_load(str(load["experiment"]), shown, int(load["load_id"]))
    own = next((one for one in batches if one["data_interval_start"] == load["data_interval_start"]), None)
    hashes = predicted.column(ROW_HASH).to_numpy().view(np.uint64)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    truth_hashes, truth = _read_truth(stores, contract, str(load["experiment"]), own)
    places = np.minimum(np.searchsorted(hashes, truth_hashes), max(0, len(hashes) - 1))
    known = hashes[places] == truth_hashes if len(hashes) else np.zeros(len(truth_hashes), dtype=bool)
    n_labelled = int(np.isin(hashes, truth_hashes).sum())
    if not contract.keeps_duplicates:  # equal rows are one sample, whatever batch they are in
        for package in learnt:
            known &= ~np.isin(truth_hashes, _read_truth(stores, contract, str(load["experiment"]), package)[0])
    kept = np.flatnonzero(known)
    n_unlearnt = int(np.isin(hashes, truth_hashes[kept]).sum())
    kept = kept[:: -(-len(kept) // MAX_SCORED) or 1]
    rows = predicted.take(pa.array(order[places[kept]])).drop_columns([*shown.key])
    for name in (TRUTH, WEIGHT):
        rows = rows.append_column(name, truth.column(name).take(pa.array(kept)))
    batch = 0 if own is None else int(own["load_id"])
    rows = rows.append_column(BATCH, pa.repeat(pa.scalar(batch, pa.int64()), rows.num_rows))
    return LabelledPredictions(
        rows, {batch: n_labelled} if n_labelled else {}, {batch: n_unlearnt} if n_unlearnt else {}
    )


def _read_truth(
    stores: Stores, contract: Schema, experiment: str, batch: Mapping[str, Any] | None
) -> tuple[npt.NDArray[np.uint64], pa.Table]:
    """Return the hash, the target and the weight of each row of a batch that has a target."""
    hasher, weight = identity_hasher(contract, experiment), contract.metadata.sample_weight
    beside = [contract.target, *([weight] if weight else ())]
    columns = list(dict.fromkeys([*contract.identity, *beside]))
    hashes, tables = [np.zeros(0, dtype=np.uint64)], []
    if batch is not None and stores.lake.exists(batch["path"]):
        package = Package(batch["path"], batch["digest"], batch["n_rows"])
        stored = stored_names(contract, columns, stores.lake.schema(package).names)
        for rows in read_in_newest_schema(stores.lake.batches(package, stored), contract, columns):
            valid = rows.filter(rows.column(contract.target).is_valid())
            hashes.append(hasher(valid))
            weights = valid.column(weight).cast(pa.float64()) if weight else pa.nulls(valid.num_rows, pa.float64())
            tables.append(pa.table({TRUTH: valid.column(contract.target), WEIGHT: weights}))
    empty = pa.table(
        {TRUTH: contract.arrow_schema.empty_table().column(contract.target), WEIGHT: pa.nulls(0, pa.float64())}
    )
    return np.concatenate(hashes), pa.concat_tables(tables) if tables else empty
