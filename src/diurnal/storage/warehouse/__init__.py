"""The warehouse: SQL tables in PostgreSQL that say what is true; whatever else is kept is named by them.

Each method is one transaction. Those that write for a run are fenced: they lock the row of its data interval
and are refused when a newer attempt has claimed it. Data is loaded beside what is shown and shown by moving a
pointer, so that no reader ever sees a half-written batch. Only this package imports SQLAlchemy.
"""

from __future__ import annotations

from diurnal.storage.warehouse.batch_copies import Loads
from diurnal.storage.warehouse.batch_queries import Batches
from diurnal.storage.warehouse.contract_queries import Contracts
from diurnal.storage.warehouse.model_versions import Versions
from diurnal.storage.warehouse.run_queries import Runs

__all__ = ["Warehouse"]


class Warehouse(Batches, Contracts, Loads, Runs, Versions):
    """A warehouse, connected and brought to the newest version of its tables.

    Parameters
    ----------
    url : str
        A libpq URL, such as ``postgresql://user:password@host:5432/warehouse``.

    Raises
    ------
    TransientError
        If it cannot be reached now.
    ConfigurationError
        If the login is refused, the database is missing, or its tables are newer than this code.
    PermissionDeniedError
        If the role may not do it.
    """

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
