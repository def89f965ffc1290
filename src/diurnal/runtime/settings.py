"""The settings of one deployment, from the environment and ``diurnal.toml``."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diurnal.errors import ConfigurationError, did_you_mean
from diurnal.runtime import fault_injection
from diurnal.runtime.connection_uris import PREFIX, Connections, parse_connection_uri, parse_spark_master
from diurnal.runtime.mlflow_address import VARIABLE, MlflowAddress
from diurnal.runtime.project_files import FILE

_DEFAULTS = {
    "lake": "data",
    "models": "models",
    "warehouse": "embedded",
    "experiments": "experiments",
    "spark": "local[*]",
    "cores": "",
    "notify": "",
    "metrics_token": "",
    "mlflow": "",
}
_VARIABLES = {f"DIURNAL_{key.upper()}": key for key in _DEFAULTS}
# DIURNAL_IMAGE is recorded in the rows of runs (fit_environment.py); DIURNAL_TRUSTED_TYPES is for programs that load a
# model with MLflow (mlflow/pyfunc_model.py); DIURNAL_FAULT is for tests (fault_injection.py)
_OTHER_VARIABLES = ("DIURNAL_PROJECT", "DIURNAL_IMAGE", "DIURNAL_TRUSTED_TYPES", "DIURNAL_FAULT")
_MIN_TOKEN = 16
_WAREHOUSE_CONNECTION = f"{PREFIX}DIURNAL_WAREHOUSE"
_SPARK_CONNECTION = f"{PREFIX}DIURNAL_SPARK"


@dataclass(frozen=True)
class Settings:
    """The locations and services of one deployment.

    Attributes
    ----------
    project : Path
        The project folder; relative paths start here.
    lake, models : str
        A folder, absolute, or any fsspec URL.
    warehouse : str
        ``"embedded"``, or the URL of a PostgreSQL. It may contain a password and is not part of the repr.
    experiments : Path
        The folder of experiments.
    spark : str
        The master of Spark, for experiments that return an estimator of pyspark.ml.
    cores : int or None
        The greatest number of cores that tuning uses; None: all that the process may use.
    notify : tuple of str
        URLs of apprise that ``diurnal doctor`` sends alarms to. They contain secrets and are not part of the repr.
    metrics_token : str
        The bearer token with which Prometheus reads ``/metrics`` of ``diurnal page``; empty: none. Not in the repr.
    mlflow : MlflowAddress or None
        The MLflow server that shows copies of results; None: there is none. Not in the repr.
    origins : Mapping of str to str
        The origin of each value: the name of a variable, the path of ``diurnal.toml`` or ``"default"``.
    environment : Mapping of str to str
        The variables when the settings were read; not part of the repr either.
    """

    project: Path
    lake: str
    models: str
    warehouse: str = field(repr=False)
    experiments: Path
    spark: str
    cores: int | None
    notify: tuple[str, ...] = field(repr=False)
    metrics_token: str = field(repr=False)
    mlflow: MlflowAddress | None = field(repr=False)
    origins: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def load(
        cls, start: Path | None = None, environment: Mapping[str, str] | None = None, *, relative_to: Path | None = None
    ) -> Settings:
        """Read the environment and ``diurnal.toml``; the environment wins.

        Parameters
        ----------
        start : Path, optional
            The project is the nearest folder from here upwards that contains ``diurnal.toml``, else this one.
            None: ``DIURNAL_PROJECT``, else from `relative_to`.
        environment : Mapping of str to str, optional
            None: that of the process.
        relative_to : Path, optional
            The folder to start from if neither `start` nor ``DIURNAL_PROJECT`` is set. None: the working directory.

        Raises
        ------
        ConfigurationError
            If a setting is unknown or not valid.
        """
        environment = os.environ if environment is None else environment
        for name in environment:
            if name.startswith("DIURNAL_") and name not in _VARIABLES and name not in _OTHER_VARIABLES:
                raise ConfigurationError(
                    f"there is no setting {name}{did_you_mean(name, _VARIABLES)}",
                    hint=f"the settings are {', '.join(_VARIABLES)} and DIURNAL_PROJECT; unset this one",
                )
        if environment.get("DIURNAL_FAULT"):
            fault_injection.arm_fault(environment["DIURNAL_FAULT"])
        project = _find_project(start, environment, relative_to)
        values, origins = dict(_DEFAULTS), dict.fromkeys(_DEFAULTS, "default")
        shared = [(VARIABLE, "mlflow", environment[VARIABLE])] if environment.get(VARIABLE) else []  # MLflow's own
        for origin, key, value in [*shared, *_read_file(project / FILE), *_read_environment(environment)]:
            values[key], origins[key] = value, origin
        cores = _check_cores(values["cores"], origins["cores"])
        return cls(
            project=project,
            lake=_resolve_url(values["lake"], project),
            models=_resolve_url(values["models"], project),
            warehouse=_check_warehouse(values["warehouse"], origins["warehouse"]),
            experiments=project / Path(values["experiments"]).expanduser(),
            spark=_limit_master(_check_master(values["spark"], origins["spark"]), cores),
            cores=cores,
            notify=tuple(values["notify"].split()),
            metrics_token=_check_token(values["metrics_token"], origins["metrics_token"]),
            mlflow=MlflowAddress.parse(values["mlflow"], origins["mlflow"], environment),
            origins=origins,
            environment=dict(environment),
        )

    @property
    def is_project(self) -> bool:
        """Whether there is a project: a file ``diurnal.toml``, a setting, ``DIURNAL_PROJECT`` or data."""
        is_set = self.environment.get("DIURNAL_PROJECT") or {"default"} != {
            self.origins[k] for k in ("warehouse", "lake")
        }
        return bool(is_set) or (self.project / FILE).is_file() or Path(self.lake).is_dir()

    def connections(self) -> Connections:
        """Return the connections of the variables ``AIRFLOW_CONN_<ID>``."""
        return Connections(self.environment, self.project)


def _find_project(start: Path | None, environment: Mapping[str, str], relative_to: Path | None) -> Path:
    name = environment.get("DIURNAL_PROJECT")
    if start is None and name:
        folder = Path(name).expanduser().resolve()
        if not folder.is_dir():
            raise ConfigurationError(
                f"DIURNAL_PROJECT names {folder}, which is not a folder", hint="set it to the project's folder"
            )
        return folder
    here = (start or relative_to or Path.cwd()).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / FILE).is_file()), here)


def _read_file(path: Path) -> list[tuple[str, str, str]]:
    """Read ``diurnal.toml``, if there is one."""
    if not path.is_file():
        return []
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}", hint='write [diurnal] and key = "value"') from None
    table = content.pop("diurnal", {})
    for name in content:
        raise ConfigurationError(
            f"{path} has {name!r} outside of its one table, [diurnal]{did_you_mean(name, ['diurnal'])}",
            hint="put settings below a line [diurnal]",
        )
    if not isinstance(table, dict):
        raise ConfigurationError(
            f"in {path}, diurnal is a value, not a table", hint="write a line [diurnal] above the settings"
        )
    if type(table.get("cores")) is int:
        table["cores"] = str(table["cores"])
    for key, value in table.items():
        if key not in _DEFAULTS:
            raise ConfigurationError(
                f"{path} has no setting {key!r}{did_you_mean(key, _DEFAULTS)}",
                hint=f"the settings are {', '.join(_DEFAULTS)}",
            )
        if not isinstance(value, str) or not value:
            raise ConfigurationError(
                f"in {path}, {key} is not a text" if value != "" else f"in {path}, {key} is empty",
                hint=f'write {key} = "{_DEFAULTS[key] or "..."}", or leave it out',
            )
    return [(str(path), key, value) for key, value in table.items()]


def _read_environment(environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Read the variables; an empty one is not set. The warehouse and Spark may be connections of Airflow."""
    values = []
    if environment.get(_WAREHOUSE_CONNECTION):
        url = parse_connection_uri(environment[_WAREHOUSE_CONNECTION], _WAREHOUSE_CONNECTION)
        values.append((_WAREHOUSE_CONNECTION, "warehouse", url))
    if environment.get(_SPARK_CONNECTION):
        master = parse_spark_master(environment[_SPARK_CONNECTION], _SPARK_CONNECTION)
        values.append((_SPARK_CONNECTION, "spark", master))
    values += [(name, key, environment[name]) for name, key in _VARIABLES.items() if environment.get(name)]
    return values


def _resolve_url(value: str, project: Path) -> str:
    return value if "://" in value else str(project / Path(value).expanduser())


def _check_master(value: str, origin: str) -> str:
    if re.fullmatch(r"local(\[[^\]]+\])?|yarn|(spark|k8s)://\S+", value):
        return value
    known = ("local", "yarn", "spark://", "k8s://")
    raise ConfigurationError(
        f"spark ({origin}) is {value!r}, which is not a master{did_you_mean(value, known)}; it is local[*], local[4], "
        "spark://host:7077, yarn or k8s://https://host:6443",
        hint="write one of these, or remove it for local[*]",
    )


def _limit_master(master: str, cores: int | None) -> str:
    return f"local[{cores}]" if cores is not None and master == "local[*]" else master


def _check_cores(value: str, origin: str) -> int | None:
    if not value:
        return None
    if re.fullmatch(r"[1-9][0-9]{0,5}", value):
        return int(value)
    raise ConfigurationError(
        f"cores ({origin}) is {value!r}; it is a whole number from 1",
        hint="write the number of cores that tuning may use, or remove it for all that the process may use",
    )


def _check_token(value: str, origin: str) -> str:
    if not value or (len(value) >= _MIN_TOKEN and re.fullmatch(r"[\x21-\x7e]+", value)):
        return value
    raise ConfigurationError(
        f"metrics_token ({origin}) is not a token: it has at least {_MIN_TOKEN} characters of ASCII, without spaces",
        hint='make one with: python -c "import secrets; print(secrets.token_urlsafe())"',
    )


def _check_warehouse(value: str, origin: str) -> str:
    scheme, colon, rest = value.partition("://")
    if colon and scheme in ("postgresql", "postgres"):
        return f"postgresql://{rest}"
    if value == "embedded":
        return value
    if colon:
        value_text = f"a URL that starts with {scheme}://"
    elif re.fullmatch(r"\w{1,12}", value):
        value_text = repr(value) + did_you_mean(value, ["embedded"])
    else:
        value_text = "something else (it is not shown: it may contain a password)"
    raise ConfigurationError(
        f"the warehouse ({origin}) is {value_text}; it is 'embedded' or a PostgreSQL URL",
        hint="write postgresql://user:password@host:5432/warehouse, or remove it for the embedded one",
    )
