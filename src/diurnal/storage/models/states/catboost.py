"""Models of CatBoost, as the JSON model that CatBoost documents.

Unpickling a model passes the file's bytes to the reader of CatBoost's binary form. Its JSON form is equivalent for
models of numbers and categories (not of texts and embeddings, which therefore cannot be saved). Here Python reads it
and checks every index. CatBoost then reads JSON that is written from the checked values. As its reader rounds the last
digit of numbers, the values of leaves are set afterwards. The time and a random id, which differ from fit to fit, are
left out.
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
from diurnal.storage.models.states.state_checks import check_fields, check_numbers, check_that

_STORED_INFO = ("class_params", "params")  # fields of the model's info that are stored
_CTRS = ("Borders", "Buckets", "BinarizedTargetMeanValue", "Counter", "FloatTargetMeanValue", "FeatureFreq")
_ELEMENTS = {
    "cat_feature_value": ("cat_feature_index",),
    "cat_feature_exact_value": ("cat_feature_index", "value"),
    "float_feature": ("border", "float_feature_index"),
}
_MAX_DEPTH = 64
_FLOAT = {"borders", "feature_id", "feature_index", "flat_feature_index", "has_nans", "nan_value_treatment"}
_CATEGORY = {"feature_id", "feature_index", "flat_feature_index"}
_CLASSES = {"class_label_type", "class_names", "class_to_label", "classes_count"}
_CTR = {
    "borders", "ctr_type", "elements", "identifier", "prior_denomerator", "prior_numerator", "scale", "shift",
    "target_border_idx",
}  # fmt: skip

Split = tuple[str, int]  # the type of a feature, and its index among those of the type


def _model_to_state(model: Any) -> dict[str, Any]:
    params = dict(model._init_params)
    return {"json": _export_document(model) if model.is_fitted() else None, "params": params}


def _export_document(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        model.save_model(str(file), format="json")
        document = json.loads(file.read_bytes())
    info = document["model_info"]
    document["model_info"] = {name: info[name] for name in _STORED_INFO if name in info}
    return _to_compact_json(document)


def _make_from_state(cls: type) -> Any:
    def from_state(state: Any) -> Any:
        content = check_fields(state, ("json", "params"), "CatBoost model")
        check_that(isinstance(content["params"], dict), "a CatBoost model has no parameters")
        model = cls()
        if content["json"] is not None:
            check_that(isinstance(content["json"], bytes), "a CatBoost model has no JSON")
            _import_document(model, json.loads(content["json"]))
        model._init_params = dict(content["params"])
        model._canonized_params = None
        return model

    return from_state


def _import_document(model: Any, document: Any) -> None:
    n_features, leaves = _check_document(document)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        file.write_bytes(_to_compact_json(document))
        model.load_model(str(file), format="json")
    check_that(len(model.get_leaf_values()) == len(leaves), "a CatBoost model has invalid leaves")
    model.set_leaf_values(leaves)
    model.set_scale_and_bias(*document["scale_and_bias"])
    model._n_features_in = n_features


def _to_compact_json(document: Any) -> bytes:
    # CatBoost's parser crashes on NaN and Infinity, which JSON does not have
    return json.dumps(document, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def _check_document(document: Any) -> tuple[int, np.ndarray]:
    """Check a model; return its number of features, and the values of its leaves in order."""
    parts = {"features_info", "model_info", "scale_and_bias"}
    optional = {"ctr_data", "oblivious_trees", "trees"}
    check_that(isinstance(document, dict), "a CatBoost model is not a JSON object")
    check_that(parts <= set(document) <= parts | optional, "a CatBoost model has parts that are unknown")
    scale, bias = document["scale_and_bias"]
    check_numbers([scale, *bias], "scale and bias")
    _check_info(document["model_info"], len(bias))
    flat, splits = _check_features(document["features_info"], document.get("ctr_data", {}))
    if "trees" in document:
        check_that("oblivious_trees" not in document, "a CatBoost model has trees of two types")
        values = [value for tree in document["trees"] for value in _leaf_values(tree, splits, len(bias))]
    else:
        values = [
            v for tree in document.get("oblivious_trees", []) for v in _check_oblivious_tree(tree, splits, len(bias))
        ]
    return flat, np.array(values, dtype=np.float64)


def _check_info(info: Any, n_outputs: int) -> None:
    check_that(set(info) <= set(_STORED_INFO), "a CatBoost model has unknown info")
    check_that(isinstance(info.get("params"), dict), "a CatBoost model has no parameters")
    if "class_params" in info:
        content = check_fields(info["class_params"], _CLASSES, "list of classes")
        names, labels = content["class_names"], content["class_to_label"]
        check_that(labels == list(range(len(labels))), "CatBoost classes are out of order")
        check_that(all(type(label) is int for label in labels), "CatBoost classes have no numbers")
        check_that(len(names) in (0, len(labels)) and len(set(names)) == len(names), "CatBoost classes have no names")
        check_that(len({type(name) for name in names}) <= 1, "CatBoost classes have names of several types")
        check_that(all(type(name) in (str, int, float, bool) for name in names), "CatBoost classes have invalid names")
        check_that(n_outputs in (1, len(labels)), "a CatBoost model has other outputs than classes")
        check_that(type(content["classes_count"]) is int and not content["classes_count"], "CatBoost counts classes")
        check_that(
            content["class_label_type"] in ("Integer", "Float", "String", "Boolean"), "CatBoost classes are invalid"
        )


def _check_features(info: Any, ctr_data: Any) -> tuple[int, dict[int, Split]]:
    """Check the features; return their number, and the feature of each split index."""
    types = ("float_features", "categorical_features", "ctrs")
    check_that(isinstance(info, dict) and set(info) <= set(types), "CatBoost features are of an unknown type")
    floats, categories, ctrs = (info.get(name, []) for name in types)
    splits: list[Split] = []
    flat = []
    for i, feature in enumerate(floats):
        _check_feature(feature, i, _FLOAT)
        check_that(feature["nan_value_treatment"] in ("AsIs", "AsFalse", "AsTrue"), "a CatBoost feature is invalid")
        splits += [("FloatFeature", i)] * len(_check_borders(feature["borders"]))
        flat.append(feature["flat_feature_index"])
    for i, feature in enumerate(categories):
        _check_feature(feature, i, _CATEGORY)
        values = feature.get("values", [])
        check_that(all(type(value) is int and abs(value) < 2**32 for value in values), "a category is invalid")
        splits += [("OneHotFeature", i)] * len(values)
        flat.append(feature["flat_feature_index"])
    check_that(sorted(flat) == list(range(len(flat))), "CatBoost features have invalid positions")
    _check_counters(ctr_data)
    for i, feature in enumerate(ctrs):
        _check_ctr(feature, ctr_data, len(floats), len(categories))
        splits += [("OnlineCtr", i)] * len(_check_borders(feature["borders"]))
    return len(flat), dict(enumerate(splits))


def _check_feature(feature: Any, index: int, keys: set[str]) -> None:
    check_that(keys <= set(feature) <= keys | {"feature_name", "values"}, "a CatBoost feature is invalid")
    check_that(feature["feature_index"] == index, "CatBoost features are out of order")
    check_that(type(feature["flat_feature_index"]) is int, "a CatBoost feature has no position")
    texts = [feature["feature_id"], feature.get("feature_name", "")]
    check_that(all(isinstance(text, str) for text in texts), "a CatBoost feature has no name")


def _check_borders(borders: Any) -> Sequence[float]:
    values = check_numbers(borders, "borders")
    check_that(len(values) < 2**16 and np.all(np.diff(values) >= 0), "CatBoost borders are out of order")
    checked: Sequence[float] = borders
    return checked


def _check_ctr(feature: Any, ctr_data: Mapping[str, Any], n_floats: int, n_categories: int) -> None:
    """Check a feature that is a statistic of the target for each category (CatBoost: ctr)."""
    check_fields(feature, _CTR, "ctr feature")
    check_that(
        feature["ctr_type"] in _CTRS and isinstance(feature["elements"], list), "a ctr feature is of an unknown type"
    )
    check_numbers(
        [feature[key] for key in ("prior_denomerator", "prior_numerator", "scale", "shift")], "priors", length=4
    )
    for element in feature["elements"]:
        keys = _ELEMENTS.get(element.get("combination_element"))
        check_that(keys and set(element) == {"combination_element", *keys}, "a ctr has an unknown element")
        for key, n_features in (("cat_feature_index", n_categories), ("float_feature_index", n_floats)):
            index = element.get(key, 0)
            check_that(type(index) is int and 0 <= index < max(n_features, 1), "a ctr is of no feature")
    identifier = json.loads(feature["identifier"])
    check_that(identifier == {"identifier": feature["elements"], "type": feature["ctr_type"]}, "a ctr has another name")
    check_that(feature["identifier"] in ctr_data, "a ctr feature has no counts")
    width = ctr_data[feature["identifier"]]["hash_stride"] - 1
    border = feature["target_border_idx"]
    check_that(type(border) is int and 0 <= border < max(width, 1), "a ctr feature is of no class")


def _check_counters(ctr_data: Any) -> None:
    check_that(isinstance(ctr_data, dict), "CatBoost counts are not a table")
    for table in ctr_data.values():
        check_fields(table, ("counter_denominator", "hash_map", "hash_stride"), "table of counts")
        stride, cells = table["hash_stride"], table["hash_map"]
        check_that(type(stride) is int and 2 <= stride <= 2**16, "a table of counts has no width")
        check_that(isinstance(cells, list) and len(cells) % stride == 0, "a table of counts is incomplete")
        keys = cells[::stride]
        check_that(all(isinstance(k, str) and re.fullmatch(r"\d{1,20}", k) for k in keys), "counts have no keys")
        counts = [cell for i, cell in enumerate(cells) if i % stride] + [table["counter_denominator"]]
        check_that(np.all(np.abs(check_numbers(counts, "counts")) < 2**31), "CatBoost counts are too large")


def _check_split(split: Any, splits: Mapping[int, Split]) -> None:
    split_type = split.get("split_type")
    index = split.get("split_index")
    check_that(type(index) is int and index in splits and splits[index][0] == split_type, "a split does not exist")
    for key in ("float_feature_index", "cat_feature_index"):
        check_that(split.get(key, splits[index][1]) == splits[index][1], "a CatBoost split is of another feature")
    check_numbers([value for key, value in split.items() if key != "split_type"], "splits")


def _check_oblivious_tree(tree: Any, splits: Mapping[int, Split], n_outputs: int) -> list[float]:
    check_fields(tree, ("leaf_values", "leaf_weights", "splits"), "CatBoost tree")
    own_splits = tree["splits"] or []
    check_that(len(own_splits) <= 16, "a CatBoost tree is too deep")
    for split in own_splits:
        _check_split(split, splits)
    n_leaves = 2 ** len(own_splits)
    check_numbers(tree["leaf_values"], "values of leaves", length=n_leaves * n_outputs)
    n_weights = len(check_numbers(tree["leaf_weights"], "weights of leaves"))
    check_that(n_weights in (0, n_leaves), "leaves have other weights")
    values: list[float] = tree["leaf_values"]
    return values


def _leaf_values(tree: Any, splits: Mapping[int, Split], n_outputs: int, depth: int = 0) -> list[float]:
    """Check a tree whose branches have different splits; return the values of its leaves from left to right."""
    check_that(depth <= _MAX_DEPTH and isinstance(tree, dict), "a CatBoost tree is too deep")
    if "split" in tree:
        check_fields(tree, ("left", "right", "split"), "CatBoost branch")
        _check_split(tree["split"], splits)
        return [v for side in ("left", "right") for v in _leaf_values(tree[side], splits, n_outputs, depth + 1)]
    check_fields(tree, ("value", "weight"), "CatBoost leaf")
    value = tree["value"] if isinstance(tree["value"], list) else [tree["value"]]
    check_numbers([*value, tree["weight"]], "values of leaves", length=n_outputs + 1)
    return value


STATES = (
    State("catboost.CatBoostClassifier", (CatBoostClassifier,), _model_to_state, _make_from_state(CatBoostClassifier)),
    State("catboost.CatBoostRegressor", (CatBoostRegressor,), _model_to_state, _make_from_state(CatBoostRegressor)),
)
