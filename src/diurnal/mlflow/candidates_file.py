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
    >>> scores = {"mean_fit_time": [0.1, 0.2], "rank_test_score": [2, 1]}
    >>> candidates_as_json(pa.table({"params": ['{"C": 1}', '{"C": 10}'], **scores}))
    b'{"columns": ["C", "rank_test_score", "mean_fit_time"], "data": [[10, 1, 0.2], [1, 2, 0.1]]}'
    """
    rank = next((name for name in table.column_names if name.startswith("rank_test_")), None)
    if rank is not None:
        table = table.sort_by(rank)
    rows = table.slice(0, MAX_ROWS).to_pylist()
    params = [json.loads(row.pop("params")) for row in rows]
    names = list(dict.fromkeys(name for one in params for name in one))
    results = sorted((name for name in table.column_names if name != "params"), key=_column_order)
    data = [
        [_to_cell(one.get(name)) for name in names] + [_to_cell(row[name]) for name in results]
        for one, row in zip(params, rows, strict=True)
    ]
    return json.dumps({"columns": [*names, *results], "data": data}).encode()


def _column_order(name: str) -> int:
    """Return the rank of a column: the scores of the test folds come first, and times last."""
    order = ("rank_test_", "mean_test_", "std_test_", "split")
    return next((place for place, prefix in enumerate(order) if name.startswith(prefix)), len(order))


def _to_cell(value: Any) -> Any:
    """Return a value that MLflow's table can show; it shows no NaN, and no lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else json.dumps(value)
