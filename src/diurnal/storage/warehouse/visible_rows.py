"""Tables whose rows are loaded beside the visible ones, and their views, which show the loads that heads point to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from diurnal.storage.warehouse.tables import batch_data, batch_rows, prediction_rows, predictions_view


@dataclass(frozen=True)
class VisibleRows:
    """A table of rows of an experiment, and its view. All names are quoted for SQL.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    table, view, index : str
        The table with all rows that were ever loaded, its view, and its index on ``load_id``.
    heads : str
        The tables with the pointers: a FROM clause in which ``h`` is the head of a data interval.
    fixed : Mapping of str to str
        The columns of the view that come from `heads`, and their SQL.
    """

    experiment: str
    table: str
    view: str
    index: str
    heads: str
    fixed: Mapping[str, str]

    def view_query(self, columns: Mapping[str, str]) -> str:
        """Return the query of the view, with some columns of the table, each by its quoted name and its SQL."""
        listed = ", ".join(f"{text} AS {name}" for name, text in {**self.fixed, **columns}.items())
        return (
            f"SELECT {listed} FROM {self.heads} JOIN {self.table} r USING (load_id)"
            f" WHERE h.experiment = '{self.experiment}'"
        )


def batch_relation(experiment: str) -> VisibleRows:
    """Return the table and the view of the batches."""
    return VisibleRows(
        experiment,
        batch_rows(experiment),
        batch_data(experiment),
        f'"batch_load_{experiment}"',
        "heads h",
        {"data_interval_start": "h.data_interval_start"},
    )


def prediction_relation(experiment: str) -> VisibleRows:
    """Return the table and the view of the predictions."""
    table = prediction_rows(experiment)
    return VisibleRows(
        experiment,
        table,
        predictions_view(experiment),
        table.replace("prediction_rows_", "prediction_load_", 1),
        "prediction_heads h JOIN prediction_loads l USING (load_id)",
        {
            "data_interval_start": "h.data_interval_start",
            "data_interval_end": "h.data_interval_end",
            "version": "l.version",
            "digest": "l.digest",
            "predicted_at": "l.completed_at",
        },
    )
