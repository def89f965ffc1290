"""Notifications of promotions, by LISTEN and NOTIFY of PostgreSQL."""

from __future__ import annotations

from types import TracebackType

import psycopg

from diurnal.storage.warehouse.db_errors import translate_db_errors
from diurnal.storage.warehouse.url import WarehouseUrl

CHANNEL = "diurnal_promotions"


class PromotionListener:
    """A connection that waits for promotions.

    Parameters
    ----------
    address : WarehouseUrl
        The warehouse.

    Raises
    ------
    TransientError, ConfigurationError
        If it cannot be reached.
    """

    def __init__(self, address: WarehouseUrl) -> None:
        self._address = address
        with translate_db_errors(address):
            self._connection = psycopg.connect(address.conninfo(), autocommit=True)
            self._connection.execute(f"LISTEN {CHANNEL}")

    def __enter__(self) -> PromotionListener:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._connection.close()

    def wait(self, timeout: float) -> bool:
        """Wait for a promotion, at most `timeout` seconds; return whether there was one."""
        with translate_db_errors(self._address):
            return any(True for _ in self._connection.notifies(timeout=timeout, stop_after=1))
