"""Declarations of experiments, as of their last runs."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from diurnal.storage.warehouse.connection import WarehouseConnection
from diurnal.storage.warehouse.tables import declarations
from diurnal.types.recorded_declaration import RecordedDeclaration


class DeclarationQueries(WarehouseConnection):
    """The table `declarations`."""

    def save_declaration(self, experiment: str, declaration: RecordedDeclaration) -> None:
        """Store the declaration of an experiment; a row that would not change is not written."""
        values = declaration.to_row()
        new = insert(declarations).values(experiment=experiment, **values)
        changed = sa.or_(*(declarations.c[name].is_distinct_from(new.excluded[name]) for name in values))
        update = {**{name: new.excluded[name] for name in values}, "updated_at": sa.func.clock_timestamp()}
        with self.transaction("save_declaration", experiment) as connection:
            connection.execute(new.on_conflict_do_update(index_elements=["experiment"], set_=update, where=changed))

    def timezone_of(self, experiment: str) -> str:
        """Return the timezone of an experiment's data intervals; UTC if it has not run since declarations are kept."""
        rows = self.rows(sa.select(declarations.c.timezone).where(declarations.c.experiment == experiment))
        return str(rows[0]["timezone"]) if rows else "UTC"

    def declarations(self) -> dict[str, RecordedDeclaration]:
        """Return the declarations of all experiments, by name."""
        return {row["experiment"]: RecordedDeclaration.from_row(row) for row in self.rows(sa.select(declarations))}
