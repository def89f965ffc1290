"""The command line: parse, call, print.

Only click is imported before a command runs, so that ``diurnal --help`` answers at once.
"""

from __future__ import annotations

import sys

from diurnal.cli.commands import diurnal
from diurnal.errors import DiurnalError

__all__ = ["main"]

_TERMINATED = 143  # what a shell gives for a process that SIGTERM ended


def main() -> None:
    """Run the command line; errors become one message on standard error and an exit status of ``sysexits.h``."""
    import os
    import signal

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # so that what is to be done at exit is done
    status: int | str | None = 0
    try:
        status = _status()
        sys.stdout.flush()  # here, and not when the interpreter ends, where a closed pipe is an ugly message
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _status() -> int | str | None:
    """Carry out a command, and give its exit status."""
    import click

    out = sys.stdout
    try:
        diurnal(standalone_mode=False)
    except SystemExit as end:
        # Of a reader who has seen enough both make a status 1: click puts a wrapper about the output, rich says why.
        if sys.stdout is not out or isinstance(end.__context__, BrokenPipeError):
            return 0
        if end.code == _TERMINATED:
            click.echo("diurnal: terminated; running it again goes on from what is kept", err=True)
        return end.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("diurnal: interrupted; running it again goes on from what is kept", err=True)
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, it is said and not thrown at a person
        return _say(error)
    return 0


def _say(error: Exception) -> int:
    """Say an error, and give its exit status; what is neither ours nor the operating system's is a bug of ours."""
    import click

    if not isinstance(error, DiurnalError):
        from diurnal.pipeline.error_context import as_diurnal_error, is_environment_error

        error = as_diurnal_error(error) if is_environment_error(error) else error
    if not isinstance(error, DiurnalError):
        click.echo(f"diurnal: a bug of ours: {type(error).__name__}: {error}", err=True)
        click.echo(_where(error), err=True)
        return 70
    word = "note" if error.exit_status == 0 else "error"
    click.echo(f"diurnal: {word}: {error}", err=True)
    return error.exit_status


def _where(error: Exception) -> str:
    """Give the last lines of our own code that the error came through."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return "\n".join(f"  in {frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
