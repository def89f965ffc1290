"""Alarms: findings that a person has to know, each sent once, and again after a day if it lasts.

What was sent is stored in the root of the lake, so that alarms are also limited while the warehouse cannot be reached,
and from whichever machine they are sent. If it cannot be read or written, an alarm is rather sent twice than never.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from diurnal.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from apprise import Apprise

    from diurnal.pipeline.health import Finding
    from diurnal.pipeline.health_report import HealthReport
    from diurnal.runtime import Settings

REMIND_AFTER = timedelta(hours=24)
_MAX_SECONDS = 60  # for one service
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SentAlarms:
    """The alarms that a channel has sent.

    Attributes
    ----------
    sent_at : Mapping of str to datetime
        When each was sent, by experiment and kind.
    """

    sent_at: Mapping[str, datetime]

    @classmethod
    def loads(cls, data: bytes) -> SentAlarms:
        """Return the alarms of a file; none if it is damaged."""
        try:
            return cls({key: datetime.fromisoformat(at) for key, at in json.loads(data)["sent_at"].items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls({})

    def dumps(self) -> bytes:
        """Return the contents of the file."""
        return json.dumps({"sent_at": {key: at.isoformat() for key, at in self.sent_at.items()}}).encode()

    def is_due(self, finding: Finding, now: datetime, remind_after: timedelta) -> bool:
        """Return whether a finding is to be sent: it is new, or was sent too long ago."""
        sent_at = self.sent_at.get(_key_of(finding))
        if sent_at is None or now - sent_at >= remind_after:
            return True
        return finding.since is not None and finding.since > sent_at

    def after(self, report: HealthReport, now: datetime) -> SentAlarms:
        """Return the alarms after all findings of a report were sent: those that have ended are forgotten."""
        seen = {health.name for health in report.experiments} | {""}
        others = {key: at for key, at in self.sent_at.items() if key.partition(" ")[0] not in seen}
        return SentAlarms(others | {_key_of(finding): now for finding in report.findings})


class AlarmChannel:
    """A way to send alarms, with its memory in the lake.

    Parameters
    ----------
    settings : Settings
        The settings, with the location of the lake.
    name : str
        The name of the channel: each has a memory of its own.
    remind_after : datetime.timedelta
        How long a finding that lasts is not sent again.
    """

    def __init__(self, settings: Settings, name: str, *, remind_after: timedelta = REMIND_AFTER) -> None:
        self.lake = settings.lake
        self.path = f".alarms-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.json"
        self.remind_after = remind_after

    def is_due(self, report: HealthReport) -> bool:
        """Return whether a report has a finding that is to be sent."""
        sent = self._read()
        return any(sent.is_due(finding, report.checked_at, self.remind_after) for finding in report.findings)

    def remember(self, report: HealthReport, *, sent: bool) -> None:
        """Store that the findings of a report were sent; if not, only that others have ended."""
        before = self._read()
        after = before.after(report, report.checked_at)
        if not sent:
            after = SentAlarms({key: before.sent_at[key] for key in after.sent_at if key in before.sent_at})
        if after != before:
            self._write(after)

    def _read(self) -> SentAlarms:
        from diurnal.storage.file_store import FileStore

        try:
            store = FileStore(self.lake, create=False)
            return SentAlarms.loads(store.fs.cat_file(store.url(self.path)))
        except FileNotFoundError:
            return SentAlarms({})
        except Exception as error:  # noqa: BLE001 - any library of an object store; an alarm is sent all the same
            _log.warning("the alarms that were sent cannot be read in the lake: %s", error)
            return SentAlarms({})

    def _write(self, sent: SentAlarms) -> None:
        from diurnal.storage.file_store import FileStore

        try:
            FileStore(self.lake).overwrite(self.path, sent.dumps())
        except Exception as error:  # noqa: BLE001 - as above
            _log.warning("the alarms that were sent cannot be stored in the lake, and are sent again: %s", error)


def _key_of(finding: Finding) -> str:
    """Return what makes a finding the same one as before: its experiment and kind, or its message."""
    return f"{finding.experiment or ''} {finding.kind if finding.experiment else finding.message}"


def format_alarm(report: HealthReport) -> tuple[str, str]:
    """Return the title and the text of one message for all findings.

    Examples
    --------
    >>> from datetime import UTC
    >>> from diurnal.pipeline.health import Finding
    >>> from diurnal.pipeline.health_report import HealthReport
    >>> finding = Finding("churn", "overdue", None, "there is no result for 2026-11-23", "diurnal run churn --next")
    >>> title, text = format_alarm(HealthReport(datetime(2026, 11, 25, tzinfo=UTC), (), (finding,)))
    >>> title
    'diurnal: churn is overdue'
    >>> print(text)
    churn is overdue
      there is no result for 2026-11-23
      -> diurnal run churn --next
    """
    findings = report.findings
    subjects = list(dict.fromkeys(finding.experiment or "this deployment" for finding in findings))
    if len(findings) == 1:
        title = f"{subjects[0]} is {findings[0].predicate}"
    else:
        listed = ", ".join(subjects[:3]) + (f" and {len(subjects) - 3} more" if len(subjects) > 3 else "")
        title = f"{len(findings)} findings ({listed})"
    return f"diurnal: {title}", "\n\n".join(map(str, findings))


def send_notification(urls: Sequence[str], title: str, text: str) -> None:
    """Send a message to services, by apprise.

    Parameters
    ----------
    urls : sequence of str
        URLs of apprise, such as ``mailto://user:password@example.org`` or ``slack://token``. No message of an error
        contains them.
    title, text : str
        The message.

    Raises
    ------
    ConfigurationError
        If apprise is not installed, or a URL is not valid.
    TransientError
        If a service does not accept the message; the others have received it.
    """
    services = [_open_service(url) for url in urls]
    failed = [
        f"{url.partition('://')[0]}://"
        for url, service in zip(urls, services, strict=True)
        if not service.notify(text, title=title, notify_type="warning", body_format="text", timeout=_MAX_SECONDS)
    ]
    if failed:
        raise TransientError(
            f"the alarm was not accepted by {len(failed)} of {len(urls)} services: {', '.join(failed)}",
            hint="check their URLs, and that they can be reached from here",
        )


def check_services(urls: Iterable[str]) -> None:
    """Raise a ConfigurationError if apprise does not know one of some URLs."""
    for url in urls:
        _open_service(url)


def _open_service(url: str) -> Apprise:
    try:
        from apprise import Apprise
    except ImportError:
        raise ConfigurationError(
            "alarms are sent by apprise, which is not installed", hint="pip install 'diurnal[notify]'"
        ) from None
    service = Apprise()
    if not service.add(url):
        scheme, separator, _ = url.partition("://")
        shown = f"that starts with {scheme}://" if separator else "without ://"
        raise ConfigurationError(
            f"apprise does not know the URL {shown} (it is not shown: it may contain a secret)",
            hint="its forms are at https://github.com/caronc/apprise/wiki",
        )
    return service
