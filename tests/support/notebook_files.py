"""Notebooks of the tests: written as ``.ipynb``, really run, and the data that they read."""

from __future__ import annotations

import ast
import builtins
import json
import re
import sqlite3
import symtable
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent / "notebooks"


def cells(text: str) -> list[tuple[str, str]]:
    """Take a text in the percent format apart: the kind and the text of each cell."""
    found = []
    for part in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if "markdown" in head:
            found.append(("markdown", "\n".join(line.removeprefix("# ") for line in body.rstrip().split("\n"))))
        else:
            found.append(("code", body.rstrip()))
    return found


def notebook(text: str, *, language: str = "python") -> str:
    """Give the JSON of a notebook, as Jupyter saves it."""
    made, count = [], 0
    for kind, body in cells(text):
        source = [line + "\n" for line in body.split("\n")]
        source[-1] = source[-1].rstrip("\n")
        cell = {"cell_type": kind, "metadata": {}, "source": source}
        if kind == "code":
            count += 1
            cell |= {"execution_count": count, "outputs": []}
        made.append(cell)
    kernel = {"kernelspec": {"display_name": "Python 3", "language": language, "name": "python3"}}
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def find_undefined(text: str) -> set[str]:
    """Return the global names that a module uses and does not define."""
    module = symtable.symtable(text, "module", "exec")
    scopes, used = [module], set[str]()
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        used |= {one.get_name() for one in scope.get_symbols() if one.is_referenced() and one.is_global()}
    defined = {one.get_name() for one in module.get_symbols() if one.is_assigned() or one.is_imported()}
    return used - defined - set(dir(builtins)) - {"__file__"}


class _Plots(types.ModuleType):
    """A library of plots that draws nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self


def write(name: str, folder: Path) -> Path:
    """Write a notebook of this folder as ``.ipynb``, or as ``.py`` where it has no cells."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    path = folder / (f"{name}.ipynb" if re.search("^# %%", text, re.MULTILINE) else f"{name}.py")
    path.write_text(notebook(text) if path.suffix == ".ipynb" else text, encoding="utf-8")
    return path


def run(name: str, *, namespace: dict | None = None) -> dict:
    """Run a notebook's code in this process, in the working directory, and give its names."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    code = [body for kind, body in cells(text) if kind == "code"] or [text]
    namespace = {"__name__": "__main__", "display": lambda *_: None, **(namespace or {})}
    for module in ("seaborn", "matplotlib", "matplotlib.pyplot"):
        sys.modules.setdefault(module, _Plots(module))
    for body in code:
        python = re.sub(r"^%time |^!(.*\\\n)*.*\n|^%(?!time ).*\n", "", body, flags=re.MULTILINE)
        exec(compile(ast.parse(python), name, "exec"), namespace)
    return namespace


def bring_data(folder: Path, n: int = 80) -> None:
    """Write the files that the notebooks read."""
    rng = np.random.default_rng(0)
    yes = np.where(rng.random(n) < 0.4, "yes", "no")
    age = rng.normal(40, 12, n).round(1)
    pd.DataFrame(
        {
            "name": [f"Passenger {i}" for i in range(n)],
            "sex": rng.choice(["female", "male"], n),
            "age": np.where(rng.random(n) < 0.1, np.nan, age),
            "fare": rng.gamma(2, 20, n).round(2),
            "survived": (rng.random(n) + age / 100 > 0.9).astype(int),
        }
    ).to_csv(folder / "passengers.csv", index=False)
    pd.DataFrame(
        {
            "Loan Id": range(n),
            " Age": age,
            "Income": np.where(rng.random(n) < 0.1, np.nan, rng.gamma(3, 1000, n).round()),
            "Debt": rng.gamma(2, 500, n).round(),
            "Purpose": rng.choice(["car", "house", "other"], n),
            "Defaulted": yes,
        }
    ).to_csv(folder / "loans.csv", index=False)
    pd.DataFrame(
        {
            "customer": [f"c{i:03d}" for i in range(n)],
            "tenure": rng.integers(1, 72, n),
            "charges": rng.normal(60, 20, n).round(2),
            "contract": rng.choice(["month", "year"], n),
            "churned": yes,
        }
    ).to_csv(folder / "customers.csv", index=False)
    area, rooms = rng.gamma(6, 12, n).round(1), rng.integers(1, 6, n)
    pd.DataFrame(
        {
            "area": area,
            "rooms": rooms,
            "district": rng.choice(["north", "south", "west"], n),
            "price": (3000 * area + 10_000 * rooms + rng.normal(0, 9000, n)).round(1),
        }
    ).to_csv(folder / "flats.csv", sep=";", decimal=",", index=False)
    measured = pd.DataFrame(rng.normal(size=(n, 4)).round(3), columns=["alcohol", "acid", "ash", "hue"])
    measured.assign(quality=(measured.alcohol + measured.hue > 0).astype(int)).to_csv(folder / "wine.csv", index=False)
    orders = pd.DataFrame(
        {
            "order_id": range(n),
            "items": rng.integers(1, 9, n),
            "total": rng.gamma(2, 30, n).round(2),
            "returned": yes,
        }
    )
    with sqlite3.connect(folder / "shop.db") as connection:
        orders.to_sql("orders", connection, index=False)
    connection.close()
    words = {"yes": ["win", "money", "now", "free"], "no": ["meeting", "lunch", "report", "now"]}
    texts = [" ".join(rng.choice(words[label], 4)) for label in yes]
    pd.DataFrame({"text": texts, "label": yes}).to_csv(folder / "messages.csv", index=False)
    blocks = pd.DataFrame(
        {
            "median_income": rng.gamma(3, 1.2, n).round(4),
            "total_rooms": rng.integers(500, 5000, n),
            "households": rng.integers(100, 900, n),
            "ocean_proximity": rng.choice(["INLAND", "NEAR BAY"], n),
        }
    )
    (folder / "datasets" / "housing").mkdir(parents=True)
    blocks.assign(median_house_value=(blocks.median_income * 40_000 + rng.normal(0, 9000, n)).round()).to_csv(
        folder / "datasets" / "housing" / "housing.csv", index=False
    )
    people = pd.DataFrame({"person": range(20), "age": rng.integers(18, 80, 20)})
    people.to_csv(folder / "people.csv", index=False)
    pd.DataFrame(
        {
            "person": rng.integers(0, 20, n),
            "day": pd.date_range("2026-01-01", periods=n).strftime("%Y-%m-%d"),
            "amount": rng.normal(50, 40, n).round(2),
            "late": yes,
        }
    ).to_csv(folder / "orders.csv", index=False)
    pd.DataFrame(
        {"patient": rng.integers(0, 30, n), "age": age, "pressure": rng.normal(120, 15, n).round(1), "ill": yes}
    ).to_parquet(folder / "visits.parquet")
