"""The command ``diurnal``, and its subcommands."""

from __future__ import annotations

import click

from diurnal.cli.airflow_commands import airflow
from diurnal.cli.contract_commands import contract
from diurnal.cli.doctor_commands import doctor
from diurnal.cli.mlflow_commands import mlflow
from diurnal.cli.model_commands import history, models, predict, promote, replay, rollback
from diurnal.cli.page_commands import page
from diurnal.cli.project_commands import check, init, list_experiments
from diurnal.cli.removal_commands import erase, remove
from diurnal.cli.report_commands import report
from diurnal.cli.run_commands import backfill, run, runs
from diurnal.cli.score_commands import list_live_scores, score
from diurnal.cli.serve_commands import serve
from diurnal.cli.trace_commands import trace
from diurnal.cli.warehouse_commands import gc, profile, verify, warehouse


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="diurnal", prog_name="diurnal")
def diurnal() -> None:
    """Turn a scikit-learn search into a daily retraining service.

    NAME is an experiment: its name in the folder experiments/, or a reference such as
    experiments.breast_cancer:breast_cancer.
    """


for _command in (
    init,
    list_experiments,
    check,
    run,
    backfill,
    runs,
    doctor,
    models,
    history,
    promote,
    rollback,
    replay,
    predict,
    score,
    list_live_scores,
    trace,
    verify,
    profile,
    gc,
    erase,
    remove,
    warehouse,
    airflow,
    contract,
    page,
    report,
    serve,
    mlflow,
):
    diurnal.add_command(_command)
