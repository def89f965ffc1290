"""Files of a run in MLflow: by way of its server, or directly in an object store."""

from __future__ import annotations

from typing import BinaryIO
from urllib.parse import urlsplit

from diurnal.errors import ConfigurationError, TransientError
from diurnal.mlflow.tracking_server import TrackingServer

_OBJECT_STORES = ("s3", "gs", "gcs", "abfs", "abfss", "wasbs")


class ArtifactStore:
    """The files of a run.

    Parameters
    ----------
    server : TrackingServer
        The server.
    url : str
        The address of the run's files, from the server.

    Raises
    ------
    ConfigurationError
        If the files are neither reached by the server nor in an object store. A path on the disk of the server's
        machine is never written to: here, it is another disk, or a place that a server must not choose.
    """

    def __init__(self, server: TrackingServer, url: str) -> None:
        self.server, self.url, parts = server, url.rstrip("/"), urlsplit(url)
        self._is_proxied = parts.scheme == "mlflow-artifacts"
        if not self._is_proxied and parts.scheme not in _OBJECT_STORES:
            raise ConfigurationError(
                f"MLflow at {server.url} does not store files for its clients: its experiment is in "
                f"{parts.scheme or 'file'}://",
                hint="start `mlflow server` with --serve-artifacts, which is the default, and without "
                "--default-artifact-root; then delete the experiment in MLflow",
            )

    def put(self, path: str, content: bytes | BinaryIO, size: int) -> None:
        """Store a file; one of that name is replaced."""
        if self._is_proxied:
            self.server.upload(f"{urlsplit(self.url).path.strip('/')}/{path}", content, size)
            return
        import fsspec

        try:
            with fsspec.open(f"{self.url}/{path}", "wb") as stream:
                stream.write(content if isinstance(content, bytes) else content.read())
        except ImportError as error:
            raise ConfigurationError(
                f"MLflow's files are in {urlsplit(self.url).scheme}://, which cannot be opened here: {error}",
                hint="pip install 'diurnal[s3]', or the library that fsspec needs for it",
            ) from None
        except OSError as error:
            raise TransientError(
                f"MLflow's files cannot be written: {error}", hint="check the rights and the network"
            ) from error
