"""Who may sign in, and how: https://airflow.apache.org/docs/apache-airflow-providers-fab (OAuth, LDAP, ...)."""

from flask_appbuilder.const import AUTH_DB

AUTH_TYPE = AUTH_DB
