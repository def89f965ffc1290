"""Options of a server; their defaults are those of `diurnal serve`, which imports this module only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class RequestLimits:
    """Limits of a request.

    Attributes
    ----------
    max_bytes : int
        The maximal size of a body.
    body_seconds : float
        The time in which a body must arrive.
    predict_seconds : float
        The time in which the model must answer.
    """

    max_bytes: int = 16 * 2**20  # JSON of short numbers takes 25 times as much memory when it is decoded
    body_seconds: float = 30.0
    predict_seconds: float = 60.0


@dataclass(frozen=True)
class ServerOptions:
    """The options of a server.

    Attributes
    ----------
    references : tuple of str
        Experiments, or versions as ``name@3``; empty for all champions.
    workers : int
        Number of processes.
    threads : int
        Number of threads of a worker for slow models, and of their numeric libraries.
    max_waiting : int
        Maximal number of waiting requests of a worker.
    exact : bool
        Whether predictions have the bits of the model's library: no requests are joined, and a pipeline is compiled
        only if it gives the same bits.
    poll : float
        Seconds after which the warehouse is asked without a notification.
    drain : int
        Seconds in which requests end after SIGTERM.
    access_log : bool
        Whether each request is logged to the standard output, as a line of JSON.
    limits : RequestLimits
        The limits of a request.
    tokens : Path or None
        The file with the tokens.
    cache : Path or None
        The folder of the copies of models; None for one in the project.
    """

    references: tuple[str, ...] = ()
    workers: int = 1
    threads: int = 1
    max_waiting: int = 1000
    exact: bool = False
    poll: float = 10.0
    drain: int = 20
    access_log: bool = False
    limits: RequestLimits = field(default_factory=RequestLimits)
    tokens: Path | None = None
    cache: Path | None = None
