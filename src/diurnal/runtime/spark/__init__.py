"""The one Spark session of a process: started when it is needed, where the deployment says, and stopped at the end.

Nothing here imports pyspark before a session is wanted.
"""

from diurnal.runtime.spark.session import (
    SUBMITTED,
    is_local,
    missing,
    quiet,
    retrying,
    session,
    session_for,
    stop,
    url,
    use,
    versions,
)

__all__ = [
    "SUBMITTED",
    "is_local",
    "missing",
    "quiet",
    "retrying",
    "session",
    "session_for",
    "stop",
    "url",
    "use",
    "versions",
]
