"""Authentication of users: https://airflow.apache.org/docs/apache-airflow-providers-fab (OAuth, LDAP, ...)."""

from flask_appbuilder.const import AUTH_DB

AUTH_TYPE = AUTH_DB
