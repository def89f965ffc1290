"""Tables, columns and indexes of pandas, which fitted encoders contain."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from diurnal.storage.models.states import State
from diurnal.storage.models.states.pandas_times import zone_from_state, zone_to_state
from diurnal.storage.models.states.state_checks import check_fields, check_that

_MASKED: dict[str, Callable[..., Any]] = {
    "BooleanArray": pd.arrays.BooleanArray,
    "FloatingArray": pd.arrays.FloatingArray,
    "IntegerArray": pd.arrays.IntegerArray,
}
_DTYPES = re.compile(
    r"str|string|boolean|U?Int(8|16|32|64)|Float(32|64)|period\[[A-Z-]{1,8}\]"
    r"|datetime64\[(s|ms|us|ns), [\w/+:-]{1,60}\]"
)


def _array_to_state(values: Any) -> dict[str, Any]:
    """Return the cells of a column, in a form that depends on the type of its array."""
    if isinstance(values, np.ndarray):
        return {"cells": values}
    if isinstance(values, pd.Categorical):
        return {"categories": values.categories, "codes": np.asarray(values.codes), "ordered": bool(values.ordered)}
    if isinstance(values, pd.arrays.DatetimeArray | pd.arrays.TimedeltaArray):
        zone = getattr(values, "tz", None)
        return {"cells": np.asarray(values.astype("int64")), "unit": values.unit, "zone": zone_to_state(zone)} | {
            "kind": type(values).__name__
        }
    if type(values).__name__ in _MASKED:
        return {"cells": values._data, "mask": values._mask, "kind": type(values).__name__}
    if isinstance(values.dtype, pd.StringDtype):
        return {"cells": values.to_numpy(object, na_value=None), "dtype": str(values.dtype)}
    raise TypeError(f"a column of {values.dtype} is not supported")


def _array_from_state(state: Any) -> Any:
    check_that(isinstance(state, dict), "the state of a column is not a dict")
    if set(state) == {"cells"}:
        check_that(isinstance(state["cells"], np.ndarray) and state["cells"].ndim == 1, "a column has no cells")
        return state["cells"]
    if "categories" in state:
        dtype = pd.CategoricalDtype(state["categories"], ordered=state["ordered"])
        return pd.Categorical.from_codes(state["codes"], dtype=dtype)
    if "mask" in state:
        check_that(state.get("kind") in _MASKED, "a column with a mask is of an unknown type")
        return _MASKED[state["kind"]](state["cells"], state["mask"])
    if "unit" in state:
        return _moments_from_state(state)
    check_that(set(state) == {"cells", "dtype"} and state["dtype"] in ("str", "string"), "a column has an unknown type")
    return pd.array(state["cells"], dtype=state["dtype"])


def _moments_from_state(state: dict[str, Any]) -> Any:
    check_that(state["unit"] in ("s", "ms", "us", "ns"), "timestamps have an unknown unit")
    dtype = {"DatetimeArray": "datetime64", "TimedeltaArray": "timedelta64"}.get(state.get("kind", ""))
    check_that(dtype and state["cells"].dtype == np.int64, "timestamps are not 64-bit integers")
    moments = pd.Series(state["cells"].view(f"{dtype}[{state['unit']}]"))
    zone = zone_from_state(state["zone"])
    return (moments if zone is None else moments.dt.tz_localize("UTC").dt.tz_convert(zone)).array


def _unwrapped_array(values: Any) -> Any:
    """Return the array of a column or an index: NumPy's array where pandas only wraps one."""
    array = values.array
    return array.to_numpy() if isinstance(array, pd.arrays.NumpyExtensionArray) else array


def _series_to_state(series: pd.Series) -> dict[str, Any]:
    return {"values": _array_to_state(_unwrapped_array(series)), "index": series.index, "name": series.name}


def _series_from_state(state: Any) -> pd.Series:
    content = check_fields(state, ("values", "index", "name"), "column")
    return pd.Series(_array_from_state(content["values"]), index=_check_index(content["index"]), name=content["name"])


def _frame_to_state(frame: pd.DataFrame) -> dict[str, Any]:
    columns = [_array_to_state(_unwrapped_array(frame.iloc[:, i])) for i in range(frame.shape[1])]
    return {"columns": frame.columns, "index": frame.index, "values": columns}


def _frame_from_state(state: Any) -> pd.DataFrame:
    content = check_fields(state, ("columns", "index", "values"), "table")
    names, index = _check_index(content["columns"]), _check_index(content["index"])
    check_that(len(names) == len(content["values"]), "the number of a table's columns is not that of its names")
    columns = {i: pd.Series(_array_from_state(values), index=index) for i, values in enumerate(content["values"])}
    frame = pd.DataFrame(columns, index=index)
    frame.columns = names
    return frame


def _index_to_state(index: pd.Index) -> dict[str, Any]:
    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step], "name": index.name}
    if isinstance(index, pd.MultiIndex):
        codes = [np.asarray(code) for code in index.codes]
        return {"levels": list(index.levels), "codes": codes, "names": list(index.names)}
    return {"values": _array_to_state(_unwrapped_array(index)), "name": index.name}


def _index_from_state(state: Any) -> pd.Index:
    check_that(isinstance(state, dict), "the state of an index is not a dict")
    if "range" in state:
        start, stop, step = state["range"]
        check_that(all(type(n) is int for n in (start, stop, step)) and step, "an index has no bounds")
        return pd.RangeIndex(start, stop, step, name=state["name"])
    if "levels" in state:
        levels: Any = [_check_index(level) for level in state["levels"]]
        return pd.MultiIndex(levels, state["codes"], names=state["names"], verify_integrity=True)
    content = check_fields(state, ("values", "name"), "index")
    index: pd.Index = pd.Index(_array_from_state(content["values"]), name=content["name"])
    return index


def _check_index(value: Any) -> pd.Index:
    check_that(isinstance(value, pd.Index), "rows have no index")
    index: pd.Index = value
    return index


def _categories_to_state(dtype: pd.CategoricalDtype) -> dict[str, Any]:
    return {"categories": dtype.categories, "ordered": bool(dtype.ordered)}


def _categories_from_state(state: Any) -> pd.CategoricalDtype:
    content = check_fields(state, ("categories", "ordered"), "type of categories")
    return pd.CategoricalDtype(content["categories"], ordered=content["ordered"])


def _dtype_from_state(state: Any) -> Any:
    check_that(isinstance(state, str) and _DTYPES.fullmatch(state), "a type of pandas has an unknown name")
    return pd.api.types.pandas_dtype(state)


_INDEXES = (pd.Index, pd.RangeIndex, pd.MultiIndex, pd.DatetimeIndex, pd.TimedeltaIndex, pd.CategoricalIndex)
_EXTENSIONS = (
    pd.StringDtype, pd.BooleanDtype, pd.DatetimeTZDtype, pd.PeriodDtype, pd.Int8Dtype, pd.Int16Dtype, pd.Int32Dtype,
    pd.Int64Dtype, pd.UInt8Dtype, pd.UInt16Dtype, pd.UInt32Dtype, pd.UInt64Dtype, pd.Float32Dtype, pd.Float64Dtype,
)  # fmt: skip

STATES = (
    State("pandas.Series", (pd.Series,), _series_to_state, _series_from_state),
    State("pandas.DataFrame", (pd.DataFrame,), _frame_to_state, _frame_from_state),
    State("pandas.Index", _INDEXES, _index_to_state, _index_from_state),
    State("pandas.CategoricalDtype", (pd.CategoricalDtype,), _categories_to_state, _categories_from_state),
    State("pandas.ExtensionDtype", _EXTENSIONS, str, _dtype_from_state),
)
