"""Options and arguments that several commands have."""

from __future__ import annotations

import math

import click

name_argument = click.argument("name", metavar="NAME")
json_option = click.option("--json", "json_", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
force_option = click.option("--force", is_flag=True, help="Run again even if a result exists.")
future_option = click.option("--allow-future", is_flag=True, help="Allow an interval that has not ended.")
version_type = click.IntRange(min=1, max=2**31 - 1)
hours_type = click.FloatRange(min=0, max=87_600)


def reject_nan(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Reject nan, a float that passes every range check; a callback of an option."""
    if math.isnan(value):
        raise click.BadParameter("nan is not in the range 0<=x<=87600.")
    return value
