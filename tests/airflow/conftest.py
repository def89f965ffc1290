"""The Airflow in which tests run Dags."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_home import Runner


@pytest.fixture(scope="session")
def airflow_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A process that runs Dags; it lasts as long as the tests of this worker, as it takes long until its first run.

    Tests that use it have the mark ``xdist_group("airflow")``, so that one worker has it.
    """
    runner = Runner(tmp_path_factory.mktemp("airflow"))
    yield runner
    runner.close()
