"""Services of the deployment: settings, connections, the embedded PostgreSQL and the Spark session.

Only this package reads the environment.
"""

from diurnal.runtime.connection_uris import Connections
from diurnal.runtime.settings import Settings

__all__ = ["Connections", "Settings"]
