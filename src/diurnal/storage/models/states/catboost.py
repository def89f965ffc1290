"""Models of CatBoost, as the JSON model that CatBoost documents.

Unpickling one hands the file's bytes to the reader of CatBoost's binary form. Its JSON form says the same of models of
numbers and categories (not of texts and embeddings, which therefore cannot be saved). Here Python reads it and checks
every index, and what CatBoost is given is written anew. CatBoost's reader rounds numbers in the last digit: values
of leaves are set again as they were. What differs from fit to fit, the time and a random id, is left out.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from catboost import CatBoostClassifier, CatBoostRegressor

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import fields, numbers, require

_KEPT = ("class_params", "params")  # of the model's own description of itself
_CTRS = ("Borders", "Buckets", "BinarizedTargetMeanValue", "Counter", "FloatTargetMeanValue", "FeatureFreq")
_ELEMENTS = {
    "cat_feature_value": ("cat_feature_index",),
    "cat_feature_exact_value": ("cat_feature_index", "value"),
    "float_feature": ("border", "float_feature_index"),
}
_DEEPEST = 64
_FLOAT = {"borders", "feature_id", "feature_index", "flat_feature_index", "has_nans", "nan_value_treatment"}
_CATEGORY = {"feature_id", "feature_index", "flat_feature_index"}
_CLASSES = {"class_label_type", "class_names", "class_to_label", "classes_count"}
_CTR = {
    "borders", "ctr_type", "elements", "identifier", "prior_denomerator", "prior_numerator", "scale", "shift",
    "target_border_idx",
}  # fmt: skip

Split = tuple[str, int]  # of which kind, and of which feature of that kind


def _take(model: Any) -> dict[str, Any]:
    params = dict(model._init_params)
    return {"json": _document_of(model) if model.is_fitted() else None, "params": params}


def _document_of(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        model.save_model(str(file), format="json")
        document = json.loads(file.read_bytes())
    info = document["model_info"]
    document["model_info"] = {name: info[name] for name in _KEPT if name in info}
    return _compact(document)


def _maker(kind: type) -> Any:
    def make(state: Any) -> Any:
        given = fields(state, ("json", "params"), "model of CatBoost")
        require(isinstance(given["params"], dict), "a model of CatBoost has no parameters")
        model = kind()
        if given["json"] is not None:
            require(isinstance(given["json"], bytes), "a model of CatBoost has no JSON")
            _load(model, json.loads(given["json"]))
        model._init_params = dict(given["params"])
        model._canonized_params = None
        return model

    return make


def _load(model: Any, document: Any) -> None:
    n_features, leaves = _check(document)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        file.write_bytes(_compact(document))
        model.load_model(str(file), format="json")
    require(len(model.get_leaf_values()) == len(leaves), "a model of CatBoost has other leaves than it says")
    model.set_leaf_values(leaves)
    model.set_scale_and_bias(*document["scale_and_bias"])
    model._n_features_in = n_features


def _compact(document: Any) -> bytes:
    # CatBoost's parser crashes on NaN and Infinity, which JSON does not have
    return json.dumps(document, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def _check(document: Any) -> tuple[int, np.ndarray]:
    """Check a model, and give how many features it takes, and the values of its leaves in order."""
    parts = {"features_info", "model_info", "scale_and_bias"}
    optional = {"ctr_data", "oblivious_trees", "trees"}
    require(isinstance(document, dict), "a model of CatBoost is no JSON object")
    require(parts <= set(document) <= parts | optional, "a model of CatBoost has parts that are not known")
    scale, bias = document["scale_and_bias"]
    numbers([scale, *bias], "scale and bias")
    _check_info(document["model_info"], len(bias))
    flat, splits = _check_features(document["features_info"], document.get("ctr_data", {}))
    if "trees" in document:
        require("oblivious_trees" not in document, "a model of CatBoost has trees of two kinds")
        values = [value for tree in document["trees"] for value in _leaves(tree, splits, len(bias))]
    else:
        values = [v for tree in document.get("oblivious_trees", []) for v in _check_tree(tree, splits, len(bias))]
    return flat, np.array(values, dtype=np.float64)


def _check_info(info: Any, n_outputs: int) -> None:
    require(set(info) <= set(_KEPT) and isinstance(info.get("params"), dict), "a model of CatBoost has no parameters")
    if "class_params" in info:
        given = fields(info["class_params"], _CLASSES, "list of classes")
        names, labels = given["class_names"], given["class_to_label"]
        require(labels == list(range(len(labels))), "classes of CatBoost are out of order")
        require(all(type(label) is int for label in labels), "classes of CatBoost have no numbers")
        require(len(names) in (0, len(labels)) and len(set(names)) == len(names), "classes of CatBoost have no names")
        require(len({type(name) for name in names}) <= 1, "classes of CatBoost have names of several kinds")
        require(all(type(name) in (str, int, float, bool) for name in names), "classes of CatBoost have odd names")
        require(n_outputs in (1, len(labels)), "a model of CatBoost has other outputs than classes")
        require(type(given["classes_count"]) is int and not given["classes_count"], "classes of CatBoost are counted")
        require(given["class_label_type"] in ("Integer", "Float", "String", "Boolean"), "classes of CatBoost are odd")


def _check_features(info: Any, ctr_data: Any) -> tuple[int, dict[int, Split]]:
    """Check what features are made of; give how many there are, and what each number of a split stands for."""
    kinds = ("float_features", "categorical_features", "ctrs")
    require(isinstance(info, dict) and set(info) <= set(kinds), "a model of CatBoost has features of an unknown kind")
    floats, categories, ctrs = (info.get(kind, []) for kind in kinds)
    splits: list[Split] = []
    flat = []
    for i, one in enumerate(floats):
        _check_feature(one, i, _FLOAT)
        require(one["nan_value_treatment"] in ("AsIs", "AsFalse", "AsTrue"), "a feature of CatBoost is odd")
        splits += [("FloatFeature", i)] * len(_borders(one["borders"]))
        flat.append(one["flat_feature_index"])
    for i, one in enumerate(categories):
        _check_feature(one, i, _CATEGORY)
        values = one.get("values", [])
        require(all(type(value) is int and abs(value) < 2**32 for value in values), "a category of CatBoost is odd")
        splits += [("OneHotFeature", i)] * len(values)
        flat.append(one["flat_feature_index"])
    require(sorted(flat) == list(range(len(flat))), "features of CatBoost are not in their places")
    _check_counters(ctr_data)
    for i, one in enumerate(ctrs):
        _check_ctr(one, ctr_data, len(floats), len(categories))
        splits += [("OnlineCtr", i)] * len(_borders(one["borders"]))
    return len(flat), dict(enumerate(splits))


def _check_feature(one: Any, place: int, keys: set[str]) -> None:
    require(keys <= set(one) <= keys | {"feature_name", "values"}, "a feature of CatBoost is odd")
    require(one["feature_index"] == place, "features of CatBoost are out of order")
    require(type(one["flat_feature_index"]) is int, "a feature of CatBoost has no place")
    texts = [one["feature_id"], one.get("feature_name", "")]
    require(all(isinstance(text, str) for text in texts), "a feature of CatBoost has no name")


def _borders(given: Any) -> Sequence[float]:
    values = numbers(given, "borders")
    require(len(values) < 2**16 and np.all(np.diff(values) >= 0), "borders of CatBoost are out of order")
    borders: Sequence[float] = given
    return borders


def _check_ctr(one: Any, ctr_data: Mapping[str, Any], n_floats: int, n_categories: int) -> None:
    """Check a feature that counts how often what went with a category in training."""
    fields(one, _CTR, "feature of counts")
    require(one["ctr_type"] in _CTRS and isinstance(one["elements"], list), "a feature of counts is of no known kind")
    numbers([one[key] for key in ("prior_denomerator", "prior_numerator", "scale", "shift")], "priors", length=4)
    for element in one["elements"]:
        keys = _ELEMENTS.get(element.get("combination_element"))
        require(keys and set(element) == {"combination_element", *keys}, "a feature of counts is of something unknown")
        for key, most in (("cat_feature_index", n_categories), ("float_feature_index", n_floats)):
            index = element.get(key, 0)
            require(type(index) is int and 0 <= index < max(most, 1), "a feature of counts is of no feature")
    said = json.loads(one["identifier"])
    require(said == {"identifier": one["elements"], "type": one["ctr_type"]}, "a feature of counts has another name")
    require(one["identifier"] in ctr_data, "a feature of counts has no counts")
    width = ctr_data[one["identifier"]]["hash_stride"] - 1
    border = one["target_border_idx"]
    require(type(border) is int and 0 <= border < max(width, 1), "a feature of counts is of no class")


def _check_counters(ctr_data: Any) -> None:
    require(isinstance(ctr_data, dict), "counts of CatBoost are in no table")
    for table in ctr_data.values():
        fields(table, ("counter_denominator", "hash_map", "hash_stride"), "table of counts")
        stride, cells = table["hash_stride"], table["hash_map"]
        require(type(stride) is int and 2 <= stride <= 2**16, "a table of counts has no width")
        require(isinstance(cells, list) and len(cells) % stride == 0, "a table of counts is cut")
        keys = cells[::stride]
        require(
            all(isinstance(k, str) and re.fullmatch(r"\d{1,20}", k) for k in keys), "counts of CatBoost have no keys"
        )
        counts = [cell for i, cell in enumerate(cells) if i % stride] + [table["counter_denominator"]]
        require(np.all(np.abs(numbers(counts, "counts")) < 2**31), "counts of CatBoost are too large")


def _check_split(split: Any, splits: Mapping[int, Split]) -> None:
    kind = split.get("split_type")
    index = split.get("split_index")
    require(type(index) is int and index in splits and splits[index][0] == kind, "a split of CatBoost is not there")
    for key in ("float_feature_index", "cat_feature_index"):
        require(split.get(key, splits[index][1]) == splits[index][1], "a split of CatBoost is of another feature")
    numbers([value for key, value in split.items() if key != "split_type"], "splits")


def _check_tree(tree: Any, splits: Mapping[int, Split], n_outputs: int) -> list[float]:
    fields(tree, ("leaf_values", "leaf_weights", "splits"), "tree of CatBoost")
    chosen = tree["splits"] or []
    require(len(chosen) <= 16, "a tree of CatBoost is too deep")
    for split in chosen:
        _check_split(split, splits)
    n_leaves = 2 ** len(chosen)
    numbers(tree["leaf_values"], "values of leaves", length=n_leaves * n_outputs)
    require(len(numbers(tree["leaf_weights"], "weights of leaves")) in (0, n_leaves), "leaves have other weights")
    values: list[float] = tree["leaf_values"]
    return values


def _leaves(tree: Any, splits: Mapping[int, Split], n_outputs: int, depth: int = 0) -> list[float]:
    """Check a tree that is not the same at every branch; give the values of its leaves from left to right."""
    require(depth <= _DEEPEST and isinstance(tree, dict), "a tree of CatBoost is too deep")
    if "split" in tree:
        fields(tree, ("left", "right", "split"), "branch of CatBoost")
        _check_split(tree["split"], splits)
        return [v for side in ("left", "right") for v in _leaves(tree[side], splits, n_outputs, depth + 1)]
    fields(tree, ("value", "weight"), "leaf of CatBoost")
    value = tree["value"] if isinstance(tree["value"], list) else [tree["value"]]
    numbers([*value, tree["weight"]], "values of leaves", length=n_outputs + 1)
    return value


STATES = (
    State("catboost.CatBoostClassifier", (CatBoostClassifier,), _take, _maker(CatBoostClassifier)),
    State("catboost.CatBoostRegressor", (CatBoostRegressor,), _take, _maker(CatBoostRegressor)),
)
