"""The table of an experiment's rows and the view of its current rows, which follow the versions of its contract.

Batches and predictions have one such table each: see :mod:`diurnal.storage.warehouse.visible_rows`.

A column of the table never changes, so existing loads stay as they are. If the type of a column of the contract becomes
wider, the table gets a further column, and the view selects the one that is not null, in the newest type. A new column
is null in old loads. A removed column stays in the view and is null in new loads. A renamed column has its new name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import sqlalchemy as sa

from diurnal.storage.warehouse.column_layout import MAX_COLUMNS, OTHERS, ColumnLayout, sql_names, sql_type, typed_name
from diurnal.storage.warehouse.visible_rows import VisibleRows

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Column, Schema

Types = dict[str, str]
"""The type of each column of a table or view, by its name."""


def prepare_table(
    connection: sa.Connection,
    relation: VisibleRows,
    columns: pa.Schema,
    leading: Collection[str],
    contract: Schema | None,
) -> ColumnLayout:
    """Create or extend the experiment's table and its view; return the layout of a package's columns.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    relation : VisibleRows
        The table and the view.
    columns : pyarrow.Schema
        The schema of the rows, such as those of a package.
    leading : collection of str
        The columns that become columns of the table where PostgreSQL does not allow so many.
    contract : Schema, optional
        The newest version of the contract.
    """
    rows, view = relation.table, relation.view
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(rows, 0))))
    if connection.execute(sa.select(sa.func.to_regclass(view))).scalar_one() is None:
        _create_table(connection, relation, ColumnLayout.new(_rename_to_roots(columns, contract), leading))
    existing = column_types(connection, rows)
    if contract is None or not contract.has_changed:
        return ColumnLayout.existing(columns, existing)
    added = dict(_missing_columns(columns, contract, existing))
    for name, column_type in added.items():
        connection.exec_driver_sql(f"ALTER TABLE {rows} ADD COLUMN {_quote_identifier(connection, name)} {column_type}")
    _update_view(connection, relation, contract, existing | added, replace=bool(added))
    return find_layout(columns, contract, existing | added)


def find_layout(columns: pa.Schema, contract: Schema | None, existing: Types) -> ColumnLayout:
    """Return the layout in a table of the columns of a package, of any version of the contract."""
    if contract is None or not contract.has_changed:
        return ColumnLayout.existing(columns, existing)
    roots = _root_names(contract)
    names = {}
    for field in columns:
        root, column_type = roots.get(field.name, field.name), sql_type(field.type)
        name = next((name for name in _possible_names(root, column_type) if existing.get(name) == column_type), None)
        if name is not None:
            names[field.name] = name
    return ColumnLayout(columns, names, tuple(name for name in columns.names if name not in names))


def _root_names(contract: Schema) -> dict[str, str]:
    """Return the first name of each column, by all names that it has had."""
    return {name: column.root for column in contract.all_columns for name in column.names}


def _rename_to_roots(columns: pa.Schema, contract: Schema | None) -> pa.Schema:
    """Return columns with their first names: a table that is created late equals one that was created at first."""
    if contract is None or not contract.has_changed:
        return columns
    import pyarrow as pa

    roots = _root_names(contract)
    return pa.schema([pa.field(roots.get(field.name, field.name), field.type) for field in columns])


def _possible_names(root: str, column_type: str) -> tuple[str, str]:
    """Return the two names that a column may have in the table: its own, and one that depends on its type."""
    return sql_names([root])[root], typed_name(root, column_type)


def _missing_columns(columns: pa.Schema, contract: Schema, existing: Types) -> Iterator[tuple[str, str]]:
    """Yield the name and the type of each column to add to the table; a full table gets one JSON column."""
    layout, roots, n_columns = find_layout(columns, contract, existing), _root_names(contract), len(existing)
    for field in (columns.field(name) for name in layout.others):
        root, column_type = roots.get(field.name, field.name), sql_type(field.type)
        own, typed = _possible_names(root, column_type)
        if n_columns < MAX_COLUMNS and (own in existing or OTHERS not in existing):
            n_columns += 1
            yield (typed if own in existing else own), column_type
        elif OTHERS not in existing:
            yield OTHERS, "jsonb"
            return


def _update_view(
    connection: sa.Connection, relation: VisibleRows, contract: Schema, table: Types, *, replace: bool
) -> None:
    """Make the view select the columns of the newest version of the contract, and those that were removed."""
    view = relation.view
    shown = {name: kind for name, kind in column_types(connection, view).items() if name not in relation.fixed}
    aliases = sql_names([column.name for column in contract.all_columns])
    for column in contract.all_columns:
        alias = aliases[column.name]
        former_names = [sql_names([name])[name] for name in column.names[1:]]
        former = next((name for name in former_names if name in shown), None)
        if former is not None and alias not in shown:
            old, new = _quote_identifier(connection, former), _quote_identifier(connection, alias)
            connection.exec_driver_sql(f"ALTER VIEW {view} RENAME COLUMN {old} TO {new}")
            shown = {alias if name == former else name: column_type for name, column_type in shown.items()}
    expected: dict[str, tuple[str, str]] = {}
    for column in contract.all_columns:
        expression = _column_expression(connection, column, table)
        if expression is not None:
            expected[aliases[column.name]] = expression
    if OTHERS in table:
        expected[OTHERS] = f"r.{OTHERS}", "jsonb"
    types = {name: column_type for name, (_, column_type) in expected.items()}
    if types == shown and not replace:
        return
    # CREATE OR REPLACE VIEW requires the existing columns first, in their order
    ordered = {name: expected[name] for name in (*shown, *expected) if name in expected}
    query = relation.view_query({_quote_identifier(connection, name): text for name, (text, _) in ordered.items()})
    if all(types.get(name) == column_type for name, column_type in shown.items()):
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {view} AS {query}")
    else:  # PostgreSQL does not replace a view if a column gets another type
        _recreate_view(connection, view, query)
    _comment_columns(
        connection, view, {alias: name for name, alias in aliases.items() if alias != name and alias in expected}
    )


def column_expressions(connection: sa.Connection, relation: VisibleRows, contract: Schema) -> dict[str, str]:
    """Return the SQL of each column of the contract in its newest type, in rows ``r`` of the table of all loads.

    Without the table, there are no columns.
    """
    table, found = column_types(connection, relation.table), {}
    for column in contract.all_columns if table else ():
        expression = _column_expression(connection, column, table)
        found[column.name] = _json_expression(connection, column) if expression is None else expression[0]
    return found


def _json_expression(connection: sa.Connection, column: Column) -> str:
    """Return the SQL of a column that is a cell of the JSON column, under any of its names."""
    from diurnal.data.schema import arrow_type

    cells = []
    for name in column.names:
        text = sa.literal(name).compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        cells.append(f"r.{OTHERS} ->> {text}")
    return f"coalesce({', '.join(cells)})::{sql_type(arrow_type(column.kind))}"


def _column_expression(connection: sa.Connection, column: Column, table: Types) -> tuple[str, str] | None:
    """Return the SQL of a column in its newest type, and the type; None if it is a cell of the JSON column.

    A column ``size`` that was a bigint and has become double precision is
    ``coalesce(r."size"::double precision, r."size_1f0c9a1e")``.
    """
    from diurnal.data.schema import arrow_type

    newest = sql_type(arrow_type(column.kind))
    own, typed = sql_names([column.root])[column.root], [typed_name(column.root, name) for name in _ALL_TYPES]
    names = [name for name in (own, *typed) if name in table]
    if not names:
        return None if OTHERS in table else (f"NULL::{newest}", newest)
    cells = [
        f"r.{_quote_identifier(connection, name)}" + ("" if table[name] == newest else f"::{newest}") for name in names
    ]
    return (cells[0] if len(cells) == 1 else f"coalesce({', '.join(cells)})"), newest


_ALL_TYPES = ("bigint", "double precision", "boolean", "text", "date", "timestamptz", "timestamp")


def _create_table(connection: sa.Connection, relation: VisibleRows, layout: ColumnLayout) -> None:
    rows, view = relation.table, relation.view
    typed = ", ".join(
        f"{_quote_identifier(connection, name)} {column_type}" for name, column_type in layout.types().items()
    )
    shown = {_quote_identifier(connection, name): f"r.{_quote_identifier(connection, name)}" for name in layout.types()}
    for statement in (
        f"CREATE TABLE {rows} (load_id bigint NOT NULL, {typed})",
        f"CREATE INDEX {relation.index} ON {rows} USING brin (load_id)",
        f"CREATE VIEW {view} AS {relation.view_query(shown)}",
        f"COMMENT ON TABLE {rows} IS 'All rows that were ever loaded; read the view {view.strip(chr(34))} instead'",
    ):
        connection.exec_driver_sql(statement)
    for name in (rows, view):
        _comment_columns(connection, name, layout.comments())


def _recreate_view(connection: sa.Connection, view: str, query: str) -> None:
    """Drop and create a view whose columns get other types, and restore its grants."""
    grants_query = (
        "SELECT privilege_type, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END"
        " FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass(:view) AND grantee <> relowner"
    )
    grants = connection.execute(sa.text(grants_query), {"view": view}).all()
    connection.exec_driver_sql(f"DROP VIEW {view}")
    connection.exec_driver_sql(f"CREATE VIEW {view} AS {query}")
    for privilege, grantee in grants:
        connection.exec_driver_sql(f"GRANT {privilege} ON {view} TO {grantee}")


def _comment_columns(connection: sa.Connection, relation: str, comments: Mapping[str, str]) -> None:
    for short, name in comments.items():
        full = sa.literal(name).compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        connection.exec_driver_sql(f"COMMENT ON COLUMN {relation}.{_quote_identifier(connection, short)} IS {full}")


def column_types(connection: sa.Connection, relation: str) -> Types:
    """Return the type of each column of a table or view, in order."""
    query = (
        "SELECT attname, CASE format_type(atttypid, NULL) WHEN 'timestamp with time zone' THEN 'timestamptz'"
        " WHEN 'timestamp without time zone' THEN 'timestamp' ELSE format_type(atttypid, NULL) END AS kind"
        " FROM pg_attribute WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return {row.attname: row.kind for row in connection.execute(sa.text(query), {"name": relation})}


def _quote_identifier(connection: sa.Connection, name: str) -> str:
    return str(
        connection.dialect.identifier_preparer.quote_identifier(name)
    )  # quotes as the driver requires, with % doubled
