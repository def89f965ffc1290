"""The declaration of an experiment."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from types import FunctionType
from typing import Any, cast

from diurnal.data import Metadata
from diurnal.data.schema import Duplicates
from diurnal.errors import DiurnalError, ExperimentError
from diurnal.experiment import row_arguments
from diurnal.experiment.arguments import REQUIRED, rename_deprecated, validate_arguments
from diurnal.experiment.code import Code
from diurnal.experiment.code_digest import code_of, files_of, source_text
from diurnal.experiment.splitters import refuse_unmet
from diurnal.runtime import spark
from diurnal.runtime.project_files import Codebase, extend_sys_path
from diurnal.types import Limits
from diurnal.types.calendar import Calendar
from diurnal.types.schedule import Schedule

_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment:
    """What ``@experiment`` makes of a function: all that is declared, checked, and the function itself.

    Calling it returns what the function returns, so that its file works in a notebook too.

    Attributes
    ----------
    name, description : str
        The function's name and its docstring.
    function : function
        What returns the search object or estimator.
    file : str
        Where it was declared.
    line : int
        On which line it begins.
    source, target, key, drop, duplicates, schedule, timezone, start_date, catchup, retries, max_active_runs, window, \
    test_size, sample, groups, sample_weight, order_by, split, promotion, n_tuning_shards, trusted_types, new_columns, \
    checks, limits, tags, owner
        As declared, in one form each: columns and texts are tuples, the start date is in UTC.
    """

    name: str
    description: str
    function: Callable[[], Any] = field(repr=False)
    file: str = field(repr=False)
    line: int = field(repr=False)
    source: Any
    target: str
    key: tuple[str, ...]
    drop: tuple[str, ...]
    duplicates: Duplicates | None
    schedule: Schedule
    timezone: str
    start_date: datetime | None
    catchup: bool
    retries: int
    max_active_runs: int
    window: int | str
    test_size: float
    sample: float | int | None
    groups: str | None
    sample_weight: str | None
    order_by: str | None
    split: str
    promotion: str
    n_tuning_shards: int
    trusted_types: tuple[str, ...]
    new_columns: str
    checks: Any
    limits: Limits
    tags: tuple[str, ...]
    owner: str
    text: str = field(repr=False)  # of its file when it was declared: what was edited since is not what runs

    def __call__(self) -> Any:
        """Return what the function returns."""
        self._find_helpers()
        return self.function()

    def _find_helpers(self) -> None:
        """Let what the function imports be found in the project, and beside its file."""
        project, *folders = Codebase.around(self.file).roots
        extend_sys_path(project if folders else None, *folders or [project])

    def build(self) -> Any:
        """Make the search object or estimator.

        Returns
        -------
        estimator
            Anything with ``fit``: a search, a pipeline, a bare estimator.

        Raises
        ------
        ExperimentError
            If the function fails or returns something else, or if a splitter needs what is not declared.
        """
        try:
            self._find_helpers()
            made = spark.retry_with_session(self._returned)
        except DiurnalError:
            raise
        except Exception as error:
            raise ExperimentError(
                f"{self._failing_line(error)}: {self.name}() fails with {type(error).__name__}: {error}",
                hint="it must run by itself, without arguments, and return a search object or an estimator",
            ) from error
        if isinstance(made, type) or not callable(getattr(made, "fit", None)):
            what = f"the class {made.__name__}, not an object of it" if isinstance(made, type) else _told(made)
            hint = ": did you forget `return`?" if made is None else ""
            raise ExperimentError(
                f"{self.place}: {self.name}() returned {what}{hint}",
                hint="return a search such as GridSearchCV(...) or CrossValidator(...), a pipeline or an estimator",
            )
        refuse_unmet(self, made)
        return made

    def _returned(self) -> Any:
        """Call the function; one that sets metadata requests is called again with scikit-learn's routing enabled."""
        try:
            return self.function()
        except RuntimeError as error:
            if "enable_metadata_routing" not in str(error):
                raise
        import sklearn

        with sklearn.config_context(enable_metadata_routing=True):
            return self.function()

    def _failing_line(self, error: Exception) -> str:
        """Give the innermost line of the experiment's file that an error came through."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == self.file] or frames
        return f"{own[-1].filename}:{own[-1].lineno}"

    @property
    def place(self) -> str:
        """Where it is declared, as editors and terminals understand it."""
        return f"{self.file}:{self.line}"

    @property
    def metadata(self) -> Metadata:
        """The columns that a fit needs beside features and target."""
        return Metadata(self.groups, self.sample_weight, self.order_by)

    @property
    def calendar(self) -> Calendar:
        """What cuts time into its data intervals."""
        return Calendar(self.schedule, self.start_date, self.timezone)

    @cached_property
    def code(self) -> Code:
        """Its code and what it declares about its numbers, as they were when first asked for."""
        function = cast("FunctionType", inspect.unwrap(self.function))
        return replace(self.read_code(), files=files_of(function, self.text))

    @property
    def code_digest(self) -> str:
        """The SHA-256 of that: see :mod:`diurnal.experiment.code_digest`."""
        return self.code.digest

    def read_code(self) -> Code:
        """Return its code with the project's modules as they are now, whether or not they were imported before."""
        function = cast("FunctionType", inspect.unwrap(self.function))
        known = [value for value in function.__globals__.values() if isinstance(value, Experiment)]
        return code_of(
            function,
            self.text,
            source=self.source,
            others={value.line for value in known if value.file == self.file and value.line != self.line},
            declared={name: getattr(self, name) for name in ("target", "key", "drop", "test_size", "window")}
            | {name: value for name in ("sample", "duplicates") if (value := getattr(self, name)) is not None}
            | row_arguments.given(self),
        )


def experiment(
    *misplaced: object,
    source: Any = REQUIRED,
    target: str = cast("str", REQUIRED),
    key: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    duplicates: Duplicates | None = None,
    schedule: Schedule = "@daily",
    timezone: str = "UTC",
    start_date: datetime | date | str | None = None,
    catchup: bool = False,
    retries: int = 5,
    max_active_runs: int = 1,
    window: int | str = 1,
    test_size: float = row_arguments.DEFAULT_TEST_SIZE,
    sample: float | int | None = None,
    groups: str | None = None,
    sample_weight: str | None = None,
    order_by: str | None = None,
    split: str = "hash",
    promotion: str = "guarded",
    n_tuning_shards: int = 1,
    trusted_types: str | Sequence[str] = (),
    new_columns: str = "refuse",
    checks: Any = None,
    limits: Limits | None = None,
    tags: str | Sequence[str] = (),
    owner: str = "diurnal",
    **others: object,
) -> Callable[[Callable[[], Any]], Experiment]:
    """Declare an experiment: decorate a function that returns a search object or an estimator.

    Parameters
    ----------
    source : Source or function
        Where the rows come from: a :mod:`diurnal.sources` Source, or a function of a DataInterval that returns a
        frame (pandas, polars, Arrow) or a stream of Arrow record batches.
    target : str
        The column to predict.
    key : str or sequence of str, optional
        Column(s) that identify a sample across batches. None: its content does.
    drop : str or sequence of str
        Columns that are kept in the lake but are no features.
    duplicates : {"drop", "keep"}, optional
        Without a `key`, what rows with equal values are: ``"drop"``: one sample, seen twice; ``"keep"``: each row is a
        sample of its own. None: ``"drop"`` if at least 99 % of the rows of the first batch are distinct in their
        features, else ``"keep"``; the contract then fixes it.
    schedule : str, timedelta or None
        Airflow's presets and cron expressions, on the clocks of `timezone`; None: by hand only.
    timezone : str
        Where days begin and end: a name in the tz database, as in ``"America/New_York"``. Schedules, dates, the names
        of data intervals and the times that a source is given follow its clocks.
    start_date : str, date or datetime, optional
        The first data interval starts here; a date is midnight in `timezone`.
    catchup : bool
        Whether Airflow runs the data intervals since `start_date` that it has missed.
    retries, max_active_runs : int
        In Airflow's own words.
    window : int or str
        What a model learns from: so many data intervals, a duration (``"30d"``, ``"12h"``, ``"2w"``) or ``"all"``.
    test_size : float
        Share of samples that never train the evaluated model, between 0 and 1.
    sample : float or int, optional
        Tune and refit learn from so many of the window's rows only: a share (``0.1``; the same rows for life), or a
        number of rows, about. By a hash of their own; evaluation is never sampled. None: from all.
    groups : str, optional
        Column with the group of a row: a patient, a household, a site. It goes to the folds of the search, and it
        decides the role of a row, so that no group is in train and in test. It is no feature.
    sample_weight : str, optional
        Column with the weight of a row, for fits and scores. It is no feature.
    order_by : str, optional
        Column that orders rows in time: a number, a date or a time. Fits see rows in its order, as `TimeSeriesSplit`
        and other splitters that go by order need it. It is no feature.
    split : {"hash", "time"}
        Which rows are for testing. ``"hash"``: a share of `test_size`, each row for life; ``"time"``: the newest data
        interval, and the earlier ones of the window train.
    promotion : {"guarded", "superior", "always", "approve", "never"}
        When a new version becomes the champion: ``"guarded"``: unless it is worse by more than chance;
        ``"superior"``: if it is better by more than chance; ``"approve"``: when a person approves it, in Airflow or by
        ``diurnal promote``.
    n_tuning_shards : int
        Number of mapped Airflow tasks that the search is split into. The scores do not depend on it.
    trusted_types : str or sequence of str
        Full names of further types that a model may contain, in addition to those of scikit-learn, of the libraries in
        ``docs/models.md`` and of the project.
    new_columns : {"refuse", "ignore", "accept"}
        What to do with columns that the contract does not know. ``"refuse"``: the batch, until a person accepts them by
        ``diurnal contract``; ``"ignore"``: leave them out, with a warning; ``"accept"``: take them into the contract,
        with a warning.
    checks : object, optional
        What a batch must satisfy beside its schema: anything with ``validate(frame)``, such as a pandera schema.
    limits : Limits, optional
        How large, how empty and how odd a batch may be.
    tags : str or sequence of str
        For Airflow's list of Dags.
    owner : str
        For Airflow's list of Dags.

    Raises
    ------
    ExperimentError
        When the function is decorated: on anything that is unknown, missing or not allowed.

    Examples
    --------
    >>> @experiment(source=lambda interval: ..., target="label", window="30d")
    ... def toy():
    ...     "Tell one from the other."
    ...     from sklearn.dummy import DummyClassifier
    ...     return DummyClassifier()
    >>> toy.name, toy.description, toy.window
    ('toy', 'Tell one from the other.', '30d')
    >>> toy.build()
    DummyClassifier()
    """
    declared = {name: value for name, value in locals().items() if name not in ("misplaced", "others")}
    if misplaced:
        raise ExperimentError(
            "@experiment takes arguments, all of them by name", hint="write @experiment(source=..., target=...)"
        )

    def declare(function: Callable[[], Any]) -> Experiment:
        code = getattr(inspect.unwrap(function), "__code__", None)
        file, line = (code.co_filename, code.co_firstlineno) if code else ("?", 0)
        try:
            _check_function(function)
            arguments = validate_arguments(*rename_deprecated(declared, others, (file, line)))
        except DiurnalError as error:
            error.add_location(f"{file}:{line}: experiment {getattr(function, '__name__', repr(function))!r}")
            raise
        return _make(function, file, line, arguments)

    return declare


def _make(function: Callable[[], Any], file: str, line: int, arguments: Mapping[str, Any]) -> Experiment:
    made = Experiment(
        name=function.__name__,
        description=inspect.getdoc(function) or "",
        function=function,
        file=file,
        line=line,
        text=source_text(cast("FunctionType", inspect.unwrap(function))),
        **arguments,
    )
    # For help() and for notebooks, it looks like its function.
    made.__dict__.update(
        {name: getattr(function, name) for name in ("__name__", "__qualname__", "__module__", "__doc__")}
    )
    return made


def _check_function(function: object) -> None:
    hint = "write @experiment(...) above def name(): ..., which returns a search object or an estimator"
    if isinstance(function, Experiment):
        raise ExperimentError("this is an experiment already", hint="write @experiment(...) once")
    if not inspect.isfunction(function):
        raise ExperimentError(f"an experiment is a function, not {_told(function)}", hint=hint)
    if not _NAME.fullmatch(function.__name__):
        raise ExperimentError(
            f"{function.__name__!r} is no name for an experiment; it is small letters, digits and _, at most 50, "
            "starting with a letter",
            hint="rename the function: tables, folders and the Dag are named after it",
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ExperimentError(f"{function.__name__}() is async; an experiment is an ordinary function", hint=hint)
    if inspect.isgeneratorfunction(function):
        raise ExperimentError(f"{function.__name__}() yields; an experiment returns", hint="write return, not yield")
    if inspect.signature(function).parameters:
        raise ExperimentError(
            f"{function.__name__}{inspect.signature(function)} takes arguments; an experiment takes none",
            hint="write its values into the body, or as constants of the file",
        )


def _told(value: object) -> str:
    """Name a value in a message, shortly."""
    return "None" if value is None else f"a {type(value).__name__}: {repr(value)[:80]}"
