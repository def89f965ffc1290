"""The web page of all experiments, and reports; the extra ``page`` installs its libraries."""

from __future__ import annotations

from importlib.util import find_spec

LIBRARIES = ("altair", "fastapi", "jinja2", "uvicorn", "vl_convert")


def missing_libraries() -> list[str]:
    """Return the libraries of the page that are not installed, without an import."""
    return [name for name in LIBRARIES if find_spec(name) is None]
