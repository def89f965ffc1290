"""The two forms of a model file: skops for scikit-learn, and Spark's own folder in an archive for pyspark.ml."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from diurnal.runtime.project_files import Codebase
from diurnal.storage.models.zip_archive import MAX_BYTES

SKOPS, SPARK = "skops", "spark.zip"
FORMS = (SKOPS, SPARK)


def is_of_spark(estimator: Any) -> bool:
    """Tell whether something is of pyspark.ml, or extends it; pyspark need not be installed to ask."""
    return any(base.__module__.partition(".")[0] == "pyspark" for base in type(estimator).__mro__)


def form_of(estimator: Any) -> str:
    """Give the form that an estimator is kept in; it is the ending of the file's name, too."""
    return SPARK if is_of_spark(estimator) else SKOPS


def dump_and_read_back(
    estimator: Any, trusted: Collection[str] = (), *, code: Codebase | None = None, scratch: str | None = None
) -> tuple[bytes, Any]:
    """Give the bytes of an estimator in its form, and what they give when read.

    Parameters
    ----------
    estimator : object
        Fitted.
    trusted : collection of str
        Full names of further types that it may hold.
    code : Codebase, optional
        The project's own code, whose classes and functions it may hold too.
    scratch : str, optional
        The URL of a folder that Spark's executors reach, where there are any elsewhere.
    """
    if not is_of_spark(estimator):
        from diurnal.storage.models import skops_format  # skops, with what it imports, takes two seconds

        return skops_format.dump_and_read_back(estimator, trusted, code)
    from diurnal.storage.models import spark

    return spark.dump_and_read_back(estimator, trusted, scratch=scratch)


def loads(
    data: bytes,
    trusted: Collection[str] = (),
    *,
    code: Codebase | None = None,
    form: str = SKOPS,
    max_bytes: int = MAX_BYTES,
    scratch: str | None = None,
) -> Any:
    """Read an estimator from bytes whose origin is known, in the form that the file's name says.

    Raises
    ------
    InvalidModelError
        If anything is not as :func:`dump_and_read_back` would have written it, or of a type that is not trusted.
    """
    if form == SKOPS:
        from diurnal.storage.models import skops_format

        return skops_format.loads(data, trusted, code, max_bytes=max_bytes)
    from diurnal.storage.models import spark

    return spark.loads(data, trusted, max_bytes=max_bytes, scratch=scratch)
