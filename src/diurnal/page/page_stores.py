"""The stores of the page: opened at the first request, and read-only, except for changes that a viewer makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from diurnal.errors import NotFoundError

if TYPE_CHECKING:
    from diurnal.runtime import Settings
    from diurnal.storage.stores import Stores

_TIMEOUT = 10  # seconds for a query


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

    @property
    def settings(self) -> Settings:
        """The settings of the project."""
        if self._settings is None:
            self._settings = self._load_settings()
        return self._settings

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
        """Open the stores; opening a warehouse migrates its tables, which a read-only connection cannot."""
        if self._writable is None:
            from diurnal.storage.stores import NoWarehouse, open_stores

            stores = open_stores(self.settings, create=False)
            if isinstance(stores.warehouse, NoWarehouse):
                raise NoWarehouseError
            self._writable = stores
        return self._writable


class NoWarehouseError(NotFoundError):
    """The project has no warehouse yet, because nothing has run."""

    def __init__(self) -> None:
        super().__init__("nothing has run yet", hint="diurnal run NAME")
