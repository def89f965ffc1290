"""The health of a deployment, looked at from outside: its stores, its project, and each experiment of either.

It does not depend on an experiment's own runs, or on Airflow: an experiment that nothing starts any more is a finding.
What cannot be read (the warehouse, the lake, a file of experiments) is a finding as well, and does not hide the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from diurnal.errors import DiurnalError, NotFoundError, did_you_mean
from diurnal.pipeline.deadlines import Deadline, next_deadline
from diurnal.pipeline.error_context import as_diurnal_error, is_environment_error
from diurnal.pipeline.health import DEFAULT_THRESHOLDS, KINDS, Finding, Thresholds, find_problems
from diurnal.pipeline.history import History, Row
from diurnal.runtime.redaction import redact_secrets

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.runtime import Settings
    from diurnal.storage.warehouse import Warehouse
    from diurnal.types.recorded_declaration import RecordedDeclaration, Scheduled


@dataclass(frozen=True)
class ExperimentHealth:
    """An experiment, and what is wrong with it.

    Attributes
    ----------
    name : str
        Its name.
    history : History
        Its newest results and failures.
    deadline : Deadline or None
        Its next result; None if none is expected.
    findings : tuple of Finding
        What is wrong, the most urgent first.
    """

    name: str
    history: History = field(repr=False)
    deadline: Deadline | None
    findings: tuple[Finding, ...]

    @property
    def is_overdue(self) -> bool:
        """Whether a result is overdue."""
        return any(finding.kind == "overdue" for finding in self.findings)


@dataclass(frozen=True)
class HealthReport:
    """The health of a deployment.

    Attributes
    ----------
    checked_at : datetime
        When it was looked at.
    experiments : tuple of ExperimentHealth
        The experiments that were looked at, by name.
    deployment_findings : tuple of Finding
        What is wrong with the stores and the project.
    """

    checked_at: datetime
    experiments: tuple[ExperimentHealth, ...]
    deployment_findings: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the most urgent kind first."""
        found = [*self.deployment_findings, *(one for health in self.experiments for one in health.findings)]
        return tuple(sorted(found, key=lambda finding: KINDS.index(finding.kind)))

    def __str__(self) -> str:
        n_found, n_seen = len(self.findings), len(self.experiments)
        experiments = f"{n_seen} experiment{'s' * (n_seen != 1)}"
        if not n_found:
            return f"{experiments}: no findings"
        return f"{experiments}: {n_found} finding{'s' * (n_found > 1)}"


def inspect_deployment(
    settings: Settings,
    names: Collection[str] = (),
    *,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    now: datetime | None = None,
) -> HealthReport:
    """Look at the stores and the experiments of a deployment. Nothing is created.

    Parameters
    ----------
    settings : Settings
        Its settings.
    names : collection of str
        The experiments; by default those of the project and of the warehouse.
    thresholds : Thresholds
        What counts as a finding.
    now : datetime, optional
        The present time; by default that of the clock.

    Returns
    -------
    HealthReport

    Raises
    ------
    NotFoundError
        If neither the project nor the warehouse has an experiment of one of the names.
    """
    from diurnal.storage.stores import embedded_server, open_warehouse

    now = now or datetime.now(UTC)
    declared, problems = _declared_experiments(settings)
    server = embedded_server(settings)
    if server is not None and not server.is_created:  # nothing has run in this project yet
        return _make_report(declared, {}, problems, names, now, thresholds)
    try:
        with open_warehouse(settings) as warehouse:
            recorded = warehouse.declarations()
            histories = read_histories(warehouse, {**recorded, **declared})
            problems += _lake_problems(settings, warehouse, histories)
    except DiurnalError as error:
        action = error.hint or "check that it runs and can be reached from here"
        problems.append(_unreachable("the warehouse", error, action))
        _require_known_names(names, declared, problems)
        return HealthReport(now, (), tuple(problems))
    known = {name: recorded[name] for name in recorded.keys() & histories.keys()}
    return _make_report({**known, **declared}, histories, problems, names, now, thresholds)


def read_histories(
    warehouse: Warehouse, declared: Mapping[str, Experiment | RecordedDeclaration]
) -> dict[str, History]:
    """Return the history of each experiment that the warehouse knows, in the timezones of their declarations."""
    return _make_histories(warehouse.health_rows(), declared)


def read_deadlines(warehouse: Warehouse, now: datetime, names: Collection[str]) -> dict[str, Deadline | None]:
    """Return when the next result of each experiment is expected, by the declarations that the warehouse has recorded.

    See Also
    --------
    diurnal.pipeline.deadlines.next_deadline : Returns it for one.
    """
    declared = warehouse.declarations()
    histories = _make_histories(warehouse.health_rows(names, contents=("intervals", "runs")), declared)
    return {name: next_deadline(history, declared.get(name), now) for name, history in histories.items()}


def _make_histories(
    rows: Mapping[str, Mapping[str, Sequence[Row]]], declared: Mapping[str, Experiment | RecordedDeclaration]
) -> dict[str, History]:
    return {
        name: History.from_rows(name, of_it, declared[name].timezone if name in declared else "UTC")
        for name, of_it in rows.items()
    }


def check_experiments(
    histories: Mapping[str, History],
    declared: Mapping[str, Scheduled],
    now: datetime,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> tuple[ExperimentHealth, ...]:
    """Return the health of each experiment that has a history or a declaration, by name.

    Declarations are those of the project, else those that the warehouse has recorded.
    """
    found = []
    for name in sorted({*histories, *declared}):
        history, experiment = histories.get(name) or History(name), declared.get(name)
        findings = find_problems(history, experiment, now, thresholds)
        deadline = next_deadline(history, experiment, now, least=thresholds.tolerance)
        found.append(ExperimentHealth(name, history, deadline, tuple(findings)))
    return tuple(found)


def _make_report(
    declared: Mapping[str, Scheduled],
    histories: Mapping[str, History],
    problems: list[Finding],
    names: Collection[str],
    now: datetime,
    thresholds: Thresholds,
) -> HealthReport:
    _require_known_names(names, {*declared, *histories}, problems)
    wanted = set(names) or {*declared, *histories}
    chosen = {name: experiment for name, experiment in declared.items() if name in wanted}
    recorded = {name: history for name, history in histories.items() if name in wanted}
    return HealthReport(now, check_experiments(recorded, chosen, now, thresholds), tuple(problems))


def _require_known_names(names: Collection[str], known: Collection[str], problems: list[Finding]) -> None:
    """Reject a name that nothing has; where something could not be read, any name may be right."""
    if problems:
        return
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise NotFoundError(
                f"there is no experiment {name!r}{did_you_mean(name, known)}\nthere are: {listed}",
                hint="`diurnal list` shows those of this project",
            )


def _declared_experiments(settings: Settings) -> tuple[dict[str, Experiment], list[Finding]]:
    """Return the experiments of the project; a file that cannot be imported is a finding."""
    from diurnal.experiment import discover

    if not settings.experiments.is_dir():  # a deployment may have its Dag files elsewhere
        return {}, []
    declared, errors = discover(settings.experiments)
    return declared, [
        Finding(None, "invalid", None, redact_secrets(error.message), error.hint or "diurnal list") for error in errors
    ]


def _lake_problems(settings: Settings, warehouse: Warehouse, histories: Mapping[str, History]) -> list[Finding]:
    """Return a finding if the lake cannot be read, or if it is not that of the warehouse."""
    from diurnal.storage.lake import Lake

    try:
        known = Lake(settings.lake, create=False).warehouses()
    except DiurnalError as error:
        return [_unreachable("the lake", error, error.hint or "check that it can be reached from here")]
    except Exception as error:
        if not is_environment_error(error) and not isinstance(error, ImportError | ValueError):
            raise
        translated = as_diurnal_error(error)
        return [_unreachable("the lake", translated, "check DIURNAL_LAKE, and that it can be reached from here")]
    has_batches = any(history.n_rows is not None for history in histories.values())
    if has_batches and warehouse.identity not in known:
        message = f"the lake {redact_secrets(settings.lake)} has no batches of this warehouse"
        return [Finding(None, "unreachable", None, message, "correct DIURNAL_LAKE or DIURNAL_WAREHOUSE")]
    return []


def _unreachable(store: str, error: DiurnalError, action: str) -> Finding:
    message = redact_secrets(error.message)
    return Finding(None, "unreachable", None, message if store in message else f"{store}: {message}", action)
