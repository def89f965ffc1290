"""Metrics for Prometheus: the health of a deployment in its text format."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError
from diurnal.pipeline.health import KINDS

if TYPE_CHECKING:
    from datetime import datetime

    from prometheus_client import Metric

    from diurnal.pipeline.health_report import ExperimentHealth, HealthReport

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_GAUGES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("last_result_timestamp_seconds", (), "When the newest result was recorded."),
    ("last_interval_end_timestamp_seconds", (), "The end of the newest data interval that has a result."),
    ("result_expected_timestamp_seconds", (), "When the next result is expected at the latest."),
    ("overdue", (), "1 if a result is overdue, else 0."),
    ("test_score", ("scoring",), "The test score of the newest run."),
    ("champion_score", ("scoring",), "The champion's score on the new test rows of the newest run."),
    ("live_score", ("scoring",), "The newest score of predictions by the truth that came later."),
    ("champion_version", (), "The version of the champion."),
    ("champion_since_timestamp_seconds", (), "When the champion was promoted."),
    ("batch_rows", (), "The rows of the newest batch."),
    ("step_duration_seconds", ("step",), "The duration of each step of the newest run."),
    ("drifted_columns", (), "The columns of the newest run that differ from the champion's training window."),
    ("drift_strongest_effect", ("measure",), "The strongest effect among the columns of the newest run."),
    ("failed_attempts", (), "The stored failures of steps."),
    ("rejected_batches", (), "The stored rejections of batches."),
)


def render_metrics(report: HealthReport) -> bytes:
    """Return the metrics of a report.

    Parameters
    ----------
    report : HealthReport
        The health of a deployment.

    Returns
    -------
    bytes
        In the format that :data:`CONTENT_TYPE` names.

    Raises
    ------
    ConfigurationError
        If prometheus_client is not installed.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from diurnal.pipeline.health_report import HealthReport
    >>> text = render_metrics(HealthReport(datetime(2026, 11, 25, tzinfo=UTC), ())).decode()
    >>> print(text.splitlines()[-1])
    diurnal_checked_timestamp_seconds 1.7955648e+09
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import generate_latest
    except ImportError:
        raise ConfigurationError(
            "metrics need the package prometheus-client, which is not installed", hint="pip install 'diurnal[page]'"
        ) from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_ReportCollector(report))
    return generate_latest(registry)


class _ReportCollector:
    """Gives the metrics of a report to a registry."""

    def __init__(self, report: HealthReport) -> None:
        self._report = report

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        from prometheus_client.core import GaugeMetricFamily

        samples: dict[str, list[tuple[tuple[str, ...], float]]] = {name: [] for name, _, _ in _GAUGES}
        for health in self._report.experiments:
            for name, labels, value in _samples_of(health):
                if value is not None and math.isfinite(value):
                    samples[name].append(((health.name, *labels), value))
        for name, labels, documentation in _GAUGES:
            gauge = GaugeMetricFamily(f"diurnal_{name}", documentation, labels=("experiment", *labels))
            for values, number in samples[name]:
                gauge.add_metric(values, number)
            yield gauge
        yield self._findings()
        checked = GaugeMetricFamily("diurnal_checked_timestamp_seconds", "When this was computed.")
        checked.add_metric((), self._report.checked_at.timestamp())
        yield checked

    def _findings(self) -> Metric:
        """Return one sample for each experiment and kind, so that the end of a finding is a sample as well."""
        from prometheus_client.core import GaugeMetricFamily

        names = ["", *(health.name for health in self._report.experiments)]
        counts = {(name, kind): 0 for name in names for kind in KINDS}
        for finding in self._report.findings:
            counts[finding.experiment or "", finding.kind] += 1
        text = "Findings of diurnal doctor; without an experiment, those of the deployment."
        gauge = GaugeMetricFamily("diurnal_findings", text, labels=("experiment", "kind"))
        for labels, n in counts.items():
            gauge.add_metric(labels, n)
        return gauge


def _samples_of(health: ExperimentHealth) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    """Yield name, further labels and value of each metric of an experiment."""
    history, deadline = health.history, health.deadline
    yield "overdue", (), float(health.is_overdue)
    yield "last_interval_end_timestamp_seconds", (), _seconds(history.answered_until)
    yield "result_expected_timestamp_seconds", (), _seconds(deadline.expected_at if deadline else None)
    yield "batch_rows", (), history.n_rows
    yield "failed_attempts", (), history.n_failed
    yield "rejected_batches", (), history.n_rejected
    if history.champion is not None:
        yield "champion_version", (), history.champion["version"]
        yield "champion_since_timestamp_seconds", (), _seconds(history.champion["promoted_at"])
    if history.live_score is not None:
        yield "live_score", (history.live_score["scoring"],), history.live_score["score"]
    if history.runs:
        newest = max(history.runs, key=lambda run: run.row["decided_at"])
        yield "last_result_timestamp_seconds", (), _seconds(newest.row["decided_at"])
        yield from _samples_of_run(history.runs[0].row)


def _samples_of_run(row: Any) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    yield "test_score", (row["scoring"],), row["test_score"]
    yield "champion_score", (row["scoring"],), row["champion_score"]
    for step, seconds in row["durations"].items():
        yield "step_duration_seconds", (step,), seconds
    yield "drifted_columns", (), row["n_drifted"]
    for column in (row["strongest_drift"] or [])[:1]:
        yield "drift_strongest_effect", (str(column.get("measure")),), column.get("effect")


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
