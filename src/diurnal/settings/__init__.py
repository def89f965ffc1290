"""Where everything is kept: ``DIURNAL_*`` and ``diurnal.toml``, read once, and the stores that they name.

Only here is the environment read.
"""

from diurnal.settings.connections import Connections
from diurnal.settings.deployment import Settings
from diurnal.settings.stores import embedded_server, load_model, open_stores, open_warehouse

__all__ = ["Connections", "Settings", "embedded_server", "load_model", "open_stores", "open_warehouse"]
