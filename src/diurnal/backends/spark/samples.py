"""Rows of the lake as frames of Spark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
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
    TimestampType,
)

from diurnal import spark
from diurnal.backends.spark.blame import blaming

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.contract import Schema
    from diurnal.lake import Lake
    from diurnal.values import Package

TYPES: dict[str, DataType] = {
    "int": LongType(),
    "float": DoubleType(),
    "bool": BooleanType(),
    "text": StringType(),
    "date": DateType(),
    "instant": TimestampType(),
}
_BATCH = "__diurnal_batch"


@dataclass(frozen=True)
class Rows:
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
    """Give the contract's types as Spark's."""
    return StructType([StructField(column.name, TYPES[column.kind]) for column in schema.columns])


def identity(schema: Schema) -> list[str]:
    """Name the columns that identify a sample, in the order of names."""
    return sorted(schema.key or schema.features)


def read(lake: Lake, packages: Sequence[Package], schema: Schema, experiment: str, share: float) -> Rows:
    """Read packages, oldest first: one row for each sample, as :func:`diurnal.merging.newest` says.

    Of a `share` below 1, the rows that :func:`diurnal.splitting.is_sampled` names, which the executors ask.
    """
    frames = [_of(lake, package, schema) for package in packages]
    with blaming("the reading"):
        if share < 1:
            frames = [_sampled(frame, identity(schema), experiment, share) for frame in frames]
        if len(frames) == 1 and share < 1:
            return Rows(frames[0], schema, frames[0].count())
        if len(frames) == 1:
            return Rows(frames[0], schema, packages[0].n_rows)
        merged = _newest(frames, schema) if schema.key else reduce(DataFrame.unionByName, frames).dropDuplicates()
        # a shuffle brings rows in the order in which they arrive: a fit shall see them in one order
        ordered = merged.sortWithinPartitions(*merged.columns)
        return Rows(ordered, schema, ordered.count())


def unseen(lake: Lake, package: Package, learnt: Sequence[Package], schema: Schema) -> Rows:
    """Give the rows of a package whose samples are in none of the others, by the hash of their identity."""
    frame = _of(lake, package, schema)
    hashed = "__diurnal_hash"
    with blaming("the comparison with the champion"):
        for other in learnt:
            known = _of(lake, other, schema).select(F.xxhash64(*identity(schema)).alias(hashed)).distinct()
            marked = frame.withColumn(hashed, F.xxhash64(*identity(schema)))
            frame = marked.join(known, hashed, "left_anti").drop(hashed)
        return Rows(frame, schema, frame.count())


def head(rows: Rows, n: int) -> Any:
    """Give a few rows that have every feature, as an Arrow table: the first by the hash of their identity."""
    features = list(rows.schema.features)
    with blaming("the reading"):
        whole = rows.frame.dropna(subset=features)
        return whole.orderBy(F.xxhash64(*identity(rows.schema)), *features).select(*features).limit(n).toArrow()


def _of(lake: Lake, package: Package, schema: Schema) -> DataFrame:
    with blaming("the reading"):
        urls = [spark.url(url) for url in lake.urls(package)]
        return spark.session().read.schema(struct(schema)).parquet(*urls)


def _sampled(frame: DataFrame, columns: list[str], experiment: str, share: float) -> DataFrame:
    def chosen(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from diurnal.splitting import is_sampled

        for batch in batches:
            yield batch.filter(pa.array(is_sampled(batch, columns, experiment, share)))

    return frame.mapInArrow(chosen, frame.schema)


def _newest(frames: Sequence[DataFrame], schema: Schema) -> DataFrame:
    """Keep the newest row of each key."""
    numbered = [frame.withColumn(_BATCH, F.lit(i)) for i, frame in enumerate(frames)]
    together = reduce(DataFrame.unionByName, numbered)
    row = F.struct(*schema.names)
    newest = together.groupBy(*schema.key).agg(F.max_by(row, F.col(_BATCH)).alias("row"))
    return newest.select("row.*")
