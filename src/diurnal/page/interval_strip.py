"""A row of cells, one for each of the last data intervals, as HTML.

A page has thousands of cells, so that they are not made by a template. All texts are escaped here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from markupsafe import Markup

from diurnal.page.interval_states import IntervalState
from diurnal.page.value_formats import format_interval, format_score

_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


def strip_html(states: Sequence[IntervalState], experiment_url: str, name: str, timezone: str | None = None) -> Markup:
    """Return the cells, newest on the right, each with a link and its text.

    The strip is one tab stop, which is its last cell; ``page.js`` moves it with the arrow keys.

    Parameters
    ----------
    states : sequence of IntervalState
        The data intervals, oldest first.
    experiment_url : str
        The link to the experiment.
    name : str
        The name of the experiment.
    timezone : str, optional
        The timezone of its data intervals; UTC if it is not known.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> start, end = datetime(2026, 11, 27, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC)
    >>> failed = IntervalState(start, end, "failed", step="<b>")
    >>> print(strip_html([failed], "./experiments/late", "late"))  # doctest: +NORMALIZE_WHITESPACE
    <span class="strip" role="group" aria-label="Last data intervals of late"><a class="cell failed"
    href="./experiments/late#failures" title="2026-11-27: failed in &lt;b&gt;"></a></span>
    """
    url = escape(experiment_url)
    last = len(states) - 1
    cells = [_cell_html(state, url, timezone or "UTC", is_stop=i == last) for i, state in enumerate(states)]
    label = escape(f"Last data intervals of {name}")
    html = f'<span class="strip" role="group" aria-label="{label}">{"".join(cells)}</span>'
    return Markup(html)  # noqa: S704 - its parts are escaped


def _cell_html(state: IntervalState, url: str, timezone: str, *, is_stop: bool) -> str:
    title = f"{format_interval(state.start, state.end, timezone)}: {state.state}"
    if state.run is not None:
        run_id = state.run["run_id"]
        href = f"{url}/runs/{run_id if _PLAIN.fullmatch(run_id) else quote(run_id, safe='')}"
        if state.run["test_score"] is not None:
            title += f", {format_score(state.run['test_score'])}"
    else:
        href = f"{url}#failures" if state.state in ("failed", "rejected") else url
    if state.step is not None:
        title += f" in {escape(state.step)}"
    stop = "" if is_stop else ' tabindex="-1"'
    return f'<a class="cell {state.state}" href="{href}"{stop} title="{title}"></a>'
