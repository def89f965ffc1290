"""Small images of the distribution of a column in a batch and in the reference, for the table of a report."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from diurnal.page.column_details import find_reference, read_distributions

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

MAX_IMAGES = 12
_MAX_REFERENCE_BATCHES = 60
_N_BINS = 24
_WIDTH, _HEIGHT = 120, 28
_COLORS = {"batch": "#0072B2", "reference": "#b9c3cd"}


def distribution_images(stores: Stores, run: Mapping[str, Any]) -> dict[str, str]:
    """Return an image of the columns with the strongest drift, as data URIs of SVG; columns without profiles have none.

    Parameters
    ----------
    stores : Stores
        The stores.
    run : Mapping
        The row of the run.
    """
    from diurnal.plots.distribution_chart import paired_shares

    name, drift = run["experiment"], run["drift"]
    reference = find_reference(stores, name, drift) if drift else None
    if reference is None:
        return {}
    newest = replace(reference, digests=reference.digests[-_MAX_REFERENCE_BATCHES:])
    images = {}
    for one in drift["columns"][:MAX_IMAGES]:
        found = read_distributions(stores, name, one["column"], run["batch_digest"], newest)
        if found.batch is not None and found.reference is not None and found.batch.kind == found.reference.kind:
            shares = paired_shares(asdict(found.batch), asdict(found.reference), n_bins=_N_BINS)
            images[one["column"]] = _draw_bars(shares)
    return images


def _draw_bars(shares: Sequence[tuple[float, float]]) -> str:
    """Return bars as an image: the reference wide and pale, the batch before it.

    Examples
    --------
    >>> _draw_bars([(0.75, 1.0), (0.25, 0.0)])[:26]
    'data:image/svg+xml;base64,'
    """
    largest = max([1e-12, *(share for pair in shares for share in pair)])
    step = _WIDTH / max(1, len(shares))
    bars = "".join(
        _bar(i * step, step * 0.94, other / largest, "reference")
        + _bar((i + 0.25) * step, step * 0.44, share / largest, "batch")
        for i, (share, other) in enumerate(shares)
    )
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{bars}</svg>'
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _bar(x: float, width: float, share: float, side: str) -> str:
    height = share * (_HEIGHT - 1)
    if height < 0.05:
        return ""
    place = f'x="{x:.1f}" y="{_HEIGHT - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{_COLORS[side]}"/>'
