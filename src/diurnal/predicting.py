"""Finding a published model by its reference, loading it after every check, and predicting with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from diurnal.errors import NotFound, UsageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.day import Stores

FORMS = "NAME, NAME@champion, NAME@3 (a version) or NAME@2026-11-23 (what served at the end of that day, UTC)"


def resolve(stores: Stores, reference: str) -> dict[str, Any]:
    """Find the model version that a reference names.

    Parameters
    ----------
    stores : Stores
        Where to look.
    reference : str
        ``NAME`` or ``NAME@champion``, ``NAME@3``, or ``NAME@2026-11-23``: the champion at the end of that day, UTC.

    Returns
    -------
    dict
        Its row of `model_versions`.

    Raises
    ------
    NotFound
        If there is no such experiment or version, or nothing served then.
    UsageError
        If the reference is of none of these forms.
    """
    name, _, which = reference.partition("@")
    warehouse = stores.warehouse
    if which.isdecimal():
        return _known(stores, name) and warehouse.version(name, int(which))
    moment = None
    if which not in ("", "champion"):
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", which):
            raise UsageError(f"{reference!r} names no model version; allowed are {FORMS}")
        try:
            moment = datetime.combine(date.fromisoformat(which) + timedelta(days=1), time(), UTC)
        except ValueError:
            raise UsageError(f"{which!r} is no day of the calendar; write it as 2026-11-23") from None
    champion = warehouse.champion(name, moment)
    if champion is None:
        _known(stores, name)
        when = f" at the end of {which}" if moment else ""
        raise NotFound(
            f"{name} had no champion{when}" if when else f"{name} has no champion yet",
            advice=f"`diurnal history {name}` shows what served when; `diurnal promote {name} VERSION` makes one",
        )
    return warehouse.version(name, champion.version)


def _known(stores: Stores, name: str) -> bool:
    names = {row["experiment"] for row in stores.warehouse.versions(None)}
    if name not in names:
        listed = ", ".join(sorted(names)) or "none yet"
        raise NotFound(
            f"no model of {name!r} was ever published; there are models of: {listed}{nearest(name, names)}",
            advice="`diurnal list` shows the experiments; `diurnal run NAME` publishes a first version",
        )
    return True


def load(stores: Stores, row: dict[str, Any]) -> Any:
    """Load a model version, after the checks of its digest, its types and its golden rows."""
    return stores.models.load(
        row["path"],
        row["digest"],
        trusted=row["trusted"],
        signature=row["signature"],
        library_versions=row["library_versions"],
    )


def predict(stores: Stores, reference: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Predict, chunk by chunk.

    Parameters
    ----------
    stores : Stores
        Where the model is.
    reference : str
        Which model, as for :func:`resolve`.
    batches : iterable of pyarrow.RecordBatch
        Rows with the model's features; other columns, the target among them, are let through unused.

    Yields
    ------
    pyarrow.Table
        The experiment's key, if the rows have it, ``prediction``, and for a classifier that gives them a
        ``probability_<class>`` for each class.

    Raises
    ------
    BatchRefused
        If a feature is missing or a cell does not fit.
    """
    from dataclasses import replace

    import pyarrow as pa

    from diurnal.backends import sklearn as backend
    from diurnal.contract import Inspection, Schema
    from diurnal.values import Limits

    row = resolve(stores, reference)
    model = load(stores, row)
    features = [column["name"] for column in row["signature"]["columns"]]
    stored = Schema.from_dict(stores.warehouse.schema(row["experiment"]))
    schema = replace(stored, columns=tuple(c for c in stored.columns if c.name in features), key=(), drop=())
    limits = Limits(extra="ignore", max_null=1.0)
    for batch in Inspection(schema, limits, training=False).read(batches):
        X = backend.matrix(pa.Table.from_batches([batch]), features)
        if not len(X):
            continue
        columns: dict[str, Any] = {"prediction": model.predict(X)}
        if row["signature"].get("classes") and hasattr(model, "predict_proba"):
            for label, column in zip(row["signature"]["classes"], model.predict_proba(X).T, strict=True):
                columns[f"probability_{label}"] = column
        yield pa.table(columns)
