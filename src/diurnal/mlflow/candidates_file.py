"""The candidates of a search as a table that MLflow shows."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "candidates.json"
MAX_ROWS = 2_000
"""The best candidates that are copied; the lake has all of them."""


def candidates_as_json(table: pa.Table) -> bytes:
    """Return a table of candidates as MLflow's tables are stored: names of columns, and rows; the best one first.

    Parameters
    ----------
    table : pyarrow.Table
        The stored table, with its parameters as JSON.

    Examples
    --------
    >>> import pyarrow as pa
    >>> scores = {"mean_test_score": [0.7, 0.9], "rank_test_score": [2, 1]}
    >>> candidates_as_json(pa.table({"params": ['{"C": 1}', '{"C": 10}'], **scores}))
    b'{"columns": ["C", "mean_test_score", "rank_test_score"], "data": [[10, 0.9, 1], [1, 0.7, 2]]}'
    """
    rank = next((name for name in table.column_names if name.startswith("rank_test_")), None)
    if rank is not None:
        table = table.sort_by(rank)
    rows = table.slice(0, MAX_ROWS).to_pylist()
    params = [json.loads(row.pop("params")) for row in rows]
    names = list(dict.fromkeys(name for one in params for name in one))
    columns = [*names, *(name for name in table.column_names if name != "params")]
    data = [
        [*(_to_cell(one.get(name)) for name in names), *map(_to_cell, row.values())]
        for one, row in zip(params, rows, strict=True)
    ]
    return json.dumps({"columns": columns, "data": data}).encode()


def _to_cell(value: Any) -> Any:
    """Return a value that MLflow's table can show; it shows no NaN, and no lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else json.dumps(value)
