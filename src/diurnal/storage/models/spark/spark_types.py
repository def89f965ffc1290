"""Which classes the metadata of a model may name: to be named is to be loaded, in Java or in Python.

The list lives here, with the reader. All of Spark's own stages are on it but for those that run what they are told
(:class:`SQLTransformer` runs any query); these, and a user's own, are named by the experiment, in code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from diurnal.errors import InvalidModelError

_PACKAGES = "classification|regression|clustering|feature|recommendation|fpm|tuning|evaluation|pipeline"
_OWN = re.compile(rf"(org\.apache\.spark|pyspark)\.ml\.(?:(?:{_PACKAGES})\.)?[A-Z]\w*", re.ASCII)
_TOLD = ("SQLTransformer",)
_TYPES = ("org.apache.spark.ml.linalg.VectorUDT", "org.apache.spark.ml.linalg.MatrixUDT")


def refuse_untrusted(documents: Iterable[dict[str, Any]], trusted: Collection[str]) -> None:
    """Refuse metadata that name a class which is neither Spark's own nor the experiment's."""
    named = {python_name(str(document.get("class"))) for document in documents}
    strange = sorted(named - set(trusted) - {name for name in named if _is_own(name)})
    if strange:
        listed = ", ".join(f'"{name}"' for name in strange)
        raise InvalidModelError(
            f"the model holds what the reader does not trust: {', '.join(strange)}; allowed are the stages of "
            "pyspark.ml, and those that the experiment names",
            hint="read their code first; then name them in the experiment: "
            f"@experiment(..., trusted_types=({listed},))",
        )


def refuse_strange_types(types: Iterable[dict[str, Any]]) -> None:
    """Refuse data of other types than Spark's vectors and matrices: reading one calls the class that it names."""
    for one in types:
        if one.get("class") not in _TYPES or "serializedClass" in one:
            raise InvalidModelError(
                f"the model's data are of the type {str(one.get('class'))[:200]!r}; allowed are Spark's vectors and "
                "matrices",
                hint="restore the file from a backup, or run its data interval again",
            )


def python_name(name: str) -> str:
    """Give the name that Python has for one of Spark's classes.

    Examples
    --------
    >>> python_name("org.apache.spark.ml.feature.PCAModel")
    'pyspark.ml.feature.PCAModel'
    """
    return re.sub(r"^org\.apache\.spark\.ml\.", "pyspark.ml.", name)


def _is_own(name: str) -> bool:
    return bool(_OWN.fullmatch(name)) and name.rpartition(".")[2] not in _TOLD
