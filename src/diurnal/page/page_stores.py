"""The stores of the page: opened at the first request, and read-only, except for changes that a viewer makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from diurnal.errors import DiurnalError, NotFoundError

if TYPE_CHECKING:
    from diurnal.runtime import Settings
    from diurnal.storage.stores import Stores

_TIMEOUT = 10  # seconds for a query
_RETRY_AFTER = 1  # seconds


class PageStores:
    """The stores of a project, opened at the first use; a failed attempt is repeated at the next one.

    Parameters
    ----------
    load_settings : callable
        Returns the settings of the project.
    """

    def __init__(self, load_settings: Callable[[], Settings]) -> None:
        self._load_settings = load_settings
        self._lock = Lock()
        self._settings: Settings | None = None
        self._writable: Stores | None = None
        self._readable: Stores | None = None
        self._failure: DiurnalError | None = None
        self._failed_at = 0.0

    @property
    def settings(self) -> Settings:
        """The settings of the project, as they were when the stores were opened."""
        return self._settings or self._load_settings()

    def reader(self) -> Stores:
        """Return the stores with a warehouse whose transactions are read-only and end after a few seconds.

        Raises
        ------
        NotFoundError
            If the warehouse does not exist yet.
        TransientError, ConfigurationError
            If it cannot be reached.
        """
        with self._lock:
            if self._readable is None:
                from diurnal.storage.warehouse import Warehouse

                stores = self._open()
                url = stores.warehouse.address.url
                self._readable = replace(stores, warehouse=Warehouse(url, reader_timeout=_TIMEOUT))
            return self._readable

    def writer(self) -> Stores:
        """Return the stores for a change that a viewer makes."""
        with self._lock:
            return self._open()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for stores in (self._readable, self._writable):
                if stores is not None:
                    stores.warehouse.close()
            self._readable = self._writable = None

    def _open(self) -> Stores:
        """Open the stores; opening a warehouse migrates its tables, which a read-only connection cannot.

        For a second after a failed attempt, others fail at once: they would wait for each other.
        """
        if self._writable is None:
            if self._failure is not None and time.monotonic() - self._failed_at < _RETRY_AFTER:
                raise self._failure.with_traceback(None)
            try:
                self._writable = self._open_anew()
            except DiurnalError as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise
        return self._writable

    def _open_anew(self) -> Stores:
        from diurnal.storage.stores import NoWarehouse, open_stores

        settings = self._load_settings()
        stores = open_stores(settings, create=False)
        if isinstance(stores.warehouse, NoWarehouse):
            raise NoWarehouseError
        self._settings = settings
        return stores


class NoWarehouseError(NotFoundError):
    """The project has no warehouse yet, because nothing has run."""

    def __init__(self) -> None:
        super().__init__("nothing has run yet", hint="diurnal run NAME")
