"""An auth manager for tests: users of Airflow's own simple one, of whom some may see one Dag only."""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class NarrowAuthManager(SimpleAuthManager):
    """The simple auth manager; a user such as ``viewer@other`` has the rights of a viewer to the Dag ``other`` only."""

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        _, is_narrow, dag_id = user.get_name().partition("@")
        is_authorized = super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )
        return is_authorized and (not is_narrow or (details is not None and details.id == dag_id))
