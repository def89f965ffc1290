"""Sources that Spark itself reads, as frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame

from diurnal.backends.spark.lake_frames import quote_column
from diurnal.errors import BatchRejectedError, ExperimentError, Problem
from diurnal.runtime import spark
from diurnal.sources import Connections, Files
from diurnal.sources.file_columns import select_positions
from diurnal.sources.spark_table import to_frame_function

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.types import DataInterval


def reads_source(source: Any) -> bool:
    """Return whether Spark itself reads a source; the rows of any other one stream through this process.

    Text files are not read by Spark: the type of a column depends on all of its cells, by rules that are not Spark's.
    Neither are Parquet files whose cells the declaration changes.
    """
    return to_frame_function(source) is not None or _is_plain_parquet(source)


def read_source_frame(source: Any, interval: DataInterval, connections: Connections) -> DataFrame:
    """Return the rows of a source that :func:`reads_source` accepts.

    Raises
    ------
    ExperimentError
        If a function of a session does not return a frame of Spark.
    BatchRejectedError
        If the columns of Parquet files differ; Spark itself would ignore that.
    """
    function = to_frame_function(source)
    if function is None:
        return _read_parquet(source, interval, connections)
    frame = function(spark.get_session(), interval)
    if not isinstance(frame, DataFrame):
        raise ExperimentError(
            f"the source returned a {type(frame).__name__}; a function of a session returns a frame of Spark",
            hint="return session.table(...), session.read.parquet(...) or a frame made from these",
        )
    return frame


def _is_plain_parquet(source: Any) -> bool:
    return isinstance(source, Files) and source.format == "parquet" and source.is_unconverted


def _read_parquet(source: Files, interval: DataInterval, connections: Connections) -> DataFrame:
    fs, paths = source.find_files(interval, connections)
    schemas = [_read_parquet_schema(fs, path) for path in paths]
    _check_equal_schemas(schemas, paths)
    urls = [spark.to_spark_url(str(fs.unstrip_protocol(path))) for path in paths]
    rows = spark.get_session_for_columns(schemas[0].names).read.parquet(*urls)
    if source.usecols is not None:
        rows = rows.select(*(quote_column(rows.columns[i]) for i in select_positions(rows.columns, source)))
    return rows.toDF(*source.rename_columns_of(rows.columns))


def _read_parquet_schema(fs: Any, path: str) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with fs.open(path, "rb") as stream:
        try:
            return pq.read_schema(stream).remove_metadata()
        except (pa.ArrowException, OSError) as error:
            what = f"{path.rpartition('/')[2]} cannot be read as Parquet: {str(error).splitlines()[0]}"
            raise BatchRejectedError([Problem("damaged-file", what)], hint="write or copy the file again") from error


def _check_equal_schemas(schemas: list[pa.Schema], paths: list[str]) -> None:
    for schema, path in zip(schemas, paths, strict=True):
        if not schema.equals(schemas[0]):
            names = sorted({f.name for f in set(schema) ^ set(schemas[0])})
            what = f"the columns of {path.rpartition('/')[2]} differ from the first file's: {', '.join(names[:10])}"
            raise BatchRejectedError(
                [Problem("changing-columns", what)], hint="give every file the same columns and types"
            )
