#!/bin/sh
# Creates two databases with a role for each when the volume is new: Airflow's metastore and the warehouse.
# Neither role can connect to the other's database, and neither is a superuser.
set -eu

psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set airflow_password="$AIRFLOW_DB_PASSWORD" --set warehouse_password="$WAREHOUSE_PASSWORD" <<'SQL'
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE diurnal LOGIN PASSWORD :'warehouse_password';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE warehouse OWNER diurnal;
REVOKE CONNECT ON DATABASE airflow, warehouse, postgres FROM PUBLIC;
SQL
