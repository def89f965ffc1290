"""The classes that the metadata of a model may name: naming a class loads it, in Java or in Python.

All of Spark's own stages are allowed, except for those that execute their parameters (:class:`SQLTransformer` runs any
query). These, and a user's own stages, must be trusted by the experiment.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from diurnal.errors import InvalidModelError

_PACKAGES = "classification|regression|clustering|feature|recommendation|fpm|tuning|evaluation|pipeline"
_SPARK_CLASS = re.compile(rf"(org\.apache\.spark|pyspark)\.ml\.(?:(?:{_PACKAGES})\.)?[A-Z]\w*", re.ASCII)
_EXECUTING = ("SQLTransformer",)
_DATA_TYPES = ("org.apache.spark.ml.linalg.VectorUDT", "org.apache.spark.ml.linalg.MatrixUDT")


def check_classes(metadata: Iterable[dict[str, Any]], trusted: Collection[str]) -> None:
    """Reject metadata that name a class which is neither Spark's own nor trusted by the experiment."""
    names = {python_class_name(str(stage.get("class"))) for stage in metadata}
    disallowed = sorted(name for name in names - set(trusted) if not _is_allowed(name))
    if disallowed:
        quoted = ", ".join(f'"{name}"' for name in disallowed)
        raise InvalidModelError(
            f"the model contains types that are not allowed: {', '.join(disallowed)}; allowed are the stages of "
            "pyspark.ml, and the types that the experiment trusts",
            hint="read their code first; then name them in the experiment: "
            f"@experiment(..., trusted_types=({quoted},))",
        )


def check_data_types(types: Iterable[dict[str, Any]]) -> None:
    """Reject data of other types than Spark's vectors and matrices: reading a value calls the class of its type."""
    for data_type in types:
        if data_type.get("class") not in _DATA_TYPES or "serializedClass" in data_type:
            raise InvalidModelError(
                f"the model's data have the type {str(data_type.get('class'))[:200]!r}; allowed are Spark's vectors "
                "and matrices",
                hint="restore the file from a backup, or run its data interval again",
            )


def python_class_name(name: str) -> str:
    """Return the Python name of one of Spark's classes.

    Examples
    --------
    >>> python_class_name("org.apache.spark.ml.feature.PCAModel")
    'pyspark.ml.feature.PCAModel'
    """
    return re.sub(r"^org\.apache\.spark\.ml\.", "pyspark.ml.", name)


def _is_allowed(name: str) -> bool:
    return bool(_SPARK_CLASS.fullmatch(name)) and name.rpartition(".")[2] not in _EXECUTING
