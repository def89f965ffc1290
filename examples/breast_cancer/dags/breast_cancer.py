"""The tutorial's experiment as an Airflow Dag: one run for each data interval."""

from diurnal.airflow import build_dag

dag = build_dag("breast_cancer")
