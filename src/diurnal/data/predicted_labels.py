"""Labels that a classifier predicts, as Arrow arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa


def labels_to_arrow(labels: npt.NDArray[Any], classes: Sequence[Any] | None) -> pa.Array:
    """Return labels as Arrow converts them; each text is converted once, and not for each row.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
        The labels, or the numbers of a regression.
    classes : sequence, optional
        The classes.

    Examples
    --------
    >>> import numpy as np
    >>> labels_to_arrow(np.array(["yes", "no", "yes"]), ["no", "yes"]).to_pylist()
    ['yes', 'no', 'yes']
    """
    import pyarrow as pa

    if labels.dtype.kind == "U" and classes:
        known = np.unique(np.array(classes, dtype=str))
        places = np.searchsorted(known, labels).clip(max=len(known) - 1)
        if np.array_equal(known[places], labels):
            return pa.array(known).take(pa.array(places))
    return pa.array(labels)
