"""The aliases of a registered model: ``champion``, and a date for the version that served at its end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

CHAMPION = "champion"
MAX_DATES = 100
"""The newest dates that have an alias; older ones are removed, so that a model's page stays readable."""
_OURS = re.compile(rf"{CHAMPION}|\d{{4}}-\d{{2}}-\d{{2}}", re.ASCII)


def expected_aliases(promotions: Sequence[Mapping[str, Any]], dates: Iterable[date]) -> dict[str, int]:
    """Return the aliases, each with its version.

    As in :func:`diurnal.load_model`, a date stands for the champion at its end, in UTC.

    Parameters
    ----------
    promotions : sequence of Mapping of str to Any
        The rows of `promotions`, newest first.
    dates : iterable of datetime.date
        Dates on which runs were decided. Those of promotions count as well.

    Examples
    --------
    >>> from datetime import timedelta
    >>> noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    >>> promotions = [{"version": 2, "promoted_at": noon + timedelta(days=2)}, {"version": 1, "promoted_at": noon}]
    >>> expected_aliases(promotions, [date(2026, 11, 22), date(2026, 11, 24)])
    {'champion': 2, '2026-11-25': 2, '2026-11-24': 1, '2026-11-23': 1}
    """
    if not promotions:
        return {}
    version_on: dict[date, int] = {}  # from a date to the version of its last promotion
    for row in promotions:
        version_on.setdefault(_date_of(row["promoted_at"]), int(row["version"]))
    aliases, changes = {CHAMPION: int(promotions[0]["version"])}, sorted(version_on, reverse=True)
    for day in sorted({*version_on, *dates}, reverse=True)[:MAX_DATES]:
        since = next((change for change in changes if change <= day), None)
        if since is not None:
            aliases[day.isoformat()] = version_on[since]
    return aliases


def is_mirrored_alias(alias: str) -> bool:
    """Return whether an alias has a name that the mirror sets and removes; all others belong to users."""
    return _OURS.fullmatch(alias) is not None


def _date_of(time: datetime) -> date:
    return time.astimezone(UTC).date()
