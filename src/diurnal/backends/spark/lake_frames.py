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

from diurnal.backends.spark.job_errors import blaming
from diurnal.backends.spark.partition_tasks import Named, Work, numbered
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


def struct(schema: Schema) -> StructType:
    """Return the contract's types as Spark's."""
    return StructType([StructField(column.name, TYPES[column.kind]) for column in schema.columns])


def column(name: str) -> Column:
    """Return a column by its name, whatever characters that has."""
    return F.col("`" + name.replace("`", "``") + "`")


def columns(names: Iterable[str]) -> list[Column]:
    """Return columns by their names."""
    return [column(name) for name in names]


def map_in_arrow(frame: DataFrame, work: Work, result: StructType | str) -> DataFrame:
    """Let the executors do work on a frame's rows."""
    placed = frame.toDF(*numbered(len(frame.columns)))
    return placed.mapInArrow(Named(work, tuple(frame.columns)), result)


def hashed(schema: Schema, *salt: Column) -> Column:
    """Hash the identity of each row: its key, its features, or where each row is a sample its number as well."""
    number = [F.col(NUMBER)] if schema.keeps_duplicates else []
    return F.xxhash64(*salt, *columns(sorted(schema.identity)), *number)


def sample_hash(schema: Schema) -> Column:
    """Hash what tells whether two rows are one sample: of a column that is gone, nothing is known in new rows."""
    present = [name for name in schema.identity if name in schema.names]
    return hashed(schema) if not schema.lacks_identity else F.xxhash64(*columns(sorted(present)))


def separated(schema: Schema, *salt: Column) -> Column:
    """Hash what is never on both sides of a fold: the group of each row, or where there are none its identity."""
    groups = schema.metadata.groups
    return hashed(schema, *salt) if groups is None else F.xxhash64(*salt, column(groups))


def read(
    lake: Lake,
    packages: Sequence[Package],
    schema: Schema,
    experiment: str,
    share: float,
    without: Sequence[Package] = (),
) -> SparkData:
    """Read packages, oldest first: one row for each sample that has a target, as :mod:`diurnal.data.merge` says.

    With a `share` below 1, the executors select the rows of :func:`diurnal.data.train_test_split.sample_hasher`. Where
    each row is a sample of its own, the column :data:`NUMBER` distinguishes rows with equal features.
    """
    frames = [_of(lake, package, schema) for package in packages]
    with blaming("the reading"):
        if schema.keeps_duplicates:
            frames = [_numbered(frame, schema) for frame in frames]
        if share < 1:
            frames = [_sampled(frame, schema, experiment, share) for frame in frames]
        merged = _merged(frames, schema).filter(column(schema.target).isNotNull())
        if not schema.keeps_duplicates:
            merged = _left(merged, [_of(lake, other, schema) for other in without], sample_hash(schema))
        if len(frames) > 1 or schema.keeps_duplicates or without:
            # a shuffle brings rows in the order in which they arrive: a fit shall see them in one order
            merged = merged.sortWithinPartitions(*columns(merged.columns))
        return SparkData(merged, schema, merged.count())


def unseen(lake: Lake, package: Package, learnt: Sequence[Package], schema: Schema) -> SparkData:
    """Return the rows of a package whose samples, or whose groups, are in none of the others, by a hash of these."""
    frame = _of(lake, package, schema).filter(column(schema.target).isNotNull())
    with blaming("the comparison with the champion"):
        others = [_of(lake, other, schema) for other in learnt]
        if schema.metadata.groups is None or schema.key:
            frame = _left(frame, others, sample_hash(schema))
        if schema.metadata.groups is not None:
            frame = _left(frame, others, separated(schema))
        return SparkData(frame, schema, frame.count())


def _left(frame: DataFrame, others: Iterable[DataFrame], hash_: Column) -> DataFrame:
    """Return the rows whose hash is in none of some other frames."""
    for other in others:
        known = other.select(hash_.alias(_HASH)).distinct()
        frame = frame.withColumn(_HASH, hash_).join(known, _HASH, "left_anti").drop(_HASH)
    return frame


def head(rows: SparkData, n: int) -> Any:
    """Return a few rows that have every feature, as an Arrow table: the first by the hash of their identity."""
    features = columns(rows.schema.features)
    complete = reduce(Column.__and__, [feature.isNotNull() for feature in features])
    with blaming("the reading"):
        whole = rows.frame.filter(complete)
        return whole.orderBy(hashed(rows.schema), *features).select(*features).limit(n).toArrow()


def taking(model: Any, columns: Mapping[str, str]) -> Any:
    """Let a fitted model, which is changed in place, take rows that have its columns under other names."""
    if columns:
        own = model.transform

        def transform(frame: DataFrame, *params: Any) -> DataFrame:
            for name, now in columns.items():
                frame = frame if name in frame.columns else frame.withColumn(name, column(now))
            given: DataFrame = own(frame, *params)
            return given

        model.transform = transform
    return model


def _of(lake: Lake, package: Package, schema: Schema) -> DataFrame:
    """Read a package through the newest version of the contract; beside its columns, those gone that identify rows."""
    with blaming("the reading"):
        session = spark.get_session_for_columns(schema.names)
        urls = [spark.to_spark_url(url) for url in lake.urls(package)]
        if not schema.has_changed:
            return session.read.schema(struct(schema)).parquet(*urls)
        kept = lake.schema(package)
        fields = [StructField(field.name, TYPES[str(kind_of_arrow_type(field.type))]) for field in kept]
        frame = session.read.schema(StructType(fields)).parquet(*urls)
        return frame.select(*(_through(schema, one, kept.names) for one in _wanted(schema)))


def _wanted(schema: Schema) -> list[ContractColumn]:
    identity = schema.identity
    return [one for one in schema.all_columns if one.name in schema.names or one.name in identity]


def _through(schema: Schema, wanted: ContractColumn, kept: Sequence[str]) -> Column:
    name, kind = schema.find_name(wanted.name, kept), TYPES[wanted.kind]
    return (F.lit(None) if name is None else column(name)).cast(kind).alias(wanted.name)


def _merged(frames: Sequence[DataFrame], schema: Schema) -> DataFrame:
    if len(frames) == 1:
        return frames[0]
    if schema.key:
        return _newest(frames, schema)
    together = reduce(DataFrame.unionByName, frames)
    return together if schema.keeps_duplicates else together.dropDuplicates()


def _numbered(frame: DataFrame, schema: Schema) -> DataFrame:
    """Number the rows of a package with equal features, in the order of their other columns."""
    alike = Window.partitionBy(*columns(schema.features)).orderBy(*columns(schema.names))
    return frame.withColumn(NUMBER, F.row_number().over(alike) - 1)


def _sampled(frame: DataFrame, schema: Schema, experiment: str, share: float) -> DataFrame:
    def chosen(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from diurnal.data import row_hash, row_identity, train_test_split

        hasher = row_identity.identity_hasher(schema, train_test_split.sample_salt(experiment))
        for batch in batches:
            hashes = hasher(batch)
            if NUMBER in batch.schema.names:
                hashes = row_hash.number_hashes(hashes, batch.column(NUMBER).to_numpy())
            kept = batch.filter(pa.array(train_test_split.select_test(hashes, share)))
            yield kept.rename_columns(numbered(kept.num_columns))

    kept = StructType(
        [
            StructField(name, field.dataType)
            for name, field in zip(numbered(len(frame.columns)), frame.schema, strict=True)
        ]
    )
    return map_in_arrow(frame, chosen, kept).toDF(*frame.columns)


def _newest(frames: Sequence[DataFrame], schema: Schema) -> DataFrame:
    """Keep the newest row of each key."""
    numbered = [frame.withColumn(_BATCH, F.lit(i)) for i, frame in enumerate(frames)]
    together = reduce(DataFrame.unionByName, numbered)
    row = F.struct(*columns([one.name for one in _wanted(schema)]))
    newest = together.groupBy(*columns(schema.key)).agg(F.max_by(row, F.col(_BATCH)).alias("row"))
    return newest.select("row.*")
