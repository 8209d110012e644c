#!/bin/sh
# Roles and databases, once, when the cluster is new: each role sees its own databases alone. Optuna, MLflow and MLflow's
# accounts have migrations of their own and must not share one.
set -eu

for pair in "mlflow:$MLFLOW_DB_PASSWORD" "lab:$LAB_DB_PASSWORD"; do
  psql --username "$POSTGRES_USER" --dbname postgres --no-psqlrc --quiet -v ON_ERROR_STOP=1 \
    -v role="${pair%%:*}" -v word="${pair#*:}" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'word';
SQL
done

for pair in mlflow:mlflow mlflow_auth:mlflow optuna:lab schedule:lab; do
  psql --username "$POSTGRES_USER" --dbname postgres --no-psqlrc --quiet -v ON_ERROR_STOP=1 \
    -v name="${pair%%:*}" -v owner="${pair#*:}" <<'SQL'
CREATE DATABASE :"name" OWNER :"owner";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
