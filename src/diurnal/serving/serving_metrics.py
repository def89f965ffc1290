"""Metrics of a server in the format of Prometheus."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from diurnal.serving.input_monitor import ColumnCounts
    from diurnal.serving.served_models import ServedModels

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SHARED = "PROMETHEUS_MULTIPROC_DIR"  # set by the process that starts several workers


class ServingMetrics:
    """The metrics; those of all worker processes together where there are several.

    Parameters
    ----------
    served : ServedModels
        What is served.
    """

    def __init__(self, served: ServedModels) -> None:
        self._registry = CollectorRegistry()
        own = None if os.environ.get(_SHARED) else self._registry
        labels = ("experiment", "protocol")
        self._requests = Counter("diurnal_serving_requests", "Requests", (*labels, "version", "status"), registry=own)
        self._rows = Counter("diurnal_serving_rows", "Predicted rows", ("experiment",), registry=own)
        self._seconds = Histogram(
            "diurnal_serving_request_seconds", "Time of a request", labels, buckets=_BUCKETS, registry=own
        )
        self._unseen = Counter(
            "diurnal_serving_unseen_categories",
            "Cells with a category that the contract does not have",
            ("experiment", "column"),
            registry=own,
        )
        self._inputs = _InputCounters(own)
        self._children: dict[tuple[str, str, int | str, int], tuple[Counter, Histogram, Counter]] = {}
        if own is None:
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        self._registry.register(_ModelCollector(served))

    def add_request(
        self, experiment: str, protocol: str, version: int | str, status: int, n_rows: int, seconds: float
    ) -> None:
        """Count a request."""
        key = (experiment, protocol, version, status)
        children = self._children.get(key)
        if children is None:
            children = (
                self._requests.labels(*key),
                self._seconds.labels(experiment, protocol),
                self._rows.labels(experiment),
            )
            self._children[key] = children
        requests, duration, rows = children
        requests.inc()
        duration.observe(seconds)
        rows.inc(n_rows)

    def add_unseen(self, experiment: str, counts: dict[str, int]) -> None:
        """Count cells whose category the contract does not have, by column."""
        for column, count in counts.items():
            self._unseen.labels(experiment, column).inc(count)

    def add_inputs(self, experiment: str, columns: Mapping[str, ColumnCounts]) -> None:
        """Count the cells of the columns that clients have sent."""
        self._inputs.add(experiment, columns)

    def render(self) -> tuple[bytes, str]:
        """Return the metrics, and their content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _InputCounters:
    """The counters of the columns that clients send."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"diurnal_serving_input_{name}", text, ("experiment", "column", *labels), registry=registry)

        self._values = counter("values", "Cells with a value, of the rows that were looked at")
        self._missing = counter("missing", "Cells without a value, of the rows that were looked at")
        self._outside = counter("outside", "Values below or above all those of the training")
        self._deviation = counter(
            "deviation", "Deviations from the mean of the training, in its standard deviations", "side"
        )

    def add(self, experiment: str, columns: Mapping[str, ColumnCounts]) -> None:
        for name, found in columns.items():
            self._values.labels(experiment, name).inc(found.n_values)
            self._missing.labels(experiment, name).inc(found.n_missing)
            self._outside.labels(experiment, name).inc(found.n_outside)
            self._deviation.labels(experiment, name, "above").inc(found.above)
            self._deviation.labels(experiment, name, "below").inc(found.below)


class _ModelCollector:
    """The versions that this process serves."""

    def __init__(self, served: ServedModels) -> None:
        self._served = served

    def collect(self) -> Iterator[Metric]:
        version = GaugeMetricFamily(
            "diurnal_serving_version", "The version that answers", labels=["experiment", "path"]
        )
        degraded = GaugeMetricFamily(
            "diurnal_serving_degraded", "1 if it is not the version in use", labels=["experiment"]
        )
        for name, state in self._served.states().items():
            if state.model is not None:
                version.add_metric([name, state.model.path], state.model.version)
            degraded.add_metric([name], float(state.problem is not None))
        yield version
        yield degraded
