"""Joins of predictions and batches by the key: what was true for what was predicted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from diurnal.storage.warehouse import batch_view
from diurnal.storage.warehouse.row_copies import RowCopies
from diurnal.storage.warehouse.visible_rows import VisibleRows, batch_relation, prediction_relation

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Schema

TRUTH, WEIGHT, BATCH = "truth", "weight", "batch_load_id"
FEW_ROWS = 5_000
"""Up to so many rows, the conversion of Python objects is faster than a connection of the Arrow driver."""


class TruthQueries(RowCopies):
    """Joins of the tables of predictions and of batches of an experiment that has a key."""

    def count_labelled(
        self,
        experiment: str,
        shown: Schema,
        contract: Schema,
        load_id: int,
        batches: Sequence[int],
        learnt: Collection[int] = (),
    ) -> dict[int, int]:
        """Count the predictions whose truth is in batches, for each batch; the first one with the key counts.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        shown : Schema
            The columns of the predictions.
        contract : Schema
            The newest version of the contract.
        load_id : int
            The load of the predictions.
        batches : sequence of int
            The loads of the batches to search, the one that has precedence first.
        learnt : collection of int
            Loads of batches. Predictions whose row, with the truth, is in one of them are left out.
        """
        with self.transaction(None, experiment) as connection:
            _plan_hash_joins(connection)
            matched = _matched_rows(connection, experiment, shown, contract, load_id, batches, (), learnt=learnt)
            query = f"SELECT {BATCH}, count(*) FROM ({matched}) m GROUP BY 1"
            return {batch: int(count) for batch, count in connection.exec_driver_sql(query).all()}

    def labelled_predictions(
        self,
        experiment: str,
        shown: Schema,
        contract: Schema,
        load_id: int,
        batches: Sequence[int],
        *,
        n_rows: int,
        share: float = 1.0,
        learnt: Collection[int] = (),
    ) -> pa.Table:
        """Return predictions with their truth.

        Parameters
        ----------
        experiment, shown, contract, load_id, batches, learnt
            As for :meth:`count_labelled`.
        n_rows : int
            The number of predictions of the load. Of a few, the connection that is open reads the rows.
        share : float
            The share of the rows to return, which a hash of the key selects.

        Returns
        -------
        pyarrow.Table
            The columns of `shown` without the key, ``truth``, ``weight`` (null unless the contract has weights), and
            ``batch_load_id``: the batch that has the truth.
        """
        import pyarrow as pa

        with self.transaction(None, experiment) as connection:
            names = [name for name in shown.names if name not in shown.key]
            query = _matched_rows(connection, experiment, shown, contract, load_id, batches, names, share, learnt)
            _plan_hash_joins(connection)
            if n_rows <= FEW_ROWS:
                columns = _labelled_columns(shown, contract, names)
                cells = connection.exec_driver_sql(query).all()
                return pa.table(list(zip(*cells, strict=True)), schema=columns) if cells else columns.empty_table()
        with self._arrow() as (_, cursor):
            for setting in _HASH_JOINS:
                cursor.execute(setting)
            cursor.execute(query.replace("%%", "%"))  # psycopg's placeholders are not those of this driver
            return cursor.fetch_arrow_table()

    def prediction_rows_of_load(self, experiment: str, shown: Schema, load_id: int) -> pa.Table:
        """Return all predictions of a load, with the columns of `shown`."""
        with self.transaction(None, experiment) as connection:
            found = batch_view.column_expressions(connection, prediction_relation(experiment), shown)
            quote = connection.dialect.identifier_preparer.quote_identifier
            listed = ", ".join(f"{text} AS {quote(name)}" for name, text in found.items())
        relation = prediction_relation(experiment)
        with self._arrow() as (_, cursor):
            cursor.execute(f"SELECT {listed} FROM {relation.table} r WHERE load_id = {load_id}".replace("%%", "%"))
            return cursor.fetch_arrow_table()

    def loads_with_late_truth(
        self,
        experiment: str,
        shown: Schema,
        contract: Schema,
        batch: int,
        load_ids: Collection[int],
        own_batches: Collection[int],
    ) -> set[int]:
        """Return the loads of predictions that lack a truth which a batch of a later data interval has.

        Parameters
        ----------
        experiment, shown, contract
            As for :meth:`count_labelled`.
        batch : int
            The load of the later batch.
        load_ids : collection of int
            Loads of predictions.
        own_batches : collection of int
            The visible loads of the batches of their data intervals, which have precedence.
        """
        if not load_ids:
            return set()
        names = [f"k{i}" for i in range(len(shown.key))]
        equal = " AND ".join(f"o.{name} = p.{name}" for name in names)
        with self.transaction(None, experiment) as connection:
            _plan_hash_joins(connection)
            predicted = _keyed_rows(connection, prediction_relation(experiment), shown, load_ids, ())
            truth = _keyed_rows(connection, batch_relation(experiment), contract, [batch], ())
            own = _keyed_rows(connection, batch_relation(experiment), contract, own_batches or [0], ())
            query = (
                f"SELECT DISTINCT p.load_id FROM ({predicted}) p JOIN ({truth}) b USING ({', '.join(names)})"
                " JOIN prediction_loads l ON l.load_id = p.load_id"
                " LEFT JOIN heads h ON h.experiment = l.experiment AND h.data_interval_start = l.data_interval_start"
                f" WHERE NOT EXISTS (SELECT FROM ({own}) o WHERE o.load_id = h.load_id AND {equal})"
            )
            return set(connection.exec_driver_sql(query).scalars())


_HASH_JOINS = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL enable_mergejoin = off",
    "SET LOCAL enable_nestloop = off",
    "SET LOCAL work_mem = '64MB'",
)


def _plan_hash_joins(connection: sa.Connection) -> None:
    """Let the transaction join by hashes: without statistics of keys, PostgreSQL would sort all predictions."""
    for setting in _HASH_JOINS:
        connection.exec_driver_sql(setting)


def _labelled_columns(shown: Schema, contract: Schema, names: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    truth = pa.field(TRUTH, contract.arrow_schema.field(contract.target).type)
    values = [shown.arrow_schema.field(name) for name in names]
    return pa.schema([*values, truth, pa.field(WEIGHT, pa.float64()), pa.field(BATCH, pa.int64())])


def _matched_rows(
    connection: sa.Connection,
    experiment: str,
    shown: Schema,
    contract: Schema,
    load_id: int,
    batches: Sequence[int],
    names: Sequence[str],
    share: float = 1.0,
    learnt: Collection[int] = (),
) -> str:
    """Return the query of predictions with their truth: of several batches, the first one that has it."""
    keys = [f"k{i}" for i in range(len(shown.key))]
    beside = [contract.target, *(contract.features if learnt else ())]
    predicted = _keyed_rows(connection, prediction_relation(experiment), shown, [load_id], names, share)
    truth = _keyed_rows(connection, batch_relation(experiment), contract, batches, beside)
    quote = connection.dialect.identifier_preparer.quote_identifier
    listed = "".join(f"p.v{i} AS {quote(name)}, " for i, name in enumerate(names))
    columns = f"{listed}b.v0 AS {TRUTH}, b.{WEIGHT}, b.load_id AS {BATCH}"
    joined = f"FROM ({predicted}) p JOIN ({truth}) b USING ({', '.join(keys)})"
    if len(batches) > 1:
        rank = f"array_position(ARRAY[{', '.join(map(str, map(int, batches)))}]::bigint[], b.load_id)"
        joined = f"FROM (SELECT DISTINCT ON (p.place) p.*, b.load_id AS batch {joined} ORDER BY p.place, {rank}) p"
        joined += f" JOIN ({truth}) b ON b.load_id = p.batch AND {_equal('b', 'p', keys)}"
    if learnt:
        known = _keyed_rows(connection, batch_relation(experiment), contract, learnt, beside)
        sides = (", ".join(f"{side}.v{i}" for i in range(len(beside))) for side in ("l", "b"))
        same = " IS NOT DISTINCT FROM ".join(f"ROW({side})" for side in sides)
        joined += f" WHERE NOT EXISTS (SELECT FROM ({known}) l WHERE {_equal('l', 'b', keys)} AND {same})"
    return f"SELECT {columns} {joined}"


def _equal(one: str, other: str, columns: Sequence[str]) -> str:
    return " AND ".join(f"{one}.{column} = {other}.{column}" for column in columns)


def _keyed_rows(
    connection: sa.Connection,
    relation: VisibleRows,
    contract: Schema,
    load_ids: Collection[int],
    names: Sequence[str],
    share: float = 1.0,
) -> str:
    """Return the query of rows of some loads: the key and some columns, of batches only of rows with a target.

    Keys are ``k0``, ``k1`` and so on, the columns ``v0``, ``v1`` and so on.
    """
    found = batch_view.column_expressions(connection, relation, contract)
    keys = [f"{found[name]} AS k{i}" for i, name in enumerate(contract.key)]
    values = [f"{found[name]} AS v{i}" for i, name in enumerate(names)]
    weight = contract.metadata.sample_weight
    weights = f"{found[weight]}::double precision" if weight else "NULL::double precision"
    listed = ", ".join(str(int(one)) for one in load_ids)
    conditions = [f"r.load_id IN ({listed})", f"{found[contract.target]} IS NOT NULL"]
    if share < 1:
        texts = ", ".join(f"{found[name]}::text" for name in contract.key)
        conditions.append(f"hashtextextended(concat_ws('/', {texts}), 0) & 1048575 < {int(share * 2**20)}")
    return (
        f"SELECT r.load_id, r.ctid AS place, {', '.join([*keys, *values])}, {weights} AS {WEIGHT}"
        f" FROM {relation.table} r WHERE {' AND '.join(conditions)}"
    )
