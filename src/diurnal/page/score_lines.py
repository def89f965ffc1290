"""Small line charts of scores, as points of inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

WIDTH, HEIGHT = 120, 28
_MARGIN = 3


@dataclass(frozen=True)
class ScoreLines:
    """The polylines of two scores over the same data intervals.

    Attributes
    ----------
    twin, champion : tuple of str
        The points of each polyline; a missing score interrupts the line.
    end : tuple of float, optional
        The last point of the twin.
    low, high : float, optional
        The range of the scores.
    """

    twin: tuple[str, ...] = ()
    champion: tuple[str, ...] = ()
    end: tuple[float, float] | None = None
    low: float | None = None
    high: float | None = None


def score_lines(twin: Sequence[float | None], champion: Sequence[float | None]) -> ScoreLines:
    """Return the lines of two scores, which share the scale.

    Examples
    --------
    >>> score_lines([0.5, 1.0, None, 1.0], [None, 0.5, 0.5, 0.5]).twin
    ('3.0,25.0 41.0,3.0', '117.0,3.0 117.0,3.0')
    """
    values = [value for value in (*twin, *champion) if value is not None]
    if not values:
        return ScoreLines()
    low, high = min(values), max(values)
    points = [_points(line, low, high) for line in (twin, champion)]
    last = [point for point in points[0] if point is not None]
    return ScoreLines(_polylines(points[0]), _polylines(points[1]), last[-1] if last else None, low, high)


def _points(line: Sequence[float | None], low: float, high: float) -> list[tuple[float, float] | None]:
    step = (WIDTH - 2 * _MARGIN) / max(1, len(line) - 1)
    scale = (HEIGHT - 2 * _MARGIN) / (high - low) if high > low else 0.0
    base = HEIGHT - _MARGIN if high > low else HEIGHT / 2
    return [
        None if value is None else (_MARGIN + i * step, base - (value - low) * scale) for i, value in enumerate(line)
    ]


def _polylines(points: Sequence[tuple[float, float] | None]) -> tuple[str, ...]:
    lines = []
    for is_line, group in groupby(points, key=lambda point: point is not None):
        if is_line:
            texts = [f"{point[0]:.1f},{point[1]:.1f}" for point in group if point is not None]
            lines.append(" ".join(texts if len(texts) > 1 else texts * 2))  # a single point is drawn as a dot
    return tuple(lines)
