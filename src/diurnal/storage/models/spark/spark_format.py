"""Models of Spark to bytes and back."""

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
from diurnal.storage.models.spark.canonical_folder import canonical, documents, user_types
from diurnal.storage.models.spark.spark_types import python_name, refuse_strange_types, refuse_untrusted
from diurnal.storage.models.zip_archive import MAX_BYTES, members, pack

_NAMES = re.compile(r"(?:\w[\w-]{0,99}/){1,12}part-\d{5}\.(?:txt|parquet)", re.ASCII)
_LONGEST_NAME = 400


def dump_and_read_back(model: Any, trusted: Collection[str] = (), *, scratch: str | None = None) -> tuple[bytes, Any]:
    """Give the bytes of a fitted model, the same ones for the same fit, and what they give when read.

    Parameters
    ----------
    model : pyspark.ml.Model or Transformer
        What can be saved by ``model.save()``.
    trusted : collection of str
        Full names of further classes that it may hold.
    scratch : str, optional
        The URL of a folder that executors elsewhere reach, too; a local one where all are in this process.

    Raises
    ------
    InvalidModelError
        If it cannot be saved, or holds classes that the reader does not trust.
    """
    with _folder(scratch) as url:
        try:
            model.write().overwrite().save(spark.to_spark_url(url))
        except DiurnalError:
            raise
        except Exception as error:  # a stage's own code writes it: anything may come of it
            raise InvalidModelError(
                f"a {type(model).__name__} cannot be saved: {_first(error)}",
                hint="use stages that Spark can save (those with .save())",
            ) from error
        data = pack(canonical(_read(url)))
    return data, loads(data, trusted, scratch=scratch)


def loads(data: bytes, trusted: Collection[str] = (), *, max_bytes: int = MAX_BYTES, scratch: str | None = None) -> Any:
    """Read a model from bytes whose origin is known: form and classes are checked before Spark sees them.

    Raises
    ------
    InvalidModelError
        If anything is not as :func:`dump_and_read_back` would have written it, or of a class that is not trusted.
    """
    if len(data) > max_bytes:
        raise InvalidModelError(
            f"the model takes {len(data)} bytes; up to {max_bytes} are allowed", hint="fit a smaller one"
        )
    try:
        files = members(data, _NAMES, longest_name=_LONGEST_NAME)
        found = list(documents(files))
        refuse_untrusted(found, trusted)
        refuse_strange_types(user_types(files))
        reader = _class(python_name(found[0]["class"]))
        spark.get_session()
        with _folder(scratch) as url:
            fs, root = fsspec.core.url_to_fs(url)
            for path, content in files.items():
                fs.makedirs(f"{root}/{path.rpartition('/')[0]}", exist_ok=True)
                fs.pipe_file(f"{root}/{path}", content)
            return reader.load(spark.to_spark_url(url))
    except DiurnalError:
        raise
    except Exception as error:  # whatever a crafted file makes a reader raise, the file is refused
        raise InvalidModelError(
            f"the model cannot be read: {type(error).__name__}: {_first(error)}",
            hint="restore the file from a backup, or run its data interval again",
        ) from error


def _class(name: str) -> Any:
    module, _, cls = name.rpartition(".")
    return getattr(importlib.import_module(module), cls)


@contextmanager
def _folder(scratch: str | None) -> Iterator[str]:
    """Give the URL of a new folder, and remove it at the end."""
    if scratch is None or spark.is_session_local():
        made = tempfile.mkdtemp(prefix="diurnal-model-")
        try:
            yield f"{Path(made).as_uri()}/model"
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    url = f"{scratch}/diurnal-{secrets.token_hex(8)}"
    fs, root = fsspec.core.url_to_fs(url)
    try:
        yield url
    finally:
        if fs.exists(root):
            fs.rm(root, recursive=True)


def _read(url: str) -> dict[str, bytes]:
    fs, root = fsspec.core.url_to_fs(url)
    prefix = root.rstrip("/") + "/"
    return {str(path).removeprefix(prefix): fs.cat_file(path) for path in fs.find(root)}


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:500]
