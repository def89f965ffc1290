"""What the deployment provides: settings, connections, the embedded PostgreSQL and the Spark session.

Only here is the environment read.
"""

from diurnal.runtime.connection_uris import Connections
from diurnal.runtime.settings import Settings

__all__ = ["Connections", "Settings"]
