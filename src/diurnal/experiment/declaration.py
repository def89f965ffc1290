"""The declaration of an experiment."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from types import FunctionType
from typing import Any, cast

from diurnal.data import Metadata
from diurnal.data.schema import Duplicates
from diurnal.errors import DiurnalError, ExperimentError
from diurnal.experiment import row_arguments
from diurnal.experiment.arguments import REQUIRED, rename_deprecated, validate_arguments
from diurnal.experiment.code import Code
from diurnal.experiment.code_digest import collect_files, compute_code, source_text
from diurnal.experiment.function_checks import check_function, describe_value
from diurnal.experiment.splitters import check_splitters
from diurnal.runtime import spark
from diurnal.runtime.project_files import Codebase, extend_sys_path
from diurnal.types import DataInterval, Limits
from diurnal.types.calendar import Calendar
from diurnal.types.drift_thresholds import DEFAULT_THRESHOLD, DriftThresholds
from diurnal.types.recorded_declaration import RecordedDeclaration
from diurnal.types.retention import Retention
from diurnal.types.schedule import Schedule


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment:
    """A declared experiment: the checked arguments of ``@experiment``, and the function.

    A call returns what the function returns, so that its file works in a notebook too.

    Attributes
    ----------
    name, description : str
        The function's name and its docstring.
    function : function
        The function that returns the search object or estimator.
    file : str
        The file of the declaration.
    line : int
        The line on which it begins.
    source, target, key, drop, duplicates, schedule, timezone, start_date, catchup, retries, max_active_runs, \
    label_delay, window, test_size, sample, groups, sample_weight, order_by, split, promotion, n_tuning_shards, \
    trusted_types, new_columns, checks, limits, drift, retention, tags, owner
        The arguments, each in one form: columns and texts are tuples, the start date is in UTC.
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
    label_delay: timedelta
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
    drift: DriftThresholds
    retention: Retention
    tags: tuple[str, ...]
    owner: str
    text: str = field(repr=False)  # the text of the file at the declaration: later edits are not what runs

    def __call__(self) -> Any:
        """Return what the function returns."""
        self._add_import_paths()
        return self.function()

    def _add_import_paths(self) -> None:
        """Let the function import modules of the project and modules beside its file."""
        project, *folders = Codebase.around(self.file).roots
        extend_sys_path(project if folders else None, *folders or [project])

    def build(self) -> Any:
        """Create the search object or estimator.

        Returns
        -------
        estimator
            Anything with ``fit``: a search, a pipeline, a bare estimator.

        Raises
        ------
        ExperimentError
            If the function fails or returns something else, or if a splitter requires an argument that is not declared.
        """
        try:
            self._add_import_paths()
            estimator = spark.retry_with_session(self._call_function)
        except DiurnalError:
            raise
        except Exception as error:
            raise ExperimentError(
                f"{self._failing_line(error)}: {self.name}() fails with {type(error).__name__}: {error}",
                hint="it must run by itself, without arguments, and return a search object or an estimator",
            ) from error
        if isinstance(estimator, type) or not callable(getattr(estimator, "fit", None)):
            value = (
                f"the class {estimator.__name__}, not an object of it"
                if isinstance(estimator, type)
                else describe_value(estimator)
            )
            hint = ": did you forget `return`?" if estimator is None else ""
            raise ExperimentError(
                f"{self.location}: {self.name}() returned {value}{hint}",
                hint="return a search such as GridSearchCV(...) or CrossValidator(...), a pipeline or an estimator",
            )
        check_splitters(self, estimator)
        return estimator

    def _call_function(self) -> Any:
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
        """Return the innermost line of the experiment's file in the traceback of an error."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == self.file] or frames
        return f"{own[-1].filename}:{own[-1].lineno}"

    @property
    def location(self) -> str:
        """The file and line of the declaration, in the form that editors and terminals open."""
        return f"{self.file}:{self.line}"

    @property
    def metadata(self) -> Metadata:
        """The columns that a fit needs beside features and target."""
        return Metadata(self.groups, self.sample_weight, self.order_by)

    @property
    def calendar(self) -> Calendar:
        """The calendar of its data intervals."""
        return Calendar(self.schedule, self.start_date, self.timezone)

    @cached_property
    def code(self) -> Code:
        """Its code and the arguments that affect its numbers, as of the first access."""
        function = cast("FunctionType", inspect.unwrap(self.function))
        return replace(self.read_code(), files=collect_files(function, self.text))

    @property
    def recorded(self) -> RecordedDeclaration:
        """What the warehouse keeps of the declaration."""
        return RecordedDeclaration(
            self.schedule,
            self.timezone,
            self.start_date,
            self.label_delay,
            self.description,
            self.promotion,
            self.retention,
        )

    def complete_at(self, interval: DataInterval) -> datetime:
        """Return when the rows of a data interval and their labels are complete: `label_delay` after its end."""
        return interval.end + self.label_delay

    @property
    def code_digest(self) -> str:
        """The SHA-256 of :attr:`code`: see :mod:`diurnal.experiment.code_digest`."""
        return self.code.digest

    def read_code(self) -> Code:
        """Return its code with the present text of the project's modules, even if they were imported before an edit."""
        function = cast("FunctionType", inspect.unwrap(self.function))
        experiments = [value for value in function.__globals__.values() if isinstance(value, Experiment)]
        return compute_code(
            function,
            self.text,
            source=self.source,
            others={value.line for value in experiments if value.file == self.file and value.line != self.line},
            declared={name: getattr(self, name) for name in ("target", "key", "drop", "test_size", "window")}
            | {name: value for name in ("sample", "duplicates") if (value := getattr(self, name)) is not None}
            | row_arguments.non_default_arguments(self),
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
    label_delay: timedelta | str | None = None,
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
    drift: float | Mapping[str, float | bool] | bool = DEFAULT_THRESHOLD,
    retention: Mapping[str, timedelta | str] | None = None,
    tags: str | Sequence[str] = (),
    owner: str = "diurnal",
    **others: object,
) -> Callable[[Callable[[], Any]], Experiment]:
    """Declare an experiment: decorate a function that returns a search object or an estimator.

    Parameters
    ----------
    source : Source or function
        The source of the rows: a :mod:`diurnal.sources` Source, or a function of a DataInterval that returns a frame
        (pandas, polars, Arrow) or a stream of Arrow record batches.
    target : str
        The column to predict.
    key : str or sequence of str, optional
        Column(s) that identify a sample across batches. None: all features of the row identify it.
    drop : str or sequence of str
        Columns that are stored in the lake but are not features.
    duplicates : {"drop", "keep"}, optional
        Without a `key`, the meaning of equal rows. ``"drop"``: they are one sample; ``"keep"``: each row is a sample.
        None: ``"drop"`` if at least 99 % of the rows of the first batch are distinct in their features, else
        ``"keep"``; the contract then fixes it.
    schedule : str, timedelta or None
        A preset or cron expression of Airflow, in the local time of `timezone`; None: started manually only.
    timezone : str
        The timezone in which days begin and end: a name in the tz database, as in ``"America/New_York"``. Schedules,
        dates, the names of data intervals and the times that a source receives are in its local time.
    start_date : str, date or datetime, optional
        The first data interval starts here; a date is midnight in `timezone`.
    catchup : bool
        Whether Airflow runs the data intervals since `start_date` that it has missed.
    retries, max_active_runs : int
        As in Airflow.
    label_delay : timedelta or str, optional
        How long after the end of a data interval the labels of its rows are complete, such as ``"7d"``. Its run starts
        then: not at the end of the data interval. None: labels are complete with the rows.
    window : int or str
        The data for a model: a number of data intervals, a duration (``"30d"``, ``"12h"``, ``"2w"``) or ``"all"``.
    test_size : float
        Fraction of the samples for testing, between 0 and 1; they never train the evaluated model.
    sample : float or int, optional
        Tune and refit on a part of the window's rows: a fraction (``0.1``; always the same rows), or an approximate
        number of rows. A hash chooses the rows; evaluation is never sampled. None: all rows.
    groups : str, optional
        Column with the group of a row: a patient, a household, a site. The folds of the search use it, and it
        decides the role of a row, so that no group is in both train and test. It is not a feature.
    sample_weight : str, optional
        Column with the weight of a row, for fits and scores. It is not a feature.
    order_by : str, optional
        Column that orders rows in time: a number, a date or a time. Fits get rows in its order, as `TimeSeriesSplit`
        and other splitters that use the order require. It is not a feature.
    split : {"hash", "time"}
        The rows for testing. ``"hash"``: a fraction `test_size`, always the same rows; ``"time"``: the newest data
        interval, and the earlier ones of the window train.
    promotion : {"guarded", "superior", "proven", "always", "approve", "never"}
        When a version becomes the champion: ``"guarded"``: a new one, unless it is worse by more than chance;
        ``"superior"``: a new one, if it is better by more than chance; ``"proven"``: a challenger that is better on
        successive new batches, with a false promotion in at most 5 % of years; ``"approve"``: when a person approves
        it, in Airflow or by ``diurnal promote``.
    n_tuning_shards : int
        Number of mapped Airflow tasks that the search is split into. The scores do not depend on it.
    trusted_types : str or sequence of str
        Full names of further types that a model may contain, in addition to those of scikit-learn, of the libraries in
        ``docs/models.md`` and of the project.
    new_columns : {"refuse", "ignore", "accept"}
        The treatment of columns that the contract does not have. ``"refuse"``: reject the batch until a person accepts
        them by ``diurnal contract``; ``"ignore"``: leave them out, with a warning; ``"accept"``: add them to the
        contract, with a warning.
    checks : object, optional
        Further checks of a batch: any object with ``validate(frame)``, such as a pandera schema.
    limits : Limits, optional
        Limits of the size and the content of a batch.
    drift : float, Mapping of str to float, or False
        From which effect size on a column has drifted from the training window of the champion, which is a warning: a
        number for all columns, or one by column, where ``"prediction"`` are the champion's predictions, False leaves a
        column out, and columns that are not named have 0.1. False: nothing is compared.
    retention : Mapping of str to str or timedelta, optional
        The age at which ``diurnal gc`` deletes data, by kind: ``"batches"``, ``"candidates"``, ``"evaluations"``,
        ``"predictions"``, ``"profiles"`` and ``"quarantine"``, as in ``{"batches": "2y", "predictions": "90d"}``
        (hours, days, weeks, years of 365 days). What a version in use needs is kept. None: all data are kept.
    tags : str or sequence of str
        Shown in Airflow's list of Dags.
    owner : str
        Shown in Airflow's list of Dags.

    Raises
    ------
    ExperimentError
        If an argument is unknown, missing or not allowed; raised when the function is decorated.

    Examples
    --------
    >>> @experiment(source=lambda interval: ..., target="label", window="30d")
    ... def toy():
    ...     "Separate two classes."
    ...     from sklearn.dummy import DummyClassifier
    ...     return DummyClassifier()
    >>> toy.name, toy.description, toy.window
    ('toy', 'Separate two classes.', '30d')
    >>> toy.build()
    DummyClassifier()
    """
    declared = {name: value for name, value in locals().items() if name not in ("misplaced", "others")}
    if misplaced:
        raise ExperimentError(
            "@experiment takes arguments by name only", hint="write @experiment(source=..., target=...)"
        )

    return lambda function: _declare(function, declared, others)


def _declare(function: Callable[[], Any], declared: Mapping[str, Any], others: Mapping[str, Any]) -> Experiment:
    """Check the function and the arguments, and return the experiment."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    file, line = (code.co_filename, code.co_firstlineno) if code else ("?", 0)
    try:
        if isinstance(function, Experiment):
            raise ExperimentError("this is an experiment already", hint="write @experiment(...) once")
        check_function(function)
        arguments = validate_arguments(*rename_deprecated(declared, others, (file, line)))
    except DiurnalError as error:
        error.add_location(f"{file}:{line}: experiment {getattr(function, '__name__', repr(function))!r}")
        raise
    return _create_experiment(function, file, line, arguments)


def _create_experiment(function: Callable[[], Any], file: str, line: int, arguments: Mapping[str, Any]) -> Experiment:
    estimator = Experiment(
        name=function.__name__,
        description=inspect.getdoc(function) or "",
        function=function,
        file=file,
        line=line,
        text=source_text(cast("FunctionType", inspect.unwrap(function))),
        **arguments,
    )
    # help() and notebooks show it like its function.
    estimator.__dict__.update(
        {name: getattr(function, name) for name in ("__name__", "__qualname__", "__module__", "__doc__")}
    )
    return estimator
