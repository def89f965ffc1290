"""Making a published version again, from the batches and the code that its row names, to see that it comes out equal.

Nothing that is kept changes: the search, the twin and the model that come out are compared and thrown away. Of the
lake, only samples that are missing are cut again. The source is not asked, and the batches' rows in the warehouse are
not read.
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
from diurnal.runtime.environment import describe_environment
from diurnal.storage.models import Models, dump_and_read_back, library_versions, with_own_names
from diurnal.types import DataInterval, Package, Run, TrainTestSplit
from diurnal.types.results import finite_or_none

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores


@dataclass(frozen=True)
class Difference:
    """Something that did not come out as it is recorded, or is not what it was when it was recorded.

    Attributes
    ----------
    what : str
        Its name.
    recorded, replayed : Any
        What the row says, and what it is now.
    """

    what: str
    recorded: Any
    replayed: Any


@dataclass(frozen=True)
class Replay:
    """What came out of a replay.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    version : int
        The version that was made again.
    digest : str
        Of the model that came out, in hexadecimal.
    results : tuple of Difference
        The model's digest, parameters and scores that came out differently.
    surroundings : tuple of Difference
        Libraries, Python, CPU, kernels and threads that are not those that are recorded.
    """

    experiment: str
    version: int
    digest: str
    results: tuple[Difference, ...]
    surroundings: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether all came out as it is recorded."""
        return not self.results


def replay_version(
    stores: Stores,
    name: str,
    version: int,
    present: Callable[[], Experiment],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Make a version again, and compare.

    Parameters
    ----------
    stores : Stores
        Where it is kept.
    name : str
        Name of the experiment.
    version : int
        Which version.
    present : callable
        Gives the experiment as it is now, for versions whose code was not kept.
    progress : callable, optional
        Is told how many fits of the search are done, and how many there are.

    Returns
    -------
    Replay

    Raises
    ------
    NotFoundError
        If there is no such version, or its code is neither kept nor what the experiment has now.
    CorruptPackageError
        If a batch is not what the row says.
    """
    published = stores.warehouse.version(name, version)
    row = stores.warehouse.run(published["run_id"]) or {}
    with _experiment(stores, row, present) as (experiment, code), tempfile.TemporaryDirectory() as folder:
        interval = DataInterval(row["data_interval_start"], row["data_interval_end"], experiment.timezone)
        there = replace(stores, models=Models(folder), code=code)
        context = RunContext(experiment, interval, there, requested_by="replay", progress=progress)
        made, versions = _make_again(context, row), library_versions(experiment.build())
    results = {**{name: row[name] for name in made if name != "digest"}, "digest": published["digest"]}
    return Replay(
        experiment=name,
        version=version,
        digest=made["digest"],
        results=_differences(results, made),
        surroundings=(
            *_differences(row["library_versions"], versions),
            *_differences(published["environment"] or row["environment"], describe_environment()),
        ),
    )


def _make_again(context: RunContext, row: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out the steps from `split` to `refit`, and give what they come to, by the names of the row."""
    run, window = _run(context, row), _window(row["packages"], context.interval.timezone)
    schema = context.schema_of(run)
    samples = TrainTestSplit(run, window, *window_split.split_window(context, window, schema))
    backend, made, data = tuning_shards.load_training_data(context, samples)
    tuned = backend.tune(made, data, progress=context.progress)
    _, twin = dump_and_read_back(
        tuned.twin, context.experiment.trusted_types, code=context.code, scratch=context.temp_url
    )
    scores = backend.scores(made, twin, backend.to_judge(SampleReader(context, schema), samples.test))
    packages = [package for _, package in window]
    everything = backend.read(SampleReader(context, schema), packages, fraction=context.sampling_fraction(packages))
    fitted = backend.refit(made, lambda: twin, tuned.best_params, everything)
    signature = with_own_names(backend.signature(fitted, everything, schema), fitted, context.code)
    trusted = context.experiment.trusted_types
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
        "test_score": test_scores[backend.score_name(made)],
        "test_scores": test_scores,
    }


def _window(packages: list[dict[str, Any]], timezone: str) -> Window:
    return tuple(
        (_interval(one).in_timezone(timezone), Package(one["path"], one["digest"], one["n_rows"])) for one in packages
    )


def _interval(package: Mapping[str, Any]) -> DataInterval:
    start = datetime.fromisoformat(package["data_interval_start"])
    end = package.get("data_interval_end")  # rows of the first release have the start only, which names the packages
    return DataInterval(start, datetime.fromisoformat(end) if end else start + timedelta(days=1))


def _run(context: RunContext, row: Mapping[str, Any]) -> Run:
    identity = ("epoch", "batch_digest", "window_digest", "code_digest", "repeat")
    values = {name: row[name] for name in identity} | {"contract": row["contract_version"] or 0}
    return Run(row["run_id"], context.experiment.name, context.interval, **values)


@contextmanager
def _experiment(
    stores: Stores, row: Mapping[str, Any], present: Callable[[], Experiment]
) -> Iterator[tuple[Experiment, project_files.Codebase]]:
    """Give the experiment with the code that a row names, and the folder that this code is in meanwhile."""
    kept = Code.loads(stores.lake.read_bytes(row["code"])) if row["code"] else None
    if kept is None or kept.file is None:
        experiment = present()
        if experiment.code_digest != row["code_digest"]:
            raise NotFoundError(
                f"the code of run {row['run_id']} is not kept as a file, and {experiment.place} is another by now: its "
                f"digest is {experiment.code_digest[:12]}, and was {row['code_digest'][:12]}",
                hint="go back to the code of that time, as version control has it, and replay there",
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
                f"the code that is kept for run {row['run_id']} has the digest {experiment.code_digest[:12]}, and the "
                f"row says {row['code_digest'][:12]}",
                hint="the file was changed, or another version of Python or diurnal reads it otherwise: restore "
                f"{row['code']} in the lake, or replay with the versions of the row",
            )
        yield experiment, code


def _differences(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> tuple[Difference, ...]:
    names = [name for name in recorded if name in replayed and recorded[name] != replayed[name]]
    return tuple(Difference(name, recorded[name], replayed[name]) for name in names)
