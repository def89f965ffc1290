"""The settings of one deployment: the only file that reads the environment."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diurnal.errors import ConfigurationError, did_you_mean
from diurnal.runtime import fault_injection
from diurnal.runtime.connection_uris import PREFIX, Connections, spark_master, uri
from diurnal.runtime.project_files import FILE

_DEFAULTS = {
    "lake": "data",
    "models": "models",
    "warehouse": "embedded",
    "experiments": "experiments",
    "spark": "local[*]",
}
_VARIABLES = {f"DIURNAL_{key.upper()}": key for key in _DEFAULTS}
# DIURNAL_IMAGE is recorded in the rows of runs (environment.py); DIURNAL_FAULT is for tests only (fault_injection.py)
_OTHER_VARIABLES = ("DIURNAL_PROJECT", "DIURNAL_IMAGE", "DIURNAL_FAULT")
_WAREHOUSE_CONNECTION = f"{PREFIX}DIURNAL_WAREHOUSE"
_SPARK_CONNECTION = f"{PREFIX}DIURNAL_SPARK"


@dataclass(frozen=True)
class Settings:
    """Where everything of one deployment is kept.

    Attributes
    ----------
    project : Path
        The project folder; relative paths start here.
    lake, models : str
        A folder, absolute, or any fsspec URL.
    warehouse : str
        ``"embedded"``, or the URL of a PostgreSQL; it may hold a password and is no part of the repr.
    experiments : Path
        The folder of experiments.
    spark : str
        The master of Spark, for experiments that return something of pyspark.ml.
    origins : Mapping of str to str
        Where each value came from: a variable's name, the path of ``diurnal.toml`` or ``"default"``.
    environment : Mapping of str to str
        As it was when the settings were read; no part of the repr either.
    """

    project: Path
    lake: str
    models: str
    warehouse: str = field(repr=False)
    experiments: Path
    spark: str
    origins: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def load(
        cls, start: Path | None = None, environment: Mapping[str, str] | None = None, *, beside: Path | None = None
    ) -> Settings:
        """Read the environment and ``diurnal.toml``; the environment wins.

        Parameters
        ----------
        start : Path, optional
            The project is the nearest folder from here upwards that holds ``diurnal.toml``, else this one.
            None: ``DIURNAL_PROJECT``, else from `beside`.
        environment : Mapping of str to str, optional
            The process' own where it is not given.
        beside : Path, optional
            Where to start from when neither `start` nor ``DIURNAL_PROJECT`` says it; the working directory where it is
            not given.

        Raises
        ------
        ConfigurationError
            If a setting is unknown or wrong.
        """
        environment = os.environ if environment is None else environment
        for name in environment:
            if name.startswith("DIURNAL_") and name not in _VARIABLES and name not in _OTHER_VARIABLES:
                raise ConfigurationError(
                    f"there is no setting {name}{did_you_mean(name, _VARIABLES)}",
                    hint=f"the settings are {', '.join(_VARIABLES)} and DIURNAL_PROJECT; unset this one",
                )
        if environment.get("DIURNAL_FAULT"):
            fault_injection.arm(environment["DIURNAL_FAULT"])
        project = _project(start, environment, beside)
        values, origins = dict(_DEFAULTS), dict.fromkeys(_DEFAULTS, "default")
        for origin, key, value in [*_from_file(project / FILE), *_from_environment(environment)]:
            values[key], origins[key] = value, origin
        return cls(
            project=project,
            lake=_root(values["lake"], project),
            models=_root(values["models"], project),
            warehouse=_warehouse(values["warehouse"], origins["warehouse"]),
            experiments=project / Path(values["experiments"]).expanduser(),
            spark=_master(values["spark"], origins["spark"]),
            origins=origins,
            environment=dict(environment),
        )

    @property
    def is_project(self) -> bool:
        """Whether anything says that there is a project: the file, a setting, ``DIURNAL_PROJECT`` or data."""
        named = self.environment.get("DIURNAL_PROJECT") or {"default"} != {
            self.origins[k] for k in ("warehouse", "lake")
        }
        return bool(named) or (self.project / FILE).is_file() or Path(self.lake).is_dir()

    def connections(self) -> Connections:
        """Give the connections that Airflow's variables ``AIRFLOW_CONN_<ID>`` declare, and the project's folder."""
        return Connections(self.environment, self.project)


def _project(start: Path | None, environment: Mapping[str, str], beside: Path | None) -> Path:
    named = environment.get("DIURNAL_PROJECT")
    if start is None and named:
        folder = Path(named).expanduser().resolve()
        if not folder.is_dir():
            raise ConfigurationError(
                f"DIURNAL_PROJECT names {folder}, which is no folder", hint="set it to the project's folder"
            )
        return folder
    here = (start or beside or Path.cwd()).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / FILE).is_file()), here)


def _from_file(path: Path) -> list[tuple[str, str, str]]:
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
            f"{path} holds {name!r} outside of its one table, [diurnal]{did_you_mean(name, ['diurnal'])}",
            hint="put settings below a line [diurnal]",
        )
    if not isinstance(table, dict):
        raise ConfigurationError(f"in {path}, diurnal is a value", hint="make it a table: a line [diurnal]")
    for key, value in table.items():
        if key not in _DEFAULTS:
            raise ConfigurationError(
                f"{path} has no setting {key!r}{did_you_mean(key, _DEFAULTS)}", hint=f"it takes {', '.join(_DEFAULTS)}"
            )
        if not isinstance(value, str) or not value:
            raise ConfigurationError(
                f"in {path}, {key} is no text" if value != "" else f"in {path}, {key} is empty",
                hint=f'write {key} = "{_DEFAULTS[key]}", or leave it out',
            )
    return [(str(path), key, value) for key, value in table.items()]


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Read the variables; an empty one is not set. The warehouse and Spark may be connections of Airflow's."""
    found = []
    if environment.get(_WAREHOUSE_CONNECTION):
        url = uri(environment[_WAREHOUSE_CONNECTION], _WAREHOUSE_CONNECTION)
        found.append((_WAREHOUSE_CONNECTION, "warehouse", url))
    if environment.get(_SPARK_CONNECTION):
        found.append((_SPARK_CONNECTION, "spark", spark_master(environment[_SPARK_CONNECTION], _SPARK_CONNECTION)))
    found += [(name, key, environment[name]) for name, key in _VARIABLES.items() if environment.get(name)]
    return found


def _root(value: str, project: Path) -> str:
    return value if "://" in value else str(project / Path(value).expanduser())


def _master(value: str, origin: str) -> str:
    if re.fullmatch(r"local(\[[^\]]+\])?|yarn|(spark|k8s)://\S+", value):
        return value
    known = ("local", "yarn", "spark://", "k8s://")
    raise ConfigurationError(
        f"spark ({origin}) is {value!r}, which is no master{did_you_mean(value, known)}; it is local[*], local[4], "
        "spark://host:7077, yarn or k8s://https://host:6443",
        hint="write one of these, or take it out for local[*]",
    )


def _warehouse(value: str, origin: str) -> str:
    scheme, colon, rest = value.partition("://")
    if colon and scheme in ("postgresql", "postgres"):
        return f"postgresql://{rest}"
    if value == "embedded":
        return value
    if colon:
        given = f"a URL that starts with {scheme}://"
    elif re.fullmatch(r"\w{1,12}", value):
        given = repr(value) + did_you_mean(value, ["embedded"])
    else:
        given = "something else (it is not shown: it may hold a password)"
    raise ConfigurationError(
        f"the warehouse ({origin}) is {given}; it is 'embedded' or a PostgreSQL URL",
        hint="write postgresql://user:password@host:5432/warehouse, or take it out for the embedded one",
    )
