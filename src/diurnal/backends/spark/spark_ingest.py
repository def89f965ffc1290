"""Bringing a batch in without seeing a row of it: spooled, checked, ordered and written by the executors.

The package is the same, byte for byte, as if the rows had come through one machine: the same code casts, hashes, orders
and writes them, and which part a row is in depends on its hash alone.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import fsspec
from pyspark import cloudpickle
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it
from pyspark.sql.types import IntegerType, LongType, StructField, StructType

from diurnal.backends.protocol import IngestedBatch, Task
from diurnal.backends.spark.job_errors import translate_job_errors
from diurnal.backends.spark.lake_frames import map_in_arrow, to_spark_schema
from diurnal.backends.spark.partition_tasks import (
    HASH,
    PART,
    REPORT,
    BatchFunction,
    InferSchemaTask,
    PartitionTask,
    ValidateTask,
    WriteTask,
    positional_names,
    read_reports,
)
from diurnal.backends.spark.source_frames import read_source_frame
from diurnal.data import BatchValidator, batch_contract
from diurnal.data.deduplication import Deduplication
from diurnal.data.inference import SchemaInference
from diurnal.data.profile_builder import ProfileBuilder
from diurnal.errors import BatchRejectedError
from diurnal.runtime import spark
from diurnal.storage.lake import PackageKey, compute_n_parts

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Contract, Schema
    from diurnal.experiment import Experiment
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import Package


def ingest_on_executors(context: RunContext, contract: Contract | None, task: Task) -> IngestedBatch:
    """Read, validate and store a batch on the executors."""
    experiment, frame = context.experiment, _read_source(context)
    with _pickle_module_by_value(experiment), _temporary_copy(context, frame) as (rows, header):
        resolved = batch_contract.resolve_batch_contract(
            contract,
            experiment,
            context.interval.start,
            rows.columns,
            lambda schema: _infer_from_executors(rows, header, experiment, schema).build_schema(task),
            is_newest=context.has_newest_batch,
        )
        for layout in resolved.layouts:
            inspection = _validate_on_executors(rows, header, layout, resolved.newest, experiment)
            try:
                inspection.finish()
            except BatchRejectedError:
                if layout is resolved.layouts[-1]:
                    raise
            else:
                break
        package, arrangement, profile = _write_parts(context, rows, layout, resolved.newest, inspection.n_rows)
    warnings = [*resolved.warnings, *inspection.warnings]
    return IngestedBatch(package, resolved, warnings, arrangement.n_duplicates, profile)


def _read_source(context: RunContext) -> DataFrame:
    with translate_job_errors("the source", is_external=True):
        return read_source_frame(context.experiment.source, context.interval.local, context.stores.connections)


def stream_source(context: RunContext) -> Iterator[pa.RecordBatch]:
    """Stream a batch file by file of its temporary copy, so that this process never holds all rows."""
    with _temporary_copy(context, _read_source(context)) as (rows, header):
        yield from header
        reader = spark.get_session().read.schema(rows.schema)
        for url in sorted(rows.inputFiles()):
            with translate_job_errors("the reading"):
                part = reader.parquet(unquote(url)).toArrow()
            yield from part.to_batches()


@contextmanager
def _temporary_copy(context: RunContext, frame: DataFrame) -> Iterator[tuple[DataFrame, pa.RecordBatch]]:
    """Keep the rows as they came while they are looked at more than once, beside the packages; gives a header, too.

    What is checked is then what is kept, whatever the source gives when it is asked again.
    """
    place = f"{context.stores.lake.address}/.tmp/diurnal-{secrets.token_hex(8)}"
    fs, root = fsspec.core.url_to_fs(place)
    with translate_job_errors("the source", is_external=True):
        header = frame.limit(0).toArrow()
    try:
        with translate_job_errors("the source", is_external=True):
            frame.write.parquet(spark.to_spark_url(place))
            rows = spark.get_session().read.schema(frame.schema).parquet(spark.to_spark_url(place))
        yield rows, header.combine_chunks().to_batches() or [_empty_batch(header)]
    finally:
        if fs.exists(root):
            fs.rm(root, recursive=True)


def _empty_batch(header: pa.Table) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([], schema=header.schema)


def _infer_from_executors(
    rows: DataFrame, header: Any, experiment: Experiment, schema: Schema | None
) -> SchemaInference:
    """Infer the schema of a batch, partition by partition."""
    declared = batch_contract.inference_arguments(experiment, schema, rows.columns)
    whole = SchemaInference(**declared)
    for batch in header:
        whole.update(batch)
    for piece in _collect_reports(rows, InferSchemaTask(**declared)):
        if not isinstance(piece, SchemaInference):
            raise BatchRejectedError(piece, hint="correct the source, and run the data interval again")
        if piece.n_rows:
            whole.merge(piece)
    return whole


def _validate_on_executors(
    rows: DataFrame, header: Any, schema: Schema, newest: Schema, experiment: Experiment
) -> BatchValidator:
    """Inspect a batch, partition by partition."""
    limits = batch_contract.limits_for_layout(experiment.limits, schema, newest)
    whole = BatchValidator(schema, limits, is_only_batch=experiment.window == 1)
    for _ in whole.validate_part(header):
        pass
    for piece in _collect_reports(rows, ValidateTask(schema, newest, limits, experiment.checks)):
        whole.merge(piece)
    return whole


def _collect_reports(rows: DataFrame, work: BatchFunction) -> list[Any]:
    with translate_job_errors("the inspection"):
        return read_reports(map_in_arrow(rows, work, REPORT).collect())


def _write_parts(
    context: RunContext, rows: DataFrame, schema: Schema, newest: Schema, n_rows: int
) -> tuple[Package, Deduplication, ProfileBuilder]:
    """Deal the rows into parts by their hash, and let each part be ordered and written where it comes together."""
    lake, experiment = context.stores.lake, context.experiment
    dealt = compute_n_parts(n_rows, len(schema.columns), lake.cells_per_part)
    key = PackageKey(experiment.name, "batches", context.interval.key)
    deal = PartitionTask(schema, experiment.limits, newest, experiment.name, dealt)
    cells = [field.dataType for field in to_spark_schema(schema)]
    fields = [StructField(name, kind) for name, kind in zip(positional_names(len(cells)), cells, strict=True)]
    fields += [StructField(HASH, LongType()), StructField(PART, IntegerType())]
    erased = context.stores.warehouse.erased_hashes(experiment.name, context.interval.start)
    write = WriteTask(schema, lake.address, key.parts_folder, n_rows)
    with translate_job_errors("the writing of the package"):
        hashed = map_in_arrow(rows, deal, StructType(fields))
        if erased:
            hashed = hashed.filter(~F.col(HASH).isin(erased))
        # pyspark counts the arguments of what it is given, and a method has one more
        written = read_reports(hashed.groupBy(PART).applyInArrow(lambda table: write(table), REPORT).collect())  # noqa: PLW0108
    arrangement = Deduplication(key=schema.key)
    profile = ProfileBuilder(schema, n_rows)
    for _, found, profile_of_part in sorted(written, key=lambda one: one[0].number):
        arrangement.merge(found)
        profile.merge(profile_of_part)
    arrangement.raise_on_conflicts()
    parts = [part for part, *_ in written]
    return lake.write_manifest(key, parts, schema.arrow_schema, n_parts=dealt), arrangement, profile


@contextmanager
def _pickle_module_by_value(experiment: Experiment) -> Iterator[None]:
    """Pickle the module of the experiment by value, as executors need its checks and do not have its file."""
    module = sys.modules.get(getattr(experiment.function, "__module__", ""))
    if module is None or experiment.checks is None:
        yield
        return
    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]  # Spark's copy has no types
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call]
