"""What the page shows of one model version: its row, its run, its periods of service, and its structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from diurnal.errors import DiurnalError
from diurnal.page.run_files import RunFiles

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

Row = dict[str, Any]
_MAX_COLUMNS = 500
_MAX_DEPTH = 20


@dataclass(frozen=True)
class VersionDetails:
    """One model version.

    Attributes
    ----------
    row : dict
        Its row.
    run : dict or None
        The row of its run.
    champion : int or None
        The present champion of the experiment.
    periods : list of dict
        The periods in which it was the champion, oldest first.
    newest : int
        The newest version of the experiment.
    card : dict or None
        Its ``model.json``.
    size : int or None
        The number of bytes of its file; None if the file is missing.
    code_file : str or None
        The file of its experiment.
    problem : str or None
        Why its files could not be read.
    """

    row: Row
    run: Row | None
    champion: int | None
    periods: list[Row]
    newest: int
    card: Row | None
    size: int | None
    code_file: str | None
    problem: str | None

    @property
    def state(self) -> Literal["champion", "former", "published"]:
        """Whether it serves, has served, or has never served."""
        if self.champion == self.row["version"]:
            return "champion"
        return "former" if self.periods else "published"

    @property
    def structure(self) -> Row | None:
        """The structure of the estimator; None for a version of an earlier release."""
        structure = (self.card or {}).get("structure")
        return _read_part(structure) if isinstance(structure, dict) else None

    @property
    def n_samples(self) -> int | None:
        """The number of rows that it was fitted on."""
        notes = (self.card or {}).get("notes")
        n = notes.get("n_samples") if isinstance(notes, dict) else None
        return n if isinstance(n, int) else None

    @property
    def columns(self) -> list[Row]:
        """The columns that it needs."""
        columns = self.row["signature"].get("columns") or []
        return [dict(column) for column in columns[:_MAX_COLUMNS]]

    @property
    def classes(self) -> list[Any] | None:
        """The classes of a classification; None for a regression."""
        classes = self.row["signature"].get("classes")
        return list(classes) if classes else None

    @property
    def golden_rows(self) -> list[tuple[list[Any], Any, list[float] | None]]:
        """The golden rows, each with its prediction, and the probability of each class."""
        golden: Mapping[str, Any] = self.row["signature"].get("golden") or {}
        rows, predictions = golden.get("rows") or [], golden.get("predictions") or []
        probabilities = golden.get("probabilities") or [None] * len(rows)
        return list(zip(rows, predictions, probabilities, strict=False))

    @property
    def has_probabilities(self) -> bool:
        """Whether it has ``predict_proba``."""
        return any(probabilities is not None for _, _, probabilities in self.golden_rows)

    @property
    def example_rows(self) -> dict[str, list[Any]]:
        """Two golden rows by column, as an example of a call."""
        rows = [row for row, _, _ in self.golden_rows[:2]]
        names = [column["name"] for column in self.columns]
        return {name: [row[i] for row in rows] for i, name in enumerate(names) if rows and i < len(rows[0])}


def read_version_details(stores: Stores, experiment: str, version: int) -> VersionDetails:
    """Read what the page shows of a version.

    Raises
    ------
    NotFoundError
        If there is no such version.
    """
    warehouse = stores.warehouse
    row = warehouse.version(experiment, version)
    run = warehouse.run(row["run_id"])
    champion, newest = warehouse.champion(experiment), warehouse.last_version(experiment)
    card, size, problem = _read_model_files(stores, row["path"])
    code = RunFiles(stores.lake).code(run) if run else None
    return VersionDetails(
        row=row,
        run=run,
        champion=champion.version if champion else None,
        periods=warehouse.service_periods(experiment, version),
        newest=newest,
        card=card,
        size=size,
        code_file=code.file if code else None,
        problem=problem,
    )


def _read_part(part: Row, depth: int = 0) -> Row:
    """Return a part of a structure with all of its keys; the card is not verified, so that it may have any form."""
    parts, params = part.get("parts"), part.get("params")
    children = parts if isinstance(parts, list) and depth < _MAX_DEPTH else []
    return {
        **{name: str(part.get(name) or "") for name in ("name", "details", "title", "module", "kind")},
        "params": {str(name): str(value) for name, value in params.items()} if isinstance(params, dict) else {},
        "parts": [_read_part(child, depth + 1) for child in children if isinstance(child, dict)],
    }


def _read_model_files(stores: Stores, path: str) -> tuple[Row | None, int | None, str | None]:
    """Return the card and the size of the file of a model; or why they cannot be read."""
    try:
        size = stores.models.size(path)
        return stores.models.card(path), size, None if size is not None else f"the file of the model {path} is missing"
    except DiurnalError as error:
        return None, None, error.message
