"""HTML from Jinja2 templates: all values are escaped, and all links are relative to the page.

Links are relative, so that the page works under ``/``, mounted in another application, and behind a proxy that strips
a prefix. As a part of a view that is loaded later has the path of its view, the links in it are valid as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request
from starlette.responses import HTMLResponse

from diurnal.page import value_formats
from diurnal.page.orchestrator import outside_links
from diurnal.page.security import FORM_TOKEN, form_token
from diurnal.page.static_files import static_version


def render(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Return a page.

    Parameters
    ----------
    request : Request
        The request, for links and the viewer.
    template : str
        The name of the template.
    status : int
        The status of the response.
    **context
        The variables of the template. It has `link`, `static`, `viewer`, `form_token`, `outside_links` and
        `interval_text`, which returns the text of a data interval, besides.
    """
    link = page_links(request)
    viewer = getattr(request.state, "viewer", None)
    variables = {
        "link": link,
        "static": lambda name: link("static", name, v=static_version()),
        "viewer": viewer,
        "form_token": {"name": FORM_TOKEN, "value": form_token(request, viewer)} if viewer else None,
        "is_partial": is_partial(request),
        "outside_links": lambda: outside_links(request),
        "interval_text": lambda start, end: value_formats.format_interval(start, end, experiment_timezone(request)),
        "title": None,
    }
    content = template_environment().get_template(template).render(variables | context)
    return HTMLResponse(content, status_code=status, headers={"Vary": "HX-Request"})


def experiment_timezone(request: Request) -> str:
    """Return the timezone of the experiment in the path; UTC on other pages."""
    name = request.path_params.get("name")
    if name is None:
        return "UTC"
    if not hasattr(request.state, "timezone"):
        request.state.timezone = request.app.state.stores.reader().warehouse.timezone_of(name)
    timezone: str = request.state.timezone
    return timezone


def is_partial(request: Request) -> bool:
    """Return whether htmx asks for a part of the view, and not a browser for a whole page."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-history-restore-request") != "true"


def partial_target(request: Request) -> str | None:
    """Return the id of the element that htmx replaces; None if a browser asks for the whole page."""
    return request.headers.get("hx-target") if is_partial(request) else None


def link_to(request: Request, *segments: object, **query: object) -> str:
    """Return the relative URL of a page, as the function of :func:`page_links` does."""
    return page_links(request)(*segments, **query)


def page_links(request: Request) -> Callable[..., str]:
    """Return a function that returns the relative URL of a page: ``link("experiments", name, result="kept")``.

    Its positional arguments are the segments of the path; none is the start page. The others are the parameters of the
    query; those that are None or empty are left out.
    """
    path: str = request.scope["path"]
    depth = path.removeprefix(request.scope.get("root_path", "")).lstrip("/").count("/")

    def link(*segments: object, **query: object) -> str:
        return _relative_url(depth, segments, query)

    return link


def _relative_url(depth: int, segments: tuple[object, ...], query: Mapping[str, object]) -> str:
    """Return a URL relative to a page.

    Examples
    --------
    >>> _relative_url(1, ("experiments", "late", "runs"), {"result": "failed", "q": None})
    '../experiments/late/runs?result=failed'
    >>> _relative_url(0, (), {})
    './'
    """
    path = "/".join(quote(str(segment), safe="") for segment in segments)
    parameters = urlencode({key: value for key, value in query.items() if value not in (None, "", False)})
    return ("../" * depth or "./") + path + (f"?{parameters}" if parameters else "")


@cache
def template_environment() -> jinja2.Environment:
    """Return the environment of the templates of pages and reports: it escapes all values."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("diurnal.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": value_formats.format_score,
        "count": value_formats.format_count,
        "duration": value_formats.format_duration,
        "compact_json": lambda value: json.dumps(value, ensure_ascii=False, default=str),
        "utc": lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC",
        "iso": _to_iso,
        "age": value_formats.format_age,
    }
    return environment


def _to_iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
