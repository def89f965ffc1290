"""The contract of batches: schema, inference, validation, casts, hashes of rows, deduplication and merge.

The first batch of an experiment fixes its :class:`Schema`: the columns in their order, a kind for each, the classes
of the target and the categories of its features of text (:func:`infer_schema`). Every batch, the first too, is then
validated by a :class:`BatchValidator`, which casts as it reads and rejects the batch with *all* problems that it found,
row numbers and nearest names included.

There are seven kinds, each with one Arrow type. An ``instant`` is a point in time. A ``timestamp`` is a local date and
time without a timezone. A column keeps its kind. A cast is allowed only if it loses nothing: ``12.0`` becomes an int,
``12.5`` does not; an int beyond 2**53 does not become a float. NaN becomes null, so that missing values have one form.
A text is never interpreted as missing: ``NA``, ``null`` and ``None`` are texts.

A source of text, such as CSV, has no types. It marks its Arrow schema with :data:`UNTYPED`. The kind of a column is
then the narrowest one that fits all cells of the first batch.

The import of this package is cheap: modules that need pyarrow are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diurnal.data.contract_versions import Contract, ContractVersion
from diurnal.data.fit_columns import Metadata
from diurnal.data.schema import KINDS, UNTYPED, Column, Schema

if TYPE_CHECKING:
    from diurnal.data.custom_checks import run_custom_checks
    from diurnal.data.inference import infer_schema
    from diurnal.data.validation import BatchValidator

__all__ = [
    "KINDS",
    "UNTYPED",
    "BatchValidator",
    "Column",
    "Contract",
    "ContractVersion",
    "Metadata",
    "Schema",
    "infer_schema",
    "run_custom_checks",
]

_LAZY = {
    "infer_schema": "diurnal.data.inference",
    "BatchValidator": "diurnal.data.validation",
    "run_custom_checks": "diurnal.data.custom_checks",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
