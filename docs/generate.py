"""Write docs/commands.md from the command line's own help."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from diurnal.cli.commands import diurnal

PAGE = Path(__file__).parent / "commands.md"
HEAD = """# Commands

Written by `make docs` from the program's own help.

Every list takes `--json`: objects whose keys are the columns of the tables. Exit statuses are those of `sysexits.h`:

| status | meaning | what to do |
|---|---|---|
| 0 | done, or there was nothing to do, or a newer attempt has taken over | |
| 1 | a question was answered with no; nothing was changed | |
| 2 | the call or the declaration is wrong | read the message: it names the nearest word |
| 65 | the batch is refused, or a file is damaged | look into the quarantine folder that the message names |
| 70 | a bug of ours | please report it |
| 75 | the world is at fault, for now | run it again: it goes on from what is kept |
| 77 | this user is not allowed to | |
| 78 | a setting is wrong | |
| 130, 143 | interrupted by Ctrl-C, or terminated | run it again: it goes on from what is kept |
"""


def commands(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Give a command and, if it is a group, what is below it."""
    yield words, command
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from commands(f"{words} {name}", below)


def page() -> str:
    """Give the text of the page."""
    parts = [HEAD]
    for words, command in commands("diurnal", diurnal):
        context = click.Context(command, info_name=words, max_content_width=100, terminal_width=100)
        parts.append(f"## {words}\n\n```text\n{command.get_help(context).strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
