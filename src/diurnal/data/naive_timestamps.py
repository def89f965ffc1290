"""Conversion of naive timestamps to instants of a timezone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import numpy.typing as npt

_CURE = "write such times with their offset from UTC"


def localize_timestamps(
    times: pa.Array, timezone: str
) -> tuple[pa.Array, list[tuple[str, str, npt.NDArray[np.bool_]]]]:
    """Convert naive timestamps to instants.

    Parameters
    ----------
    times : pyarrow.Array
        Timestamps without timezone.
    timezone : str
        Name in the tz database.

    Returns
    -------
    pyarrow.Array, list of (str, str, numpy.ndarray of bool)
        The instants. The times that are ambiguous or do not exist in the timezone: code, message (``{}`` stands for the
        first of them) and mask; their instants are approximate.

    Examples
    --------
    >>> from datetime import datetime
    >>> times = pa.array([datetime(2026, 3, 29, 1), datetime(2026, 3, 29, 2, 30)])
    >>> found, lost = localize_timestamps(times, "Europe/Berlin")
    >>> found[0].as_py().isoformat(), [(code, mask.tolist()) for code, _, mask in lost]
    ('2026-03-29T01:00:00+01:00', [('nonexistent-time', [False, True])])
    """
    early = pc.assume_timezone(times, timezone, ambiguous="earliest", nonexistent="earliest")
    late = pc.assume_timezone(times, timezone, ambiguous="latest", nonexistent="latest")
    odd = to_mask(pc.not_equal(early, late))
    if not odd.any():
        return early, []
    twice = odd & to_mask(pc.equal(pc.local_timestamp(early), times))
    found = [
        ("ambiguous-time", f"{{}} is ambiguous in {timezone}, where clocks are set back; {_CURE}", twice),
        ("nonexistent-time", f"{{}} does not exist in {timezone}, where clocks are set forward; {_CURE}", odd & ~twice),
    ]
    return early, [one for one in found if one[2].any()]


def to_mask(found: pa.Array) -> npt.NDArray[np.bool_]:
    """Convert an Arrow array of booleans to a NumPy mask; null becomes False."""
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), dtype=bool)
