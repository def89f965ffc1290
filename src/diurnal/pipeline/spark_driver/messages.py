"""Messages between a task of Airflow and a Spark driver: the request for a step, and its result.

Both are JSON files in a folder of the lake, which is removed when the task has read the result. They contain no
secrets: the driver has its own settings.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import msgspec

from diurnal.errors import DiurnalError
from diurnal.pipeline.serialization import result_from_json
from diurnal.types import DataInterval

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext


@dataclass(frozen=True)
class StepRequest:
    """The request for a step.

    Attributes
    ----------
    experiment, file : str
        Its name, and the file that declares it, as a path of the sender's machine.
    interval : DataInterval
        The data interval of the run.
    step : str
        Name of the step.
    inputs : list
        Results of earlier steps, as JSON types.
    requested_by : str
        The user or the service that requests the run.
    force : bool
        Whether to make one more result where there is one.
    lake, models : str
        Their roots as the sender has them: a driver with other roots rejects the request.
    host, process : str, int
        The process that waits for the result, and its machine as :func:`host_id` names it.
    """

    experiment: str
    file: str
    interval: DataInterval
    step: str
    inputs: list[Any]
    requested_by: str
    force: bool
    lake: str
    models: str
    host: str
    process: int


class RequestFolder:
    """The folder of a request and its result.

    Parameters
    ----------
    url : str
        Its URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = fsspec.core.url_to_fs(url)

    def write_request(self, request: StepRequest) -> None:
        """Create the folder with the request."""
        self._fs.makedirs(self._root, exist_ok=True)
        self._write_json("request", request)

    def read_request(self) -> StepRequest:
        """Return the request."""
        return msgspec.convert(self._read_json("request"), StepRequest)

    def write_result(self, result: Any) -> None:
        """Store the result of the step."""
        self._write_json("result", {"result": result})

    def write_error(self, error: DiurnalError) -> None:
        """Store the error that ended the step."""
        self._write_json("result", {"error": error.to_dict()})

    def read_result(self, function: Callable[..., Any]) -> Any:
        """Return the result of the step, as an instance of the return type of its function.

        Raises
        ------
        DiurnalError
            The error that ended the step.
        FileNotFoundError
            If there is no complete result: the driver ended before it was written.
        """
        try:
            content = self._read_json("result")
        except json.JSONDecodeError as error:
            raise FileNotFoundError(f"the result in {self.url} is incomplete") from error
        if "error" in content:
            raise DiurnalError.from_dict(content["error"])
        return result_from_json(function, content["result"])

    def remove(self) -> None:
        """Remove the folder."""
        if self._fs.exists(self._root):
            self._fs.rm(self._root, recursive=True)

    def _write_json(self, name: str, content: Any) -> None:
        data = json.dumps(msgspec.to_builtins(content)).encode()
        self._fs.pipe_file(f"{self._root}/{name}.json", data)

    def _read_json(self, name: str) -> Any:
        return json.loads(self._fs.cat_file(f"{self._root}/{name}.json"))


def host_id() -> str:
    """Return a name of this machine and its PID namespace: where it is equal, a PID means the same process.

    Containers may share the host name and have PID namespaces of their own.
    """
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {namespace.readlink() if namespace.is_symlink() else ''}".strip()


@contextmanager
def submit_request(context: RunContext, step: str, inputs: Sequence[Any]) -> Iterator[RequestFolder]:
    """Write the request for a step; remove its folder at the end."""
    folder = RequestFolder(f"{context.temp_url}/diurnal-{secrets.token_hex(8)}")
    experiment = context.experiment
    request = StepRequest(
        experiment=experiment.name,
        file=experiment.file,
        interval=context.interval,
        step=step,
        inputs=list(inputs),
        requested_by=context.requested_by,
        force=context.force,
        lake=context.stores.lake.root,
        models=context.stores.models.root,
        host=host_id(),
        process=os.getpid(),
    )
    try:
        folder.write_request(request)
        yield folder
    finally:
        folder.remove()
