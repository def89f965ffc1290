"""Change honest models of XGBoost, LightGBM and CatBoost at random, and read and ask what passes the checks.

Run as a program of its own, as ``python fuzzing.py N``: a crash ends it.
"""

from __future__ import annotations

import copy
import json
import random
import re
import sys
import warnings
from collections import Counter

import numpy as np
import pandas as pd

from diurnal.errors import InvalidModelError
from diurnal.storage.models.states import find_state

rng = np.random.default_rng(0)
NUMBERS = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("abc"))
CODED = NUMBERS.assign(k=pd.Categorical(rng.choice(list("xyzw"), 120)), i=pd.Categorical(rng.integers(0, 30, 120)))
TEXTS = NUMBERS.assign(k=CODED["k"].astype(str), i=CODED["i"].astype(int))
TWO = ((NUMBERS["a"] > 0) ^ (CODED["k"] == "x")).astype(int)
THREE = pd.cut(NUMBERS["a"], 3, labels=False)
ODD = [-1, 0, 1, 2, 7, 256, -2, 10**6, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, 2**64, 1e300, float("nan"), float("inf")]
ODD += [0.5, "", "x", "7", "1000000", None, True, [], {}, [0], [[1]]]
WORDS = ["-1", "0", "1", "3", "99", "4294967295", "2147483648", "-2147483649", "1e30", "nan", "", " 5", "5 6", "\n"]


def of_xgboost():
    import xgboost

    small = {"n_estimators": 2, "max_depth": 3, "n_jobs": 1}
    for model, X, y in (
        (xgboost.XGBClassifier(enable_categorical=True, max_cat_to_onehot=2, **small), CODED, TWO),
        (xgboost.XGBClassifier(**small), NUMBERS, THREE),
        (xgboost.XGBRegressor(booster="dart", **small), NUMBERS, NUMBERS["a"]),
        (xgboost.XGBRegressor(booster="gblinear", n_estimators=2), NUMBERS, NUMBERS["a"]),
    ):
        rows = xgboost.DMatrix(X, enable_categorical=True)
        booster = model.fit(X, y).get_booster()
        yield "xgboost.Booster", booster, lambda one, rows=rows: one.predict(rows, validate_features=False)


def of_lightgbm():
    import lightgbm

    small = {"n_estimators": 2, "num_leaves": 5, "min_child_samples": 3, "verbose": -1, "n_jobs": 1}
    for model, X, y in (
        (lightgbm.LGBMClassifier(max_cat_to_onehot=2, **small), CODED, TWO),
        (lightgbm.LGBMClassifier(**small), NUMBERS, THREE),
        (lightgbm.LGBMRegressor(linear_tree=True, **small), NUMBERS, NUMBERS["a"]),
    ):
        yield "lightgbm.Booster", model.fit(X, y).booster_, lambda one, X=X: one.predict(X)


def of_catboost():
    from catboost import CatBoostClassifier, CatBoostRegressor

    small = {"n_estimators": 2, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    for model, X, y in (
        (CatBoostClassifier(cat_features=["k", "i"], one_hot_max_size=5, **small), TEXTS, TWO),
        (CatBoostClassifier(**small), NUMBERS, THREE),
        (CatBoostRegressor(cat_features=["k", "i"], grow_policy="Depthwise", **small), TEXTS, NUMBERS["a"]),
    ):
        name = f"catboost.{type(model).__name__}"
        yield name, model.fit(X, y), lambda one, X=X: one.predict(X, prediction_type="RawFormulaVal")


def places(value, chance, path=()):
    """Give the places of a document; of a long list only a few."""
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = [(i, value[i]) for i in (range(len(value)) if len(value) < 6 else chance.sample(range(len(value)), 6))]
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, chance, (*path, key))


def changed(document, chance):
    document = copy.deepcopy(document)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        *path, last = chance.choice(list(places(document, chance)))
        holder = document
        for key in path:
            holder = holder[key]
        old, how = holder[last], chance.random()
        if how < 0.8:
            new = chance.choice(ODD)
            near = isinstance(old, int | float) and chance.random() < 0.4
            holder[last] = old + chance.choice([-1, 1]) if near else str(new) if isinstance(old, str) else new
        elif how < 0.9 and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(old))
        else:
            del holder[last]
    return document


def changed_text(text, chance):
    for _ in range(chance.choice([1, 1, 2])):
        found = chance.choice(list(re.finditer(r"[-\d.e]+|\n[a-z_]+=", text)))
        text = text[: found.start()] + chance.choice([*WORDS, f"{found[0]} {found[0]}"]) + text[found.end() :]
    return text


def attempt(name, booster, ask, chance):
    kind = find_state(name)
    state = kind.to_state(booster)
    if "text" in state:
        state["text"] = changed_text(state["text"].decode(), chance).encode()
    else:
        state["json"] = json.dumps(changed(json.loads(state["json"]), chance)).encode()
    try:
        again = kind.from_state(state)
    except InvalidModelError:
        return "refused"
    except Exception:  # the reader refuses the file on any
        return "failed"
    try:
        ask(again)
    except Exception:
        return "failed when asked"
    return "asked"


def main(n, seed=0):
    chance, counts = random.Random(seed), {}
    warnings.simplefilter("ignore")
    for honest in (of_xgboost, of_lightgbm, of_catboost):
        models = list(honest())
        counts[honest.__name__] = Counter(attempt(*chance.choice(models), chance) for _ in range(n))
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
