"""The command ``diurnal doctor``: what is wrong with experiments, from outside, and alarms."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from diurnal.cli.options import hours_type, json_option, reject_nan
from diurnal.cli.project_session import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diurnal.pipeline.health_report import HealthReport
    from diurnal.runtime import Settings

_HAS_FINDINGS = 1


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
@click.option("--prometheus", is_flag=True, help="Print metrics in Prometheus's text format.")
@click.option("--max-champion-age", type=click.FloatRange(min=0), default=None, help="Days. Default: any age.")
@click.option(
    "--tolerance",
    type=hours_type,
    default=1.0,
    show_default=True,
    callback=reject_nan,
    help="Hours that a result may be late, in addition to the durations of earlier runs.",
)
@click.option("--notify", multiple=True, help="URL of apprise to send findings to. Default: the setting notify.")
@click.option("--no-notify", is_flag=True, help="Send nothing.")
@click.option(
    "--remind-after",
    type=hours_type,
    default=24.0,
    show_default=True,
    callback=reject_nan,
    help="Hours until a finding that lasts is sent again.",
)
def doctor(
    names: tuple[str, ...],
    json_: bool,
    prometheus: bool,
    max_champion_age: float | None,
    tolerance: float,
    notify: tuple[str, ...],
    no_notify: bool,
    remind_after: float,
) -> None:
    """Find experiments that are overdue, rejected, failed, drifted or without a champion.

    It looks at the warehouse and the project from outside, so that it also finds experiments that are no longer
    started. The exit status is 1 if there are findings.
    """
    from diurnal.pipeline.alarms import check_services
    from diurnal.pipeline.health import Thresholds
    from diurnal.pipeline.health_report import inspect_deployment

    settings = load_settings()
    urls = () if no_notify else notify or settings.notify
    check_services(urls)
    age = None if max_champion_age is None else timedelta(days=max_champion_age)
    thresholds = Thresholds(tolerance=timedelta(hours=tolerance), champion_age=age)
    report = inspect_deployment(settings, names, thresholds=thresholds)
    _print_report(report, json_=json_, prometheus=prometheus)
    if urls:
        _send_alarm(report, settings, urls, timedelta(hours=remind_after))
    if report.findings:
        raise SystemExit(_HAS_FINDINGS)


def _print_report(report: HealthReport, *, json_: bool, prometheus: bool) -> None:
    """Print the findings, each with its action, as a list for people; or as JSON, or metrics."""
    from diurnal.cli.table_output import print_json

    if prometheus:
        from diurnal.page.metrics import render_metrics

        click.echo(render_metrics(report).decode(), nl=False)
    elif json_:
        print_json([finding.to_dict() for finding in report.findings])
    else:
        for finding in report.findings:
            click.echo(f"{finding}\n")
        click.echo(str(report))


def _send_alarm(report: HealthReport, settings: Settings, urls: Sequence[str], remind_after: timedelta) -> None:
    """Send all findings in one message if one of them is new, or was sent too long ago."""
    from diurnal.pipeline.alarms import AlarmChannel, format_alarm, send_notification

    channel = AlarmChannel(settings, "notify", remind_after=remind_after)
    is_due = channel.is_due(report)
    if is_due:
        send_notification(urls, *format_alarm(report))
        click.echo(f"sent to {len(urls)} service{'s' * (len(urls) > 1)}", err=True)
    channel.remember(report, sent=is_due)
