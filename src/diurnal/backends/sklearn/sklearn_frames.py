"""What scikit-learn takes: frames and vectors of NumPy's types."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa


def to_features(table: pa.Table, features: list[str]) -> pd.DataFrame:
    """Return the features as a frame: numbers as they are, text as Python objects, null as NaN."""
    frame: pd.DataFrame = table.select(features).to_pandas(date_as_object=False)
    for name in features:
        if pa.types.is_string(table.schema.field(name).type):
            frame[name] = frame[name].astype(object)
        if frame[name].dtype == object:
            frame[name] = frame[name].where(frame[name].notna(), np.nan)
    return frame


def to_target(table: pa.Table, target: str) -> np.ndarray:
    """Return the target; text as NumPy strings."""
    column = table.column(target).combine_chunks()
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values.astype(str) if pa.types.is_string(column.type) else values
