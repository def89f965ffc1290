"""The store of models: immutable folders, each named by the digest of its model file."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from diurnal.errors import ConfigurationError, InvalidModelError, PermissionDeniedError, TransientError, UsageError
from diurnal.runtime.project_files import Codebase
from diurnal.storage.file_store import FileStore
from diurnal.storage.models.estimator_structure import describe_structure
from diurnal.storage.models.formats import SUFFIXES, ModelFormat, format_of, get_format
from diurnal.storage.models.golden_rows import check_golden_rows
from diurnal.storage.models.library_versions import library_versions
from diurnal.storage.models.project_objects import PROJECT_OBJECTS
from diurnal.storage.models.zip_archive import MAX_BYTES
from diurnal.types import DataInterval

_CARD = "model.json"  # for people and other tools; loading a model does not read it
_MAX_CARD_BYTES = 16 * 2**20
_MAX_SPOOLED_BYTES = 16 * 2**20  # larger files are copied to the disk
_PATH = re.compile(r"[A-Za-z0-9_][\w.-]*/\d+T\d{6}(?:Z|[+-]\d{4,6})-[0-9a-f]{12}", re.ASCII)


class Models:
    """The store of models, on any fsspec URL.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    """

    def __init__(self, root: str) -> None:
        self._files = FileStore(root, create=False)
        self.fs, self.root, self.local = self._files.fs, self._files.root, self._files.local

    def url(self, path: str) -> str:
        """Return the location of a model's folder."""
        if not _PATH.fullmatch(path):
            raise UsageError(
                f"{path!r} is not the path of a model, such as 'breast_cancer/20261123T000000Z-0123456789ab'",
                hint="`diurnal models NAME` lists them",
            )
        return self._files.url(path)

    def save(
        self,
        experiment: str,
        interval: DataInterval,
        estimator: Any,
        signature: Mapping[str, Any],
        trusted: Collection[str] = (),
        notes: Mapping[str, Any] | None = None,
        *,
        code: Codebase | None = None,
    ) -> tuple[str, str]:
        """Store a fitted estimator. Storing the same one again only renews its time (see :meth:`modified`).

        The bytes are read again, and the golden rows are predicted, before anything is stored.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        interval : DataInterval
            The newest data interval of the training data.
        estimator : object
            The fitted estimator.
        signature : mapping
            The result of :func:`diurnal.storage.models.make_signature`.
        trusted : collection of str
            Full names of further types that it may contain.
        notes : mapping, optional
            Further content of ``model.json``, in JSON's types.
        code : Codebase, optional
            The project's own code, whose classes and functions it may contain as well.

        Returns
        -------
        path, digest : str
            Its folder below the root, and the SHA-256 of its file.

        Raises
        ------
        InvalidModelError
            If :meth:`load` would not accept it, or its path has a file with other content.
        TransientError
            If the store cannot be written now.
        PermissionDeniedError
            If this user may not write to the store.
        """
        model_format = format_of(estimator)
        data = _dump_and_verify(model_format, estimator, signature, trusted, code, self._scratch)
        digest = hashlib.sha256(data).hexdigest()
        path = f"{experiment}/{interval.key}-{digest[:12]}"
        card = {
            "experiment": experiment,
            "data_interval": [interval.start.isoformat(), interval.end.isoformat()],
            "digest": digest,
            "library_versions": library_versions(estimator),
            "trusted": sorted(trusted),
            "signature": dict(signature),
            "structure": describe_structure(estimator),
            "notes": dict(notes or {}),
        }
        # the card is written last, so that where it is, the model file is too
        files = {
            f"model.{model_format.suffix}": data,
            _CARD: json.dumps(card, indent=2, sort_keys=True).encode(),
        }
        with _translate_storage_errors(self.url(path)):
            if self._files.exists(f"{path}/{_CARD}"):
                self._check_stored_digest(path, digest)
                # an attempt that was killed may have left it long ago: it must not be garbage when it is published
                self._files.refresh_folder(path, files)
            else:
                self._files.write_folder(path, files, "models.put")
            self._check_stored_digest(path, digest)
        return path, digest

    def _check_stored_digest(self, path: str, digest: str) -> None:
        stored = self.digest_of(path)
        if stored != digest:
            raise InvalidModelError(
                f"the file of the model {path} should have the digest {digest} and has {stored}",
                hint=f"it was changed: restore it from a backup, or remove {self.url(path)} and run again",
            )

    def load(
        self,
        path: str,
        digest: str,
        trusted: Collection[str] = (),
        signature: Mapping[str, Any] | None = None,
        library_versions: Mapping[str, str] | None = None,
        *,
        code: Codebase | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> Any:
        """Read a model, and verify it against its row in the warehouse.

        Parameters
        ----------
        path : str
            Its folder below the root.
        digest : str
            The SHA-256 of its file, from the warehouse: one from beside the file would prove nothing.
        trusted : collection of str
            Full names of further types that it may contain, from the experiment.
        signature : mapping, optional
            Its signature, from the warehouse. The golden rows of it are predicted and compared.
        library_versions : mapping, optional
            The versions that it was fitted with, from the warehouse. Another scikit-learn is rejected.
        code : Codebase, optional
            The project's own code. A model may contain the objects of it that its signature names, and no others.
        max_bytes : int
            The maximum size of the file.

        Returns
        -------
        object
            The estimator.

        Raises
        ------
        InvalidModelError
            If the file is missing, differs from its row in the warehouse, or is not safe to read.
        ConfigurationError
            If it was fitted with another version of scikit-learn.
        TransientError
            If the store cannot be read now.
        """
        try:
            suffix = self._suffix(path)
            data = self._read(path, suffix, max_bytes)
            _check_digest(data, digest)
            model_format = get_format(suffix)
            if library_versions is not None:
                model_format.check_version(library_versions)
            own = code.restrict_to((signature or {}).get(PROJECT_OBJECTS, ())) if code else None
            estimator = model_format.loads(data, trusted, own, max_bytes=max_bytes, scratch=self._scratch)
            if signature is not None:
                check_golden_rows(estimator, signature)
        except (InvalidModelError, ConfigurationError) as error:
            error.add_location(f"model {path}")
            raise
        return estimator

    def card(self, path: str) -> dict[str, Any] | None:
        """Return the content of a model's ``model.json``, for display only: its digest is not in the warehouse.

        Returns
        -------
        dict or None
            None if it is missing, too large, or not valid.
        """
        location = f"{self.url(path)}/{_CARD}"
        with _translate_storage_errors(location):
            try:
                with self.fs.open(location, "rb") as stream:
                    data = stream.read(_MAX_CARD_BYTES + 1)
            except FileNotFoundError:
                return None
        try:
            content = json.loads(data) if len(data) <= _MAX_CARD_BYTES else None
        except ValueError:
            return None
        return content if isinstance(content, dict) else None

    def open_file(self, path: str, digest: str) -> tuple[BinaryIO, str, int]:
        """Return a verified copy of a model's file, without loading the model.

        Parameters
        ----------
        path : str
            Its folder below the root.
        digest : str
            The SHA-256 of its file, from the warehouse.

        Returns
        -------
        file, suffix, size : BinaryIO, str, int
            The copy, which is deleted when it is closed; the suffix of its name, and its number of bytes.

        Raises
        ------
        InvalidModelError
            If the file is missing, or its digest differs.
        TransientError
            If the store cannot be read now.
        """
        suffix = self._suffix(path)
        location = f"{self.url(path)}/model.{suffix}"
        with _translate_storage_errors(location):
            try:
                with self.fs.open(location, "rb") as stream:
                    copy, size = _copy_and_check(stream, digest)
            except FileNotFoundError:
                raise _missing_file(suffix) from None
        return copy, suffix, size

    def size(self, path: str) -> int | None:
        """Return the number of bytes of a model's file; None if it is missing."""
        location = f"{self.url(path)}/model.{self._suffix(path)}"
        with _translate_storage_errors(location):
            try:
                return int(self.fs.size(location))
            except FileNotFoundError:
                return None

    @property
    def _scratch(self) -> str:
        return f"{self._files.address.rstrip('/')}/.tmp"

    def _suffix(self, path: str) -> str:
        """Return the suffix of a model's file, which selects its format; the digest of the bytes is verified later."""
        with _translate_storage_errors(self.url(path)):
            return next((suffix for suffix in SUFFIXES if self._files.exists(f"{path}/model.{suffix}")), SUFFIXES[0])

    def _read(self, path: str, suffix: str, max_bytes: int) -> bytes:
        location = f"{self.url(path)}/model.{suffix}"
        with _translate_storage_errors(location):
            try:
                with self.fs.open(location, "rb") as stream:
                    data: bytes = stream.read(max_bytes + 1)
            except FileNotFoundError:
                raise _missing_file(suffix) from None
        if len(data) > max_bytes:
            raise InvalidModelError(
                f"its file model.{suffix} is larger than {max_bytes} bytes", hint="restore it from a backup"
            )
        return data

    def digest_of(self, path: str) -> str | None:
        """Return the SHA-256 of a model's file as it is now; None if it does not exist."""
        with _translate_storage_errors(self.url(path)):
            return self._files.compute_digest(f"{path}/model.{self._suffix(path)}")

    def list(self, experiment: str | None = None) -> Iterator[str]:
        """Yield the path of each stored model, published or not, in order, of one experiment or of all."""
        folders = {path.rpartition("/")[0] for path in self._files.find(experiment or "")}
        yield from sorted(path for path in folders if _PATH.fullmatch(path))

    def modified(self, path: str) -> datetime:
        """Return the time at which a model was stored: a recent one may be about to be published."""
        return self._files.modified(f"{path}/model.{self._suffix(path)}")

    def leftovers(self) -> Iterator[Path]:
        """Yield the temporary folders of killed processes."""
        return self._files.leftovers()

    def delete(self, path: str) -> None:
        """Delete a model that nothing refers to."""
        self.url(path)  # raises UsageError for any other path
        self._files.delete(path, recursive=True)


def _dump_and_verify(
    model_format: ModelFormat,
    estimator: Any,
    signature: Mapping[str, Any],
    trusted: Collection[str],
    code: Codebase | None,
    scratch: str,
) -> bytes:
    """Return the bytes of an estimator, once they have been read again and predict the golden rows as before."""
    data, reloaded = model_format.dump_and_reload(estimator, trusted, code, scratch=scratch)
    check_golden_rows(reloaded, signature)
    return data


def _copy_and_check(stream: BinaryIO, digest: str) -> tuple[BinaryIO, int]:
    """Return a temporary copy of a stream, and its size, once its digest is verified."""
    hasher = hashlib.sha256()
    copy = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_MAX_SPOOLED_BYTES))  # noqa: SIM115 - the caller closes it
    try:
        while chunk := stream.read(2**20):
            hasher.update(chunk)
            copy.write(chunk)
        _require_digest(hasher.hexdigest(), digest)
    except BaseException:
        copy.close()
        raise
    size = copy.tell()
    copy.seek(0)
    return copy, size


def _missing_file(suffix: str) -> InvalidModelError:
    return InvalidModelError(
        f"its file model.{suffix} is missing",
        hint="restore it from a backup, or roll back; `diurnal verify` lists all missing files",
    )


def _check_digest(data: bytes, digest: str) -> None:
    _require_digest(hashlib.sha256(data).hexdigest(), digest)


def _require_digest(found: str, digest: str) -> None:
    if not hmac.compare_digest(found, digest):
        raise InvalidModelError(
            "its file is not the one that was published: the digest differs",
            hint="restore the file from a backup, or roll back to another version",
        )


@contextmanager
def _translate_storage_errors(location: str) -> Iterator[None]:
    """Raise errors of the disk or the network as PermissionDeniedError or TransientError."""
    try:
        yield
    except (TransientError, PermissionDeniedError):
        raise
    except PermissionError as error:
        raise PermissionDeniedError(
            f"this user may not use {location}: {error.strerror}", hint="grant the process that right"
        ) from error
    except OSError as error:
        raise TransientError(
            f"{location} cannot be used now: {error}", hint="check the disk or the network, then run it again"
        ) from error
