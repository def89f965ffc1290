"""The distribution of a column in one batch beside that in the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diurnal.plots.chart_fields import number_field, text_field
from diurnal.plots.chart_output import ChartWidth, Spec
from diurnal.plots.chart_values import as_number, clean_text

OTHER = "other categories"
MISSING = "missing"
_MAX_CATEGORIES = 15
_N_BINS = 40
_SCHEMA = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json"}


def build_distribution(
    profile: Mapping[str, Any], reference: Mapping[str, Any] | None = None, *, width: ChartWidth = 320
) -> Spec:
    """Return the distribution of a column in one batch beside that in the reference.

    Parameters
    ----------
    profile, reference : Mapping
        A row of a profile: `column`, `kind`, `n_rows`, `n_missing`, `values` and `weights`, or `categories`, `counts`
        and `n_other`. The reference is the champion's training window.
    width : int or "container"
        Width of the chart.

    Returns
    -------
    dict
        A Vega-Lite specification.
    """
    sides = [("batch", profile)] + ([("reference", reference)] if reference else [])
    is_category = profile.get("kind") == "category"
    rows = _category_shares(sides) if is_category else _binned_shares(sides)
    body = _share_bars(rows) if is_category else _share_steps(rows, profile.get("kind"))
    missing = [f"{name}: {_missing_share(one):.1%} missing" for name, one in sides if _missing_share(one)]
    title = {"text": clean_text(profile.get("column", "")), "subtitle": missing}
    n_labels = len({row["c"] for row in rows}) if is_category else 0
    return {
        **_SCHEMA,
        "description": f"Distribution of {clean_text(profile.get('column', ''))}",
        "title": title,
        "data": {"values": rows},
        "width": width,
        "height": 22 * n_labels if is_category else 180,
        **body,
    }


def paired_shares(
    profile: Mapping[str, Any], reference: Mapping[str, Any], *, n_bins: int = _N_BINS
) -> list[tuple[float, float]]:
    """Return the shares of a batch and of the reference in common bins or categories.

    Parameters
    ----------
    profile, reference : Mapping
        As for :func:`build_distribution`.
    n_bins : int
        Number of bins.

    Examples
    --------
    >>> batch = {"kind": "category", "n_rows": 4, "categories": ["north", "south"], "counts": [3, 1]}
    >>> paired_shares(batch, {"kind": "category", "n_rows": 2, "categories": ["north"], "counts": [2]})
    [(0.75, 1.0), (0.25, 0.0)]
    """
    sides = [("batch", profile), ("reference", reference)]
    rows = _category_shares(sides) if profile.get("kind") == "category" else _binned_shares(sides, n_bins)
    shares: dict[Any, dict[str, float]] = {}
    for row in rows:
        shares.setdefault(row.get("a", row["c"]), {})[row["side"]] = row["s"] or 0.0
    return [(one.get("batch", 0.0), one.get("reference", 0.0)) for one in shares.values()]


def _category_shares(sides: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Spec]:
    """Return the share of each of the most frequent categories in each profile."""
    shares = {
        name: {
            str(category): count / (one.get("n_rows") or 1)
            for category, count in zip(one.get("categories") or [], one.get("counts") or [], strict=False)
        }
        for name, one in sides
    }
    largest: dict[str, float] = {}
    for of_side in shares.values():
        for category, share in of_side.items():
            largest[category] = max(largest.get(category, 0.0), share)
    shown = sorted(largest, key=lambda category: -largest[category])[:_MAX_CATEGORIES]
    labels = dict(zip(shown, unique_texts(shown), strict=True))
    rows = []
    for name, one in sides:
        known = {labels[category]: shares[name].get(category, 0.0) for category in shown}
        other = 1 - sum(known.values()) - _missing_share(one)
        known |= {OTHER: other} if other > 0.0005 else {}
        known |= {MISSING: _missing_share(one)} if _missing_share(one) else {}
        rows += [{"side": name, "c": label, "s": as_number(share, 4)} for label, share in known.items()]
    return rows


def _binned_shares(sides: Sequence[tuple[str, Mapping[str, Any]]], n_bins: int = _N_BINS) -> list[Spec]:
    """Return the share of the values of each profile in common bins of equal width."""
    points = {
        name: (np.asarray(one.get("values") or [], dtype=float), np.asarray(one.get("weights") or [], dtype=float))
        for name, one in ((name, _plain_lists(one)) for name, one in sides)
    }
    every = np.concatenate([values for values, _ in points.values()])
    every = every[np.isfinite(every)]
    if not len(every):
        return []
    edges = np.linspace(every.min(), every.max(), min(n_bins, max(1, len(np.unique(every)))) + 1)
    if edges[0] == edges[-1]:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    rows = []
    for name, (values, weights) in points.items():
        counts, _ = np.histogram(values, edges, weights=weights)
        shares = counts / (weights.sum() or 1.0)
        rows += [
            {"side": name, "a": as_number(a, 12), "b": as_number(b, 12), "s": as_number(share, 4), "c": ""}
            for a, b, share in zip(edges[:-1], edges[1:], shares, strict=True)
        ]
    return rows


def _plain_lists(profile: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(profile[name]) for name in ("values", "weights") if profile.get(name) is not None}


def _share_steps(rows: list[Spec], kind: Any) -> Spec:
    is_time = kind == "time"
    transform = (
        [{"calculate": "datum.a * 1000", "as": "a"}, {"calculate": "datum.b * 1000", "as": "b"}] if is_time else []
    )
    x: Spec = {"field": "a", "type": "temporal" if is_time else "quantitative", "title": None}
    x |= {"scale": {"type": "utc"}} if is_time else {"scale": {"zero": False, "nice": False}}
    y = {"field": "s", "type": "quantitative", "title": "share of the rows", "axis": {"format": "~%", "tickCount": 4}}
    tooltip = [
        text_field("side", "rows of the"),
        *(number_field(name, title, ".4~g") for name, title in (("a", "from"), ("b", "to")) if not is_time),
        number_field("s", "share", ".2%"),
    ]
    area = {
        "transform": [{"filter": "datum.side == 'batch'"}],
        "mark": {"type": "rect", "opacity": 0.55},
        "encoding": {
            "x": x,
            "x2": {"field": "b"},
            "y": y,
            "y2": {"datum": 0},
            "color": _side_color(rows),
            "tooltip": tooltip,
        },
    }
    steps = {
        "transform": [{"filter": "datum.side == 'reference'"}],
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.8, "strokeDash": [6, 3]},
        "encoding": {"x": x, "y": y, "color": _side_color(rows)},
    }
    return {"transform": transform, "layer": _present_layers(rows, {"batch": area, "reference": steps})}


def _share_bars(rows: list[Spec]) -> Spec:
    order = list(dict.fromkeys(row["c"] for row in rows))
    y = {
        "field": "c",
        "type": "nominal",
        "sort": order,
        "title": None,
        "axis": {"labelLimit": 150, "domain": False, "ticks": False},
    }
    x = {"field": "s", "type": "quantitative", "title": "share of the rows", "axis": {"format": "~%", "tickCount": 5}}
    tooltip = [
        text_field("c", "category"),
        text_field("side", "rows of the"),
        number_field("s", "share", ".2%"),
    ]
    bar = {
        "transform": [{"filter": "datum.side == 'batch'"}],
        "mark": {"type": "bar", "height": {"band": 0.7}, "opacity": 0.75},
        "encoding": {"x": x, "y": y, "color": _side_color(rows), "tooltip": tooltip},
    }
    tick = {
        "transform": [{"filter": "datum.side == 'reference'"}],
        "mark": {"type": "tick", "thickness": 3, "height": {"band": 0.95}, "opacity": 1},
        "encoding": {"x": x, "y": y, "color": _side_color(rows), "tooltip": tooltip},
    }
    return {"layer": _present_layers(rows, {"batch": bar, "reference": tick})}


def _present_layers(rows: Sequence[Spec], layers: Mapping[str, Spec]) -> list[Spec]:
    """Return the layers of the sides that have rows: one without rows has no extent, of which Vega warns."""
    present = {row["side"] for row in rows}
    nothing = {"mark": {"type": "text", "style": "muted-text"}, "encoding": {"text": {"datum": "no values"}}}
    return [layer for side, layer in layers.items() if side in present] or [{"data": {"values": [{}]}, **nothing}]


def _side_color(rows: Sequence[Spec]) -> Spec:
    present = [side for side in ("batch", "reference") if any(row["side"] == side for row in rows)]
    legend = {"title": None, "orient": "top", "values": present, "symbolType": "square"}
    return {"field": "side", "type": "nominal", "scale": {"domain": ["batch", "reference"]}, "legend": legend}


def _missing_share(profile: Mapping[str, Any]) -> float:
    return (profile.get("n_missing") or 0) / (profile.get("n_rows") or 1)


def unique_texts(names: Sequence[str]) -> list[str]:
    """Return texts for labels that differ: clipped ones may be equal, and one is reserved."""
    unique: list[str] = []
    for name in names:
        text = clean_text(name, 30)
        taken = {*unique, OTHER, MISSING}
        numbers = (f"{text} ({k})" for k in range(2, len(names) + 4))
        unique.append(text if text not in taken else next(other for other in numbers if other not in taken))
    return unique
