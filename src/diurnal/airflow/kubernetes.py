"""The size of the pod of a step, on Kubernetes."""

from __future__ import annotations

import re
import warnings
from typing import Any

from diurnal.errors import ExperimentError

_CPU = re.compile(r"\d+m|\d+(\.\d+)?")
_MEMORY = re.compile(r"\d+(\.\d+)?[KMGT]i")


def pod_override(*, cpu: float | str, memory: str) -> dict[str, Any]:
    """Return the size of the pod of a step, as Airflow's arguments of a task.

    Requests and limits are equal, so that the pod gets exactly what is reserved for it. The rest of the pod is as the
    pod template of the deployment defines it.

    Parameters
    ----------
    cpu : float or str
        In cores, ``4`` or ``"500m"``.
    memory : str
        In binary units, ``"8Gi"`` or ``"768Mi"``.

    Returns
    -------
    dict
        For ``build_dag(..., step_kwargs={"tune": pod_override(cpu=4, memory="8Gi")})``. It is empty where Airflow's
        provider for Kubernetes is not installed, so that the same Dag file works everywhere; other executors ignore it.

    Raises
    ------
    ExperimentError
        If a value is not a Kubernetes quantity: Kubernetes itself would reject it only when the step starts.
    """
    for name, value, pattern, examples in (
        ("cpu", cpu, _CPU, "4 or '500m'"),
        ("memory", memory, _MEMORY, "'8Gi' or '768Mi'"),
    ):
        if not pattern.fullmatch(str(value)):
            raise ExperimentError(f"{name}={value!r} is not a Kubernetes quantity", hint=f"write {name}={examples}")
    try:
        from kubernetes.client import models
    except ModuleNotFoundError:
        return {}
    size = {"cpu": str(cpu), "memory": memory}
    # An override replaces the resources of the template as a whole, limits included, so it sets both.
    resources = models.V1ResourceRequirements(requests=size, limits=dict(size))
    container = models.V1Container(name="base", resources=resources)
    return {"executor_config": {"pod_override": models.V1Pod(spec=models.V1PodSpec(containers=[container]))}}


def pod(*, cpu: float | str, memory: str) -> dict[str, Any]:
    """Return :func:`pod_override`; a deprecated alias."""
    warnings.warn(
        "diurnal.airflow.pod is deprecated; use diurnal.airflow.pod_override", DeprecationWarning, stacklevel=2
    )
    return pod_override(cpu=cpu, memory=memory)
