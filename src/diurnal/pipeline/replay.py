"""Replay: a published version is fitted again, from the batches and the code that its row names, and compared.

Nothing that is stored changes: the search, the twin and the model of the replay are compared and discarded. In the
lake, only missing train and test packages are written again. Neither the source nor the rows of batches in the
warehouse are read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.backends.sample_reader import SampleReader
from diurnal.errors import InvalidModelError, NotFoundError
from diurnal.experiment import Code, Experiment, find
from diurnal.experiment.run_context import RunContext, Window
from diurnal.pipeline import tuning_shards, window_split
from diurnal.runtime import project_files
from diurnal.runtime.fit_environment import describe_environment
from diurnal.storage.models import Models, add_project_objects, format_of, library_versions
from diurnal.types import DataInterval, Package, Run, TrainTestSplit
from diurnal.types.evaluation import finite_or_none

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

_MAX_REASONS = 5


@dataclass(frozen=True)
class ValueDifference:
    """A value of the replay that differs from the recorded one.

    Attributes
    ----------
    what : str
        Name of the value.
    recorded, replayed : Any
        The value in the row, and that of the replay.
    """

    what: str
    recorded: Any
    replayed: Any


@dataclass(frozen=True)
class Replay:
    """The result of a replay.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    version : int
        The version that was replayed.
    digest : str
        Digest of the model of the replay, in hexadecimal.
    results : tuple of Difference
        The digest, parameters and scores that differ.
    surroundings : tuple of Difference
        Libraries, Python, CPU, kernels and threads that differ from the recorded ones.
    """

    experiment: str
    version: int
    digest: str
    results: tuple[ValueDifference, ...]
    surroundings: tuple[ValueDifference, ...]

    @property
    def equal(self) -> bool:
        """Whether all results are equal to the recorded ones."""
        return not self.results


def replay_version(
    stores: Stores,
    name: str,
    version: int,
    present: Callable[[], Experiment],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Fit a version again, and compare the results.

    Parameters
    ----------
    stores : Stores
        The stores of the version.
    name : str
        Name of the experiment.
    version : int
        Number of the version.
    present : callable
        Returns the present experiment, for versions whose code was not stored.
    progress : callable, optional
        Called with the number of finished fits of the search and the number of all fits.

    Returns
    -------
    Replay

    Raises
    ------
    NotFoundError
        If the version does not exist, a batch of it was deleted, or its code is neither stored nor that of the present
        experiment.
    CorruptPackageError
        If a batch does not have the digest in the row.
    """
    published = stores.warehouse.version(name, version)
    row = stores.warehouse.run(published["run_id"]) or {}
    _check_batches_are_kept(stores, name, version)
    with _recorded_experiment(stores, row, present) as (experiment, code), tempfile.TemporaryDirectory() as folder:
        interval = DataInterval(row["data_interval_start"], row["data_interval_end"], experiment.timezone)
        there = replace(stores, models=Models(folder), code=code)
        context = RunContext(experiment, interval, there, requested_by="replay", progress=progress)
        results, versions = _refit_version(context, row), library_versions(experiment.build())
    recorded = {**{name: row[name] for name in results if name != "digest"}, "digest": published["digest"]}
    return Replay(
        experiment=name,
        version=version,
        digest=results["digest"],
        results=_find_differences(recorded, results),
        surroundings=(
            *_find_differences(row["library_versions"], versions),
            *_find_differences(published["environment"] or row["environment"], describe_environment()),
        ),
    )


def _check_batches_are_kept(stores: Stores, name: str, version: int) -> None:
    lost = stores.warehouse.versions_without_batches(name).get(version)
    if not lost:
        return
    deletions = {row["digest"]: row for row in stores.warehouse.deletions(name)}
    reasons = [_describe_deletion(one, deletions.get(one.get("replaces", one["digest"]))) for one in lost]
    more = "" if len(reasons) <= _MAX_REASONS else f"\nand {len(reasons) - _MAX_REASONS} more"
    raise NotFoundError(
        f"version {version} of {name} cannot be replayed: {len(lost)} of its batches were deleted or changed\n"
        + "\n".join(reasons[:_MAX_REASONS])
        + more,
        hint=f"fit a new version on the batches that are kept: diurnal run {name} --force",
    )


def _describe_deletion(batch: Mapping[str, Any], deletion: Mapping[str, Any] | None) -> str:
    start = f"the batch of {batch['data_interval_start']}"
    if deletion is None:
        return f"{start} has no row in the warehouse"
    return f"{start}: by {deletion['reason']}, {deletion['deleted_at']:%Y-%m-%d}"


def _refit_version(context: RunContext, row: Mapping[str, Any]) -> dict[str, Any]:
    """Execute the steps from `split` to `refit`, and return their results by the names of the row."""
    run, window = _run_of(context, row), _window_of(row["packages"], context.interval.timezone)
    schema = context.schema_of(run)
    samples = TrainTestSplit(run, window, *window_split.split_window(context, window, schema))
    backend, search, data = tuning_shards.load_training_data(context, samples)
    tuned = backend.tune(search, data, progress=context.progress)
    trusted = context.experiment.trusted_types
    _, twin = format_of(tuned.twin).dump_and_reload(tuned.twin, trusted, context.code, scratch=context.temp_url)
    scores = backend.score(search, twin, backend.read_evaluation_data(SampleReader(context, schema), samples.test))
    packages = [package for _, package in window]
    everything = backend.read_training_data(
        SampleReader(context, schema), packages, fraction=context.sampling_fraction(packages)
    )
    fitted = backend.refit(search, lambda: twin, tuned.best_params, everything)
    signature = add_project_objects(backend.signature(fitted, everything, schema), fitted, context.code)
    _, digest = context.stores.models.save(
        context.experiment.name, context.interval, fitted, signature, trusted=trusted, code=context.code
    )
    test_scores = {name: finite_or_none(score) for name, score in scores.items()}
    return {
        "digest": digest,
        "best_params": tuned.best_params,
        "cv_score_mean": tuned.mean,
        "cv_score_std": tuned.std,
        "n_candidates": tuned.n_candidates,
        "n_train": data.n_rows,
        "test_score": test_scores[backend.score_name(search)],
        "test_scores": test_scores,
    }


def _window_of(packages: list[dict[str, Any]], timezone: str) -> Window:
    return tuple(
        (_interval_of(one).in_timezone(timezone), Package(one["path"], one["digest"], one["n_rows"]))
        for one in packages
    )


def _interval_of(package: Mapping[str, Any]) -> DataInterval:
    start = datetime.fromisoformat(package["data_interval_start"])
    end = package.get("data_interval_end")  # rows of the first release have the start only, which names the packages
    return DataInterval(start, datetime.fromisoformat(end) if end else start + timedelta(days=1))


def _run_of(context: RunContext, row: Mapping[str, Any]) -> Run:
    identity = ("epoch", "batch_digest", "window_digest", "code_digest", "repeat")
    values = {name: row[name] for name in identity} | {"contract": row["contract_version"] or 0}
    return Run(row["run_id"], context.experiment.name, context.interval, **values)


@contextmanager
def _recorded_experiment(
    stores: Stores, row: Mapping[str, Any], present: Callable[[], Experiment]
) -> Iterator[tuple[Experiment, project_files.Codebase]]:
    """Yield the experiment with the code that a row names, and the temporary folder of this code."""
    kept = Code.loads(stores.lake.read_bytes(row["code"])) if row["code"] else None
    if kept is None or kept.file is None:
        experiment = present()
        if experiment.code_digest != row["code_digest"]:
            raise NotFoundError(
                f"the code of run {row['run_id']} is not stored, and {experiment.location} was changed since: its "
                f"digest is {experiment.code_digest[:12]}, and was {row['code_digest'][:12]}",
                hint="check out the code of that time from version control, and replay there",
            )
        yield experiment, stores.code
        return
    with (
        tempfile.TemporaryDirectory(prefix="diurnal-replay-") as folder,
        project_files.replace_code(stores.code, project := Path(folder)) as code,
    ):
        for place, text in {project_files.FILE: "", **kept.files}.items():
            (project / place).parent.mkdir(parents=True, exist_ok=True)
            (project / place).write_text(text, encoding="utf-8")
        experiment = find(f"{kept.file}:{kept.name}", project / "experiments")
        if experiment.code_digest != row["code_digest"]:
            raise InvalidModelError(
                f"the stored code of run {row['run_id']} has the digest {experiment.code_digest[:12]} in place of "
                f"{row['code_digest'][:12]}",
                hint="the file was changed, or another version of Python or diurnal reads it differently: restore "
                f"{row['code']} in the lake, or replay with the versions in the row",
            )
        yield experiment, code


def _find_differences(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> tuple[ValueDifference, ...]:
    names = [name for name in recorded if name in replayed and recorded[name] != replayed[name]]
    return tuple(ValueDifference(name, recorded[name], replayed[name]) for name in names)
