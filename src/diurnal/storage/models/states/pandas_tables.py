"""Tables, columns and indexes of pandas, which encoders keep from their fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from diurnal.storage.models.states import State
from diurnal.storage.models.states.pandas_times import zone_of, zone_state
from diurnal.storage.models.states.state_checks import fields, require

_MASKED: dict[str, Callable[..., Any]] = {
    "BooleanArray": pd.arrays.BooleanArray,
    "FloatingArray": pd.arrays.FloatingArray,
    "IntegerArray": pd.arrays.IntegerArray,
}
_DTYPES = re.compile(
    r"str|string|boolean|U?Int(8|16|32|64)|Float(32|64)|period\[[A-Z-]{1,8}\]"
    r"|datetime64\[(s|ms|us|ns), [\w/+:-]{1,60}\]"
)


def _take_values(values: Any) -> dict[str, Any]:
    """Return the cells of a column by the kind of array that holds them."""
    if isinstance(values, np.ndarray):
        return {"cells": values}
    if isinstance(values, pd.Categorical):
        return {"categories": values.categories, "codes": np.asarray(values.codes), "ordered": bool(values.ordered)}
    if isinstance(values, pd.arrays.DatetimeArray | pd.arrays.TimedeltaArray):
        zone = getattr(values, "tz", None)
        return {"cells": np.asarray(values.astype("int64")), "unit": values.unit, "zone": zone_state(zone)} | {
            "kind": type(values).__name__
        }
    if type(values).__name__ in _MASKED:
        return {"cells": values._data, "mask": values._mask, "kind": type(values).__name__}
    if isinstance(values.dtype, pd.StringDtype):
        return {"cells": values.to_numpy(object, na_value=None), "dtype": str(values.dtype)}
    raise TypeError(f"a column of {values.dtype} is not supported")


def _make_values(state: Any) -> Any:
    require(isinstance(state, dict), "a column is kept without cells")
    if set(state) == {"cells"}:
        require(isinstance(state["cells"], np.ndarray) and state["cells"].ndim == 1, "a column has no cells")
        return state["cells"]
    if "categories" in state:
        dtype = pd.CategoricalDtype(state["categories"], ordered=state["ordered"])
        return pd.Categorical.from_codes(state["codes"], dtype=dtype)
    if "mask" in state:
        require(state.get("kind") in _MASKED, "a column with a mask is of no known kind")
        return _MASKED[state["kind"]](state["cells"], state["mask"])
    if "unit" in state:
        return _make_moments(state)
    require(set(state) == {"cells", "dtype"} and state["dtype"] in ("str", "string"), "a column is of no known kind")
    return pd.array(state["cells"], dtype=state["dtype"])


def _make_moments(state: dict[str, Any]) -> Any:
    require(state["unit"] in ("s", "ms", "us", "ns"), "moments are counted in no known unit")
    kind = {"DatetimeArray": "datetime64", "TimedeltaArray": "timedelta64"}.get(state.get("kind", ""))
    require(kind and state["cells"].dtype == np.int64, "moments are not counted")
    moments = pd.Series(state["cells"].view(f"{kind}[{state['unit']}]"))
    zone = zone_of(state["zone"])
    return (moments if zone is None else moments.dt.tz_localize("UTC").dt.tz_convert(zone)).array


def _plain_values(held: Any) -> Any:
    """Return what a column or an index holds: NumPy's array where pandas only wraps one."""
    array = held.array
    return array.to_numpy() if isinstance(array, pd.arrays.NumpyExtensionArray) else array


def _take_series(series: pd.Series) -> dict[str, Any]:
    return {"values": _take_values(_plain_values(series)), "index": series.index, "name": series.name}


def _make_series(state: Any) -> pd.Series:
    given = fields(state, ("values", "index", "name"), "column")
    return pd.Series(_make_values(given["values"]), index=_index(given["index"]), name=given["name"])


def _take_frame(frame: pd.DataFrame) -> dict[str, Any]:
    columns = [_take_values(_plain_values(frame.iloc[:, i])) for i in range(frame.shape[1])]
    return {"columns": frame.columns, "index": frame.index, "values": columns}


def _make_frame(state: Any) -> pd.DataFrame:
    given = fields(state, ("columns", "index", "values"), "table")
    names, index = _index(given["columns"]), _index(given["index"])
    require(len(names) == len(given["values"]), "a table has other columns than names")
    columns = {i: pd.Series(_make_values(one), index=index) for i, one in enumerate(given["values"])}
    frame = pd.DataFrame(columns, index=index)
    frame.columns = names
    return frame


def _take_index(index: pd.Index) -> dict[str, Any]:
    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step], "name": index.name}
    if isinstance(index, pd.MultiIndex):
        codes = [np.asarray(code) for code in index.codes]
        return {"levels": list(index.levels), "codes": codes, "names": list(index.names)}
    return {"values": _take_values(_plain_values(index)), "name": index.name}


def _make_index(state: Any) -> pd.Index:
    require(isinstance(state, dict), "an index is kept without values")
    if "range" in state:
        start, stop, step = state["range"]
        require(all(type(n) is int for n in (start, stop, step)) and step, "an index has no bounds")
        return pd.RangeIndex(start, stop, step, name=state["name"])
    if "levels" in state:
        levels: Any = [_index(level) for level in state["levels"]]
        return pd.MultiIndex(levels, state["codes"], names=state["names"], verify_integrity=True)
    given = fields(state, ("values", "name"), "index")
    made: pd.Index = pd.Index(_make_values(given["values"]), name=given["name"])
    return made


def _index(given: Any) -> pd.Index:
    require(isinstance(given, pd.Index), "rows have no index")
    index: pd.Index = given
    return index


def _take_categories(dtype: pd.CategoricalDtype) -> dict[str, Any]:
    return {"categories": dtype.categories, "ordered": bool(dtype.ordered)}


def _make_categories(state: Any) -> pd.CategoricalDtype:
    given = fields(state, ("categories", "ordered"), "type of categories")
    return pd.CategoricalDtype(given["categories"], ordered=given["ordered"])


def _make_dtype(state: Any) -> Any:
    require(isinstance(state, str) and _DTYPES.fullmatch(state), "a type of pandas has no known name")
    return pd.api.types.pandas_dtype(state)


_INDEXES = (pd.Index, pd.RangeIndex, pd.MultiIndex, pd.DatetimeIndex, pd.TimedeltaIndex, pd.CategoricalIndex)
_EXTENSIONS = (
    pd.StringDtype, pd.BooleanDtype, pd.DatetimeTZDtype, pd.PeriodDtype, pd.Int8Dtype, pd.Int16Dtype, pd.Int32Dtype,
    pd.Int64Dtype, pd.UInt8Dtype, pd.UInt16Dtype, pd.UInt32Dtype, pd.UInt64Dtype, pd.Float32Dtype, pd.Float64Dtype,
)  # fmt: skip

STATES = (
    State("pandas.Series", (pd.Series,), _take_series, _make_series),
    State("pandas.DataFrame", (pd.DataFrame,), _take_frame, _make_frame),
    State("pandas.Index", _INDEXES, _take_index, _make_index),
    State("pandas.CategoricalDtype", (pd.CategoricalDtype,), _take_categories, _make_categories),
    State("pandas.ExtensionDtype", _EXTENSIONS, str, _make_dtype),
)
