"""Where rows come from: the :class:`Source` protocol, the built-in sources, and what they give as Arrow.

A source is anything with ``read(interval, connections)``; a plain function of a data interval will do as well. It
gives a frame (pandas, polars, Arrow) or a stream of Arrow record batches; :func:`record_batches` makes one kind of
stream of it. A source says what came, not whether it is good: that is the contract's to judge
(:mod:`diurnal.data`). It refuses only what cannot be read as rows at all.

Importing this package is cheap, for experiments import it while Airflow parses them.
"""

from diurnal.sources.files import Files
from diurnal.sources.record_batches import record_batches
from diurnal.sources.sklearn_dataset import SklearnDataset
from diurnal.sources.source import Connections, Source
from diurnal.sources.spark_table import SparkTable
from diurnal.sources.sql import Sql

__all__ = ["Connections", "Files", "SklearnDataset", "Source", "SparkTable", "Sql", "record_batches"]
