"""The batch contract: what a batch must be like before anything of it is stored as good.

The first batch of an experiment fixes its :class:`Schema`: the columns in their order, a kind for each, the classes
of the target and the categories of its features of text (:func:`infer_schema`). Every batch, the first too, is then
validated by a :class:`BatchValidator`, which casts as it reads and rejects the batch with *all* problems that it found,
row numbers and nearest names included.

There are seven kinds, each with one Arrow type. An ``instant`` is a point in time; a ``timestamp`` is what a clock
without a timezone shows, and a column is the one or the other for life. A cast is made only where
it loses nothing: ``12.0`` becomes an int, ``12.5`` does not; an int beyond 2**53 does not become a float. NaN is a
null, since both say that nothing is known, and only one of them can be counted. What is *absent* is never guessed
from words: ``NA``, ``null`` and ``None`` are text.

A source of text, such as CSV, knows no types. It marks its Arrow schema with :data:`UNTYPED`, and the kinds are then
the narrowest that fit the whole first batch.

Importing this package is cheap; what needs pyarrow is imported at its first use.
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
