"""The documentation of an experiment's Dag: its declaration, its search, and the commands."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diurnal.experiment import Experiment

_SECRET = re.compile(r"://[^@/\s'\"]*@")
_MAX_LENGTH = 200

_POLICIES = {
    "always": "each new version becomes the champion",
    "approve": "a person decides, in the Dag `{dag_id}.approval`",
    "guarded": "a new version becomes the champion unless it is significantly worse",
    "never": "a person promotes, by the Dag `{dag_id}.champion` or the command line",
    "proven": "a challenger becomes the champion once it is proven better on successive new batches",
    "superior": "a new version becomes the champion if it is significantly better",
}
_COMMANDS = """
| to | in Airflow | on the command line |
|---|---|---|
| run one data interval | *Trigger*, with `batch` | `diurnal run {name} --date 2026-11-23` |
| retry a failed one | clear its run from `fetch` on | `diurnal airflow trigger {name} --date 2026-11-23 --retry` |
| see results | the log of `promote` | `diurnal runs {name}` |
| change the champion | the Dag `{dag_id}.champion` | `diurnal promote {name} VERSION`, `diurnal rollback {name}` |
| see the history of champions | the asset `{name}.champion` | `diurnal history {name}` |
"""


def dag_documentation(experiment: Experiment, dag_id: str) -> str:
    """Return the documentation, in Markdown; the experiment's own code is not run for it.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    dag_id : str
        The id of its Dag.
    """
    rows = {
        "source": f"`{_format_source(experiment.source)}`",
        "target": f"`{experiment.target}`",
        "key": _format_columns(experiment.key) or "the content of a row",
        "schedule": "none" if experiment.schedule is None else f"`{experiment.schedule}`",
        **({"labels": f"complete {experiment.label_delay} after a data interval"} if experiment.label_delay else {}),
        "window": f"`{experiment.window}`" + (" data interval" if experiment.window == 1 else ""),
        "test": "the newest data interval"
        if experiment.split == "time"
        else f"{experiment.test_size:.0%} of the samples",
        "promotion": f"`{experiment.promotion}`: "
        + _POLICIES.get(experiment.promotion, "see the documentation").format(dag_id=dag_id),
        "declared in": f"`{Path(experiment.file).name}`",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
    parts = [
        experiment.description,
        table,
        _search_code(experiment),
        _COMMANDS.format(name=experiment.name, dag_id=dag_id),
    ]
    return "\n\n".join(part.strip() for part in parts if part)


def _format_source(source: Any) -> str:
    """Return a source in one short line, without secrets."""
    text = f"{source.__name__}(interval)" if inspect.isfunction(source) else " ".join(repr(source).split())
    text = _SECRET.sub("://...@", text).replace("|", "\\|").replace("`", "'")
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 3] + "..."


def _search_code(experiment: Experiment) -> str:
    """Return the source code of the function that returns the search."""
    lines = experiment.text.splitlines()[experiment.line - 1 :]
    try:
        block = inspect.getblock([f"{line}\n" for line in lines])
    except (IndentationError, SyntaxError):
        return ""
    code = textwrap.dedent("".join(block)).rstrip()
    start = re.search(r"^def ", code, re.MULTILINE)
    return f"**Search**\n\n```python\n{code[start.start() :]}\n```" if start else ""


def _format_columns(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{column}`" for column in columns)
