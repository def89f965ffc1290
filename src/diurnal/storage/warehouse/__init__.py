"""The warehouse: SQL tables in PostgreSQL, the source of truth; they refer to all files in the lake and the models.

Each method is one transaction. Methods that write for a run are fenced: they lock the row of its data interval and are
rejected if a newer attempt has claimed it. A batch is copied to rows that no view shows, and then a pointer is moved to
them, so that no reader sees a part of a batch. Only this package imports SQLAlchemy.
"""

from __future__ import annotations

from diurnal.storage.warehouse.batch_copies import LoadQueries
from diurnal.storage.warehouse.batch_queries import BatchQueries
from diurnal.storage.warehouse.column_queries import ColumnQueries
from diurnal.storage.warehouse.contract_queries import ContractQueries
from diurnal.storage.warehouse.declaration_queries import DeclarationQueries
from diurnal.storage.warehouse.detail_queries import DetailQueries
from diurnal.storage.warehouse.erasure_queries import ErasureQueries
from diurnal.storage.warehouse.failure_queries import FailureQueries
from diurnal.storage.warehouse.health_queries import HealthQueries
from diurnal.storage.warehouse.key_queries import KeyQueries
from diurnal.storage.warehouse.live_score_queries import LiveScoreQueries
from diurnal.storage.warehouse.mirror_queries import MirrorQueries
from diurnal.storage.warehouse.model_versions import VersionQueries
from diurnal.storage.warehouse.overview_queries import OverviewQueries
from diurnal.storage.warehouse.prediction_queries import PredictionQueries
from diurnal.storage.warehouse.profile_queries import ProfileQueries
from diurnal.storage.warehouse.removal_queries import RemovalQueries
from diurnal.storage.warehouse.retention_queries import RetentionQueries
from diurnal.storage.warehouse.run_queries import RunQueries
from diurnal.storage.warehouse.truth_queries import TruthQueries

__all__ = ["Warehouse"]


class Warehouse(
    BatchQueries,
    ColumnQueries,
    ContractQueries,
    DeclarationQueries,
    DetailQueries,
    ErasureQueries,
    FailureQueries,
    HealthQueries,
    KeyQueries,
    LiveScoreQueries,
    LoadQueries,
    MirrorQueries,
    OverviewQueries,
    PredictionQueries,
    ProfileQueries,
    RemovalQueries,
    RetentionQueries,
    RunQueries,
    TruthQueries,
    VersionQueries,
):
    """A connected warehouse, whose tables are migrated to the newest version.

    Parameters
    ----------
    url : str
        A libpq URL, such as ``postgresql://user:password@host:5432/warehouse``.
    reader_timeout : int, optional
        Make all transactions read-only, and let statements time out after these seconds.

    Raises
    ------
    TransientError
        If it cannot be reached now.
    ConfigurationError
        If the login fails, the database is missing, or its tables are newer than this code.
    PermissionDeniedError
        If the role has not the necessary privileges.
    """

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
