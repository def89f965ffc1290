"""What a task of Airflow and a driver write each other: a step that is wished for, and its answer.

Both are JSON in a folder of their own in the lake, which is removed when the task has read the answer. There are no
secrets in them: the driver has its own settings.
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
from diurnal.pipeline.serialization import result_of
from diurnal.types import DataInterval

if TYPE_CHECKING:
    from diurnal.pipeline.context import Day


@dataclass(frozen=True)
class Letter:
    """A step that is wished for.

    Attributes
    ----------
    experiment, file : str
        Its name, and where it is declared as its sender sees it.
    interval : DataInterval
        Of the day.
    step : str
        Its name.
    given : list
        What earlier steps gave, in JSON's types.
    by : str
        Who asks for it.
    force : bool
        Whether to make one more result where there is one.
    lake, models : str
        Where both lie for its sender: a driver that would keep them elsewhere refuses.
    host, process : str, int
        Who waits for the answer: a process of that machine, as :func:`machine` names it.
    """

    experiment: str
    file: str
    interval: DataInterval
    step: str
    given: list[Any]
    by: str
    force: bool
    lake: str
    models: str
    host: str
    process: int


class Box:
    """Where a letter and its answer lie.

    Parameters
    ----------
    address : str
        The URL of a folder.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._fs, self._root = fsspec.core.url_to_fs(address)

    def write(self, letter: Letter) -> None:
        """Put the letter in."""
        self._fs.makedirs(self._root, exist_ok=True)
        self._put("letter", letter)

    def letter(self) -> Letter:
        """Read the letter."""
        return msgspec.convert(self._get("letter"), Letter)

    def answer(self, result: Any) -> None:
        """Say what the step gave."""
        self._put("answer", {"result": result})

    def refuse(self, error: DiurnalError) -> None:
        """Say why the step gave nothing."""
        self._put("answer", {"error": error.to_dict()})

    def result(self, function: Callable[..., Any]) -> Any:
        """Read what the step gave, in the type that its function gives.

        Raises
        ------
        DiurnalError
            If it gave an error: that very one.
        FileNotFoundError
            If there is no answer, or half of one: the driver came to an end before.
        """
        try:
            answer = self._get("answer")
        except json.JSONDecodeError as error:
            raise FileNotFoundError(f"the answer in {self.address} is cut short") from error
        if "error" in answer:
            raise DiurnalError.from_dict(answer["error"])
        return result_of(function, answer["result"])

    def remove(self) -> None:
        """Take all of it away."""
        if self._fs.exists(self._root):
            self._fs.rm(self._root, recursive=True)

    def _put(self, name: str, content: Any) -> None:
        data = json.dumps(msgspec.to_builtins(content)).encode()
        self._fs.pipe_file(f"{self._root}/{name}.json", data)

    def _get(self, name: str) -> Any:
        return json.loads(self._fs.cat_file(f"{self._root}/{name}.json"))


def machine() -> str:
    """Name this machine so that a number of a process means the same wherever the name is the same.

    Containers may share the name of their host, and count processes by themselves.
    """
    counted = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {counted.readlink() if counted.is_symlink() else ''}".strip()


@contextmanager
def posted(day: Day, step: str, given: Sequence[Any]) -> Iterator[Box]:
    """Write a letter that asks for a step, and take it away at the end, with its answer."""
    box = Box(f"{day.scratch}/diurnal-{secrets.token_hex(8)}")
    experiment = day.experiment
    letter = Letter(
        experiment=experiment.name,
        file=experiment.file,
        interval=day.interval,
        step=step,
        given=list(given),
        by=day.by,
        force=day.force,
        lake=day.stores.lake.root,
        models=day.stores.models.root,
        host=machine(),
        process=os.getpid(),
    )
    try:
        box.write(letter)
        yield box
    finally:
        box.remove()
