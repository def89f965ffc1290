"""Numbers and labels as values of JSON, of bounded length."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

SIGNIFICANT_DIGITS = 6
MAX_LABEL = 80


def rounded(value: float | None) -> float | int | None:
    """Return a number with six significant digits, as an integer where it is one; None if it is not finite.

    Examples
    --------
    >>> rounded(0.123456789), rounded(20.0), rounded(float("nan"))
    (0.123457, 20, None)
    """
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def rounded_list(values: Iterable[float]) -> list[float | int | None]:
    """Return numbers with six significant digits."""
    return [rounded(value) for value in np.asarray(values, dtype=float).tolist()]


def label_texts(labels: Iterable[Any]) -> list[str]:
    """Return labels as distinct texts of bounded length.

    Examples
    --------
    >>> label_texts(["a", 1, True])
    ['a', '1', 'True']
    >>> [len(text) for text in label_texts(["x" * 200, "x" * 300])]
    [80, 82]
    """
    texts: dict[str, None] = {}
    for label in labels:
        text = str(label)
        text = text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"
        number = 1
        unique = text
        while unique in texts:
            number += 1
            unique = f"{text}#{number}"
        texts[unique] = None
    return list(texts)
