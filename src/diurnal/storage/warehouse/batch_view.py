"""The table of an experiment's rows and the view of what is shown, kept up with the versions of its contract.

A column of the table never changes: what was loaded stays as it was. A column of the contract that has become wider
has a further column in the table, and the view shows whichever of them has a value, in the newest kind. A new column is
null in old loads; one that is gone stays in the view and is null in new loads; one that was renamed has its new name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import sqlalchemy as sa

from diurnal.storage.warehouse.column_layout import MOST_COLUMNS, OTHERS, Layout, sql_names, sql_type, typed_name
from diurnal.storage.warehouse.tables import batch_data, batch_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Column, Schema

Types = dict[str, str]
"""The type of each column of a table or view, by its name."""


def prepared(
    connection: sa.Connection, experiment: str, columns: pa.Schema, leading: Collection[str], contract: Schema | None
) -> Layout:
    """Give where the columns of a package are in the experiment's table; the table and its view are made as needed.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction.
    experiment : str
        Name of the experiment.
    columns : pyarrow.Schema
        Of the package.
    leading : collection of str
        The columns that are columns of the table even where these are more than PostgreSQL takes.
    contract : Schema, optional
        The newest version of the contract.
    """
    rows, view = batch_rows(experiment), batch_data(experiment)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(rows, 0))))
    if connection.execute(sa.select(sa.func.to_regclass(view))).scalar_one() is None:
        _make(connection, experiment, Layout.new(_by_roots(columns, contract), leading))
    existing = types_of(connection, rows)
    if contract is None or not contract.has_changed:
        return Layout.existing(columns, existing)
    added = dict(_lacking(columns, contract, existing))
    for name, kind in added.items():
        connection.exec_driver_sql(f"ALTER TABLE {rows} ADD COLUMN {_quote(connection, name)} {kind}")
    _follow(connection, experiment, contract, existing | added, replace=bool(added))
    return placed(columns, contract, existing | added)


def placed(columns: pa.Schema, contract: Schema | None, existing: Types) -> Layout:
    """Give where the columns of a package of any version are in a table."""
    if contract is None or not contract.has_changed:
        return Layout.existing(columns, existing)
    roots = _roots(contract)
    places = {}
    for field in columns:
        root, kind = roots.get(field.name, field.name), sql_type(field.type)
        name = next((name for name in _names(root, kind) if existing.get(name) == kind), None)
        if name is not None:
            places[field.name] = name
    return Layout(columns, places, tuple(name for name in columns.names if name not in places))


def _roots(contract: Schema) -> dict[str, str]:
    """Give the first name of each column, by all names that it has had."""
    return {name: column.root for column in contract.all_columns for name in column.names}


def _by_roots(columns: pa.Schema, contract: Schema | None) -> pa.Schema:
    """Give columns under their first names: a table that is made late is like one that was there from the beginning."""
    if contract is None or not contract.has_changed:
        return columns
    import pyarrow as pa

    roots = _roots(contract)
    return pa.schema([pa.field(roots.get(field.name, field.name), field.type) for field in columns])


def _names(root: str, kind: str) -> tuple[str, str]:
    """Give the names that a column may have in the table: its own, or one that says its type as well."""
    return sql_names([root])[root], typed_name(root, kind)


def _lacking(columns: pa.Schema, contract: Schema, existing: Types) -> Iterator[tuple[str, str]]:
    """Give the name and the type of each column that the table lacks; a full one has them in one object."""
    layout, roots, n_columns = placed(columns, contract, existing), _roots(contract), len(existing)
    for field in (columns.field(name) for name in layout.others):
        root, kind = roots.get(field.name, field.name), sql_type(field.type)
        own, typed = _names(root, kind)
        if n_columns < MOST_COLUMNS and (own in existing or OTHERS not in existing):
            n_columns += 1
            yield (typed if own in existing else own), kind
        elif OTHERS not in existing:
            yield OTHERS, "jsonb"
            return


def _follow(connection: sa.Connection, experiment: str, contract: Schema, table: Types, *, replace: bool) -> None:
    """Let the view show the columns of the newest version of the contract, beside those that are gone."""
    view = batch_data(experiment)
    shown = types_of(connection, view)
    del shown["data_interval_start"]
    aliases = sql_names([column.name for column in contract.all_columns])
    for column in contract.all_columns:
        alias = aliases[column.name]
        before = [sql_names([name])[name] for name in column.names[1:]]
        former = next((name for name in before if name in shown), None)
        if former is not None and alias not in shown:
            old, new = _quote(connection, former), _quote(connection, alias)
            connection.exec_driver_sql(f"ALTER VIEW {view} RENAME COLUMN {old} TO {new}")
            shown = {alias if name == former else name: kind for name, kind in shown.items()}
    wanted: dict[str, tuple[str, str]] = {}
    for column in contract.all_columns:
        found = _expression(connection, column, table)
        if found is not None:
            wanted[aliases[column.name]] = found
    if OTHERS in table:
        wanted[OTHERS] = f"r.{OTHERS}", "jsonb"
    types = {name: kind for name, (_, kind) in wanted.items()}
    if types == shown and not replace:
        return
    ordered = {name: wanted[name] for name in (*shown, *wanted) if name in wanted}
    query = _query(experiment, {_quote(connection, name): text for name, (text, _) in ordered.items()})
    if all(types.get(name) == kind for name, kind in shown.items()):
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {view} AS {query}")
    else:  # PostgreSQL replaces no view whose columns have other types
        _make_anew(connection, view, query)
    _comment(connection, view, {alias: name for name, alias in aliases.items() if alias != name and alias in wanted})


def _expression(connection: sa.Connection, column: Column, table: Types) -> tuple[str, str] | None:
    """Give what shows a column in its newest kind, and its type; None where it is a cell of the one object."""
    from diurnal.data.schema import arrow_type

    wanted = sql_type(arrow_type(column.kind))
    own, typed = sql_names([column.root])[column.root], {typed_name(column.root, kind): kind for kind in _ALL_TYPES}
    places = [name for name in (own, *typed) if name in table]
    if not places:
        return None if OTHERS in table else (f"NULL::{wanted}", wanted)
    cells = [f"r.{_quote(connection, name)}" + ("" if table[name] == wanted else f"::{wanted}") for name in places]
    return (cells[0] if len(cells) == 1 else f"coalesce({', '.join(cells)})"), wanted


_ALL_TYPES = ("bigint", "double precision", "boolean", "text", "date", "timestamptz", "timestamp")


def _make(connection: sa.Connection, experiment: str, layout: Layout) -> None:
    rows, view = batch_rows(experiment), batch_data(experiment)
    typed = ", ".join(f"{_quote(connection, name)} {kind}" for name, kind in layout.types().items())
    shown = {_quote(connection, name): f"r.{_quote(connection, name)}" for name in layout.types()}
    for statement in (
        f"CREATE TABLE {rows} (load_id bigint NOT NULL, {typed})",
        f"CREATE INDEX batch_load_{experiment} ON {rows} USING brin (load_id)",
        f"CREATE VIEW {view} AS {_query(experiment, shown)}",
        f"COMMENT ON TABLE {rows} IS 'All rows that were ever loaded; read the view {view.strip(chr(34))} instead'",
    ):
        connection.exec_driver_sql(statement)
    for relation in (rows, view):
        _comment(connection, relation, layout.comments())


def _query(experiment: str, shown: Mapping[str, str]) -> str:
    listed = ", ".join(f"{text} AS {name}" for name, text in shown.items())
    return (
        f"SELECT h.data_interval_start, {listed} FROM heads h JOIN {batch_rows(experiment)} r USING (load_id)"
        f" WHERE h.experiment = '{experiment}'"
    )


def _make_anew(connection: sa.Connection, view: str, query: str) -> None:
    """Replace a view whose columns have other types, and grant what was granted on it."""
    granted = (
        "SELECT privilege_type, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END"
        " FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass(:view) AND grantee <> relowner"
    )
    grants = connection.execute(sa.text(granted), {"view": view}).all()
    connection.exec_driver_sql(f"DROP VIEW {view}")
    connection.exec_driver_sql(f"CREATE VIEW {view} AS {query}")
    for privilege, grantee in grants:
        connection.exec_driver_sql(f"GRANT {privilege} ON {view} TO {grantee}")


def _comment(connection: sa.Connection, relation: str, comments: Mapping[str, str]) -> None:
    for short, name in comments.items():
        full = sa.literal(name).compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        connection.exec_driver_sql(f"COMMENT ON COLUMN {relation}.{_quote(connection, short)} IS {full}")


def types_of(connection: sa.Connection, relation: str) -> Types:
    """Give the type of each column of a table or view, in order."""
    query = (
        "SELECT attname, CASE format_type(atttypid, NULL) WHEN 'timestamp with time zone' THEN 'timestamptz'"
        " WHEN 'timestamp without time zone' THEN 'timestamp' ELSE format_type(atttypid, NULL) END AS kind"
        " FROM pg_attribute WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return {row.attname: row.kind for row in connection.execute(sa.text(query), {"name": relation})}


def _quote(connection: sa.Connection, name: str) -> str:
    return str(connection.dialect.identifier_preparer.quote_identifier(name))  # the driver's: it doubles % as well
