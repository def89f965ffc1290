"""The documentation of an experiment's Dag: what it declares, how it searches, and the commands."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diurnal.experiment import Experiment

_SECRET = re.compile(r"://[^@/\s'\"]*@")
_LONGEST = 200

_POLICIES = {
    "always": "each new version becomes the champion",
    "approve": "a person decides, in the Dag `{dag_id}.approval`",
    "guarded": "a new version becomes the champion unless it is worse by more than chance",
    "never": "a person promotes, by the Dag `{dag_id}.champion` or the command line",
    "superior": "a new version becomes the champion if it is better by more than chance",
}
_COMMANDS = """
| to | in Airflow | on the command line |
|---|---|---|
| run one data interval | *Trigger*, with `batch` | `diurnal run {name} --date 2026-11-23` |
| repeat one that failed | clear its run from `fetch` on | `diurnal airflow trigger {name} --date 2026-11-23 --retry` |
| see results | the log of `promote` | `diurnal runs {name}` |
| change the champion | the Dag `{dag_id}.champion` | `diurnal promote {name} VERSION`, `diurnal rollback {name}` |
| see what served when | the asset `{name}.champion` | `diurnal history {name}` |
"""


def doc_of(experiment: Experiment, dag_id: str) -> str:
    """Give the documentation, in Markdown; nothing of it is computed by the experiment's own code.

    Parameters
    ----------
    experiment : Experiment
        What is documented.
    dag_id : str
        Of its Dag.
    """
    rows = {
        "source": f"`{_source(experiment.source)}`",
        "target": f"`{experiment.target}`",
        "key": _listed(experiment.key) or "the content of a row",
        "schedule": "by hand" if experiment.schedule is None else f"`{experiment.schedule}`",
        "window": f"`{experiment.window}`" + (" data interval" if experiment.window == 1 else ""),
        "test": "the newest data interval"
        if experiment.split == "time"
        else f"{experiment.test_size:.0%} of the samples",
        "promotion": f"`{experiment.promotion}`: "
        + _POLICIES.get(experiment.promotion, "see the pages").format(dag_id=dag_id),
        "declared in": f"`{Path(experiment.file).name}`",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
    parts = [experiment.description, table, _search(experiment), _COMMANDS.format(name=experiment.name, dag_id=dag_id)]
    return "\n\n".join(part.strip() for part in parts if part)


def _source(source: Any) -> str:
    """Name a source in one short line, without a secret."""
    said = f"{source.__name__}(interval)" if inspect.isfunction(source) else " ".join(repr(source).split())
    said = _SECRET.sub("://...@", said).replace("|", "\\|").replace("`", "'")
    return said if len(said) <= _LONGEST else said[: _LONGEST - 3] + "..."


def _search(experiment: Experiment) -> str:
    """Show the function that returns the search, as it is written."""
    lines = experiment.text.splitlines()[experiment.line - 1 :]
    try:
        block = inspect.getblock([f"{line}\n" for line in lines])
    except (IndentationError, SyntaxError):
        return ""
    code = textwrap.dedent("".join(block)).rstrip()
    start = re.search(r"^def ", code, re.MULTILINE)
    return f"**Search**\n\n```python\n{code[start.start() :]}\n```" if start else ""


def _listed(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{column}`" for column in columns)
