"""The rows of one sample in the tables of batches and of predictions: all that were ever loaded, visible or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from diurnal.storage.warehouse import batch_view
from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.visible_rows import VisibleRows, batch_relation, prediction_relation

if TYPE_CHECKING:
    from diurnal.data import Schema


class KeyQueries(WarehouseConnection):
    """The rows of a key, by a scan of the table: there is no index on it."""

    def batch_rows_of_key(self, contract: Schema, experiment: str, key: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a key in the copies of batches: ``load_id``, and ``truth``, the value of the target.

        Parameters
        ----------
        contract : Schema
            The newest version of the contract.
        experiment : str
            Name of the experiment.
        key : Mapping of str to object
            The value of each column of the key.
        """
        return self._rows_of_key(batch_relation(experiment), contract, key, {"truth": contract.target})

    def prediction_rows_of_key(self, contract: Schema, experiment: str, key: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a key in the loads of predictions: ``load_id``, ``prediction``, and the probabilities.

        Parameters
        ----------
        contract : Schema
            The columns of the predictions: see :func:`diurnal.pipeline.prediction_columns.prediction_contract`.
        experiment : str
            Name of the experiment.
        key : Mapping of str to object
            The value of each column of the key, by its name in the table.
        """
        values = {name: name for name in contract.names if name not in contract.key}
        return self._rows_of_key(prediction_relation(experiment), contract, key, values)

    def _rows_of_key(
        self, relation: VisibleRows, contract: Schema, key: Mapping[str, Any], values: Mapping[str, str]
    ) -> list[Row]:
        """Return columns of the rows of a key, each by the name that `values` gives it."""
        with self.transaction() as connection:
            found = batch_view.column_expressions(connection, relation, contract)
            if not found:
                return []
            listed = {name: found[column] for name, column in values.items()}
            condition = " AND ".join(f"{found[name]} = %(key{i})s" for i, name in enumerate(key))
            texts = ", ".join(["r.load_id", *(f"{text} AS value{i}" for i, text in enumerate(listed.values()))])
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            rows = connection.exec_driver_sql(
                f"SELECT {texts} FROM {relation.table} r WHERE {condition} ORDER BY r.load_id",
                {f"key{i}": value for i, value in enumerate(key.values())},
            ).all()
        return [{"load_id": load_id, **dict(zip(listed, cells, strict=True))} for load_id, *cells in rows]
