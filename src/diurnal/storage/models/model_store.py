"""The store of models: immutable directories, each named by the digest of its file."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from diurnal.errors import ConfigurationError, InvalidModelError, PermissionDeniedError, TransientError, UsageError
from diurnal.runtime import fault_injection
from diurnal.runtime.project_files import Codebase
from diurnal.storage.models.formats import FORMS, dump_and_read_back, form_of, loads
from diurnal.storage.models.golden_rows import refuse_other_answers
from diurnal.storage.models.library_versions import library_versions, refuse_other_versions
from diurnal.storage.models.project_objects import OWN
from diurnal.storage.models.zip_archive import MAX_BYTES
from diurnal.types import DataInterval

_CARD = "model.json"  # for people and other tools; our reader never looks at it
_PATH = re.compile(r"[A-Za-z0-9_][\w.-]*/\d+T\d{6}(?:Z|[+-]\d{4,6})-[0-9a-f]{12}", re.ASCII)


class Models:
    """The store of models, on any fsspec URL.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    """

    def __init__(self, root: str) -> None:
        self.fs, self.root = fsspec.core.url_to_fs(root)
        self.local = "file" in self.fs.protocol

    def url(self, path: str) -> str:
        """Give the full address of a model's directory below the root."""
        if not _PATH.fullmatch(path):
            raise UsageError(
                f"{path!r} is no path of a model; one looks like 'breast_cancer/20261123T000000Z-0123456789ab'",
                hint="`diurnal models NAME` lists them",
            )
        return f"{self.root.rstrip('/')}/{path}"

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
        """Keep a fitted estimator; keeping the same one again makes it young (see :meth:`modified`), and no more.

        It has been read back, and has answered its golden rows, before it is put in its place.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        interval : DataInterval
            The newest data interval that it learnt from.
        estimator : object
            The fitted estimator.
        signature : mapping
            What :func:`diurnal.storage.models.signature` gave.
        trusted : collection of str
            Full names of further types that it may hold.
        notes : mapping, optional
            What else to write into ``model.json``, in JSON's types.
        code : Codebase, optional
            The project's own code, whose classes and functions it may hold too.

        Returns
        -------
        path, digest : str
            Its directory below the root, and the SHA-256 of its file.

        Raises
        ------
        InvalidModelError
            If the reader would not accept it, or another file is in its place.
        TransientError
            If it cannot be written for now.
        PermissionDeniedError
            If this user may not write there.
        """
        data = rehearse(estimator, signature, trusted, code=code, scratch=self._scratch)
        digest = hashlib.sha256(data).hexdigest()
        path = f"{experiment}/{interval.key}-{digest[:12]}"
        card = {
            "experiment": experiment,
            "data_interval": [interval.start.isoformat(), interval.end.isoformat()],
            "digest": digest,
            "library_versions": library_versions(estimator),
            "trusted": sorted(trusted),
            "signature": dict(signature),
            "notes": dict(notes or {}),
        }
        files = {f"model.{form_of(estimator)}": data, _CARD: json.dumps(card, indent=2, sort_keys=True).encode()}
        target = self.url(path)
        with _blaming_the_world(target):
            if self.fs.exists(f"{target}/{_CARD}"):
                self._refuse_another(path, digest)
                self._touch(target, files)
            else:
                fault_injection.fault_point("models.put:before")
                (self._put_folder if self.local else self._put_objects)(target, files)
                fault_injection.fault_point("models.put:after")
            self._refuse_another(path, digest)
        return path, digest

    def _put_folder(self, target: str, files: Mapping[str, bytes]) -> None:
        # not by tempfile, whose folders only their owner may read: another user serves this one
        temporary = Path(self.root) / ".tmp" / f"diurnal-{secrets.token_hex(8)}"
        temporary.mkdir(parents=True)
        try:
            for name, data in files.items():
                with (temporary / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            _sync_folder(temporary)
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            _rename_unless_there(temporary, Path(target))
            _sync_folder(Path(target).parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _put_objects(self, target: str, files: Mapping[str, bytes]) -> None:
        # Each object appears whole or not at all. The card comes last: where it is, all is.
        for name, data in files.items():
            self.fs.pipe_file(f"{target}/{name}", data)

    def _touch(self, target: str, files: Mapping[str, bytes]) -> None:
        """Make what a killed attempt left young again: it is about to be published, and gc removes what is old."""
        if not self.local:
            self._put_objects(target, files)  # an object has no other way to a new time
            return
        with suppress(PermissionError):  # another user's: serving it needs no right to write
            for name in files:
                os.utime(f"{target}/{name}")

    def _refuse_another(self, path: str, digest: str) -> None:
        found = self.digest_of(path)
        if found != digest:
            raise InvalidModelError(
                f"the file of the model {path} should have the digest {digest} and has {found}",
                hint=f"somebody changed it: restore it from a backup, or remove {self.url(path)} and run again",
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
        """Read a model, if it is in every respect what the warehouse says it is.

        Parameters
        ----------
        path : str
            Its directory, below the root.
        digest : str
            The SHA-256 of its file; from the warehouse, not from beside the file.
        trusted : collection of str
            Full names of further types that it may hold; from the experiment.
        signature : mapping, optional
            What it takes and gives; from the warehouse. With it, the golden rows are asked.
        library_versions : mapping, optional
            What it was fitted with; from the warehouse. With it, another scikit-learn is refused.
        code : Codebase, optional
            The project's own code. A model may hold what its signature names of it, and nothing else.
        max_bytes : int
            Larger files are refused.

        Returns
        -------
        object
            The estimator.

        Raises
        ------
        InvalidModelError
            If the file is absent, or not what the warehouse says it is, or not safe to read.
        ConfigurationError
            If it was fitted with another version of scikit-learn.
        TransientError
            If the store cannot be read for now.
        """
        try:
            form = self._form(path)
            data = self._read(path, form, max_bytes)
            _refuse_other_bytes(data, digest)
            if library_versions is not None:
                refuse_other_versions(library_versions, form)
            own = code.restrict_to((signature or {}).get(OWN, ())) if code else None
            estimator = loads(data, trusted, code=own, form=form, max_bytes=max_bytes, scratch=self._scratch)
            if signature is not None:
                refuse_other_answers(estimator, signature)
        except (InvalidModelError, ConfigurationError) as error:
            error.add_location(f"model {path}")
            raise
        return estimator

    @property
    def _scratch(self) -> str:
        return f"{self.fs.unstrip_protocol(self.root).rstrip('/')}/.tmp"

    def _form(self, path: str) -> str:
        """Tell in which form a model is kept: by the name of its file, whose bytes the digest vouches for."""
        with _blaming_the_world(self.url(path)):
            kept = [form for form in FORMS if self.fs.exists(f"{self.url(path)}/model.{form}")]
        return kept[0] if kept else FORMS[0]

    def _read(self, path: str, form: str, max_bytes: int) -> bytes:
        address = f"{self.url(path)}/model.{form}"
        with _blaming_the_world(address):
            try:
                with self.fs.open(address, "rb") as stream:
                    data: bytes = stream.read(max_bytes + 1)
            except FileNotFoundError:
                raise InvalidModelError(
                    f"its file model.{form} is not there",
                    hint="restore it from a backup, or roll back; `diurnal verify` lists all that is missing",
                ) from None
        if len(data) > max_bytes:
            raise InvalidModelError(
                f"its file model.{form} is larger than {max_bytes} bytes", hint="restore it from a backup"
            )
        return data

    def digest_of(self, path: str) -> str | None:
        """Hash a model's file again; None if it is not there."""
        address = f"{self.url(path)}/model.{self._form(path)}"
        with _blaming_the_world(address):
            try:
                with self.fs.open(address, "rb") as stream:
                    return hashlib.file_digest(stream, "sha256").hexdigest()
            except FileNotFoundError:
                return None

    def list(self) -> Iterator[str]:
        """Give the path of each model, published or not, in order."""
        prefix = f"{self.root.rstrip('/')}/"
        folders = {str(name).removeprefix(prefix).rpartition("/")[0] for name in self.fs.find(self.root)}
        yield from sorted(path for path in folders if _PATH.fullmatch(path))

    def modified(self, path: str) -> datetime:
        """Tell when a model was put there: a young one may be about to be published."""
        moment: datetime = self.fs.modified(f"{self.url(path)}/model.{self._form(path)}")
        return moment

    def leftovers(self) -> Iterator[Path]:
        """Give the temporary folders that a killed process left behind."""
        if self.local:
            yield from (Path(self.root) / ".tmp").glob("diurnal-*")

    def delete(self, path: str) -> None:
        """Remove a model that nothing refers to."""
        self.fs.rm(self.url(path), recursive=True)


def rehearse(
    estimator: Any,
    signature: Mapping[str, Any],
    trusted: Collection[str] = (),
    *,
    code: Codebase | None = None,
    scratch: str | None = None,
) -> bytes:
    """Save, load and ask a fitted estimator as a published model is; give its bytes, and keep nothing.

    Parameters
    ----------
    estimator : object
        Fitted.
    signature : mapping
        What :func:`diurnal.storage.models.signature` gave.
    trusted : collection of str
        Full names of further types that it may hold.
    code : Codebase, optional
        The project's own code, whose classes and functions it may hold too.
    scratch : str, optional
        The URL of a folder that Spark's executors reach, where there are any elsewhere.

    Raises
    ------
    InvalidModelError
        If it cannot be saved, would not be accepted by the reader, or answers otherwise once it is read; with every
        reason.
    """
    data, reread = dump_and_read_back(estimator, trusted, code=code, scratch=scratch)
    refuse_other_answers(reread, signature)
    return data


def _refuse_other_bytes(data: bytes, digest: str) -> None:
    if not hmac.compare_digest(hashlib.sha256(data).hexdigest(), digest):
        raise InvalidModelError(
            "its file is not the one that was published: the digest differs",
            hint="restore the file from a backup, or roll back to another version",
        )


@contextmanager
def _blaming_the_world(address: str) -> Iterator[None]:
    try:
        yield
    except (TransientError, PermissionDeniedError):
        raise
    except PermissionError as error:
        raise PermissionDeniedError(
            f"this user may not use {address}: {error.strerror}", hint="give the process that right"
        ) from error
    except OSError as error:
        raise TransientError(
            f"{address} cannot be used for now: {error}", hint="see to the disk or the network, then run it again"
        ) from error


def _rename_unless_there(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        # A folder of this name holds the same model: its name is its digest, and it was renamed whole.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
