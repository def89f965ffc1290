"""The JavaScript that draws charts: Vega, Vega-Lite and Vega-Embed, made from the files in the package vl-convert."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


@cache
def vega_bundle() -> str:
    """Return the bundle; it takes a few seconds to make, so that it is kept in the user's cache folder.

    The bundle contains the interpreter of expressions, with which charts need no ``eval``.
    """
    import altair as alt
    import vl_convert

    vega_lite = "v" + ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    path = _cache_folder() / f"vega-{version('vl-convert-python')}-{vega_lite}.js"
    with suppress(OSError):
        return path.read_text(encoding="utf-8")
    bundle: str = vl_convert.javascript_bundle(_SNIPPET, vl_version=vega_lite)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(bundle)
        Path(file.name).replace(path)
    return bundle


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diurnal"
