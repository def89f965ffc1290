"""The command line: parse, call, print.

Only click is imported before a command runs, so that ``diurnal --help`` answers at once.
"""

from __future__ import annotations

import sys

from diurnal.cli.commands import diurnal
from diurnal.errors import DiurnalError

__all__ = ["main"]


def main() -> None:
    """Run the command line; errors become one message on standard error and an exit status of ``sysexits.h``."""
    import signal

    import click

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is to be done at exit is done
    try:
        diurnal(standalone_mode=False)
    except DiurnalError as error:
        _say(error)
        sys.exit(error.exit_status)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("diurnal: interrupted; running it again goes on from what is kept", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        from diurnal.flow import in_our_words

        ours = in_our_words(error)
        _say(ours)
        sys.exit(ours.exit_status)
    except Exception as error:  # noqa: BLE001 - the last door: a bug of ours is said to be one, with where to look
        click.echo(f"diurnal: a bug of ours: {type(error).__name__}: {error}", err=True)
        click.echo(_where(error), err=True)
        sys.exit(70)


def _say(error: DiurnalError) -> None:
    import click

    word = "note" if error.exit_status == 0 else "error"
    click.echo(f"diurnal: {word}: {error}", err=True)


def _where(error: Exception) -> str:
    """Give the last lines of our own code that the error came through."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return "\n".join(f"  in {frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
