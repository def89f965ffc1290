"""The formats of a model file: skops for scikit-learn, and Spark's own folder in an archive for pyspark.ml.

Each format is an object of its module, which is imported when it is needed: most commands read no model, and pyspark
may not be installed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any, ClassVar, cast

from diurnal.errors import ConfigurationError, InvalidModelError
from diurnal.runtime.project_files import Codebase
from diurnal.storage.models.zip_archive import MAX_BYTES

# From the suffix of a model file to the module of its format.
_MODULES = {
    "skops": "diurnal.storage.models.skops_format",
    "spark.zip": "diurnal.storage.models.spark.spark_format",
}
SUFFIXES = tuple(_MODULES)
NO_CODE = Codebase()


class ModelFormat(ABC):
    """Converts fitted estimators to bytes, the same ones for the same fit, and reads such bytes after checks.

    Attributes
    ----------
    suffix : str
        The suffix of a model file's name.
    library : str
        The distribution whose version decides whether a model can be read.
    """

    suffix: ClassVar[str]
    library: ClassVar[str]
    _reported_errors: ClassVar[tuple[type[Exception], ...]] = (InvalidModelError,)

    @abstractmethod
    def check_types(self, estimator: Any, trusted: Collection[str] = (), code: Codebase | None = None) -> None:
        """Reject an estimator of types that are not allowed; it need not be fitted.

        Raises
        ------
        InvalidModelError
            If it contains types that are not allowed, or cannot be saved; with all reasons.
        """

    def dump_and_reload(
        self,
        estimator: Any,
        trusted: Collection[str] = (),
        code: Codebase | None = None,
        *,
        scratch: str | None = None,
    ) -> tuple[bytes, Any]:
        """Return the bytes of an estimator, and the estimator that :meth:`loads` reads from them.

        Parameters
        ----------
        estimator : object
            A fitted estimator.
        trusted : collection of str
            Full names of further types that it may contain.
        code : Codebase, optional
            The project's own code, whose classes and functions it may contain as well.
        scratch : str, optional
            The URL of a folder that Spark's executors can access, where there are any on other machines.

        Raises
        ------
        InvalidModelError
            If it cannot be saved, or contains types that are not allowed; with all reasons.
        """
        data = self._dump(estimator, trusted, code or NO_CODE, scratch)
        return data, self.loads(data, trusted, code, scratch=scratch)

    def loads(
        self,
        data: bytes,
        trusted: Collection[str] = (),
        code: Codebase | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        scratch: str | None = None,
    ) -> Any:
        """Read an estimator from bytes of known origin; the form of the file, types and structure are checked.

        The caller verifies the digest before, as :meth:`diurnal.storage.models.Models.load` does. Parameters are those
        of :meth:`dump_and_reload`; more than `max_bytes` are rejected.

        Raises
        ------
        InvalidModelError
            If the bytes differ from what :meth:`dump_and_reload` writes, or contain a type that is not allowed.
        """
        if len(data) > max_bytes:
            raise InvalidModelError(
                f"the model takes {len(data)} bytes; up to {max_bytes} are allowed", hint="fit a smaller model"
            )
        try:
            return self._load(data, trusted, code or NO_CODE, scratch)
        except self._reported_errors:
            raise
        except Exception as error:  # a crafted file can make a reader raise anything: the file is rejected
            raise InvalidModelError(
                f"the model cannot be read: {type(error).__name__}: {self._shorten(str(error))}",
                hint="restore the file from a backup, or run its data interval again",
            ) from error

    def check_version(self, versions: Mapping[str, str]) -> None:
        """Raise ConfigurationError if a model was fitted with a version of the library that this one does not read."""
        fitted, installed = versions.get(self.library, "an unknown version"), version(self.library)
        if not self._can_read(fitted, installed):
            raise ConfigurationError(
                f"it was fitted with {self.library} {fitted}, and this is {installed}; only the same version reads it",
                hint="retrain: run its data interval again with this environment, or use the one that fitted it",
            )

    @abstractmethod
    def _dump(self, estimator: Any, trusted: Collection[str], code: Codebase, scratch: str | None) -> bytes: ...

    @abstractmethod
    def _load(self, data: bytes, trusted: Collection[str], code: Codebase, scratch: str | None) -> Any: ...

    def _can_read(self, fitted: str, installed: str) -> bool:
        return fitted == installed

    def _shorten(self, message: str) -> str:
        return message[:500]


def get_format(suffix: str) -> ModelFormat:
    """Return the format of model files with a suffix."""
    return cast("ModelFormat", import_module(_MODULES[suffix]).FORMAT)


def format_of(estimator: Any) -> ModelFormat:
    """Return the format in which an estimator is stored."""
    return get_format("spark.zip" if is_spark_model(estimator) else "skops")


def is_spark_model(estimator: Any) -> bool:
    """Return whether an object's class is one of pyspark.ml or extends one; pyspark need not be installed."""
    return any(base.__module__.partition(".")[0] == "pyspark" for base in type(estimator).__mro__)
