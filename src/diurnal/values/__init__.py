"""The values that steps hand each other: small, frozen, without I/O.

A value holds references (a path and its digest), never frames, so that it can travel through Airflow's
XCom as well as through a local call. Each is built of plain numbers, strings, times and tuples only.

Each is loaded when it is asked for: a Dag file needs few of them, and is read again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diurnal.values.handed import (
        Batch as Batch,
    )
    from diurnal.values.handed import (
        Comparison as Comparison,
    )
    from diurnal.values.handed import (
        Decision as Decision,
    )
    from diurnal.values.handed import (
        Evaluation as Evaluation,
    )
    from diurnal.values.handed import (
        ModelFile as ModelFile,
    )
    from diurnal.values.handed import (
        ModelVersion as ModelVersion,
    )
    from diurnal.values.handed import (
        Package as Package,
    )
    from diurnal.values.handed import (
        Run as Run,
    )
    from diurnal.values.handed import (
        Samples as Samples,
    )
    from diurnal.values.handed import (
        SearchResult as SearchResult,
    )
    from diurnal.values.handed import (
        Uncompared as Uncompared,
    )
    from diurnal.values.interval import DataInterval as DataInterval
    from diurnal.values.limits import Limits as Limits

_PLACES = {"DataInterval": "interval", "Limits": "limits"}


def __getattr__(name: str) -> Any:
    """Load a value by its name (PEP 562)."""
    from importlib import import_module

    module = import_module(f"diurnal.values.{_PLACES.get(name, 'handed')}")
    try:
        value = globals()[name] = getattr(module, name)
    except AttributeError:
        raise AttributeError(f"module 'diurnal.values' has no attribute {name!r}") from None
    return value
