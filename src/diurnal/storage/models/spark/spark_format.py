"""The format of pyspark.ml models: the folder that Spark writes, in one canonical form, as an archive."""

from __future__ import annotations

import importlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from diurnal.errors import DiurnalError, InvalidModelError
from diurnal.runtime import spark
from diurnal.runtime.project_files import Codebase
from diurnal.storage.models.formats import ModelFormat
from diurnal.storage.models.spark.canonical_folder import canonicalize_folder, read_metadata, read_user_types
from diurnal.storage.models.spark.pipeline_stages import iter_stages
from diurnal.storage.models.spark.spark_types import check_classes, check_data_types, python_class_name
from diurnal.storage.models.zip_archive import read_archive, write_archive

_NAMES = re.compile(r"(?:\w[\w-]{0,99}/){1,12}part-\d{5}\.(?:txt|parquet)", re.ASCII)
_MAX_NAME_LENGTH = 400


class SparkFormat(ModelFormat):
    """Models that can be saved by ``model.save()``."""

    suffix = "spark.zip"
    library = "pyspark"
    _reported_errors = (DiurnalError,)  # a session that does not start is no fault of the model

    def check_types(self, estimator: Any, trusted: Collection[str] = (), code: Codebase | None = None) -> None:  # noqa: ARG002
        """Reject stages whose classes are not allowed."""
        classes = (type(stage) for stage in iter_stages(estimator))
        check_classes(({"class": f"{cls.__module__}.{cls.__qualname__}"} for cls in classes), trusted)

    def _dump(self, estimator: Any, trusted: Collection[str], code: Codebase, scratch: str | None) -> bytes:  # noqa: ARG002
        with _temporary_folder(scratch) as url:
            try:
                estimator.write().overwrite().save(spark.to_spark_url(url))
            except DiurnalError:
                raise
            except Exception as error:  # a stage's own code writes it, which raises anything
                raise InvalidModelError(
                    f"a {type(estimator).__name__} cannot be saved: {self._shorten(str(error))}",
                    hint="use stages that Spark can save (those with .save())",
                ) from error
            return write_archive(canonicalize_folder(_read_folder(url)))

    def _load(self, data: bytes, trusted: Collection[str], code: Codebase, scratch: str | None) -> Any:  # noqa: ARG002
        """Check the form of the file and its classes before Spark reads it."""
        files = read_archive(data, _NAMES, max_name_length=_MAX_NAME_LENGTH)
        metadata = list(read_metadata(files))
        check_classes(metadata, trusted)
        check_data_types(read_user_types(files))
        reader = _import_class(python_class_name(metadata[0]["class"]))
        spark.get_session()
        with _temporary_folder(scratch) as url:
            fs, root = fsspec.core.url_to_fs(url)
            for path, content in files.items():
                fs.makedirs(f"{root}/{path.rpartition('/')[0]}", exist_ok=True)
                fs.pipe_file(f"{root}/{path}", content)
            return reader.load(spark.to_spark_url(url))

    def _can_read(self, fitted: str, installed: str) -> bool:
        return fitted.partition(".")[0] == installed.partition(".")[0]

    def _shorten(self, message: str) -> str:
        return (message.strip().splitlines() or [""])[0][:500]  # the other lines are the stack of the JVM


FORMAT = SparkFormat()


def _import_class(name: str) -> Any:
    module, _, cls = name.rpartition(".")
    return getattr(importlib.import_module(module), cls)


@contextmanager
def _temporary_folder(scratch: str | None) -> Iterator[str]:
    """Yield the URL of a new folder, and remove it at the end."""
    if scratch is None or spark.is_session_local():
        folder = tempfile.mkdtemp(prefix="diurnal-model-")
        try:
            yield f"{Path(folder).as_uri()}/model"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    url = f"{scratch}/diurnal-{secrets.token_hex(8)}"
    fs, root = fsspec.core.url_to_fs(url)
    try:
        yield url
    finally:
        if fs.exists(root):
            fs.rm(root, recursive=True)


def _read_folder(url: str) -> dict[str, bytes]:
    fs, root = fsspec.core.url_to_fs(url)
    prefix = root.rstrip("/") + "/"
    return {str(path).removeprefix(prefix): fs.cat_file(path) for path in fs.find(root)}
