"""Sources of rows: the :class:`Source` protocol, the built-in sources, and their conversion to Arrow.

A source is an object with ``read(interval, connections)``, or a function of a data interval. It returns a frame
(pandas, polars, Arrow) or a stream of Arrow record batches; :func:`record_batches` converts either to record batches of
one schema. A source reads rows and does not validate them; :mod:`diurnal.data` does. It raises only if its input
cannot be read as rows.

The import of this package is cheap, since Airflow imports it with every experiment.
"""

from diurnal.sources.files import Files
from diurnal.sources.record_batches import record_batches
from diurnal.sources.sklearn_dataset import SklearnDataset
from diurnal.sources.source import Connections, Source
from diurnal.sources.spark_table import SparkTable
from diurnal.sources.sql import Sql

__all__ = ["Connections", "Files", "SklearnDataset", "Source", "SparkTable", "Sql", "record_batches"]
