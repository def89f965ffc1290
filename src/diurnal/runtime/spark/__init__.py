"""The Spark session of a process: started on first use, on the master of the deployment, and stopped at exit.

This package imports pyspark only when a session is used.
"""

from diurnal.runtime.spark.session import (
    SUBMITTED,
    configure_session,
    get_session,
    get_session_for_columns,
    ignore_pandas_warning,
    is_session_local,
    missing_pyspark_error,
    retry_with_session,
    session_versions,
    stop_session,
    to_spark_url,
)

__all__ = [
    "SUBMITTED",
    "configure_session",
    "get_session",
    "get_session_for_columns",
    "ignore_pandas_warning",
    "is_session_local",
    "missing_pyspark_error",
    "retry_with_session",
    "session_versions",
    "stop_session",
    "to_spark_url",
]
