"""The embedded PostgreSQL: a server from a wheel, started when it is needed and stopped by its last user."""

from diurnal.runtime.postgres.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
