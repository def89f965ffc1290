"""The flights as an Airflow Dag: one run for each data interval, at most one at a time, because of the window."""

from diurnal.airflow import build_dag

dag = build_dag("late")
