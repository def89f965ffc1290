"""SparkData of the lake as frames of Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from diurnal.backends.spark.job_errors import translate_job_errors
from diurnal.backends.spark.partition_tasks import BatchFunction, NamedColumnsTask, positional_names
from diurnal.data.casts import kind_of_arrow_type
from diurnal.runtime import spark

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Column as ContractColumn
    from diurnal.data import Schema
    from diurnal.storage.lake import Lake
    from diurnal.types import Package

TYPES: dict[str, DataType] = {
    "int": LongType(),
    "float": DoubleType(),
    "bool": BooleanType(),
    "text": StringType(),
    "date": DateType(),
    "instant": TimestampType(),
    "timestamp": TimestampNTZType(),
}
NUMBER = "__diurnal_number"
_BATCH, _HASH = "__diurnal_batch", "__diurnal_hash"


@dataclass(frozen=True)
class SparkData:
    """Samples that stay with the executors.

    Attributes
    ----------
    frame : pyspark.sql.DataFrame
        All columns of the contract, under their own names.
    schema : Schema
        What they are for.
    n_rows : int
        How many.
    """

    frame: DataFrame
    schema: Schema
    n_rows: int


def to_spark_schema(schema: Schema) -> StructType:
    """Return the contract's types as Spark's."""
    return StructType([StructField(column.name, TYPES[column.kind]) for column in schema.columns])


def quote_column(name: str) -> Column:
    """Return a column by its name, whatever characters that has."""
    return F.col("`" + name.replace("`", "``") + "`")


def quote_columns(names: Iterable[str]) -> list[Column]:
    """Return columns by their names."""
    return [quote_column(name) for name in names]


def map_in_arrow(frame: DataFrame, work: BatchFunction, result: StructType | str) -> DataFrame:
    """Apply a function to the rows of a frame on the executors."""
    placed = frame.toDF(*positional_names(len(frame.columns)))
    return placed.mapInArrow(NamedColumnsTask(work, tuple(frame.columns)), result)


def identity_hash(schema: Schema, *salt: Column) -> Column:
    """Hash the identity of each row: its key, its features, or where each row is a sample its number as well."""
    number = [F.col(NUMBER)] if schema.keeps_duplicates else []
    return F.xxhash64(*salt, *quote_columns(sorted(schema.identity)), *number)


def sample_hash(schema: Schema) -> Column:
    """Hash what tells whether two rows are one sample: of a column that is gone, nothing is known in new rows."""
    present = [name for name in schema.identity if name in schema.names]
    return identity_hash(schema) if not schema.lacks_identity else F.xxhash64(*quote_columns(sorted(present)))


def fold_hash(schema: Schema, *salt: Column) -> Column:
    """Hash what is never on both sides of a fold: the group of each row, or where there are none its identity."""
    groups = schema.metadata.groups
    return identity_hash(schema, *salt) if groups is None else F.xxhash64(*salt, quote_column(groups))


def read_samples(
    lake: Lake,
    packages: Sequence[Package],
    schema: Schema,
    experiment: str,
    share: float,
    without: Sequence[Package] = (),
) -> SparkData:
    """Read packages, oldest first: one row for each sample that has a target, as in :mod:`diurnal.data.merge`.

    With a `share` below 1, the executors select the rows of :func:`diurnal.data.train_test_split.sample_hasher`. Where
    each row is a sample of its own, the column :data:`NUMBER` distinguishes rows with equal features.
    """
    frames = [read_package(lake, package, schema) for package in packages]
    with translate_job_errors("the reading"):
        if schema.keeps_duplicates:
            frames = [_number_equal_rows(frame, schema) for frame in frames]
        if share < 1:
            frames = [_sample_rows(frame, schema, experiment, share) for frame in frames]
        merged = _merge_frames(frames, schema).filter(quote_column(schema.target).isNotNull())
        if not schema.keeps_duplicates:
            merged = _exclude_known(
                merged, [read_package(lake, other, schema) for other in without], sample_hash(schema)
            )
        if len(frames) > 1 or schema.keeps_duplicates or without:
            # a shuffle brings rows in the order in which they arrive: a fit shall see them in one order
            merged = merged.sortWithinPartitions(*quote_columns(merged.columns))
        return SparkData(merged, schema, merged.count())


def read_unseen_samples(lake: Lake, package: Package, learnt: Sequence[Package], schema: Schema) -> SparkData:
    """Return the rows of a package whose samples, or whose groups, are in none of the others, by a hash of these."""
    frame = read_package(lake, package, schema).filter(quote_column(schema.target).isNotNull())
    with translate_job_errors("the comparison with the champion"):
        others = [read_package(lake, other, schema) for other in learnt]
        if schema.metadata.groups is None or schema.key:
            frame = _exclude_known(frame, others, sample_hash(schema))
        if schema.metadata.groups is not None:
            frame = _exclude_known(frame, others, fold_hash(schema))
        return SparkData(frame, schema, frame.count())


def _exclude_known(frame: DataFrame, others: Iterable[DataFrame], hash_: Column) -> DataFrame:
    """Return the rows whose hash is in none of some other frames."""
    for other in others:
        known = other.select(hash_.alias(_HASH)).distinct()
        frame = frame.withColumn(_HASH, hash_).join(known, _HASH, "left_anti").drop(_HASH)
    return frame


def first_complete_rows(rows: SparkData, n: int) -> Any:
    """Return a few rows that have every feature, as an Arrow table: the first by the hash of their identity."""
    features = quote_columns(rows.schema.features)
    complete = reduce(Column.__and__, [feature.isNotNull() for feature in features])
    with translate_job_errors("the reading"):
        whole = rows.frame.filter(complete)
        return whole.orderBy(identity_hash(rows.schema), *features).select(*features).limit(n).toArrow()


def rename_inputs(model: Any, columns: Mapping[str, str]) -> Any:
    """Change a fitted model in place, so that it accepts rows with other names of its columns."""
    if columns:
        own = model.transform

        def transform(frame: DataFrame, *params: Any) -> DataFrame:
            for name, now in columns.items():
                frame = frame if name in frame.columns else frame.withColumn(name, quote_column(now))
            given: DataFrame = own(frame, *params)
            return given

        model.transform = transform
    return model


def read_package(lake: Lake, package: Package, schema: Schema) -> DataFrame:
    """Read a package through the newest version of the contract; beside its columns, those gone that identify rows."""
    with translate_job_errors("the reading"):
        session = spark.get_session_for_columns(schema.names)
        urls = [spark.to_spark_url(url) for url in lake.urls(package)]
        if not schema.has_changed:
            return session.read.schema(to_spark_schema(schema)).parquet(*urls)
        kept = lake.schema(package)
        fields = [StructField(field.name, TYPES[str(kind_of_arrow_type(field.type))]) for field in kept]
        frame = session.read.schema(StructType(fields)).parquet(*urls)
        return frame.select(*(_cast_column(schema, one, kept.names) for one in _needed_columns(schema)))


def _needed_columns(schema: Schema) -> list[ContractColumn]:
    identity = schema.identity
    return [one for one in schema.all_columns if one.name in schema.names or one.name in identity]


def _cast_column(schema: Schema, wanted: ContractColumn, kept: Sequence[str]) -> Column:
    name, kind = schema.find_name(wanted.name, kept), TYPES[wanted.kind]
    return (F.lit(None) if name is None else quote_column(name)).cast(kind).alias(wanted.name)


def _merge_frames(frames: Sequence[DataFrame], schema: Schema) -> DataFrame:
    if len(frames) == 1:
        return frames[0]
    if schema.key:
        return _latest_per_key(frames, schema)
    together = reduce(DataFrame.unionByName, frames)
    return together if schema.keeps_duplicates else together.dropDuplicates()


def _number_equal_rows(frame: DataFrame, schema: Schema) -> DataFrame:
    """Number the rows of a package with equal features, in the order of their other columns."""
    alike = Window.partitionBy(*quote_columns(schema.features)).orderBy(*quote_columns(schema.names))
    return frame.withColumn(NUMBER, F.row_number().over(alike) - 1)


def _sample_rows(frame: DataFrame, schema: Schema, experiment: str, share: float) -> DataFrame:
    def chosen(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from diurnal.data import row_hash, row_identity, train_test_split

        hasher = row_identity.identity_hasher(schema, train_test_split.sample_salt(experiment))
        for batch in batches:
            hashes = hasher(batch)
            if NUMBER in batch.schema.names:
                hashes = row_hash.number_hashes(hashes, batch.column(NUMBER).to_numpy())
            kept = batch.filter(pa.array(train_test_split.select_test(hashes, share)))
            yield kept.rename_columns(positional_names(kept.num_columns))

    kept = StructType(
        [
            StructField(name, field.dataType)
            for name, field in zip(positional_names(len(frame.columns)), frame.schema, strict=True)
        ]
    )
    return map_in_arrow(frame, chosen, kept).toDF(*frame.columns)


def _latest_per_key(frames: Sequence[DataFrame], schema: Schema) -> DataFrame:
    """Keep the newest row of each key."""
    numbered = [frame.withColumn(_BATCH, F.lit(i)) for i, frame in enumerate(frames)]
    together = reduce(DataFrame.unionByName, numbered)
    row = F.struct(*quote_columns([one.name for one in _needed_columns(schema)]))
    newest = together.groupBy(*quote_columns(schema.key)).agg(F.max_by(row, F.col(_BATCH)).alias("row"))
    return newest.select("row.*")
