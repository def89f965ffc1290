"""Services of the deployment: settings, connections, the embedded PostgreSQL and the Spark session.

Settings and connections are read from the environment here only.
"""

from diurnal.runtime.connection_uris import Connections
from diurnal.runtime.settings import Settings

__all__ = ["Connections", "Settings"]
