"""The columns of predictions in the warehouse, which follow the contract of the batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from diurnal.data import Column, Schema
from diurnal.data.sample_key import key_columns
from diurnal.storage.warehouse.prediction_queries import FIXED_COLUMNS

ROW_NUMBER = "row_number"


def prediction_contract(contract: Schema, row: dict[str, Any]) -> Schema:
    """Return the columns of the predictions of all versions, as the view shows them.

    Parameters
    ----------
    contract : Schema
        The newest version of the contract of the batches.
    row : dict
        The row of `model_versions`.

    Returns
    -------
    Schema
        The key, or ``row_number`` and ``row_hash``; ``prediction``; ``probability_<class>`` for each class. A column of
        the key that has the name of another column of the view gets an underscore.
    """
    labels = dict.fromkeys((*(contract.classes or ()), *(row["signature"].get("classes") or ())))
    kind = contract.column(contract.target).kind if contract.task == "classification" else "float"
    values = [Column("prediction", kind), *(Column(f"probability_{label}", "float") for label in labels)]
    taken = {*FIXED_COLUMNS, *(column.name for column in values)}

    def free_name(name: str) -> str:
        while name in taken:
            name += "_"
        return name

    key = [
        replace(column, name=free_name(column.name), former=tuple(map(free_name, column.former)))
        for column in key_columns(contract)
    ]
    if not contract.key:
        key.insert(0, Column(ROW_NUMBER, "int"))
    return Schema(
        (*key, *values),
        "prediction",
        key=tuple(column.name for column in key),
        origins=(("prediction", kind),),  # versions of the model differ in their columns, as those of a contract
    )
