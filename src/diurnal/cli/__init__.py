"""The command line: parse the arguments, call the library, print the result.

Only click is imported before a command runs, so that ``diurnal --help`` is fast.
"""

from __future__ import annotations

import gc
import sys

from diurnal.cli.commands import diurnal
from diurnal.errors import DiurnalError

__all__ = ["main"]

_ISSUES = "https://github.com/diurnal-ml/diurnal/issues"
_INTERNAL_ERROR = 70  # exit statuses of sysexits.h, and those that a shell uses for signals
_SIGINT = 130
_SIGTERM = 143
# A command imports a quarter of a million objects that stay, and the default of 700 has them searched again and again.
_GC_THRESHOLD = 10_000


def main() -> None:
    """Run the command line; an error is one message on standard error and an exit status of ``sysexits.h``."""
    import os
    import signal

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_SIGTERM))  # so that exit handlers run
    gc.set_threshold(_GC_THRESHOLD)
    status: int | str | None = 0
    try:
        status = _run_command()
        sys.stdout.flush()  # here, as at the exit of the interpreter a closed pipe would print a traceback
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    gc.freeze()  # the exit of the interpreter would search all objects for cycles, and the process ends anyway
    sys.exit(status)


def _run_command() -> int | str | None:
    """Run a command, and return its exit status."""
    import click

    out = sys.stdout
    try:
        diurnal(standalone_mode=False)
    except SystemExit as end:
        # For a closed pipe click and rich exit with status 1: click replaces stdout, rich chains the error.
        if sys.stdout is not out or isinstance(end.__context__, BrokenPipeError):
            return 0
        if end.code == _SIGTERM:
            click.echo("diurnal: terminated; run it again to continue from what is stored", err=True)
        return end.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("diurnal: interrupted; run it again to continue from what is stored", err=True)
        return _SIGINT
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost handler: a user gets a message, not a traceback
        return _print_error(error)
    return 0


def _print_error(error: Exception) -> int:
    """Print an error, and return its exit status; an error of an unknown type is an internal error."""
    import click

    if not isinstance(error, DiurnalError):
        from diurnal.pipeline.error_context import as_diurnal_error, is_environment_error

        error = as_diurnal_error(error) if is_environment_error(error) else error
    if not isinstance(error, DiurnalError):
        click.echo(f"diurnal: internal error: {type(error).__name__}: {error}", err=True)
        click.echo(_format_traceback(error), err=True)
        click.echo(f"hint: please report it at {_ISSUES}", err=True)
        return _INTERNAL_ERROR
    category = "note" if error.exit_status == 0 else "error"
    click.echo(f"diurnal: {category}: {error}", err=True)
    return error.exit_status


def _format_traceback(error: Exception) -> str:
    """Return the last four frames of an error's traceback."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return "\n".join(f"  in {frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
