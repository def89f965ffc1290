"""Boosters of XGBoost, as the JSON model that XGBoost documents.

Unpickling one would hand the file's bytes to a parser in C++, and its trees are walked there without a look at indices.
Here the model is read by Python, every index is checked, and what XGBoost is given is written anew from what was
checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xgboost

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import fields, integers, later_children, numbers, require, within

_TREE = frozenset((
    "base_weights", "categories", "categories_nodes", "categories_segments", "categories_sizes", "default_left", "id",
    "left_children", "loss_changes", "parents", "right_children", "split_conditions", "split_indices", "split_type",
    "sum_hessian", "tree_param",
))  # fmt: skip
_LEARNER = frozenset((
    "attributes", "feature_names", "feature_types", "gradient_booster", "learner_model_param", "objective",
))  # fmt: skip
_OBJECTIVE = re.compile(r"(reg|binary|multi|count|survival):[a-z0-9_]{1,40}")
_MOST_CATEGORIES = 2**24  # beyond, a float does not tell them apart
_NO_PARENT = 2**31 - 1


def _take(booster: xgboost.Booster) -> dict[str, bytes]:
    return {"json": _compact(json.loads(booster.save_raw("json")))}


def _make(state: Any) -> xgboost.Booster:
    given = fields(state, ("json",), "booster of XGBoost")
    require(isinstance(given["json"], bytes), "a booster of XGBoost has no model")
    document = json.loads(given["json"])
    _check(document)
    booster = xgboost.Booster()
    booster.load_model(bytearray(_compact(document)))
    return booster


def _compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _check(document: Any) -> None:
    fields(document, ("learner", "version"), "model of XGBoost")
    integers(document["version"], "versions of XGBoost", length=3)
    learner = fields(document["learner"], _LEARNER, "learner of XGBoost")
    sizes = {name: _count(value) for name, value in learner["learner_model_param"].items() if name.startswith("num_")}
    require({"num_class", "num_feature", "num_target"} <= set(sizes), "a learner of XGBoost has no sizes")
    n_features, n_outputs = sizes["num_feature"], max(1, sizes["num_class"], sizes["num_target"])
    _check_start(learner["learner_model_param"], n_outputs)
    _check_names(learner, n_features)
    _check_objective(learner["objective"], sizes)
    booster = learner["gradient_booster"]
    if booster.get("name") == "gblinear":
        model = fields(booster["model"], ("boosted_rounds", "weights"), "linear model of XGBoost")
        numbers(model["weights"], "weights of XGBoost", length=(n_features + 1) * n_outputs)
        integers([model["boosted_rounds"]], "rounds of XGBoost")
        return
    if booster.get("name") == "dart":
        fields(booster, ("gbtree", "name", "weight_drop"), "booster of XGBoost")
        booster, weights = booster["gbtree"], booster["weight_drop"]
        numbers(weights, "weights of trees", length=len(booster["model"]["trees"]))
    fields(booster, ("model", "name"), "booster of XGBoost")
    require(booster["name"] == "gbtree", "a booster of XGBoost is of no known kind")
    _check_trees(booster["model"], n_features, n_outputs)


def _count(text: Any) -> int:
    require(isinstance(text, str) and re.fullmatch(r"[0-9]{1,7}", text), "a size of XGBoost is no number")
    return int(text)


def _check_start(params: Mapping[str, Any], n_outputs: int) -> None:
    known = {"base_score", "boost_from_average", "num_class", "num_feature", "num_target"}
    require(set(params) <= known, "a learner of XGBoost has parameters that are not known")
    start = json.loads(params["base_score"])
    numbers(start if isinstance(start, list) else [start], "scores to start from")
    require(not isinstance(start, list) or len(start) in (1, n_outputs), "scores to start from are not one an output")
    _count(params.get("boost_from_average", "1"))


def _check_names(learner: Mapping[str, Any], n_features: int) -> None:
    for key in ("feature_names", "feature_types"):
        names = learner[key]
        require(isinstance(names, list) and all(isinstance(name, str) for name in names), f"{key} are no texts")
        require(len(names) in (0, n_features), f"{key} are not those of {n_features} features")
    texts = [*learner["attributes"].keys(), *learner["attributes"].values()]
    require(all(isinstance(text, str) for text in texts), "attributes of XGBoost are no texts")


def _check_objective(objective: Any, sizes: Mapping[str, int]) -> None:
    require(isinstance(objective, dict), "a model of XGBoost has no objective")
    name = objective.get("name")
    require(isinstance(name, str) and _OBJECTIVE.fullmatch(name), f"the objective {name!r} is not supported")
    for key, params in objective.items():
        if key == "name":
            continue
        require(isinstance(params, dict), "an objective of XGBoost has no parameters")
        require(all(isinstance(value, str) for value in params.values()), "parameters of XGBoost are no texts")
        require(
            _count(params.get("num_class", str(sizes["num_class"]))) == sizes["num_class"],
            "an objective of XGBoost is for other classes than its model",
        )
        for alpha in (params[one] for one in params if one.endswith("_alpha") and params[one].startswith("[")):
            numbers(json.loads(alpha), "quantiles", length=max(1, sizes["num_target"]))


def _check_trees(model: Any, n_features: int, n_outputs: int) -> None:
    require(
        set(model) - {"cats", "weight_drop"} == {"gbtree_model_param", "iteration_indptr", "tree_info", "trees"},
        "trees of XGBoost are kept with what is not known",
    )
    trees, params = model["trees"], model["gbtree_model_param"]
    n = len(trees)
    require(set(params) == {"num_parallel_tree", "num_trees"}, "trees of XGBoost are not counted")
    require(_count(params["num_trees"]) == n, "trees of XGBoost are not as many as said")
    _count(params["num_parallel_tree"])
    within(integers(model["tree_info"], "outputs of trees", length=n), 0, n_outputs, "outputs of trees")
    if "weight_drop" in model:  # from XGBoost 3.4 on, where older ones have it beside the trees
        numbers(model["weight_drop"], "weights of trees", length=n)
    steps = integers(model["iteration_indptr"], "iterations")
    require(len(steps) and steps[0] == 0 and steps[-1] == n and np.all(np.diff(steps) >= 0), "iterations are no steps")
    for place, tree in enumerate(trees):
        _check_tree(fields(tree, _TREE, "tree of XGBoost"), n_features)
        require(type(tree["id"]) is int and tree["id"] == place, "trees of XGBoost are out of order")
    if "cats" in model:
        _check_categories(model["cats"], n_features)


def _check_tree(tree: Mapping[str, Any], n_features: int) -> None:
    params = fields(tree["tree_param"], ("num_deleted", "num_feature", "num_nodes", "size_leaf_vector"), "tree")
    n = _count(params["num_nodes"])
    require(n and _count(params["num_feature"]) == n_features, "a tree of XGBoost is of other features")
    require(_count(params["size_leaf_vector"]) <= 1, "trees of several outputs are not supported")
    _count(params["num_deleted"])
    for key in ("base_weights", "loss_changes", "split_conditions", "sum_hessian"):
        numbers(tree[key], key, length=n)
    left, right = (integers(tree[key], key, length=n) for key in ("left_children", "right_children"))
    inner = left != -1
    require(np.all(right[~inner] == -1), "a leaf of XGBoost has a child")
    for children in (left, right):
        within(children[inner], 0, n, "children")
        later_children(children, inner, "a tree of XGBoost")
    at = np.flatnonzero(inner)
    parents = integers(tree["parents"], "parents", length=n)
    require(np.all(parents[left[at]] == at) and np.all(parents[right[at]] == at), "children have other parents")
    require(parents[0] in (_NO_PARENT, -1), "a root has a parent")
    within(integers(tree["split_indices"], "split_indices", length=n)[inner], 0, n_features, "features to split on")
    for key in ("default_left", "split_type"):
        within(integers(tree[key], key, length=n), 0, 2, key)
    _check_sets(tree, np.flatnonzero(inner & (np.array(tree["split_type"]) == 1)))


def _check_sets(tree: Mapping[str, Any], by_category: np.ndarray) -> None:
    """Check the categories by which nodes split: a segment of one list for each such node."""
    at, starts, sizes = (integers(tree[f"categories_{key}"], key) for key in ("nodes", "segments", "sizes"))
    values = integers(tree["categories"], "categories")
    require(np.array_equal(at, by_category), "sets of categories are of other nodes than split by them")
    require(len(starts) == len(sizes) == len(at), "sets of categories are not one a node")
    require(np.all(sizes > 0) and np.array_equal(starts, np.cumsum(sizes) - sizes), "sets of categories overlap")
    require(int(sizes.sum()) == len(values), "sets of categories end elsewhere")
    within(values, 0, _MOST_CATEGORIES, "categories")


def _check_categories(cats: Any, n_features: int) -> None:
    """Check the texts and numbers that categories had in training, by which those of other rows are coded."""
    given = fields(cats, ("enc", "feature_segments", "sorted_idx"), "list of categories")
    segments, order = integers(given["feature_segments"], "segments"), integers(given["sorted_idx"], "orders")
    require(isinstance(given["enc"], list), "categories are in no list")
    if not given["enc"]:
        require(not len(segments) and not len(order), "categories are of no feature")
        return
    counts = [_category_count(one) for one in given["enc"]]
    require(len(counts) == n_features, "categories are of other features")
    require(np.array_equal(segments, np.cumsum([0, *counts])), "categories of features overlap")
    require(len(order) == sum(counts), "an order of categories lacks some")
    for start, count in zip(segments[:-1], counts, strict=True):
        part = order[start : start + count]
        require(np.array_equal(np.sort(part), np.arange(count)), "an order of categories names some twice")


def _category_count(one: Any) -> int:
    if set(one) == {"offsets", "values"}:
        offsets, texts = integers(one["offsets"], "offsets"), integers(one["values"], "letters")
        within(texts, -128, 256, "letters")
        if not len(offsets):
            require(not len(texts), "texts of categories have no ends")
            return 0
        require(offsets[0] == 0 and offsets[-1] == len(texts), "texts of categories end elsewhere")
        require(np.all(np.diff(offsets) >= 0), "texts of categories overlap")
        return len(offsets) - 1
    require(set(one) == {"type", "values"} and isinstance(one["values"], Sequence), "categories are of no known kind")
    require(type(one["type"]) is int, "categories are of no known kind")
    numbers(one["values"], "categories")
    return len(one["values"])


STATES = (State("xgboost.Booster", (xgboost.Booster,), _take, _make),)
