"""Write the pages that are made of the program's own help and docstrings: commands.md, experiment.md and api.md."""

from __future__ import annotations

import inspect
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from docstring_parser import Docstring, DocstringParam, DocstringStyle, parse

import diurnal
import diurnal.errors
import diurnal.search
import diurnal.sources
from diurnal.cli.commands import diurnal as program
from diurnal.experiment.arguments import REQUIRED

DOCS = Path(__file__).parent

COMMANDS = """# Commands

Written by `make docs` from the program's own help.

Every list takes `--json`: objects whose keys are the columns of the tables. Exit statuses are those of `sysexits.h`:

| status | meaning | what to do |
|---|---|---|
| 0 | success; nothing to do; or a newer attempt has taken over | |
| 1 | a confirmation was declined; nothing was changed | |
| 2 | the command or the experiment is not valid | read the message: it suggests the nearest name |
| 65 | the batch is rejected, or a file is damaged | look into the quarantine folder in the message |
| 70 | an internal error of diurnal | please report it, with the printed traceback |
| 75 | a temporary failure (network, disk, database), or the code was edited meanwhile | run it again |
| 77 | this user has no permission | |
| 78 | a setting is not valid | |
| 130, 143 | interrupted by Ctrl-C, or terminated | run it again: it continues from what is stored |
"""

EXPERIMENT = """# @experiment

Written by `make docs` from the docstring of `diurnal.experiment`.

`@experiment(...)` stands above a function without arguments that returns a search in scikit-learn's conventions, a bare
estimator, or a search of pyspark.ml. All arguments are given by name; `source` and `target` are required. The name of
the function names the experiment, its tables, folders and Dag; its docstring describes them.

What is declared here is what an experiment *is*. Where it is kept is a matter of the
[settings](settings.md). Arguments that move numbers count for the
[digest of the code](provenance.md); schedule, timezone, retries, promotion and the like do not.
"""

API = """# Python API

Written by `make docs` from the docstrings. These names are promised: a change of them is in the changelog. Anything
else is internal, whatever its name.
"""

# Aliases of types have no docstring of their own; former names have that of the new name.
ALIASES = ("Connections", "combine", "pod", "shards", "understands")

EXAMPLES = {
    "source": 'source=Files("incoming/{start:%Y-%m-%d}.csv")',
    "target": 'target="churned"',
    "key": 'key=("shop", "order_id")',
    "drop": 'drop=("name", "comment")',
    "duplicates": 'duplicates="keep"',
    "schedule": 'schedule="0 6 * * 1"  # Mondays at six: the week before',
    "timezone": 'timezone="America/New_York"',
    "start_date": 'start_date="2026-01-01"',
    "catchup": "catchup=True",
    "retries": "retries=3",
    "max_active_runs": "max_active_runs=2",
    "window": 'window="30d"',
    "test_size": "test_size=0.2",
    "sample": "sample=0.1",
    "groups": 'groups="patient"',
    "sample_weight": 'sample_weight="exposure"',
    "order_by": 'order_by="sold_at"',
    "split": 'split="time"',
    "promotion": 'promotion="superior"',
    "n_tuning_shards": "n_tuning_shards=4",
    "trusted_types": 'trusted_types=("our_package.Encoder",)',
    "new_columns": 'new_columns="accept"',
    "checks": 'checks=pa.DataFrameSchema({"age": pa.Column(float, pa.Check.ge(0))})',
    "limits": "limits=Limits(min_rows=1_000, max_null=0.2)",
    "tags": 'tags=("sales", "hourly")',
    "owner": 'owner="forecasting team"',
}
"""An example of each argument, as it is written in the call."""


def pages() -> dict[Path, str]:
    """Return the text of each page."""
    return {
        DOCS / "commands.md": commands_page(),
        DOCS / "experiment.md": experiment_page(),
        DOCS / "api.md": api_page(),
    }


def commands_page() -> str:
    """Return the help of every command."""
    parts = [COMMANDS]
    for name, command in _commands("diurnal", program):
        context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
        parts.append(f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n")
    return "\n".join(parts)


def _commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    arguments = [str(one.metavar) for one in command.params if isinstance(one, click.Argument)]
    for word, below in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(" ".join([name, *arguments, word]), below)


def experiment_page() -> str:
    """Return every argument of `@experiment`: its type, its default, what it means and an example."""
    parts = [EXPERIMENT]
    defaults = inspect.signature(diurnal.experiment).parameters
    for param in _docstring(diurnal.experiment).params:
        for name in param.arg_name.split(", "):
            default = defaults[name].default
            shown = "required" if default is REQUIRED else f"default `{default!r}`"
            text = _markdown(param.description or "")
            parts.append(f"## {name}\n\n{_type(param)}, {shown}\n\n{text}\n\n```python\n{EXAMPLES[name]}\n```\n")
    return "\n".join(parts)


def api_page() -> str:
    """Return the docstrings of what is promised."""
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="diurnal-docs-"))  # importing Airflow makes files
    import diurnal.airflow  # noqa: PLC0415

    parts = [API]
    for module, names in (
        (diurnal, ["load_model", "runs", "versions", "promotions", "candidates", "DataInterval", "Limits"]),
        (diurnal.sources, diurnal.sources.__all__),
        (diurnal.airflow, diurnal.airflow.__all__),
        (diurnal.search, diurnal.search.__all__),
    ):
        parts.append(f"## {module.__name__}\n\n{_markdown((inspect.getdoc(module) or '').partition(chr(10))[0])}\n")
        parts += [_entry(f"{module.__name__}.{name}", getattr(module, name)) for name in names if name not in ALIASES]
    tree = inspect.cleandoc(diurnal.errors.__doc__ or "")
    parts.append("## diurnal.errors\n\n" + _markdown(tree) + "\n")
    parts += [_entry(f"diurnal.errors.{name}", getattr(diurnal.errors, name)) for name in diurnal.errors.__all__]
    return "\n".join(parts)


def _entry(name: str, promised: Any) -> str:
    """Return the section of a function or class."""
    parsed = _docstring(promised)
    parts = [f"### {name}", _markdown(parsed.short_description or "")]
    if parsed.long_description:
        parts.append(_markdown(parsed.long_description))
    if callable(promised) and parsed.params:
        parts.append(f"```python\n{_call(name.rpartition('.')[2], promised)}\n```")
    listed = [f"- `{param.arg_name}` ({_type(param)}): {_inline(param.description)}" for param in parsed.params]
    if parsed.returns and parsed.returns.description:
        listed.append(f"- returns {_inline(parsed.returns.type_name)}: {_inline(parsed.returns.description)}")
    listed += [f"- raises `{error.type_name}`: {_inline(error.description)}" for error in parsed.raises]
    parts += ["\n".join(listed)] if listed else []
    if example := _example(promised):
        parts.append(f"```pycon\n{example}\n```")
    return "\n\n".join(parts) + "\n"


def _call(name: str, promised: Callable[..., Any]) -> str:
    """Return how it is called, with defaults and without annotations."""
    shown = []
    for param in inspect.signature(promised).parameters.values():
        bare = param.replace(annotation=inspect.Parameter.empty)
        is_first_of_named = param.kind is param.KEYWORD_ONLY and "*" not in "".join(shown)
        shown += ["*", str(bare)] if is_first_of_named else [str(bare)]
    return re.sub(r"<.*? at 0x\w+>", "...", f"{name}({', '.join(shown)})")


def _docstring(documented: Any) -> Docstring:
    return parse(inspect.getdoc(documented) or "", DocstringStyle.NUMPYDOC)


def _type(param: DocstringParam) -> str:
    optional = ", optional" * bool(param.is_optional)
    return f"`{param.type_name}`{optional}" if param.type_name else "attribute"


def _example(documented: Any) -> str:
    _, _, text = (inspect.getdoc(documented) or "").partition("\nExamples\n--------\n")
    return text.strip()


def _inline(text: str | None) -> str:
    return " ".join(_markdown(text or "").split())


def _markdown(text: str) -> str:
    """Turn what our docstrings have of reStructuredText into Markdown."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    block = re.compile(r"\.\. code-block:: text\n\n((?:    .*\n|\n)+)")
    return block.sub(lambda found: f"```text\n{inspect.cleandoc(found[1])}\n```\n\n", text).strip()


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
