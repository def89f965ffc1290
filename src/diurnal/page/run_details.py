"""What the page shows of one run: its row, the rows around it, and its files in the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from diurnal.errors import NotFoundError
from diurnal.page.code_diff import DiffLine, diff_code
from diurnal.page.interval_dates import format_date
from diurnal.page.run_files import RunFiles
from diurnal.page.value_formats import format_interval

if TYPE_CHECKING:
    import pandas as pd

    from diurnal.experiment import Code
    from diurnal.storage.stores import Stores

Row = dict[str, Any]
_STEPS = ("fetch", "save_batch", "split", "tune", "evaluate", "record", "refit", "publish", "promote")
MAX_CANDIDATES = 20


@dataclass(frozen=True)
class ValueChange:
    """A value of a run beside that of another run.

    Attributes
    ----------
    name : str
        What it is.
    value, other : Any
        Both values; None where there is none.
    is_changed : bool
        Whether they differ; False if there is no other run.
    """

    name: str
    value: Any
    other: Any
    is_changed: bool


@dataclass(frozen=True)
class RunDetails:
    """One run.

    Attributes
    ----------
    run : dict
        Its row.
    previous, following : dict or None
        The runs before and after it.
    claim : dict or None
        The newest attempt of its data interval.
    failures : list of dict
        Failed attempts of its data interval, newest first.
    contract : dict or None
        The version of the contract that it was validated against.
    bets : list of dict
        The bets of the challenge that it bet on, up to it.
    code, previous_code : Code or None
        Its code, and that of the previous run if it differs.
    candidates : DataFrame or None
        The candidates of its search.
    evaluation : dict or None
        Curves and histograms.
    lost : list of str
        Files that could not be read, as sentences.
    """

    run: Row
    previous: Row | None
    following: Row | None
    claim: Row | None
    failures: list[Row]
    contract: Row | None
    bets: list[Row]
    code: Code | None
    previous_code: Code | None
    candidates: pd.DataFrame | None
    evaluation: Row | None
    lost: list[str]

    @property
    def outcome(self) -> Literal["promoted", "kept", "undecided"]:
        """What became of the run's model."""
        if self.run["decided_at"] is None:
            return "undecided"
        return "promoted" if self.run["promoted"] else "kept"

    @property
    def attempt_by(self) -> str | None:
        """Who started the attempt that has recorded the run, if it is known."""
        is_newest = self.claim is not None and self.claim["epoch"] == self.run["epoch"]
        return str(self.claim["claimed_by"]) if self.claim and is_newest else None

    @property
    def durations(self) -> list[tuple[str, float]]:
        """The seconds of each step, in the order of the steps."""
        return step_durations(self.run)

    @property
    def code_has_changed(self) -> bool:
        """Whether the code differs from that of the previous run."""
        return self.previous is not None and self.previous["code_digest"] != self.run["code_digest"]

    @property
    def code_files(self) -> list[tuple[str, str]]:
        """The name and the text of each file of the code, the experiment's own first."""
        if self.code is None:
            return []
        return sorted(self.code.files.items(), key=lambda item: (item[0] != getattr(self.code, "file", None), item[0]))

    @property
    def code_differences(self) -> dict[str, list[DiffLine]]:
        """The lines that differ from the code of the previous run, by file."""
        if self.code is None or self.previous_code is None:
            return {}
        return diff_code(self.previous_code, self.code)

    @property
    def declared_changes(self) -> list[str]:
        """What differs from the code of the previous run besides the text of files."""
        if self.code is None or self.previous_code is None:
            return []
        return [change for change in self.code.changes(self.previous_code) if change not in self.code.files]

    @property
    def library_changes(self) -> list[ValueChange]:
        """The versions of libraries beside those of the previous run."""
        return compare_values(self.run["library_versions"], self.previous and self.previous["library_versions"])

    @property
    def environment_changes(self) -> list[ValueChange]:
        """The environment beside that of the previous run."""
        return compare_values(self.run["environment"], self.previous and self.previous["environment"])


def step_durations(run: Row) -> list[tuple[str, float]]:
    """Return the seconds of each step of a run, in the order of the steps."""
    found = {name: float(seconds) for name, seconds in run["durations"].items() if seconds is not None}
    return sorted(found.items(), key=lambda item: _STEPS.index(item[0]) if item[0] in _STEPS else len(_STEPS))


def find_run(stores: Stores, experiment: str, run_id: str) -> Row:
    """Return the row of a run.

    Raises
    ------
    NotFoundError
        If there is none, or it is that of another experiment.
    """
    run = stores.warehouse.run(run_id)
    if run is None or run["experiment"] != experiment:
        raise NotFoundError(f"{experiment} has no run {run_id!r}")
    return run


def read_run_details(stores: Stores, run: Row) -> RunDetails:
    """Read what the page shows of a run; no model and no batch is loaded."""
    warehouse, files, name, start = (
        stores.warehouse,
        RunFiles(stores.lake),
        run["experiment"],
        run["data_interval_start"],
    )
    previous = warehouse.previous_run(run)
    has_other_code = previous is not None and previous["code_digest"] != run["code_digest"]
    bet = (run["challenge"] or {}).get("bet")
    return RunDetails(
        run=run,
        previous=previous,
        following=warehouse.following_run(run),
        claim=warehouse.interval_claim(name, start),
        failures=warehouse.interval_failures(name, start),
        contract=warehouse.contract_version(name, run["contract_version"]) if run["contract_version"] else None,
        bets=warehouse.bets_of_challenge(name, bet["challenge"], start) if bet else [],
        code=files.code(run),
        previous_code=files.code(previous) if previous and has_other_code else None,
        candidates=files.candidates(run),
        evaluation=files.evaluation(run),
        lost=files.lost,
    )


def packages_with_dates(run: Row, timezone: str) -> list[Row]:
    """Return the batches of the window, newest first, each with the text of its data interval and its date."""
    packages = []
    for package in run["packages"]:
        start, end = (datetime.fromisoformat(package[f"data_interval_{side}"]) for side in ("start", "end"))
        label, date = format_interval(start, end, timezone), format_date(start, timezone)
        packages.append({**package, "label": label, "date": date})
    return sorted(packages, key=lambda package: str(package["data_interval_start"]), reverse=True)


def compare_values(values: Mapping[str, Any] | None, others: Mapping[str, Any] | None) -> list[ValueChange]:
    """Return values beside those of another run, in the order of their names; changed ones are first.

    Examples
    --------
    >>> for change in compare_values({"numpy": "2.4", "scipy": "1.17"}, {"numpy": "2.4", "scipy": "1.16"}):
    ...     print(change.name, change.value, change.other, change.is_changed)
    scipy 1.17 1.16 True
    numpy 2.4 2.4 False
    """
    values = values or {}
    names = sorted({*values, *(others or {})})
    changes = [
        ValueChange(
            name,
            _as_text(values.get(name)),
            _as_text((others or {}).get(name)),
            bool(others) and values.get(name) != (others or {}).get(name),
        )
        for name in names
    ]
    return sorted(changes, key=lambda change: not change.is_changed)


def _as_text(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value


def best_rows(candidates: pd.DataFrame | None, scoring: str) -> list[Row]:
    """Return the best 20 candidates: rank, parameters, mean and spread of the score, and the seconds of a fit."""
    if candidates is None or not len(candidates):
        return []
    metric = next((name for name in (scoring, "score") if f"rank_test_{name}" in candidates), None)
    if metric is None:
        return []
    parameters = [str(name) for name in candidates if str(name).startswith("param_")]
    best = candidates.sort_values(f"rank_test_{metric}", kind="stable").head(MAX_CANDIDATES)
    return [
        {
            "rank": int(row[f"rank_test_{metric}"]),
            "params": {name.removeprefix("param_"): row[name] for name in parameters},
            "mean": row.get(f"mean_test_{metric}"),
            "std": row.get(f"std_test_{metric}"),
            "seconds": row.get("mean_fit_time"),
        }
        for row in best.to_dict("records")
    ]


def curve_rows(evaluation: Mapping[str, Any] | None) -> list[Row]:
    """Return the areas under the curves of each class, the twin's and the champion's beside each other."""
    models = (evaluation or {}).get("models") or {}
    curves = {model: (models.get(model) or {}).get("curves") or {} for model in ("twin", "champion")}
    return [
        {
            "label": label,
            **{model: {name: (found.get(label) or {}).get(name) for name in _AREAS} for model, found in curves.items()},
        }
        for label in curves["twin"]
    ]


_AREAS = ("auc", "average_precision")


def score_slices(evaluation: Mapping[str, Any] | None) -> list[Row]:
    """Return the scores by category of a column, the twin's and the champion's beside each other."""
    models = (evaluation or {}).get("models") or {}
    champion = {
        (one.get("column"), one.get("category")): one.get("score")
        for one in (models.get("champion") or {}).get("slices") or []
    }
    slices = (models.get("twin") or {}).get("slices") or []
    return [{**one, "champion": champion.get((one.get("column"), one.get("category")))} for one in slices]


def drift_rows(drift: Mapping[str, Any] | None) -> list[Row]:
    """Return the columns of a run's drift, strongest first, each with the share of a full bar as `share`.

    Examples
    --------
    >>> drift_rows({"columns": [{"column": "age", "effect": 0.3, "threshold": 0.1, "drifted": True}]})[0]["share"]
    1.0
    """
    columns = [column for column in (drift or {}).get("columns") or [] if isinstance(column, dict)]
    ratios = [_drift_ratio(column) for column in columns]
    full = max([2.0, *ratios])
    names = ("column", "role", "kind", "measure", "effect", "threshold", "drifted")
    return [
        {
            **{name: column.get(name) for name in names},
            "new_categories": column.get("new_categories") or [],
            "share": ratio / full,
        }
        for column, ratio in zip(columns, ratios, strict=True)
    ]


def _drift_ratio(column: Mapping[str, Any]) -> float:
    """Return an effect in multiples of its threshold."""
    effect, threshold = column.get("effect"), column.get("threshold")
    return float(effect) / float(threshold) if effect and threshold else 0.0
