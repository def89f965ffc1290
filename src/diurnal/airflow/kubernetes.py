"""How large the pod of a step is, on Kubernetes."""

from __future__ import annotations

import re
from typing import Any

from diurnal.errors import ExperimentError

_CPU = re.compile(r"\d+m|\d+(\.\d+)?")
_MEMORY = re.compile(r"\d+(\.\d+)?[KMGT]i")


def pod(*, cpu: float | str, memory: str) -> dict[str, Any]:
    """Return the size of the pod of a step, as Airflow's arguments of a task.

    Requests and limits are the same, so that what the pod was promised is what it gets and what it may take. All else
    stays as the deployment's template of pods says.

    Parameters
    ----------
    cpu : float or str
        In cores, ``4`` or ``"500m"``.
    memory : str
        In binary units, ``"8Gi"`` or ``"768Mi"``.

    Returns
    -------
    dict
        For ``build_dag(..., per_step={"tune": pod(cpu=4, memory="8Gi")})``. It is empty where Airflow's provider for
        Kubernetes is not installed, so that the same Dag file is good everywhere; other executors pass over it.

    Raises
    ------
    ExperimentError
        If Kubernetes would refuse the number, which it would say only when the step begins.
    """
    for name, given, form, like in (("cpu", cpu, _CPU, "4 or '500m'"), ("memory", memory, _MEMORY, "'8Gi' or '768Mi'")):
        if not form.fullmatch(str(given)):
            raise ExperimentError(f"{name} is {given!r}, which is no size of a pod", hint=f"write {name}={like}")
    try:
        from kubernetes.client import models
    except ModuleNotFoundError:
        return {}
    size = {"cpu": str(cpu), "memory": memory}
    # An override replaces the template's resources as a whole, limits included: so it says both.
    resources = models.V1ResourceRequirements(requests=size, limits=dict(size))
    container = models.V1Container(name="base", resources=resources)
    return {"executor_config": {"pod_override": models.V1Pod(spec=models.V1PodSpec(containers=[container]))}}
